"""When would a clock of a pack fall due? The answer without a case, day by day, with its source and its doubts.

The same `counting.due` that a case's clocks use, so an answer given here is the deadline that the engine would set.
"""

from collections.abc import Mapping

import msgspec

from cases import counting
from cases.counting import Day, Due
from feedback.instants import Instant
from rules.calendar import Calendar
from rules.length import Length
from rules.packs import Pack, PackClock


class NotInForce(ValueError):
    """The law that the clock stands on did not apply then. Whose turn: who asks."""


class Alternative(msgspec.Struct, frozen=True):
    """The deadline under another reading of ambiguous law."""

    why: str
    due: Due


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """A deadline and everything it rests on."""

    clock: PackClock
    length: Length
    start: Instant
    due: Due
    days: tuple[Day, ...]
    """Every local date from the start to the last; empty for a length in hours."""
    alternatives: tuple[Alternative, ...]
    notes: tuple[str, ...]


def ask(pack: Pack, clock: PackClock, start: Instant, calendar: Calendar, said: Mapping[str, str]) -> Answer:
    """When *clock* that began at *start* is due on *calendar*.

    *said* are the pack's settings. Raises ValueError (NotInForce, SettingMissing, CalendarEnded, a setting that the
    pack does not know) saying what to do.
    """
    settings = pack.settled(said)
    began = counting.local_date(start, calendar)
    notes = []
    if why := pack.in_force(clock, began):
        last = clock.force_to or pack.force_to
        if last is None or began <= last:
            raise NotInForce(why)
        notes.append(f"{why}; this is what it would have said")
    length = clock.reading.settle(settings, calendar.key)
    due = counting.due(length, start, calendar)
    days: tuple[Day, ...] = ()
    if due.last_day is not None:
        days = tuple(counting.days(length, start, calendar, due.last_day))
    if due.projected:
        notes.append("rests on a projected year of the calendar; a proclamation may still change it")
    return Answer(
        clock=clock,
        length=length,
        start=start,
        due=due,
        days=days,
        alternatives=tuple(_alternatives(clock, start, calendar, settings, due)),
        notes=tuple(notes),
    )


def _alternatives(
    clock: PackClock, start: Instant, calendar: Calendar, settings: Mapping[str, str], due: Due
) -> list[Alternative]:
    found: list[Alternative] = []
    for other in clock.other:
        if other.if_due_from is not None and (due.last_day is None or due.last_day < other.if_due_from):
            continue
        also = counting.due(other.reading.settle(settings, calendar.key), start, calendar)
        if also.at != due.at and all(also.at != a.due.at for a in found):
            found.append(Alternative(other.why, also))
    return found
