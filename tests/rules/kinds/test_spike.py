"""A spike is told from what is usual at that hour of that weekday, by the clock on the wall."""

from datetime import UTC, datetime, timedelta
from statistics import median
from zoneinfo import ZoneInfo

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from feedback.instants import Instant, parse_instant
from rules.kinds import Dropped, Event, Finding, Ref, Spike, Track, Window, WindowFact, pack, step, unpack, wake

HOUR, DAY = 3600, 86_400
LONDON = ZoneInfo("Europe/London")
MONDAY = parse_instant("2026-09-28T00:00:00Z")
"""Four weeks before the clocks go back."""
SPIKE = Spike(within_s=HOUR, at_least=4, factor=2.0, z=2.0, weeks=4, learn_s=3 * DAY, zone="Europe/London")


def window(kind: Spike, **fields: object) -> Window:
    return Window(rule="r", version="v", id="w", kind=kind, late_s=600, stay_open_s=HOUR, **fields)  # type: ignore[arg-type]


PATIENT = structs.replace(SPIKE, learn_s=4 * 7 * DAY)


def fact(occurred: int, number: int, received: int = 0) -> WindowFact:
    at = Instant(occurred)
    received_at = Instant(received or occurred)
    return WindowFact(rule="r", window="w", ref=Ref("p", "s", str(number)), occurred_at=at, received_at=received_at)


def play(of: Window, came: list[tuple[int, int]], quiet: bool = False) -> tuple[Track | None, list[Event]]:
    """*came*: (received, occurred), in order of receipt."""
    track: Track | None = None
    events: list[Event] = []
    for number, (received, occurred) in enumerate(came):
        told = fact(occurred, number, received)
        track, found = step(of, track, told, Instant(received), catching_up=quiet)
        track = unpack(pack(track)) if track is not None else None
        events += found
    return track, events


def weekly(weeks: int, each: int, hour: int = 9) -> list[tuple[int, int]]:
    """*each* responses at *hour* in London on so many Mondays."""
    start = datetime(2026, 9, 28, hour, 5, tzinfo=LONDON)
    instants = [int((start + timedelta(weeks=week)).timestamp()) for week in range(weeks) for _ in range(each)]
    return [(at, at) for at in instants]


def raised(events: list[Event]) -> list[tuple[int, float | None]]:
    return [(e.count, e.baseline) for e in events if isinstance(e, Finding) and e.kind == "raised"]


def test_what_is_usual_on_mondays_at_nine_is_no_spike_across_the_change_of_clocks() -> None:
    _, events = play(window(PATIENT), weekly(9, 6))
    assert raised(events) == []


def test_the_same_number_at_three_at_night_is_one() -> None:
    night = weekly(6, 6) + [(at, at) for at in range(MONDAY + 36 * DAY + 3 * HOUR, MONDAY + 36 * DAY + 3 * HOUR + 6)]
    _, events = play(window(PATIENT), night)
    assert raised(events) == [(4, 0.0)]


def test_twice_what_is_usual_is_a_spike_once_it_is_that_many() -> None:
    usual = weekly(5, 6)
    busy = [(usual[-1][0] + 7 * DAY + n, usual[-1][0] + 7 * DAY + n) for n in range(20)]
    _, events = play(window(PATIENT), usual + busy)
    assert raised(events) == [(12, 6.0)]  # 2 x 6, which is over 6 + 2 sqrt(6) too


def test_nothing_is_raised_while_catching_up_but_it_is_learnt() -> None:
    usual = weekly(5, 6)
    busy = [(usual[-1][0] + 7 * DAY + n, usual[-1][0] + 7 * DAY + n) for n in range(20)]
    track, events = play(window(PATIENT), usual + busy, quiet=True)
    assert raised(events) == []
    assert track is not None
    assert max(track.counts.values()) == 20


def test_a_late_response_teaches_the_bucket_it_belongs_to() -> None:
    last = weekly(3, 4)[-1][0]
    track, events = play(window(SPIKE), [*weekly(3, 4), (last + 3 * HOUR, last)])
    assert track is not None
    assert track.counts[last // HOUR] == 5
    assert not [e for e in events if isinstance(e, Dropped)]


def test_a_quiet_key_is_forgotten() -> None:
    track, _ = play(window(SPIKE), weekly(2, 3))
    track, _ = wake(window(SPIKE), track, Instant(MONDAY + 80 * DAY))
    assert track is None


# -- against the whole history ---------------------------------------------------------------------------------


def usual_of(counts: dict[int, int], bucket: int, first: int) -> list[int]:
    """The like buckets before, found on the calendar of the wall, one by one."""
    middle = datetime.fromtimestamp(bucket * HOUR + HOUR // 2, UTC).astimezone(LONDON)
    for days, times in ((7, SPIKE.weeks), (1, 7)):
        found = []
        for n in range(1, times + 1):
            wall = (middle.replace(tzinfo=None) - timedelta(days=days * n)).replace(tzinfo=LONDON)
            place = int(wall.timestamp()) // HOUR
            if place > first:
                found.append(counts.get(place, 0))
        if len(found) >= 2:
            return found
    return []


def reference(came: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """(time received, count) of each judgement that found a spike, every bucket counted afresh from all that came."""
    known: list[int] = []
    found: list[tuple[int, int]] = []
    watermark = first_at = 0
    for received, occurred in came:
        watermark = max(watermark, received - 600)
        bucket = occurred // HOUR
        is_open = (bucket + 1) * HOUR > watermark
        if not is_open and (not known or bucket < first_at // HOUR):
            continue
        if not known or bucket < first_at // HOUR:
            first_at = occurred
        known.append(occurred)
        counts: dict[int, int] = {}
        for at in known:
            counts[at // HOUR] = counts.get(at // HOUR, 0) + 1
        count = counts[bucket]
        past = usual_of(counts, bucket, first_at // HOUR)
        if not is_open or count < SPIKE.at_least or occurred < first_at + SPIKE.learn_s or not past:
            continue
        usual = median(past)
        spread = max(1.0, usual**0.5, 1.4826 * median(abs(value - usual) for value in past))
        if count >= 2.0 * usual and count >= usual + 2.0 * spread:
            found.append((received, count))
    return found


bursts = st.tuples(
    st.sampled_from([HOUR // 2, HOUR, 5 * HOUR, DAY, DAY, DAY, 7 * DAY, 7 * DAY]),
    st.integers(1, 9),
    st.sampled_from([0, 0, 30, 1800, 3 * HOUR, 2 * DAY]),
)


@settings(max_examples=150)
@given(st.lists(bursts, max_size=14))
def test_spikes_are_those_of_the_whole_history(drawn: list[tuple[int, int, int]]) -> None:
    came = []
    clock = MONDAY + 9 * HOUR
    for pause, many, delay in drawn:
        clock += pause
        came += [(clock + n, clock + n - delay) for n in range(many)]
    if clock > MONDAY + 80 * DAY:
        return
    of = window(SPIKE)
    track: Track | None = None
    found = []
    for number, (received, occurred) in enumerate(came):
        track, events = step(of, track, fact(occurred, number, received), Instant(received))
        if track is not None:
            track.alerts.clear()  # so that each judgement raises anew
        found += [(received, e.count) for e in events if isinstance(e, Finding) and e.kind == "raised"]
    assert found == reference(came)
