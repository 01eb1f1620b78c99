"""The ledger of a clock: every stretch of its life, counted or not, and why; it sums to the time used and left.

Read from the clock's own events, so a regulator's copy of the log is enough. It counts by walking the stretches one
after the other, while the engine moves deadlines (`clocks.py`, `counting.py`): two computations of one thing, which
a property test holds against each other.
"""

from collections.abc import Iterable, Mapping
from datetime import date
from enum import StrEnum
from typing import Any

import msgspec

from cases import counting
from feedback.instants import Instant, parse_instant, span_text
from rules.calendar import Calendar
from rules.length import Length, Unit

_WHOLE_DAYS = (Unit.DAYS, Unit.WORKING_DAYS, Unit.MONTHS)


class Kind(StrEnum):
    """What changes how a clock counts."""

    PAUSED = "paused"
    RESUMED = "resumed"
    EXTENDED = "extended"
    STOPPED = "stopped"
    RESTORED = "restored"


class Change(msgspec.Struct, frozen=True):
    kind: Kind
    at: Instant
    why: str = ""
    due_at: Instant = Instant(0)
    """The deadline after it; for an extension and a resumption."""


class History(msgspec.Struct, kw_only=True):
    """One clock from its arming on, as its events tell."""

    name: str
    occurrence: int
    issue: str
    law: str
    length: Length
    started_at: Instant
    due_at: Instant
    first_due_at: Instant
    """Before any change."""
    outcome: str = "running"
    late: bool = False
    changes: list[Change] = []


class Span(msgspec.Struct, frozen=True):
    """A stretch of time, [begins, ends)."""

    begins: Instant
    ends: Instant
    counted: int
    """Seconds, or days of a clock of whole days; 0 when it did not count."""
    why: str


class Ledger(msgspec.Struct, frozen=True, kw_only=True):
    """A clock's account at one instant."""

    spans: tuple[Span, ...]
    total: int
    """What it promised, with what it was given since; seconds or days."""
    used: int
    left: int
    """Negative when it is late."""
    unit: str
    """`seconds` or `days`."""

    def words(self, amount: int) -> str:
        """*amount* of its unit, for a person."""
        if self.unit == "seconds":
            return span_text(amount)
        return f"{amount} day" if abs(amount) == 1 else f"{amount} days"


def account(history: History, calendar: Calendar | None, until: Instant) -> Ledger:
    """The account of *history* up to *until*, or to when the clock stopped."""
    stretches = _stretches(history, until)
    if history.length.unit in _WHOLE_DAYS:
        assert calendar is not None
        return _whole_days(history, stretches, calendar)
    spans: list[Span] = []
    for stretch in stretches:
        if stretch.counted == 0 or history.length.unit is Unit.SECONDS or calendar is None:
            spans.append(stretch)
        else:
            spans += _hours(stretch, calendar)
    used = sum(span.counted for span in spans)
    total = history.length.n + sum(_added_seconds(history, calendar))
    return Ledger(spans=tuple(spans), total=total, used=used, left=total - used, unit="seconds")


def _stretches(history: History, until: Instant) -> list[Span]:
    """Running and standing still by turns; a running one counts all its seconds for now."""
    spans: list[Span] = []
    at, why = history.started_at, ""
    for change in history.changes:
        when = Instant(min(max(change.at, at), until))
        if change.kind in (Kind.PAUSED, Kind.STOPPED) and not why:
            spans.append(Span(at, when, when - at, "running"))
            at, why = when, change.why or change.kind.value
        elif change.kind in (Kind.RESUMED, Kind.RESTORED) and why:
            spans.append(Span(at, when, 0, why))
            at, why = when, ""
        elif change.kind is Kind.STOPPED:  # stopped while it stood still
            spans.append(Span(at, when, 0, why))
            at, why = when, change.why or "stopped"
    stopped = bool(history.changes) and history.changes[-1].kind is Kind.STOPPED
    if not stopped and until > at:
        spans.append(Span(at, until, 0 if why else until - at, why or "running"))
    return [span for span in spans if span.ends > span.begins]


def _hours(stretch: Span, calendar: Calendar) -> list[Span]:
    """A running stretch on a calendar's hours: those that counted, and why the others did not."""
    spans: list[Span] = []
    at = stretch.begins
    first, last = (counting.local_date(t, calendar).toordinal() for t in (stretch.begins, stretch.ends))
    for day in range(first, last + 1):
        closed = calendar.why_closed(day)
        for opens, closes in counting.open_spans(day, calendar):
            begins, ends = Instant(max(opens, at)), Instant(min(closes, stretch.ends))
            if begins >= ends:
                continue
            if begins > at:
                spans.append(Span(at, begins, 0, "outside hours"))
            spans.append(Span(begins, ends, ends - begins, "within hours"))
            at = ends
        midnight = Instant(min(counting.midnight(day + 1, calendar), stretch.ends))
        if midnight > at:
            spans.append(Span(at, midnight, 0, closed or "outside hours"))
            at = midnight
    return spans


