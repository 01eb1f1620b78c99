"""Silence is told when it is longer than allowed, or than is usual, and only then."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from feedback.instants import Instant
from rules.kinds import Absence, Finding, Track, Window, pack, step, unpack, wake, wake_at
from tests.rules.kinds.arrivals import START, Arrival, arrivals, fact, play, told, window

DAY = 86_400
FIXED = window(Absence(longer_than_s=10), late_s=5, keep_s=1000)
USUAL = window(Absence(times=2.0, history=3, gaps=5), late_s=5, keep_s=1000)


def steady(every: int, times: int) -> list[Arrival]:
    return [Arrival(n * every, n * every, n) for n in range(times)]


def live(of: Window, came: list[Arrival], end: int) -> list[tuple[str, int]]:
    return [(t.kind, t.until) for t in told(play(of, came, end, wakes=True))]


def test_a_silence_is_told_once_its_length_is_allowed_no_more() -> None:
    assert live(FIXED, steady(9, 4), 60) == [("raised", 27 + 10)]


def test_it_ends_with_the_next_response() -> None:
    assert live(FIXED, [*steady(9, 2), Arrival(40, 40, 9)], 45) == [("raised", 19), ("ended", 40)]


def test_one_who_is_late_within_the_bound_proves_it_wrong_in_time() -> None:
    assert live(FIXED, [Arrival(0, 0, 1), Arrival(14, 9, 2)], 20) == []


def test_longer_than_usual_is_by_the_longest_silence_so_far() -> None:
    assert live(USUAL, steady(7, 4), 60) == [("raised", 21 + 14)]


def test_without_a_history_nothing_is_usual() -> None:
    assert live(USUAL, steady(7, 3), 500) == []


def test_a_silence_that_was_told_does_not_become_usual() -> None:
    came = [*steady(7, 4), Arrival(60, 60, 8), Arrival(61, 61, 9)]
    assert live(USUAL, came, 90) == [("raised", 35), ("ended", 60), ("raised", 61 + 14)]


def test_what_stays_silent_is_given_up() -> None:
    assert live(FIXED, steady(9, 1), 1200) == [("raised", 10), ("ended", 1000)]


def test_catching_up_raises_nothing_and_the_first_wake_after_it_does() -> None:
    track: Track | None = None
    for arrival in steady(50, 3):
        track, events = step(FIXED, track, fact(arrival), Instant(START + 5000), catching_up=True)
        assert events == []
    assert wake(FIXED, track, Instant(START + 120), catching_up=True) == (track, [])
    assert wake_at(FIXED, track, catching_up=True) is None
    _, events = wake(FIXED, track, Instant(START + 120))
    assert [(e.kind, e.until) for e in events if isinstance(e, Finding)] == [("raised", START + 110)]


def test_it_is_woken_exactly_when_it_comes_true() -> None:
    track, _ = step(FIXED, None, fact(Arrival(0, 0, 1)), Instant(START))
    due = wake_at(FIXED, track)
    assert due == START + 10 + 5
    body = pack(track)
    assert wake(FIXED, unpack(body), Instant(due - 1))[1] == []
    assert len(wake(FIXED, unpack(body), due)[1]) == 1


def silences(came: list[Arrival], of: Window, end: int) -> list[tuple[str, int]]:
    """Second by second, from everything that ever came."""
    kind = of.kind
    assert isinstance(kind, Absence)
    heard: list[tuple[int, int]] = []  # (occurred, order), sorted
    taught: dict[tuple[int, int], bool] = {}
    alarm = False
    said: list[tuple[str, int]] = []
    watermark = -1

    def look(watermark: int) -> None:
        nonlocal alarm
        kept = heard[-kind.gaps - 1 :]
        gaps = [b[0] - a[0] for a, b in pairwise(kept) if taught[b]]
        allowed = kind.longer_than_s
        if not allowed:
            allowed = int(kind.times * max(gaps)) if len(gaps) >= kind.history and max(gaps) else 0
        if heard and not alarm and allowed and heard[-1][0] + allowed <= watermark:
            alarm = True
            said.append(("raised", heard[-1][0] + allowed))

    for clock in range(end + 1):
        watermark = max(watermark, clock - of.late_s)
        look(watermark)
        for arrival in [a for a in came if a.at == clock]:
            look(watermark)
            new = (arrival.occurred, fact(arrival).hash)
            if new in heard[-kind.gaps - 1 :] or (len(heard) > kind.gaps and new < heard[-kind.gaps - 1]):
                continue
            taught[new] = True
            if alarm and arrival.occurred > heard[-1][0]:
                alarm = taught[new] = False
                said.append(("ended", arrival.occurred))
            heard = sorted({*heard, new})
    return said


@given(arrivals(), st.sampled_from([Absence(longer_than_s=7), Absence(times=1.5, history=2, gaps=4)]))
def test_silences_are_those_of_the_whole_history(came: list[Arrival], kind: Absence) -> None:
    of = window(kind, late_s=4, keep_s=100_000)
    end = max((a.at for a in came), default=0) + 100
    assert live(of, came, end) == silences(came, of, end)
