"""Histories for windows: what arrives when, in what order, and the engine's answer to it."""

from typing import Any, NamedTuple

from hypothesis import strategies as st

from feedback.instants import Instant
from rules.kinds import Dropped, Event, Finding, Kind, Ref, Role, Track, Window, WindowFact, pack, step, unpack, wake

START = 1_790_000_000


class Arrival(NamedTuple):
    """One response as it is received: *at* is when, *occurred* what it says of itself; seconds since START."""

    at: int
    occurred: int
    id: int
    role: Role = Role.COUNTS
    value: str = ""
    score: float = 0.0


def window(kind: Kind, **fields: Any) -> Window:
    return Window(**{"rule": "r", "version": "v", "id": "s/r/0", "kind": kind, "late_s": 5, "stay_open_s": 7} | fields)


def fact(arrival: Arrival, key: str = "k", **fields: Any) -> WindowFact:
    whole: dict[str, Any] = {
        "rule": "r", "window": "s/r/0", "key": key, "ref": Ref("p", "s", str(arrival.id)), "role": arrival.role,
        "occurred_at": Instant(START + arrival.occurred), "received_at": Instant(START + arrival.at),
        "value": arrival.value, "score": arrival.score, "case": f"c-{arrival.id}",
    }  # fmt: skip
    return WindowFact(**whole | fields)


class Told(NamedTuple):
    """The part of a finding that a reference can say; seconds since START."""

    kind: str
    opened_at: int
    since: int
    until: int
    count: int
    value: str = ""


def told(events: list[Event]) -> list[Told]:
    return [
        Told(e.kind, e.opened_at - START, e.since - START, e.until - START, e.count, e.value)
        for e in events
        if isinstance(e, Finding)
    ]


def late(events: list[Event]) -> int:
    return sum(e.count for e in events if isinstance(e, Dropped) and e.what == "late")


def play(window: Window, arrivals: list[Arrival], end: int, wakes: bool = False, packed: bool = True) -> list[Event]:
    """All that is found. *wakes*: at every second from 0 to *end*; else only at the end."""
    track: Track | None = None
    events: list[Event] = []
    clock = 0
    for arrival in arrivals:
        while wakes and clock <= arrival.at:
            track, found = wake(window, track, Instant(START + clock))
            events += found
            clock += 1
        track, found = step(window, track, fact(arrival), Instant(START + arrival.at))
        events += found
        if packed and track is not None:
            track = unpack(pack(track))
    for later in range(clock, end + 1) if wakes else (end,):
        track, found = wake(window, track, Instant(START + later))
        events += found
    assert track is None or window.keep_s > end, "everything is forgotten in the end"
    return events


def arrivals(
    roles: tuple[Role, ...] = (Role.COUNTS,),
    values: tuple[str, ...] = ("",),
    scores: tuple[float, ...] = (0.0,),
    most: int = 30,
) -> st.SearchStrategy[list[Arrival]]:
    """Histories in order of receipt: late by up to 30 s, and about one in six said before, perhaps otherwise."""

    def put_together(drawn: list[tuple[int, int, Role, str, float, int]]) -> list[Arrival]:
        made: list[Arrival] = []
        clock = 0
        for pause, delay, role, value, score, again in drawn:
            clock += pause
            if again < 5 and again < len(made):
                old = made[-1 - again]
                made.append(old._replace(at=clock, role=role, score=score))
            else:
                made.append(Arrival(clock, max(0, clock - delay), len(made), role, value, score))
        return made

    one = st.tuples(
        st.sampled_from([0, 0, 1, 1, 2, 3, 5, 9, 25]),
        st.sampled_from([0, 0, 0, 1, 2, 4, 5, 6, 12, 30]),
        st.sampled_from(roles),
        st.sampled_from(values),
        st.sampled_from(scores),
        st.integers(0, 29),
    )
    return st.lists(one, max_size=most).map(put_together)
