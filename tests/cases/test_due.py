"""Every clock of every pack: the worked examples of the law, and dates worked by hand on each side of them."""

from typing import Any

import pytest

from console.due import DueError, lines, question
from feedback.instants import parse_instant, rfc3339
from rules.shipped import law

PACKS, _ = law()


def ask(pack: str, clock: str, start: str, *, on: str = "", **settings: str) -> dict[str, Any]:
    return question(pack, clock, start, on, [f"{k.replace('_', '-')}={v}" for k, v in settings.items()], None)


EXAMPLES = [
    # pack, clock, start, last day in time, settings
    ("awaabs-law", "standard-investigation", "2026-11-03T21:15:00Z", "2026-11-17", {}),
    ("awaabs-law", "standard-investigation-extended", "2026-11-09T09:00:00Z", "2026-11-23", {}),
    ("awaabs-law", "renewed-investigation", "2026-12-18T09:00:00Z", "2027-01-06", {}),
    ("awaabs-law", "written-summary", "2026-11-16T10:00:00Z", "2026-11-19", {}),
    ("awaabs-law", "written-summary", "2026-12-24T10:00:00Z", "2026-12-31", {}),
    ("awaabs-law", "make-safe-significant", "2026-11-16T10:00:00Z", "2026-11-23", {}),
    ("awaabs-law", "supplementary-work-begin-or-steps", "2026-11-16T10:00:00Z", "2026-11-23", {}),
    ("awaabs-law", "supplementary-work-begin-longstop", "2026-11-16T10:00:00Z", "2027-02-08", {}),
    ("awaabs-law", "initial-remediation-period-end", "2026-11-16T10:00:00Z", "2026-11-23", {"hazard": "significant"}),
    ("housing-ombudsman", "stage1-acknowledge", "2026-12-03T10:00:00Z", "2026-12-10", {}),
    ("housing-ombudsman", "stage1-response", "2026-12-08T10:00:00Z", "2026-12-22", {}),
    ("housing-ombudsman", "stage1-extension-limit", "2026-12-22T10:00:00Z", "2027-01-08", {}),
    ("housing-ombudsman", "stage2-acknowledge", "2027-01-06T10:00:00Z", "2027-01-13", {}),
    ("housing-ombudsman", "stage2-response", "2027-01-08T10:00:00Z", "2027-02-05", {}),
    ("housing-ombudsman", "stage2-extension-limit", "2027-02-05T10:00:00Z", "2027-03-05", {}),
    ("fca-disp", "summary-resolution", "2026-12-15T10:00:00Z", "2026-12-18", {}),
    ("fca-disp", "payment-services-final-response", "2026-12-15T10:00:00Z", "2027-01-08", {}),
    ("fca-disp", "payment-services-final-response-exceptional", "2026-12-15T10:00:00Z", "2027-02-05", {}),
    ("fca-disp", "final-response-8-weeks", "2026-12-15T10:00:00Z", "2027-02-09", {}),
    ("nhs-complaints", "acknowledge", "2026-12-15T10:00:00Z", "2026-12-18", {}),
    ("nhs-complaints", "relevant-period-6-months", "2026-12-15T10:00:00Z", "2027-06-14", {}),
    ("ofgem", "redress-scheme-8-weeks", "2026-10-31T10:00:00Z", "2026-12-26", {}),
    ("ofgem", "signposting-notice-8-weeks", "2026-10-31T10:00:00Z", "2026-12-29", {}),
    ("ofgem", "signposting-notice-8-weeks", "2026-11-03T10:00:00Z", "2026-12-29", {}),
    ("ofgem", "signposting-notice-deadlock", "2026-12-24T10:00:00Z", "2026-12-29", {}),
    ("ofgem", "unresolved-end-of-next-working-day", "2026-11-06T16:59:59Z", "2026-11-09", {"made": "written"}),
    ("ofgem", "unresolved-end-of-next-working-day", "2026-11-06T17:00:01Z", "2026-11-10", {"made": "written"}),
    ("ofgem", "unresolved-end-of-next-working-day", "2026-11-07T10:00:00Z", "2026-11-10", {"made": "written"}),
    ("ofgem", "unresolved-end-of-next-working-day", "2026-11-07T10:00:00Z", "2026-11-09", {"made": "oral"}),
    ("ofcom", "adr-letter-8-weeks", "2025-11-03T10:00:00Z", "2025-12-29", {}),
    ("ofcom", "adr-letter-6-weeks", "2026-04-08T00:00:00+01:00", "2026-05-20", {}),
    ("ofwat", "written-complaint-reply", "2026-11-02T10:00:00Z", "2026-11-16", {}),
    ("ofwat", "payment-arrangement-reply", "2026-11-02T10:00:00Z", "2026-11-09", {}),
    ("scotland-damp-mould", "investigation", "2026-11-20T10:00:00Z", "2026-12-07", {}),
    ("scotland-damp-mould", "written-summary", "2026-11-27T10:00:00Z", "2026-12-03", {}),
    ("scotland-damp-mould", "begin-repair", "2026-11-27T10:00:00Z", "2026-12-07", {}),
    ("scotland-damp-mould", "complete-repair", "2026-11-27T10:00:00Z", "2026-12-30", {}),
    ("spso", "stage1-frontline", "2026-11-02T10:00:00Z", "2026-11-06", {}),
    ("spso", "stage1-frontline", "2026-11-07T10:00:00Z", "2026-11-13", {}),
    ("spso", "stage2-acknowledge", "2026-11-02T10:00:00Z", "2026-11-04", {}),
    ("spso", "stage2-response", "2026-11-02T10:00:00Z", "2026-11-27", {}),
    ("contact-centre", "same-day", "2026-11-02T10:00:00Z", "2026-11-02", {}),
]


