"""What a finding says, how much of it, and that its ids are its own."""

from collections.abc import Iterable

import pytest
from hypothesis import given

from feedback.instants import Instant
from rules.kinds import (
    MAX_LISTED,
    Change,
    Count,
    Dropped,
    Event,
    Finding,
    Kind,
    NewValue,
    Role,
    Sequence,
    Share,
    StoredStateError,
    Track,
    Window,
    WindowFact,
    pack,
    step,
    unpack,
)
from tests.rules.kinds.arrivals import START, Arrival, arrivals, fact, play, window

THREE = window(Count(count=3, within_s=100), stay_open_s=100)


def run(of: Window, came: Iterable[WindowFact]) -> tuple[Track | None, list[Event]]:
    track: Track | None = None
    events: list[Event] = []
    for one in came:
        track, found = step(of, track, one, one.received_at)
        events += found
    return track, events


def test_an_alert_names_its_responses_and_their_cases_and_further_ones_join() -> None:
    _, (first, second) = run(THREE, [fact(Arrival(n, n, n)) for n in range(4)])
    assert isinstance(first, Finding)
    assert isinstance(second, Finding)
    assert [ref.id for ref in first.refs] == ["0", "1", "2"]
    assert (first.cases, first.cases_total, first.count) == (("c-0", "c-1", "c-2"), 3, 3)
    assert (second.kind, second.cases, second.count, second.alert) == ("joined", ("c-3",), 4, first.alert)
    assert first.why == "3 responses within 1m 40s, of 3 that raise an alert"


def test_a_storm_is_named_in_part_and_counted_whole() -> None:
    many = window(Count(count=200, within_s=1000), late_s=1000)
    _, (first, *_) = run(many, [fact(Arrival(n, n, n)) for n in range(200)])
    assert isinstance(first, Finding)
    assert (len(first.refs), len(first.cases), first.cases_total, first.count) == (MAX_LISTED, MAX_LISTED, 200, 200)
    assert first.refs[-1].id == "199"


def test_a_response_without_a_case_is_named_all_the_same() -> None:
    _, (first,) = run(THREE, [fact(Arrival(n, n, n), case="") for n in range(3)])
    assert isinstance(first, Finding)
    assert (len(first.refs), first.cases, first.cases_total) == (3, (), 0)


def test_more_responses_than_are_remembered_are_reported() -> None:
    few = window(Count(count=3, within_s=100), max_ids=4)
    track, events = run(few, [fact(Arrival(n, n, n)) for n in range(10)])
    assert track is not None
    assert len(track.seen) == 4
    assert sum(e.count for e in events if isinstance(e, Dropped) and e.what == "ids") == 6


def test_more_values_than_are_remembered_are_reported_and_raise_nothing() -> None:
    of = window(NewValue(path="themes", learn_s=5), max_ids=3)
    _, events = run(of, [fact(Arrival(n, n, n, value=f"v{n}")) for n in (0, 1, 2, 10, 11)])
    assert [(e.what, e.count) for e in events if isinstance(e, Dropped)] == [("values", 1), ("values", 1)]
    assert not [e for e in events if isinstance(e, Finding)]


def test_a_response_from_the_future_does_not_close_the_windows_of_others() -> None:
    ahead = Arrival(1, 10_000, 1)
    _, events = run(THREE, [fact(ahead), fact(Arrival(2, 2, 2)), fact(Arrival(3, 3, 3))])
    assert [e.kind for e in events if isinstance(e, Finding)] == ["raised"]


@pytest.mark.parametrize(
    ("kind", "why"),
    [
        (Count(per_hour=108.0, within_s=100), "3 responses within 1m 40s: 108 an hour, of 108 that raise an alert"),
        (Share(share=0.5, at_least=3, last=10), "2 of 3 responses, the last: 67%, of 50% that raise an alert"),
        (Change(path="scores.nps", by=4.0, within_s=100), "scores.nps fell from 9 to 3 in 2s, by 4 or more"),
        (Sequence(within_s=100), "the one and 1s later the other, within 1m 40s"),
        (NewValue(path="themes", learn_s=1), "themes has 'heating', which it never had in 1s"),
    ],
)
def test_why_is_in_words(kind: Kind, why: str) -> None:
    came = [
        Arrival(0, 0, 0, Role.FIRST if isinstance(kind, Sequence) else Role.PART, "billing", 9.0),
        Arrival(1, 1, 1, Role.THEN if isinstance(kind, Sequence) else Role.COUNTS, "heating", 8.0),
        Arrival(2, 2, 2, Role.PART, "heating", 3.0),
    ]
    _, events = run(window(kind), [fact(arrival) for arrival in came])
    assert next(e.why for e in events if isinstance(e, Finding)) == why


@given(arrivals())
def test_no_two_findings_of_a_history_have_one_id(came: list[Arrival]) -> None:
    of = window(Count(count=2, within_s=5), stay_open_s=3)
    ids = [(e.alert, e.occurrence) for e in play(of, came, 2000) if isinstance(e, Finding)]
    assert len(ids) == len(set(ids))


def test_thresholds_may_change_under_a_window_that_goes_on() -> None:
    track, events = run(THREE, [fact(Arrival(n, n, n)) for n in range(2)])
    assert events == []
    two = window(Count(count=2, within_s=100), version="w")
    _, events = step(two, track, fact(Arrival(2, 2, 2)), Instant(START + 2))
    assert [(e.kind, e.count, e.version) for e in events if isinstance(e, Finding)] == [("raised", 3, "w")]


@pytest.mark.parametrize("body", [b"", b"\x02\x90", b"\x01nonsense", b"\x01"])
def test_memory_of_another_version_is_refused_by_name(body: bytes) -> None:
    with pytest.raises(StoredStateError, match="window state"):
        unpack(body)


def test_memory_of_version_1_can_be_read() -> None:
    track, _ = run(THREE, [fact(Arrival(n, n, n)) for n in range(3)])
    assert track is not None
    stored = bytes.fromhex(STORED_V1)
    assert unpack(stored) == track
    assert pack(track) == stored


STORED_V1 = (
    "019aa0a16bce6ab13b7d81a094ce6ab13b82ce6ab13b80ce6ab13b8203809397ce6ab13b80cf17cc182bf2957deca6636f75"
    "6e747393a170a173a130a3632d30a0cb000000000000000097ce6ab13b81cf16a93cd1fb80f119a6636f756e747393a170a1"
    "73a131a3632d31a0cb000000000000000097ce6ab13b82cf8ab2a3ac8fb08aaaa6636f756e747393a170a173a132a3632d32"
    "a0cb000000000000000090800000"
)
