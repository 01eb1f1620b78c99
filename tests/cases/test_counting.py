"""Counting, held against a second computation that shares nothing with it, and against dates worked by hand."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import holidays
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from cases import counting
from feedback.instants import Instant, parse_instant, rfc3339
from rules.freeze_holidays import NATIONS
from rules.length import Length, Unit, parse_length
from rules.shipped import law

_, CALENDARS = law()
LONDON = ZoneInfo("Europe/London")
HOLIDAYS = {n: holidays.country_holidays("GB", subdiv=s, years=range(2024, 2033)) for n, s in NATIONS.items()}

FIRST, LAST = (int(datetime(year, 1, 1, tzinfo=UTC).timestamp()) for year in (2025, 2031))
starts = st.integers(FIRST, LAST - 1).map(Instant)
nations = st.sampled_from(sorted(NATIONS))


def by_hand(start: Instant, n: int, nation: str) -> datetime:
    """The last moment of the nth working day after the local date of *start*, stepping the wall's clock by days."""
    day = datetime.fromtimestamp(start, LONDON).date()
    while n:
        day += timedelta(days=1)
        if day.weekday() < 5 and day not in HOLIDAYS[nation]:
            n -= 1
    return datetime(day.year, day.month, day.day, 23, 59, 59, tzinfo=LONDON)


@given(start=starts, n=st.integers(1, 60), nation=nations)
def test_working_days_agree_with_stepping_over_the_package(start: Instant, n: int, nation: str) -> None:
    due = counting.due(Length(n, Unit.WORKING_DAYS, nation), start, CALENDARS[nation])
    assert due.at == int(by_hand(start, n, nation).timestamp()) + 1


@given(start=starts, weeks=st.integers(1, 30))
def test_weeks_end_on_the_same_weekday_at_the_end_of_the_local_day(start: Instant, weeks: int) -> None:
    due = counting.due(Length(7 * weeks, Unit.DAYS), start, CALENDARS["scotland"])
    began, ends = datetime.fromtimestamp(start, LONDON), datetime.fromtimestamp(due.at - 1, LONDON)
    assert (ends.date() - began.date()).days == 7 * weeks
    assert (ends.hour, ends.minute, ends.second) == (23, 59, 59)


@given(start=starts, n=st.integers(1, 24))
def test_months_are_corresponding_dates(start: Instant, n: int) -> None:
    due = counting.due(Length(n, Unit.MONTHS, same_day=True), start, CALENDARS["england-and-wales"])
    began = datetime.fromtimestamp(start, LONDON).date()
    after = datetime.fromtimestamp(due.at, LONDON).date()  # the first day that is late
    months = (after.year - began.year) * 12 + after.month - began.month
    if after.day == began.day:
        assert months == n
    else:  # there was no corresponding date: it ended with the shorter month
        assert (after.day, months) == (1, n + 1)
        assert (after - timedelta(days=1)).day < began.day


HOURS = CALENDARS["contact-centre"]


@given(start=starts, minutes=st.integers(1, 60 * 60))
def test_working_time_agrees_with_counting_its_minutes(start: Instant, minutes: int) -> None:
    start = Instant(start - start % 60)
    due = counting.due(Length(60 * minutes, Unit.WORKING_SECONDS, "x"), start, HOURS)
    assert counting.working_seconds(start, due.at, HOURS) == 60 * minutes
    assert counting.working_seconds(start, Instant(due.at - 1), HOURS) == 60 * minutes - 1
    open_minutes, at = 0, start
    while at < due.at:
        local = datetime.fromtimestamp(at, LONDON)
        clock = local.hour * 60 + local.minute
        closed = local.date() in HOLIDAYS["england-and-wales"] or local.weekday() == 6
        if not closed and local.weekday() < 5:
            open_minutes += 480 <= clock < 1200
        elif not closed:
            open_minutes += 540 <= clock < 780 or 840 <= clock < 1020
        at = Instant(at + 60)
    assert open_minutes == minutes


