"""What windows should find, worked out the slow way: after each arrival, from everything that ever came.

Nothing is forgotten, packed or kept sorted here, and windows are tried one by one. `Alarm` is the raising, joining
and ending; each kind says which windows hold.
"""

from collections.abc import Callable, Iterable
from typing import NamedTuple

from rules.kinds import Change, Count, NewValue, Role, Sequence, Share, Window
from tests.rules.kinds.arrivals import Arrival, Told


class Holds(NamedTuple):
    at: int
    members: list[Arrival]


class Alarm:
    """Raised after `open_after` judgements in a row, joined while open, ended by the watermark."""

    def __init__(self, window: Window) -> None:
        self.window = window
        self.told: list[Told] = []
        self.open: dict[str, list[int]] = {}
        self.row: dict[str, int] = {}

    def end_until(self, watermark: int) -> None:
        for value, (opened, since, last, total) in sorted(self.open.items(), key=lambda entry: (entry[1][2], entry[0])):
            until = last + self.window.stay_open_s
            if until <= watermark:
                del self.open[value]
                self.told.append(Told("ended", opened, since, until, total, value))

    def judge(self, holds: Holds | None, joins: Arrival | None, value: str = "") -> None:
        if value in self.open:
            alert = self.open[value]
            if holds:
                alert[2] = max(alert[2], holds.at)
            if joins:
                alert[3] += 1
                self.told.append(Told("joined", alert[0], alert[1], joins.occurred, alert[3], value))
            return
        self.row[value] = self.row.get(value, 0) + 1 if holds else 0
        if holds and self.row[value] >= self.window.open_after:
            since, count = holds.members[0].occurred, len(holds.members)
            self.open[value] = [holds.at, since, holds.at, count]
            self.told.append(Told("raised", holds.at, since, holds.at, count, value))
            self.row[value] = 0


def history(arrivals: Iterable[Arrival], window: Window) -> Iterable[tuple[int, Arrival]]:
    """(watermark, arrival), by turns."""
    watermark = -(10**9)
    for arrival in arrivals:
        watermark = max(watermark, arrival.at - window.late_s)
        yield watermark, arrival


def sliding(
    window: Window,
    within: int,
    arrivals: list[Arrival],
    judge: Callable[[Alarm, list[Arrival], Arrival, int], None],
    again: Callable[[Alarm, list[Arrival], Arrival, Arrival, int], None] | None = None,
) -> tuple[list[Told], int]:
    """(findings, late): each response that no open window can hold is late; *again* is told of one said again."""
    alarm, known, late = Alarm(window), [], 0
    for watermark, arrival in history(arrivals, window):
        alarm.end_until(watermark)
        if not any(watermark - within < other.occurred for other in known):
            alarm.row.clear()
        is_late = arrival.occurred <= watermark - within
        place = next((n for n, k in enumerate(known) if same(k, arrival)), None)
        if is_late:
            late += 1
        elif place is not None:
            if again is not None:
                was, known[place] = known[place], known[place]._replace(role=arrival.role, score=arrival.score)
                again(alarm, known, was, known[place], watermark)
        else:
            known.append(arrival)
            judge(alarm, known, arrival, watermark)
    alarm.end_until(10**9)
    return alarm.told, late


def same(one: Arrival, other: Arrival) -> bool:
    return one.id == other.id and (one.role == Role.FIRST) == (other.role == Role.FIRST)


def ordered(known: Iterable[Arrival]) -> list[Arrival]:
    return sorted(known, key=lambda k: k.occurred)


def inside(known: list[Arrival], end: int, within: int) -> list[Arrival]:
    return ordered(k for k in known if end - within < k.occurred <= end)


def count(window: Window, arrivals: list[Arrival]) -> tuple[list[Told], int]:
    kind = window.kind
    assert isinstance(kind, Count)

    def judge(alarm: Alarm, known: list[Arrival], new: Arrival, watermark: int) -> None:
        every_second = range(max(new.occurred, watermark), new.occurred + kind.within_s)
        end = max(every_second, key=lambda end: len(inside(known, end, kind.within_s)))
        members = inside(known, end, kind.within_s)
        enough = len(members) * 3600 >= kind.per_hour * kind.within_s if kind.per_hour else len(members) >= kind.count
        alarm.judge(Holds(end, members) if enough else None, new)

    return sliding(window, kind.within_s, arrivals, judge)


def share_holds(kind: Share, end: int, members: list[Arrival]) -> Holds | None:
    part = [m for m in members if m.role == Role.PART]
    reached = len(members) >= kind.at_least and len(part) >= kind.share * len(members)
    return Holds(end, part) if reached else None


def share_within(window: Window, arrivals: list[Arrival]) -> tuple[list[Told], int]:
    kind = window.kind
    assert isinstance(kind, Share)

    def newest(known: list[Arrival], new: Arrival, watermark: int) -> Holds | None:
        start = max(new.occurred, watermark)
        ends = {start} | {k.occurred for k in known if start < k.occurred < new.occurred + kind.within_s}
        found = [share_holds(kind, end, inside(known, end, kind.within_s)) for end in sorted(ends)]
        return (
            next((holds for holds in reversed(found) if holds), None) if start < new.occurred + kind.within_s else None
        )

    def judge(alarm: Alarm, known: list[Arrival], new: Arrival, watermark: int) -> None:
        alarm.judge(newest(known, new, watermark), new if new.role == Role.PART else None)

    def again(alarm: Alarm, known: list[Arrival], was: Arrival, now: Arrival, watermark: int) -> None:
        if was.role != now.role:
            alarm.judge(newest(known, now, watermark), now if now.role == Role.PART else None)

    return sliding(window, kind.within_s, arrivals, judge, again)