def _added_seconds(history: History, calendar: Calendar | None) -> Iterable[int]:
    due = history.first_due_at
    for change in history.changes:
        if change.kind is Kind.EXTENDED:
            if history.length.unit is Unit.SECONDS or calendar is None:
                yield change.due_at - due
            else:
                yield counting.working_seconds(due, change.due_at, calendar)
        if change.due_at:
            due = change.due_at


def _whole_days(history: History, stretches: list[Span], calendar: Calendar) -> Ledger:
    """Each local date once: a day on which the clock ran at all counts, one that it stood still throughout does not."""
    length = history.length
    if not stretches:
        return Ledger(spans=(), total=length.n, used=0, left=length.n, unit="days")
    until = stretches[-1].ends
    zero = counting.day_zero(length, history.started_at, calendar)
    first = counting.local_date(history.started_at, calendar).toordinal()
    last = counting.local_date(Instant(until - 1), calendar).toordinal()
    total = _days_promised(history, zero, calendar)
    standing = _standing_days(stretches, calendar)
    given_back = _moved(history, zero, total, standing, calendar)
    spans: list[Span] = []
    used = 0
    for day in range(first, last + 1):
        begins = Instant(max(counting.midnight(day, calendar), history.started_at))
        ends = Instant(min(counting.midnight(day + 1, calendar), until))
        if day < zero:
            why, counted = calendar.why_closed(day) or "received after the hour", 0
        elif day == zero and not length.same_day:
            why, counted = "day zero", 0
        elif length.unit is Unit.WORKING_DAYS and (closed := calendar.why_closed(day)):
            why, counted = closed, 0
        elif day in standing:
            why, counted = standing[day], 0
        elif day in given_back:
            why, counted = f"paused on it; given back on {date.fromordinal(given_back[day])}", 0
        else:
            used += 1
            why, counted = f"day {used}", 1
        spans.append(Span(begins, ends, counted, why))
    return Ledger(spans=tuple(spans), total=total, used=used, left=total - used, unit="days")


def _days_promised(history: History, zero: int, calendar: Calendar) -> int:
    """How many days it counts in all; of months, those that they hold."""
    length = history.length
    total = length.n
    if length.unit is not Unit.WORKING_DAYS or length.rolls:
        last = counting.last_day(length, history.first_due_at, calendar)
        start = zero if length.same_day else zero + 1
        total = sum(1 for day in range(start, last + 1) if counting.counts(length, day, calendar))
    due = history.first_due_at
    for change in history.changes:
        if change.kind is Kind.EXTENDED:
            before, after = (counting.last_day(length, at, calendar) for at in (due, change.due_at))
            total += sum(1 for day in range(before + 1, after + 1) if counting.counts(length, day, calendar))
        if change.due_at:
            due = change.due_at
    return total


def _standing_days(stretches: list[Span], calendar: Calendar) -> dict[int, str]:
    """Days on which the clock did not run at all, and why."""
    standing: dict[int, str] = {}
    for stretch in stretches:
        if stretch.counted == 0:
            first, last = (counting.local_date(t, calendar).toordinal() for t in (stretch.begins, stretch.ends))
            standing |= dict.fromkeys(range(first + 1, last), stretch.why)
    return standing


def _moved(history: History, zero: int, total: int, standing: Mapping[int, str], calendar: Calendar) -> dict[int, int]:
    """Days whose rest is given on a later one, because the clock was paused on its last day."""
    length = history.length
    moved: dict[int, int] = {}
    pause: Instant | None = None
    due = history.first_due_at
    for change in history.changes:
        if change.kind in (Kind.PAUSED, Kind.STOPPED):
            pause = change.at if pause is None else pause
        elif change.kind in (Kind.RESUMED, Kind.RESTORED) and pause is not None:
            paused_on, today = (counting.local_date(t, calendar).toordinal() for t in (pause, change.at))
            if change.due_at and paused_on < today:
                ran = [
                    day
                    for day in range(zero if length.same_day else zero + 1, paused_on + 1)
                    if counting.counts(length, day, calendar) and day not in standing and day not in moved
                ]
                new_last = counting.last_day(length, change.due_at, calendar)
                old_last = counting.last_day(length, due, calendar)
                # The engine gave more than the days stood still: the day of the pause itself is given back.
                lost = sum(1 for d in range(paused_on + 1, today) if counting.counts(length, d, calendar))
                plain = old_last if not lost else counting.add_days(old_last, lost, length, calendar)
                if new_last > plain and ran and old_last == ran[-1]:
                    moved[ran[-1]] = new_last
            pause = None
        if change.due_at:
            due = change.due_at
    return moved


