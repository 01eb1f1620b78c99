"""The teller of stories: what it finds wrong, how it says so, and what it refuses to read."""

import re
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from feedback.instants import rfc3339
from feedback.metrics import STANDARD
from flows.scenario_file import START, Story, StoryReader, moment
from flows.scenarios import tell
from flows.settings import CHECKOUT
from rules.problems import RuleFileErrors

READER = StoryReader(CHECKOUT / "rules", STANDARD)


def stories(folder: Path, text: str) -> list[Story]:
    path = folder / "mine.yaml"
    path.write_text(text)
    return READER.read(path)


def diff(folder: Path, *steps: str) -> list[str]:
    text = "- title: T\n  rules: contact-centre\n  ignore: [notice.sent, clock.armed]\n  steps:\n"
    (story,) = stories(folder, text + "".join(f"    - {step}\n" for step in steps))
    failure = tell(story, dict(STANDARD)).failure
    return [] if failure is None else list(failure.diff)


DETRACTOR = "{response: {scores: {nps: 6}}, %s}"


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ("fires: instant-detractor", []),
        ("spares: call-back", []),
        ("expect: [case.opened, case.assigned, customer.acknowledged]", []),
        ("includes: [case.assigned]", []),
        ("cases: {$1: {priority: high, clocks: {resolve: {due_at: '2026-11-05T10:00:00+01:00'}}}}", []),
        ("fires: fraud", ["- the rule fraud fires", '? fraud: not true: "account/fraud" in themes (themes = none)']),
        (
            "spares: instant-detractor",
            ['+ the rule instant-detractor fires: bands.nps == "detractor" (bands.nps = detractor)'],
        ),
        ("cases: {$1: {priority: low}}", ["~ $1 priority: expected low, said high"]),
        ("cases: {$1: {colour: red}}", ["~ $1 colour: expected red, and nothing of that name was said"]),
        ("cases: {$2: {priority: low}}", ["- $2: no such case"]),
        (
            "expect: [{type: case.opened, priority: low}, case.assigned, customer.acknowledged, case.closed]",
            ["~ case.opened priority: expected low, said high", "- case.closed"],
        ),
    ],
)
def test_a_difference_is_told(tmp_path: Path, asked: str, found: list[str]) -> None:
    assert diff(tmp_path, DETRACTOR % asked) == found


def test_a_step_that_asks_nothing_expects_nothing(tmp_path: Path) -> None:
    lines = diff(tmp_path, "{response: {scores: {nps: 6}}}")
    assert [line.split()[1] for line in lines] == ["case.opened", "case.assigned", "customer.acknowledged"]


def test_a_case_that_did_not_open_says_of_every_rule_why(tmp_path: Path) -> None:
    lines = diff(tmp_path, "{response: {scores: {nps: 7}}, includes: [case.opened]}")
    assert lines[0] == "- case.opened"
    assert '? instant-detractor: not true: bands.nps == "detractor" (bands.nps = passive)' in lines
    assert len(lines) == 14


def test_a_response_that_cannot_be_read_fails_its_step(tmp_path: Path) -> None:
    lines = diff(tmp_path, "{response: {scores: {nps: 11}}, spares: fraud, fires: instant-detractor}")
    assert lines[1].startswith("? the response was rejected: score_out_of_range")


def test_an_action_on_a_case_that_is_not_there_fails_its_step(tmp_path: Path) -> None:
    lines = diff(tmp_path, "{action: {case: $1, do: note, by: ann}, expect: [action.refused]}")
    assert lines == ["? $1 names no case: 0 opened so far"]


def test_a_silence_that_did_not_begin_cannot_end(tmp_path: Path) -> None:
    lines = diff(tmp_path, "{silence: {end: s1}}")
    assert lines == ["? s1 names no silence: 0 begun so far, from s1"]


@pytest.mark.parametrize(
    ("text", "line", "column", "found"),
    [
        ("- {title: T, steps: []}", 1, 3, "neither rules nor files"),
        ("- {title: T, rules: nowhere, steps: []}", 1, 21, "no set 'nowhere'"),
        ("- title: T\n  rules: demo\n  steps:\n    - {fires: call-back}", 4, 15, "the rule 'call-back'"),
        ("- title: T\n  rules: demo\n  steps:\n    - {expect: [case.open]}", 4, 17, "the event 'case.open'"),
        ("- title: T\n  rules: demo\n  steps:\n    - {respons: {}}", 4, 8, "the unknown name 'respons'"),
        ("- title: T\n  rules: demo\n  steps:\n    - {response: {txt: x}}", 4, 19, "the unknown name 'txt'"),
        ("- title: T\n  rules: demo\n  steps:\n    - {at: 2h}\n    - {at: 1h}", 5, 12, "1h, before the step above it"),
        ("- title: T\n  rules: demo\n  steps:\n    - {at: noon}", 4, 12, "'noon'"),
        ("- title: T\n  rules: demo\n  steps:\n    - {silence: {by: eve}}", 4, 17, "neither for nor end"),
        ("- title: T\n  rules: demo\n  steps:\n    - {silence: {for: 2 bottles}}", 4, 23, "'2 bottles'"),
        ("- title: T\n  rules: demo\n  steps:\n    - {silence: {end: s1}, action: {}}", 4, 7, "action and silence"),
        ("- title: T\n  files: {sets/a.yaml: 'set: a'}\n  steps: []", 1, 1, "no roster"),
        ("- &a [*a]", 1, 1, "aliases that stand for more than 100000 things"),
    ],
)
def test_a_file_that_is_wrong_is_refused_at_its_place(
    tmp_path: Path, text: str, line: int, column: int, found: str
) -> None:
    with pytest.raises(RuleFileErrors) as refused:
        stories(tmp_path, text)
    problem = refused.value.problems[0]
    assert (problem.line, problem.column, problem.found[: len(found)]) == (line, column, found)


@pytest.mark.parametrize(
    ("text", "before", "at"),
    [
        ("0", "09:00", "2026-11-02T09:00:00Z"),
        ("90m", "09:00", "2026-11-02T10:30:00Z"),
        ("17:01", "09:00", "2026-11-02T17:01:00Z"),
        ("08:59", "09:00", "2026-11-03T08:59:00Z"),
        ("2026-07-01 09:00", "09:00", "2026-07-01T08:00:00Z"),
        ("2026-11-02T09:00:00+01:00", "09:00", "2026-11-02T08:00:00Z"),
    ],
)
def test_times_are_read_in_the_zone_of_the_set(text: str, before: str, at: str) -> None:
    assert rfc3339(moment(text, START, START, ZoneInfo("Europe/London"))) == at


def test_the_documented_story_goes_as_written(tmp_path: Path) -> None:
    page = (CHECKOUT / "docs" / "proving.md").read_text()
    (example,) = re.findall(r"<!-- scenario -->\n```yaml\n(.*?)```", page, re.DOTALL)
    (story,) = stories(tmp_path, example)
    assert tell(story, dict(STANDARD)).failure is None


def test_the_documented_diff_is_what_is_said(tmp_path: Path) -> None:
    page = (CHECKOUT / "docs" / "proving.md").read_text()
    step = "{response: {scores: {nps: 1}, attributes: {segment: silver}}, fires: detractor-of-value}"
    for line in diff(tmp_path, step):
        assert f"  {line}\n" in page