def share_last(window: Window, arrivals: list[Arrival], order: Callable[[Arrival], int]) -> tuple[list[Told], int]:
    """*order* tells apart what is of the same second."""
    kind = window.kind
    assert isinstance(kind, Share)
    alarm, known, late = Alarm(window), [], 0
    for watermark, arrival in history(arrivals, window):
        alarm.end_until(watermark)
        place = next((n for n, k in enumerate(known) if same(k, arrival)), None)
        if place is None:
            known.append(arrival)
            new, was = arrival, None
        else:
            was = known[place].role
            new = known[place] = known[place]._replace(role=arrival.role)
        line = sorted(known, key=lambda k: (k.occurred, order(k)))
        open_ends = [n for n, k in enumerate(line) if k.occurred >= watermark or n == len(line) - 1]
        mine = line.index(new)
        windows = [(n, line[max(0, n + 1 - kind.last) : n + 1]) for n in open_ends if mine <= n < mine + kind.last]
        if mine < min(open_ends) + 1 - kind.last:
            late += 1
            continue
        if new.role == was:
            continue
        found = [share_holds(kind, max(line[n].occurred, watermark), members) for n, members in windows]
        alarm.judge(next((holds for holds in reversed(found) if holds), None), new if new.role == Role.PART else None)
    alarm.end_until(10**9)
    return alarm.told, late


def change(window: Window, arrivals: list[Arrival]) -> tuple[list[Told], int]:
    kind = window.kind
    assert isinstance(kind, Change)

    def deepest(known: list[Arrival], new: Arrival, watermark: int) -> Holds | None:
        pairs = [
            (a.score - b.score, (a, b))
            for a in ordered(known)
            for b in ordered(known)
            if a.occurred < b.occurred < a.occurred + kind.within_s and new in (a, b)
            if a.occurred + kind.within_s > watermark
        ]
        fall, pair = max(pairs, key=lambda p: p[0], default=(0.0, None))
        return Holds(max(watermark, pair[1].occurred), list(pair)) if pair and fall >= kind.by else None

    def judge(alarm: Alarm, known: list[Arrival], new: Arrival, watermark: int) -> None:
        holds = deepest(known, new, watermark)
        alarm.judge(holds, new if holds else None)

    def again(alarm: Alarm, known: list[Arrival], was: Arrival, now: Arrival, watermark: int) -> None:
        if was.score != now.score or was.role != now.role:
            alarm.judge(deepest(known, now, watermark), None)

    return sliding(window, kind.within_s, arrivals, judge, again)


def then(window: Window, arrivals: list[Arrival]) -> tuple[list[Told], int]:
    kind = window.kind
    assert isinstance(kind, Sequence)

    def judge(alarm: Alarm, known: list[Arrival], new: Arrival, watermark: int) -> None:
        pairs = [
            (b.occurred - a.occurred, (a, b))
            for a in known
            for b in known
            if (a.role, b.role) == (Role.FIRST, Role.THEN) and a.id != b.id and new in (a, b)
            if a.occurred <= b.occurred < a.occurred + kind.within_s and a.occurred + kind.within_s > watermark
        ]
        if pairs:
            _, (a, b) = min(pairs, key=lambda p: p[0])
            alarm.judge(Holds(max(watermark, b.occurred), [a, b]), new)

    return sliding(window, kind.within_s, arrivals, judge)


def without(window: Window, arrivals: list[Arrival], order: Callable[[Arrival], int], end: int) -> list[Told]:
    """Second by second: each a, once the watermark is past its time, with all that came by then."""
    kind = window.kind
    assert isinstance(kind, Sequence)
    alarm, known, watermark = Alarm(window), [], -(10**9)
    left = list(arrivals)
    for clock in range(end + 1):
        here = [a for a in left if a.at == clock]
        left = [a for a in left if a.at > clock]
        for new in [None, *here]:
            before, watermark = watermark, max(watermark, clock - window.late_s)
            ripe = [a for a in known if a.role == Role.FIRST and before < a.occurred + kind.within_s <= watermark]
            for a in sorted(ripe, key=lambda a: (a.occurred, order(a))):
                alarm.end_until(a.occurred + kind.within_s)
                answered = any(
                    b.role == Role.THEN and b.id != a.id and a.occurred <= b.occurred < a.occurred + kind.within_s
                    for b in known
                )
                alarm.judge(None if answered else Holds(a.occurred + kind.within_s, [a]), None if answered else
                            a._replace(occurred=a.occurred))  # fmt: skip
            alarm.end_until(watermark)
            if not any(watermark - kind.within_s < k.occurred for k in known):
                alarm.row.clear()
            if new and new.occurred > watermark - kind.within_s and not any(same(k, new) for k in known):
                known.append(new)
    return alarm.told


def new_value(window: Window, arrivals: list[Arrival]) -> list[Told]:
    kind = window.kind
    assert isinstance(kind, NewValue)
    alarm, said, first = Alarm(window), [], None
    for watermark, arrival in history(arrivals, window):
        alarm.end_until(watermark)
        if (arrival.id, arrival.value) in [(s.id, s.value) for s in said]:
            continue
        first = arrival.occurred if first is None else first
        said.append(arrival)
        alike = [s for s in said if s.value == arrival.value]
        learnt = any(s.occurred < first + kind.learn_s for s in alike)
        if arrival.value in alarm.open:
            alarm.judge(None, arrival, arrival.value)
        elif not learnt and len(alike) == window.open_after:
            alarm.row[arrival.value] = window.open_after
            alarm.judge(Holds(max(watermark, arrival.occurred), ordered(alike)), arrival, arrival.value)
    alarm.end_until(10**9)
    return alarm.told