@given(start=starts, n=st.integers(1, 15), paused=st.integers(0, 20), stood=st.integers(0, 30), nation=nations)
def test_only_days_that_a_clock_stood_still_throughout_are_given_back(
    start: Instant, n: int, paused: int, stood: int, nation: str
) -> None:
    calendar, length = CALENDARS[nation], Length(n, Unit.WORKING_DAYS, nation)
    due_at = counting.due(length, start, calendar).at
    paused_at = Instant(start + paused * 3600 * 9)
    if paused_at >= due_at:
        return
    resumed_at = Instant(paused_at + stood * 3600 * 7)
    after = counting.resumed(length, due_at, paused_at, resumed_at, calendar)
    first, last = (datetime.fromtimestamp(t, LONDON).date() for t in (paused_at, resumed_at))
    day, left = datetime.fromtimestamp(start, LONDON).date(), n
    while left:
        day += timedelta(days=1)
        if day.weekday() < 5 and day not in HOLIDAYS[nation] and not first < day < last:
            left -= 1
    if day < last:  # it stood still over its last day: the rest of it is given on the day it runs again
        day = last
        while day.weekday() >= 5 or day in HOLIDAYS[nation]:
            day += timedelta(days=1)
    assert after == int(datetime(day.year, day.month, day.day, 23, 59, 59, tzinfo=LONDON).timestamp()) + 1


def due(length: str, start: str, nation: str = "england-and-wales", **how: object) -> str:
    whole = replace(parse_length(length), **how)
    return rfc3339(counting.due(whole, parse_instant(start), CALENDARS[nation]).at)


@pytest.mark.parametrize(
    ("length", "start", "late_from", "what"),
    [
        ("24 hours", "2026-03-28T23:30:00Z", "2026-03-29T23:30:00Z", "the night the clocks go forward: elapsed"),
        ("24 hours", "2026-10-24T23:30:00Z", "2026-10-25T23:30:00Z", "the night they go back: elapsed"),
        ("1 day", "2026-03-28T12:00:00Z", "2026-03-29T23:00:00Z", "a local day of 23 hours"),
        ("1 day", "2026-10-24T12:00:00Z", "2026-10-26T00:00:00Z", "a local day of 25 hours"),
        ("5 working days", "2026-06-30T22:59:59Z", "2026-07-07T23:00:00Z", "23:59:59 in London is still that day"),
        ("5 working days", "2026-06-30T23:00:00Z", "2026-07-08T23:00:00Z", "00:00:00 in London is the next"),
        ("5 working days", "2026-06-30T23:30:00Z", "2026-07-08T23:00:00Z", "23:30 UTC in summer is tomorrow"),
        ("5 working days", "2026-12-23T23:59:59Z", "2027-01-05T00:00:00Z", "Christmas with its substitute day"),
        ("5 working days", "2026-12-24T00:00:00Z", "2027-01-06T00:00:00Z", "and one second later"),
        ("3 working days", "2027-12-24T10:00:00Z", "2028-01-01T00:00:00Z", "both substitutes, 27 and 28 December"),
        ("3 working days", "2026-04-02T10:00:00Z", "2026-04-09T23:00:00Z", "Easter"),
        ("1 week", "2028-02-22T10:00:00Z", "2028-03-01T00:00:00Z", "a leap day"),
    ],
)
def test_by_hand(length: str, start: str, late_from: str, what: str) -> None:
    assert due(length, start) == late_from, what


@pytest.mark.parametrize(
    ("received", "last"),
    [
        ("2026-01-15", "2026-07-14"),
        ("2026-12-15", "2027-06-14"),
        ("2026-08-28", "2027-02-27"),
        ("2026-08-29", "2027-02-28"),
        ("2026-08-31", "2027-02-28"),
        ("2027-08-31", "2028-02-29"),
        ("2026-03-31", "2026-09-30"),
        ("2026-03-01", "2026-08-31"),
    ],
)
def test_six_months_that_include_the_day_of_receipt(received: str, last: str) -> None:
    day = date.fromisoformat(last) + timedelta(days=1)
    late = datetime(day.year, day.month, day.day, tzinfo=LONDON)
    assert parse_instant(due("6 months", f"{received}T12:00:00Z", same_day=True)) == int(late.timestamp())


@pytest.mark.parametrize("nation", sorted(NATIONS))
def test_each_nation_has_its_own_days(nation: str) -> None:
    wanted = {"england-and-wales": "2026-08-10", "scotland": "2026-08-11", "northern-ireland": "2026-08-10"}
    assert due("10 working days", "2026-07-27T10:00:00Z", nation) == wanted[nation] + "T23:00:00Z"


@pytest.mark.parametrize("text", ["ten days", "10 fortnights", "0 days", "10", "-3 days", "1000000 working days", ""])
def test_a_length_that_is_none_says_how_to_write_one(text: str) -> None:
    with pytest.raises(ValueError, match=r"length|longer"):
        parse_length(text)


@pytest.mark.parametrize("text", ["24 hours", "10 working days", "8 weeks", "6 months", "1 working hour", "90 seconds"])
def test_a_length_reads_as_it_was_written(text: str) -> None:
    assert parse_length(text).in_words == text
