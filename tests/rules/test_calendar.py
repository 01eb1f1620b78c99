"""The dated tables, held against the package they were frozen from, and what is wrong with a calendar's file."""

from datetime import date

import holidays
import pytest

from rules.calendar import CalendarEnded, Certainty, load_calendars
from rules.freeze_holidays import FIRST, LAST, NATIONS, PROCLAIMED_TO
from rules.problems import Problem
from rules.shipped import law

_, CALENDARS = law()


@pytest.mark.parametrize("nation", sorted(NATIONS))
def test_the_frozen_table_is_what_the_package_says(nation: str) -> None:
    said = holidays.country_holidays("GB", subdiv=NATIONS[nation], years=range(FIRST, LAST + 1))
    assert CALENDARS[nation].holidays == dict(said)


@pytest.mark.parametrize(
    ("nation", "day", "why"),
    [
        ("england-and-wales", "2026-04-06", "Easter Monday"),
        ("scotland", "2026-04-06", ""),
        ("england-and-wales", "2026-08-31", "Late Summer Bank Holiday"),
        ("scotland", "2026-08-31", ""),
        ("scotland", "2026-06-15", "Scotland's participation in the FIFA World Cup final"),
        ("england-and-wales", "2026-06-15", ""),
        ("northern-ireland", "2026-07-13", "Battle of the Boyne (observed)"),
        ("scotland", "2027-01-04", "New Year Holiday (observed)"),
        ("england-and-wales", "2026-12-28", "Boxing Day (observed)"),
        ("england-and-wales", "2027-12-27", "Christmas Day (observed)"),
        ("england-and-wales", "2027-12-28", "Boxing Day (observed)"),
        ("england-and-wales", "2028-01-03", "New Year's Day (observed)"),
        ("england-and-wales", "2026-12-24", ""),
        ("england-and-wales", "2026-12-31", ""),
        ("england-and-wales", "2026-11-07", "weekend"),
    ],
)
def test_what_the_schedule_and_the_proclamations_say(nation: str, day: str, why: str) -> None:
    assert CALENDARS[nation].why_closed(date.fromisoformat(day).toordinal()) == why


def test_years_are_marked_and_an_absent_one_is_refused() -> None:
    calendar = CALENDARS["england-and-wales"]
    assert calendar.years[PROCLAIMED_TO] is Certainty.PROCLAIMED
    assert calendar.years[PROCLAIMED_TO + 1] is Certainty.PROJECTED
    with pytest.raises(CalendarEnded, match=f"knows {FIRST} to {LAST}"):
        calendar.why_closed(date(LAST + 1, 1, 1).toordinal())


def test_christmas_day_is_no_bank_holiday_under_the_act_in_england_and_is_one_in_scotland() -> None:
    christmas = date(2026, 12, 25).toordinal()
    assert not CALENDARS["england-and-wales"].is_bank_holiday(christmas)
    assert CALENDARS["scotland"].is_bank_holiday(christmas)


def problems_of(text: str) -> list[Problem]:
    problems: list[Problem] = []
    load_calendars({"calendars/mine.yaml": text}, problems)
    return problems


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("calendar: mine\nzone: Europe/Londn\nyears: {2026: {certainty: proclaimed}}", 2, "Europe/Londn"),
        ("calendar: mine\nzone: UTC\nyears: {2026: {certainty: maybe}}", 3, "maybe"),
        ("calendar: mine\nzone: UTC\nyears: {2026: {certainty: proclaimed}, 2028: {certainty: proclaimed}}", 3, "2027"),
        ("calendar: mine\nzone: UTC\nyears: {2026: {certainty: proclaimed, holidays: {2026-02-30: x}}}", 3, "02-30"),
        ("calendar: mine\nzone: UTC\nyears: {2026: {certainty: proclaimed, holidays: {2027-01-01: x}}}", 3, "2027-01"),
        ("calendar: mine\nzone: UTC\nyears: {2026: {certainty: proclaimed}}\nhours: {mon: [17:00-09:00]}", 4, "17:00"),
        ("calendar: mine\nzone: UTC\nyears: {2026: {certainty: proclaimed}}\nhours: {moon: [09:00-17:00]}", 4, "moon"),
        ("calendar: mine\nzone: UTC\nyears: {2026: {certainty: proclaimed}}\nhours: {mon: closed}", 4, "no hour"),
        (
            "calendar: mine\nzone: UTC\nyears: {2026: {certainty: proclaimed}}\n"
            "closures: [{from: 2026-05-02, until: 2026-05-01}]",
            4,
            "2026-05-02 to 2026-05-01",
        ),
        ("calendar: mine\nbased_on: nowhere", 1, "nowhere"),
    ],
)
def test_a_bad_calendar_names_the_place(text: str, line: int, said: str) -> None:
    assert any(p.line == line and said in p.found + p.expected for p in problems_of(text)), problems_of(text)
