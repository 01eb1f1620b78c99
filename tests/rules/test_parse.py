"""Rule files: every problem of every file at once, each with its place, what was found and what was expected."""

from pathlib import Path

import pytest

from feedback.metrics import STANDARD
from flows.settings import CHECKOUT
from rules.parse import check, load_text
from rules.problems import Problem, RuleFileErrors

ROSTER = "roster: r\npeople: {ann: {name: Ann}}\nroles: {lead: {default: [ann]}}\n"
GOOD = """set: s
roster: r
attributes: {value: number}
rules:
  - id: one
    title: One
    when: {all: ['bands.nps == "detractor"']}
    case: {type: t, owner: lead}
"""


def problems(rules: str, roster: str = ROSTER) -> list[Problem]:
    with pytest.raises(RuleFileErrors) as caught:
        load_text({"sets/s.yaml": rules, "rosters/r.yaml": roster}, "s", STANDARD)
    return caught.value.problems


def test_a_good_set_loads() -> None:
    rules = load_text({"sets/s.yaml": GOOD, "rosters/r.yaml": ROSTER}, "s", STANDARD)
    assert [rule.id for rule in rules.rules] == ["one"]


@pytest.mark.parametrize(
    ("was", "now", "line", "found", "expected"),
    [
        ("bands.nps", "bands.npx", 7, "unknown name bands.npx", "did you mean bands.nps?"),
        ("title:", "titel:", 6, "unknown name 'titel'", "did you mean title?"),
        ("owner: lead", "owner: laed", 8, "the role laed", "did you mean lead?"),
        ("owner: lead", "owner: lead, priority: hihg", 8, "'hihg'", "did you mean high?"),
        ("owner: lead", "owner: lead, notice: nobody", 8, "no file templates/nobody.txt", "nothing here"),
        ("owner: lead", "owner: lead, acknowledge_within: soon", 8, "'soon'", "a span like 15m"),
        ("owner: lead", "owner: lead, clocks: {resolve: {within: 1h, warn: [2h before]}}", 8, "2h before", "within"),
        ("owner: lead", "owner: lead, clocks: {odd: {within: 1h}}", 8, "nothing meets", "met_by"),
        ("owner: lead", "owner: lead, clocks: {resolve: {warn: [50%]}}", 8, "no length", "within: 4h"),
        ('bands.nps == "detractor"', "scores.nps <", 7, "mismatched input", "a CEL expression"),
        ('bands.nps == "detractor"', "scores.nps", 7, "not true or false", "true or false"),
        ('bands.nps == "detractor"', 'scores.nps < "a"', 7, "No such overload", "true or false"),
        ('bands.nps == "detractor"', 'text.matches("a")', 7, "matches()", "patterns:"),
        ('bands.nps == "detractor"', 'launch("x")', 7, "the function launch()", "one of"),
        ('bands.nps == "detractor"', '"damp" in themes', 7, '"damp" in themes', "nothing here"),
        ('bands.nps == "detractor"', "(" * 40 + "true" + ")" * 40, 7, "40 deep", "at most 32"),
        ('bands.nps == "detractor"', "true || " * 300 + "true", 7, "bytes", "at most 2048"),
        ("id: one", "id: one\n    id: two", 6, "id a second time", "each name once"),
        ("set: s", "set: z", 1, "z", "s, the name of the file"),
        ("roster: r", "roster: q", 2, "no file rosters/q.yaml", "one of r"),
    ],
)
def test_each_mistake_is_shown_with_its_place(was: str, now: str, line: int, found: str, expected: str) -> None:
    listed = problems(GOOD.replace(was, now, 1))
    assert any(
        p.file == "sets/s.yaml" and p.line == line and found in p.found and expected in p.expected for p in listed
    ), "\n".join(map(str, listed))


def test_all_problems_of_all_files_are_told_at_once() -> None:
    listed = problems(GOOD.replace("bands.nps", "bands.x").replace("title", "tite"), ROSTER.replace("[ann]", "[bob]"))
    assert {(p.file, p.line) for p in listed} >= {("sets/s.yaml", 6), ("sets/s.yaml", 7), ("rosters/r.yaml", 3)}


@pytest.mark.parametrize("text", ["", "just text", "a: [", "\tx: 1", "a: &a [1]\nb: *a", "- 1"])
def test_what_is_no_rule_file_is_a_problem_and_no_traceback(text: str) -> None:
    assert problems(text)


def test_two_rules_of_one_id_are_refused() -> None:
    rule = GOOD.split("rules:\n")[1]
    assert any("a second time" in p.found for p in problems(GOOD + rule))


def test_everything_shipped_is_clean() -> None:
    assert check(Path(CHECKOUT / "rules"), STANDARD) == []
