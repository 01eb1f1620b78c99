"""Rule files that somebody broke, on purpose or not: each is read, or refused with places."""

import re

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from feedback.metrics import STANDARD
from flows.settings import CHECKOUT
from rules.parse import files_of, load_text
from rules.problems import Problem, RuleFileErrors
from tests.fuzz import examples

NOWHERE = Problem("", 0, 0, "", "")
RULES = CHECKOUT / "rules"
SETS = sorted(path.stem for path in (RULES / "sets").glob("*.yaml"))
TEXTS = {name: files_of(RULES, name) for name in SETS}
VALUES = [
    *("", "~", "null", "[]", "{}", "''", '"', "'", "-", "?", ":", "|", ">", "%", "@x", "`x`", "!x y", "!!binary x"),
    *("!!python/object:os.system x", "&a [*a]", "*nobody", "<<: *x", "[" * 300, "{" * 300, "[" * 200 + "]" * 200),
    *("0", "-1", "1e999", "-0.0", ".nan", ".inf", "9" * 400, "0x" + "f" * 99, "true", "2026-13-45", "12:60"),
    *(
        "99999 days",
        "1 fortnight",
        "0 seconds",
        "10000 years",
        "2026-02-30T25:61:61Z",
        "Mars/Olympus",
        "../../etc/passwd",
    ),
    *("a" * 70_000, "\x00", "\x07", "\u202e", "\ufeff", "\U0010ffff", "(a+)+$", "(?=x)", "[z-a]", "\\", "(" * 900),
    *("*" * 9, "x{1000}{1000}", "{{x}}", "{% raw %}", "${x}", "scores.nps", "themes", "size(text) > 1", "1 / 0 > 0"),
    *("(" * 120 + "1" + ")" * 120 + " == 1", "[1].map(x, [1].map(y, x))", "text.matches('(a+)+$')", "'a' + 1", "nps <"),
    *("one, two", "rule", "supervisor"),
]
VALUE = st.sampled_from(VALUES) | st.text(max_size=20) | st.integers().map(str)


@st.composite
def broken(draw: st.DrawFn) -> tuple[str, dict[str, str]]:
    """(a shipped set, its files after one to four lines of them were changed)."""
    name = draw(st.sampled_from(SETS))
    texts = dict(TEXTS[name])
    for _ in range(draw(st.integers(1, 4))):
        path = draw(st.sampled_from(sorted(texts)))
        lines = texts[path].splitlines()
        if not lines:
            continue
        at = draw(st.integers(0, len(lines) - 1))
        value = draw(VALUE)
        match draw(st.integers(0, 6)):
            case 0:
                lines[at] = re.sub(r"(:\s*)\S.*$", lambda found, value=value: found[1] + value, lines[at])
            case 1:
                del lines[at]
            case 2:
                lines.insert(at, lines[at])
            case 3:
                lines[at] = " " * draw(st.integers(0, 9)) + lines[at].lstrip()
            case 4:
                lines.insert(at, value)
            case 5:
                lines[at] = re.sub(r"\w+(?=:)", lambda _, value=value: value, lines[at], count=1)
            case _:
                place = draw(st.integers(0, len(lines[at])))
                lines[at] = lines[at][:place] + value + lines[at][place:]
        texts[path] = "\n".join(lines) + "\n"
    return name, texts


def problems(name: str, texts: dict[str, str]) -> list[Problem]:
    try:
        load_text(texts, name, STANDARD)
    except RuleFileErrors as refused:
        return refused.problems or [NOWHERE]
    return []


@settings(max_examples=examples(60), deadline=None, suppress_health_check=list(HealthCheck))
@given(case=broken())
def test_a_set_that_somebody_broke_is_read_or_refused_with_places(case: tuple[str, dict[str, str]]) -> None:
    for problem in problems(*case):
        assert problem.file
        assert problem.found
        assert problem.line >= 1
        assert problem.column >= 1


@settings(max_examples=examples(60), deadline=None, suppress_health_check=list(HealthCheck))
@given(text=st.text(max_size=200) | st.lists(VALUE, max_size=8).map("\n".join))
@example(text="a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{chr(98 + n)}: &{chr(98 + n)} [{', '.join(['*' + chr(97 + n)] * 9)}]\n" for n in range(9)))  # fmt: skip
@example(text="set: s\n" * 3)
@example(text="rules:\n" + "".join(" " * n + "- \n" for n in range(400)))
def test_a_set_that_is_no_set_is_refused_with_places(text: str) -> None:
    assert problems("s", {"sets/s.yaml": text}) not in ([], [NOWHERE])
