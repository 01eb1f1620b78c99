"""Replay counts what the engine says, and tells what a change of rules would have changed."""

import msgspec

from feedback.ids import case_id, shard_of
from feedback.metrics import STANDARD
from feedback.records import Envelope
from flows.books import Book
from flows.replay import Replayed, replay
from rules.parse import load_text
from tests.flows.story import RULES, SHARDS, START, action, response


def book(**changes: str) -> Book:
    texts = dict(RULES)
    for before, after in changes.items():
        text = texts["sets/story.yaml"]
        assert WORDS[before] in text
        texts["sets/story.yaml"] = text.replace(WORDS[before], after)
    return Book("story", {"default": load_text(texts, "story", STANDARD)}, STANDARD)


WORDS = {"when": 'bands.nps == "detractor"', "update": "        update: {every: 4m}\n"}


def case(number: int) -> str:
    shard = shard_of("default", f"c{number}", SHARDS)
    return case_id(shard, "default", f"c{number}", "detractor", "", "story", str(number))


def history() -> list[Envelope]:
    return [
        response(1, 0, nps=2),
        response(2, 60, nps=6),
        action(3, 90, case(1), "contact", "ann"),
        response(4, 100, nps=1, customer="c1"),
        response(5, 200, nps=9),
        response(6, 300, nps=11),
        action(7, 330, case(1), "invalidate", "ann", reason="a test"),
        response(8, 600, nps=9, text="late"),
    ]


def replayed(rules: Book, compare: Book | None = None) -> Replayed:
    found = replay(history(), rules, STANDARD, shards=SHARDS, compare=compare)
    assert found is not None
    return found


def test_what_is_said_is_counted_by_rule_owner_and_day() -> None:
    tally = replayed(book(update="")).a
    assert {rule: dict(counts) for rule, counts in tally.rules.items()} == {
        # The second case: taken over twice for want of an acknowledgement, no first response, idle.
        "detractor": {"opened": 2, "joined": 1, "breaches": 5},
        "late": {"opened": 1},
    }
    assert tally.owners["ann"]["cases"] == 3
    assert tally.clocks == {"acknowledge": 3, "first_response": 1, "idle": 1}
    missing = {"owner.missing: lead": 1, "owner.missing: duty": 1}
    assert tally.problems == {"response.rejected: score_out_of_range": 1, **missing}
    assert list(tally.days) == ["2026-11-02"]
    assert (tally.days["2026-11-02"]["opened"], tally.totals["breaches"]) == (3, 5)


def test_the_same_rules_change_nothing() -> None:
    found = replayed(book(), book())
    assert found.b is not None
    assert found.a.plain() == found.b.plain()
    assert [(c.only_a, c.only_b) for c in found.changes.values()] == [(0, 0), (0, 0)]


def test_a_change_is_told_by_rule_with_a_response_and_the_reason() -> None:
    found = replayed(book(), book(when="scores.nps <= 4"))
    assert {rule: (c.only_a, c.only_b, c.both) for rule, c in found.changes.items()} == {
        "detractor": (1, 0, 1),
        "late": (0, 0, 1),
    }
    (sample,) = found.changes["detractor"].samples_a
    assert msgspec.to_builtins(sample) == {
        "source": "story",
        "id": "2",
        "at": "2026-11-02T09:01:00Z",
        "why": 'bands.nps == "detractor" (bands.nps = detractor)',
        "why_not": "scores.nps <= 4 (scores.nps = 6)",
    }


def test_an_end_lets_time_pass_and_no_record_is_no_answer() -> None:
    until = START + 86_400
    found = replay(history()[:1], book(update=""), STANDARD, shards=SHARDS, until=until)  # type: ignore[arg-type]
    assert found is not None
    assert (found.ended_at, found.open_cases, found.a.clocks["resolve"]) == (until, 1, 1)
    assert replay([], book(), STANDARD, shards=SHARDS) is None