@pytest.mark.parametrize(("pack", "clock", "start", "last", "settings"), EXAMPLES)
def test_the_last_day_in_time(pack: str, clock: str, start: str, last: str, settings: dict[str, str]) -> None:
    answer = ask(pack, clock, start, **settings)
    assert answer["last_day"] == last
    assert last in answer["days_counted"]
    assert answer["source"].endswith(PACKS[pack].clocks[clock].paragraph)
    assert lines(answer)[1].endswith("(Europe/London)")


@pytest.mark.parametrize(
    ("pack", "clock", "start", "due_at", "settings"),
    [
        ("awaabs-law", "emergency-action", "2026-11-07T23:05:00Z", "2026-11-08T23:05:00Z", {}),
        ("awaabs-law", "emergency-safety-work", "2026-10-24T23:05:00Z", "2026-10-25T23:05:00Z", {}),
        ("awaabs-law", "initial-remediation-period-end", "2026-11-07T23:05:00Z", "2026-11-08T23:05:00Z",
         {"hazard": "emergency"}),
        ("awaabs-law", "initial-remediation-period-end", "2026-11-16T10:00:00Z", "2026-11-24T00:00:00Z",
         {"hazard": "significant"}),
        ("awaabs-law", "emergency-action", "2026-12-24T23:50:00Z", "2026-12-25T23:50:00Z", {}),
        ("fca-disp", "summary-resolution", "2026-12-15T10:00:00Z", "2026-12-18T17:00:01Z", {}),
        ("fca-disp", "summary-resolution", "2026-12-15T10:00:00Z", "2026-12-18T16:30:01Z",
         {"close_of_business": "16:30"}),
        ("fca-disp", "summary-resolution", "2026-06-15T10:00:00Z", "2026-06-18T16:00:01Z", {}),
        ("contact-centre", "detractor-24-hours", "2026-11-07T10:00:00Z", "2026-11-08T10:00:00Z", {}),
        ("contact-centre", "resolve-48-hours", "2026-11-07T10:00:00Z", "2026-11-09T10:00:00Z", {}),
        ("contact-centre", "first-response-60-minutes", "2026-11-07T16:30:00Z", "2026-11-09T08:30:00Z", {}),
    ],
)  # fmt: skip
def test_the_first_late_instant(pack: str, clock: str, start: str, due_at: str, settings: dict[str, str]) -> None:
    assert ask(pack, clock, start, **settings)["due_at"] == due_at


def test_every_clock_of_the_law_has_an_example() -> None:
    asked = {(pack, clock) for pack, clock, *_ in EXAMPLES}
    hours = {"emergency-action", "emergency-safety-work", "detractor-24-hours", "resolve-48-hours",
             "first-response-60-minutes"}  # fmt: skip
    assert {(p.name, c) for p in PACKS.values() for c in p.clocks if c not in hours} == asked


@pytest.mark.parametrize(
    ("pack", "clock", "start", "other"),
    [
        ("fca-disp", "final-response-8-weeks", "2026-11-02T10:00:00Z", "2026-12-30T00:00:00Z"),
        ("fca-disp", "payment-services-final-response", "2026-12-12T10:00:00Z", "2027-01-08T00:00:00Z"),
        ("spso", "stage1-frontline", "2026-11-02T10:00:00Z", "2026-11-10T00:00:00Z"),
        ("ofcom", "adr-letter-8-weeks", "2026-03-02T10:00:00Z", "2026-04-13T23:00:00Z"),
        ("ofgem", "redress-scheme-8-weeks", "2026-11-02T10:00:00Z", "2026-12-30T00:00:00Z"),
        ("nhs-complaints", "relevant-period-6-months", "2026-06-29T10:00:00Z", "2026-12-30T00:00:00Z"),
        ("housing-ombudsman", "stage1-acknowledge", "2026-12-03T10:00:00Z", None),
    ],
)
def test_ambiguous_law_shows_the_other_reading(pack: str, clock: str, start: str, other: str | None) -> None:
    assert ask(pack, clock, start)["alternative_due_at"] == other


