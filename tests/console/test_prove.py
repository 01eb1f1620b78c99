"""The proving commands as a rule author types them."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.console.test_cli import tocsin

STORY = """
- title: A detractor is heard
  rules: contact-centre
  steps: [{response: {scores: {nps: SCORE}}, fires: instant-detractor}]
"""


def test_a_story_that_goes_as_written_is_quiet_and_one_that_does_not_exits_1(tmp_path: Path) -> None:
    (tmp_path / "good.yaml").write_text(STORY.replace("SCORE", "6"))
    (tmp_path / "bad.yaml").write_text(STORY.replace("SCORE", "7"))
    good = tocsin(tmp_path, "test", "good.yaml")
    assert (good.returncode, good.stdout) == (0, "")
    bad = tocsin(tmp_path, "test", "good.yaml", "bad.yaml")
    assert bad.returncode == 1
    assert bad.stdout.startswith("bad.yaml:4:11: A detractor is heard\n")
    assert '  ? instant-detractor: not true: bands.nps == "detractor" (bands.nps = passive)\n' in bad.stdout
    failures = json.loads(tocsin(tmp_path, "test", "bad.yaml", "--json").stdout)["failures"]
    assert [(f["file"], f["line"], f["step"]) for f in failures] == [("bad.yaml", 4, 1)]


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (("test", "nowhere.yaml"), 2, "nowhere.yaml does not exist"),
        (("test", "--rules", "."), 2, "no directory of rules"),
        (("test", "odd.yaml"), 1, "odd.yaml:1:3: error: found neither rules nor files"),
    ],
)
def test_a_mistake_says_what_to_do(tmp_path: Path, words: tuple[str, ...], code: int, told: str) -> None:
    (tmp_path / "odd.yaml").write_text("- {title: T, steps: []}\n")
    done = tocsin(tmp_path, *words)
    assert (done.returncode, told in done.stderr, "Traceback" in done.stderr) == (code, True, False), done.stderr


def explained(folder: Path, what: str) -> dict[str, Any]:
    done = tocsin(folder, "explain", what, "--json")
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def outcomes(found: dict[str, Any]) -> dict[str, str]:
    return {rule["rule"]: rule["outcome"] for rule in found["rules"]}


def test_a_response_that_was_heard_is_explained_with_whom_it_told_and_one_that_fired_nothing_too(
    tmp_path: Path,
) -> None:
    heard = [
        {"id": "1", "customer": "c1", "language": "en", "scores": {"nps": 2}, "text": "Nobody rang back."},
        {"id": "2", "customer": "c2", "language": "en", "scores": {"nps": 7}, "text": "Fine."},
    ]
    (tmp_path / "in.jsonl").write_text("".join(json.dumps(one) + "\n" for one in heard))
    (tmp_path / "one.json").write_text(json.dumps(heard[0]))
    assert tocsin(tmp_path, "run", "--input", "in.jsonl").returncode == 0
    first, second, file = (explained(tmp_path, what) for what in ("1", "2", "one.json"))
    assert outcomes(first) == outcomes(file)
    assert [rule for rule, outcome in outcomes(first).items() if outcome == "fired"] == ["instant-detractor"]
    (case,) = first["cases"]
    assert [told["type"] for told in case["told"]] == [
        "case.opened", "case.assigned", "customer.acknowledged", "notice.sent",
    ]  # fmt: skip
    assert case["told"][-1]["email"].endswith("@contact.example")
    assert (second["cases"], file["cases"]) == ([], [])
    assert second["response"]["source"] == "in.jsonl"
    assert "fired" not in outcomes(second).values()
    unknown = tocsin(tmp_path, "explain", "3")
    assert (unknown.returncode, "heard a response of that id" in unknown.stderr) == (1, True)


def test_a_response_that_the_engine_would_reject_is_said_to_be(tmp_path: Path) -> None:
    (tmp_path / "bad.json").write_text('{"id": "1", "scores": {"nps": 11}}')
    done = tocsin(tmp_path, "explain", "bad.json")
    assert (done.returncode, "score_out_of_range" in done.stderr) == (1, True)
