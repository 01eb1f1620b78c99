"""Counting: when a length that began at some instant is used up, day by day, and why each day counts or not.

Pure arithmetic on instants and one calendar. Two rules hold everywhere: days and weeks are added to the local
*date* and only then made an instant, with the offset in force on that date; hours are elapsed, added in UTC.
Deadlines are half-open: the instant answered is the first that is late.
"""

from collections.abc import Iterator
from datetime import date, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

import msgspec

from feedback.instants import Instant
from rules.calendar import DAY_S, Calendar
from rules.length import Length, Unit


class Day(msgspec.Struct, frozen=True):
    """One local date and whether it counted."""

    day: date
    counted: bool
    why: str
    """`day 3`, `day zero`, `weekend`, `Good Friday` …"""


class Due(msgspec.Struct, frozen=True, kw_only=True):
    """A deadline and what it rests on."""

    at: Instant
    """The first instant that is late."""
    last_day: date | None = None
    """The local date whose end (or close of business) is the last moment in time; None for hours."""
    projected: bool = False
    """Whether a year of the calendar that it rests on is not proclaimed yet."""


def local_date(at: Instant, calendar: Calendar) -> date:
    """The local date of *at*: 23:30 UTC of a summer's day is already tomorrow in London."""
    return datetime.fromtimestamp(at, calendar.zone).date()


def midnight(day: int, calendar: Calendar, seconds: int = 0) -> Instant:
    """The instant of local time *seconds* past midnight on the day of that ordinal."""
    if seconds >= DAY_S:
        day, seconds = day + 1, seconds - DAY_S
    at = datetime.combine(date.fromordinal(day), datetime.min.time(), calendar.zone)
    return Instant(int((at + timedelta(seconds=seconds)).timestamp()))


def time_of(at: Instant, calendar: Calendar) -> int:
    """Local time of day of *at*, seconds from midnight on the wall's clock."""
    local = datetime.fromtimestamp(at, calendar.zone)
    return local.hour * 3600 + local.minute * 60 + local.second


# -- deadlines ---------------------------------------------------------------------------------------------------


def due(length: Length, start: Instant, calendar: Calendar | None) -> Due:
    """When *length* from *start* is used up. Raises CalendarEnded past the calendar's last year."""
    if length.unit is Unit.SECONDS:
        return Due(at=Instant(start + length.n))
    assert calendar is not None, f"{length.in_words} is counted on a calendar"
    if length.unit is Unit.WORKING_SECONDS:
        at = _add_working_seconds(start, length.n, calendar)
        first, last = (local_date(t, calendar).toordinal() for t in (start, at))
        return Due(at=at, projected=calendar.is_projected(first) or calendar.is_projected(last))
    first = day_zero(length, start, calendar)
    return _end_of(length, first, _last_day(length, first, calendar), calendar)


def _end_of(length: Length, first: int, last: int, calendar: Calendar) -> Due:
    if length.ends_s:
        at = Instant(midnight(last, calendar, length.ends_s) + 1)  # by 17:00 inclusive: 17:00:01 is late
    else:
        at = midnight(last + 1, calendar)
    return Due(
        at=at,
        last_day=date.fromordinal(last),
        projected=calendar.is_projected(first) or calendar.is_projected(last),
    )


def end_of_day(day: date, calendar: Calendar) -> Instant:
    """The first instant after a local date."""
    return midnight(day.toordinal() + 1, calendar)


def day_zero(length: Length, start: Instant, calendar: Calendar) -> int:
    """Ordinal of the local date on which it is taken to have begun (day one, for a length of `same_day`)."""
    day = local_date(start, calendar).toordinal()
    if length.cutoff_s and (calendar.why_closed(day) or time_of(start, calendar) > length.cutoff_s):
        day += 1
        while calendar.why_closed(day):
            day += 1
    return day