def test_projected_years_are_marked() -> None:
    assert ask("housing-ombudsman", "stage1-response", "2027-11-01")["projected"] is False
    answer = ask("housing-ombudsman", "stage1-response", "2027-12-22")
    assert answer["projected"] is True
    assert "projected year" in answer["notes"][0]


def test_the_days_account_for_every_date_from_the_start() -> None:
    answer = ask("housing-ombudsman", "stage1-response", "2026-12-22")
    assert len(answer["days_counted"]) == 10
    skipped = {d["day"]: d["why"] for d in answer["days_skipped"]}
    assert skipped["2026-12-22"] == "day zero"
    assert skipped["2026-12-25"] == "Christmas Day"
    assert skipped["2026-12-28"] == "Boxing Day (observed)"
    assert skipped["2027-01-01"] == "New Year's Day"
    assert len(answer["days_counted"]) + len(skipped) == 18


@pytest.mark.parametrize(
    ("pack", "clock", "start", "settings", "said"),
    [
        ("awaab", "x", "2026-11-03", {}, "no pack 'awaab'"),
        ("awaabs-law", "x", "2026-11-03", {}, "no clock 'x'; it has: emergency-action"),
        ("awaabs-law", "standard-investigation", "2025-10-26T10:00:00Z", {}, "in force from 2025-10-27"),
        ("scotland-damp-mould", "investigation", "2026-10-05T22:59:59Z", {}, "in force from 2026-10-06"),
        ("ofcom", "adr-letter-6-weeks", "2026-04-07T22:59:59Z", {}, "in force from 2026-04-08"),
        ("awaabs-law", "initial-remediation-period-end", "2026-11-03", {}, "--set hazard=emergency|significant"),
        ("awaabs-law", "initial-remediation-period-end", "2026-11-03", {"hazard": "x"}, "say one of emergency"),
        ("awaabs-law", "standard-investigation", "2026-11-03", {"colour": "red"}, "knows no setting colour"),
        ("awaabs-law", "standard-investigation", "2026-11-03T21:15:00", {}, "no offset"),
        ("awaabs-law", "emergency-action", "2026-11-03", {}, "hours are counted from a time"),
        ("fca-disp", "final-response-8-weeks", "2040-01-01", {}, "knows 2024 to 2032"),
        ("fca-disp", "summary-resolution", "2026-11-03", {"close_of_business": "5pm"}, "not a time of day"),
    ],
)
def test_a_question_that_cannot_be_answered(
    pack: str, clock: str, start: str, settings: dict[str, str], said: str
) -> None:
    with pytest.raises(DueError) as error:
        ask(pack, clock, start, **settings)
    assert said in str(error.value)


def test_a_calendar_that_the_law_does_not_name_is_refused() -> None:
    with pytest.raises(DueError, match="counted on england-and-wales"):
        ask("awaabs-law", "standard-investigation", "2026-11-03", on="scotland")
    with pytest.raises(DueError, match="no calendar 'wales'"):
        ask("fca-disp", "summary-resolution", "2026-11-03", on="wales")


def test_what_is_no_longer_in_force_says_so() -> None:
    answer = ask("ofcom", "adr-letter-8-weeks", "2026-04-08T12:00:00Z")
    assert "was in force until 2026-04-07" in answer["notes"][0]


def test_each_nation() -> None:
    days = {on: ask("fca-disp", "payment-services-final-response", "2026-12-15", on=on)["last_day"]
            for on in ("england-and-wales", "scotland", "northern-ireland")}  # fmt: skip
    assert days == {"england-and-wales": "2027-01-08", "scotland": "2027-01-11", "northern-ireland": "2027-01-08"}


def test_any_date_from_2025_to_2030_has_an_answer() -> None:
    day = parse_instant("2025-01-01T12:00:00Z")
    asked = 0
    while day < parse_instant("2031-01-01T00:00:00Z"):
        answer = ask("housing-ombudsman", "stage2-response", rfc3339(day))
        assert answer["due_at"] > rfc3339(day)
        assert answer["projected"] is (answer["last_day"] >= "2028")
        day += 86_400 * 3
        asked += 1
    assert asked == 731