# -- from the log ------------------------------------------------------------------------------------------------


def histories(log: Iterable[Mapping[str, Any]], now: Iterable[Mapping[str, Any]] = ()) -> list[History]:
    """Every clock of a case's *log* (CloudEvents in order), oldest first. *now* are the clocks of its record.

    A clock that any activity starts over does so without an event; it is met again where it next says something,
    or in the record.
    """
    found: dict[tuple[str, int], History] = {}
    for event in log:
        kind = str(event["type"]).removeprefix("tocsin.")
        if not kind.startswith("clock."):
            continue
        data, at = event["data"], parse_instant(event["time"])
        key = (str(data["clock"]), int(data["occurrence"]))
        if kind == "clock.armed":
            found[key] = _armed(data, at, found)
        elif key in found or _started_over(found, key, data):
            _changed(found[key], kind, data, at)
    for clock in now:
        key = (str(clock["name"]), int(clock["occurrence"]))
        if key not in found:
            _started_over(found, key, clock)
    return list(found.values())


def _started_over(found: dict[tuple[str, int], History], key: tuple[str, int], data: Mapping[str, Any]) -> bool:
    """Begin a history for an occurrence that was never armed in so many words; whether there was one to go by."""
    before = max((h for h in found.values() if h.name == key[0]), key=lambda h: h.occurrence, default=None)
    if before is None:
        return False
    started_at, due_at = parse_instant(data["started_at"]), parse_instant(data["due_at"])
    if before.outcome in ("running", "breached", "paused"):
        before.changes = [*before.changes, Change(Kind.STOPPED, started_at, "started over by an activity")]
        before.outcome = "started over"
    found[key] = msgspec.structs.replace(
        before,
        occurrence=key[1],
        started_at=started_at,
        due_at=due_at,
        first_due_at=due_at,
        outcome="running",
        late=False,
        changes=[],
    )
    return True


def _armed(data: Mapping[str, Any], at: Instant, known: Mapping[tuple[str, int], History]) -> History:
    due_at = parse_instant(data["due_at"])
    before = known.get((str(data["clock"]), int(data.get("restored_from", 0))))
    if before is not None:
        changes = before.changes
        if due_at == before.due_at and changes and changes[-1].kind is Kind.STOPPED:
            changes = changes[:-1]  # its deadline stood: the time in between counted like any other
        else:
            changes = [*changes, Change(Kind.RESTORED, at, "reopened", due_at)]
        return msgspec.structs.replace(
            before,
            occurrence=int(data["occurrence"]),
            due_at=due_at,
            outcome="running",
            changes=changes,
        )
    return History(
        name=str(data["clock"]),
        occurrence=int(data["occurrence"]),
        issue=str(data.get("issue", "")),
        law=str(data.get("law", "")),
        length=_length(data["counting"]),
        started_at=parse_instant(data["started_at"]),
        due_at=due_at,
        first_due_at=due_at,
    )


def _length(counting_: Mapping[str, Any]) -> Length:
    return Length(**{**counting_, "unit": Unit(counting_["unit"])})


def _changed(history: History, kind: str, data: Mapping[str, Any], at: Instant) -> None:
    due_at = parse_instant(data["due_at"])
    by, why = str(data.get("by", "")), str(data.get("reason", ""))
    if kind == "clock.paused":
        history.changes = [*history.changes, Change(Kind.PAUSED, at, f"paused by {by}: {why}")]
        history.outcome = "paused"
    elif kind == "clock.resumed":
        history.changes = [*history.changes, Change(Kind.RESUMED, at, "", due_at)]
        history.outcome = "running"
    elif kind == "clock.extended":
        history.changes = [*history.changes, Change(Kind.EXTENDED, at, f"extended by {by}: {why}", due_at)]
    elif kind in ("clock.met", "clock.ended"):
        word = "met" if kind == "clock.met" else "ended"
        history.changes = [*history.changes, Change(Kind.STOPPED, at, why or word)]
        history.outcome = word
        history.late = at >= due_at
    elif kind == "clock.breached":
        history.outcome, history.late = "breached", True
    elif kind == "clock.corrected":
        history.late = False
    history.due_at = due_at