def _last_day(length: Length, zero: int, calendar: Calendar) -> int:
    if length.unit is Unit.WORKING_DAYS:
        last = add_working_days(zero - 1 if length.same_day else zero, length.n, calendar)
    elif length.unit is Unit.DAYS:
        last = zero + length.n - (1 if length.same_day else 0)
    else:
        last = _add_months(zero, length.n, length.same_day)
    calendar.why_closed(last)  # refuses a year it does not know, for every unit
    while (length.rolls == "working" and calendar.why_closed(last)) or (
        length.rolls == "bank" and calendar.is_bank_holiday(last)
    ):
        last += 1
    return last


def add_days(day: int, n: int, length: Length, calendar: Calendar) -> int:
    """The *n*th day after *day* of the kind that *length* counts."""
    return add_working_days(day, n, calendar) if length.unit is Unit.WORKING_DAYS else day + n


def add_working_days(day: int, n: int, calendar: Calendar) -> int:
    """The *n*th day after *day* that counts."""
    while n:
        day += 1
        if not calendar.why_closed(day):
            n -= 1
    return day


def _add_months(zero: int, n: int, same_day: bool) -> int:
    """The corresponding date, or the last day of a shorter month; a period that includes its first day ends before."""
    first = date.fromordinal(zero)
    year, month = divmod(first.year * 12 + first.month - 1 + n, 12)
    last_of_month = (date(year + (month + 1) // 12, (month + 1) % 12 + 1, 1) - timedelta(days=1)).day
    if first.day > last_of_month:
        return date(year, month + 1, last_of_month).toordinal()
    return date(year, month + 1, first.day).toordinal() - (1 if same_day else 0)


# -- hours of a calendar -----------------------------------------------------------------------------------------


def open_spans(day: int, calendar: Calendar) -> list[tuple[Instant, Instant]]:
    """The hours that count on the day of that ordinal, as instants; none on a day that does not count."""
    if calendar.why_closed(day):
        return []
    return [(midnight(day, calendar, a), midnight(day, calendar, b)) for a, b in calendar.hours[(day - 1) % 7]]


def _add_working_seconds(start: Instant, seconds: int, calendar: Calendar) -> Instant:
    """First instant at which *seconds* of open time have passed; on a boundary the end of the span that used them."""
    day = local_date(start, calendar).toordinal()
    while True:
        for opens, closes in open_spans(day, calendar):
            begins = max(opens, start)
            if begins < closes:
                if seconds <= closes - begins:
                    return Instant(begins + seconds)
                seconds -= closes - begins
        day += 1


def working_seconds(start: Instant, end: Instant, calendar: Calendar) -> int:
    """Open time between two instants."""
    total = 0
    for day in range(local_date(start, calendar).toordinal(), local_date(end, calendar).toordinal() + 1):
        for opens, closes in open_spans(day, calendar):
            total += max(0, min(closes, end) - max(opens, start))
    return total


# -- what a pause and an extension do ----------------------------------------------------------------------------


def resumed(length: Length, due_at: Instant, paused_at: Instant, at: Instant, calendar: Calendar | None) -> Instant:
    """The deadline of a clock that was due at *due_at*, stood still from *paused_at* and runs again from *at*.

    Days are whole: a day on which the clock ran at all is counted, and only those that it stood still throughout
    are given back. One that stood still over its last day has until the end of the day on which it runs again.
    """
    if length.unit is Unit.SECONDS:
        return Instant(at + due_at - paused_at)
    assert calendar is not None
    if length.unit is Unit.WORKING_SECONDS:
        return _add_working_seconds(at, working_seconds(paused_at, due_at, calendar), calendar)
    first, today = (local_date(t, calendar).toordinal() for t in (paused_at, at))
    lost = sum(1 for day in range(first + 1, today) if counts(length, day, calendar))
    last = last_day(length, due_at, calendar)
    if lost:
        last = last_day(length, later(length, due_at, lost, calendar), calendar)
    if last < today:
        last = today
        while not counts(length, last, calendar):
            last += 1
    return _end_of(length, last, last, calendar).at


def counts(length: Length, day: int, calendar: Calendar) -> bool:
    """Whether the day of that ordinal is one that a length of whole days counts."""
    return length.unit is not Unit.WORKING_DAYS or not calendar.why_closed(day)


def later(length: Length, due_at: Instant, n: int, calendar: Calendar) -> Instant:
    """A deadline of whole days moved on by *n* days of its own kind."""
    if n == 0:
        return due_at
    last = last_day(length, due_at, calendar)
    return _end_of(length, last, add_days(last, n, length, calendar), calendar).at


def last_day(length: Length, due_at: Instant, calendar: Calendar) -> int:
    """Ordinal of the last day in time of a deadline of whole days."""
    return local_date(Instant(due_at - 1), calendar).toordinal()


def furthest(length: Length, due_at: Instant, by: Length, calendar: Calendar | None) -> Instant:
    """*due_at* of a clock of *length*, put off by *by*."""
    if by.unit is Unit.SECONDS:
        return Instant(due_at + by.n)
    assert calendar is not None
    if by.unit is Unit.WORKING_SECONDS:
        return _add_working_seconds(due_at, by.n, calendar)
    last = last_day(length, due_at, calendar)
    zero_next = msgspec.structs.replace(by, same_day=False, cutoff_s=0, ends_s=length.ends_s)
    return _end_of(zero_next, last, _last_day(zero_next, last, calendar), calendar).at


def before(by: Length, due_at: Instant, calendar: Calendar, seconds: int) -> Instant:
    """The local time *seconds* past midnight, *by* days before the last day of a deadline."""
    day = local_date(Instant(due_at - 1), calendar).toordinal()
    if by.unit is not Unit.WORKING_DAYS:
        return midnight(day - by.n, calendar, seconds)
    n = by.n
    while n:
        day -= 1
        if not calendar.why_closed(day):
            n -= 1
    return midnight(day, calendar, seconds)


@lru_cache(maxsize=1024)  # what falls due together tells the same instants
def told(at: Instant, zone: str) -> str:
    """*at* for a person: `Tue 24 Nov 2026 09:00:00 GMT (Europe/London)`."""
    local = datetime.fromtimestamp(at, ZoneInfo(zone))
    return f"{local:%a} {local.day} {local:%b %Y %H:%M:%S %Z} ({zone})"


def last_moment(length: Length, due_at: Instant, calendar: Calendar) -> str:
    """The last moment in time of a deadline, for a person: `by the end of Tue 17 Nov 2026 (Europe/London)`."""
    if length.unit in (Unit.SECONDS, Unit.WORKING_SECONDS):
        return f"before {told(due_at, calendar.zone_name)}"
    last = date.fromordinal(last_day(length, due_at, calendar))
    day = f"{last:%a} {last.day} {last:%b %Y} ({calendar.zone_name})"
    return f"by {hour(length.ends_s)} inclusive on {day}" if length.ends_s else f"by the end of {day}"


def hour(seconds: int) -> str:
    """`17:00`."""
    return f"{seconds // 3600:02}:{seconds // 60 % 60:02}"


# -- day by day ----------------------------------------------------------------------------------------------------


def days(length: Length, start: Instant, calendar: Calendar, until: date) -> Iterator[Day]:
    """Every local date from the start to *until*, and why it counts or not. For lengths of whole days."""
    began = local_date(start, calendar).toordinal()
    zero = day_zero(length, start, calendar)
    n = 0
    for day in range(began, until.toordinal() + 1):
        here = date.fromordinal(day)
        if day < zero:
            why = calendar.why_closed(day) or "received after the hour, so on the next day that counts"
            yield Day(here, False, why)
        elif day == zero and not length.same_day:
            yield Day(here, False, "day zero")
        elif length.unit is Unit.WORKING_DAYS and (why := calendar.why_closed(day)):
            yield Day(here, False, why)
        else:
            n += 1
            yield Day(here, True, f"day {n}")
