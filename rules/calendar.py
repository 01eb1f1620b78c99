"""A calendar: which local days and hours count, in a named zone, and until when that is known.

The files in `rules/calendars/` are dated tables, not formulas: bank holidays come by proclamation, so no formula
is complete. A year that the table marks `projected` may still change; a year that it does not hold is refused.
Values only; what is counted over them is `cases/counting.py`. A case refers to a calendar by its `key`, which
holds a hash of the content, so that a later edit leaves open cases alone.
"""

import json
from collections.abc import Mapping
from datetime import date, timedelta
from enum import StrEnum
from functools import cached_property
from hashlib import blake2b
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from rules.problems import Problem, one_of
from rules.yaml import Sheet, YamlNode

WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
DAY_S = 86_400
Spans = tuple[tuple[int, int], ...]
"""Half-open spans of local time of day, seconds from midnight, ascending and apart."""


class Certainty(StrEnum):
    """What a year of the table rests on."""

    PROCLAIMED = "proclaimed"
    """Published by the authority."""
    PROJECTED = "projected"
    """Worked out from the usual rules; a proclamation may still change it."""


class CalendarEnded(ValueError):
    """A day outside the years that the calendar's table holds. Whose turn: the operator's, to bring a newer table."""


class Calendar:
    """Immutable. Days are asked for by `date.toordinal`, because a deadline asks for many of them."""

    def __init__(
        self,
        *,
        name: str,
        zone: str,
        hours: tuple[Spans, ...],
        holidays: Mapping[date, str],
        closures: Mapping[date, str],
        years: Mapping[int, Certainty],
        not_bank_holidays: frozenset[str] = frozenset(),
        source: str = "",
    ) -> None:
        self.name = name
        self.zone_name = zone
        self.zone = ZoneInfo(zone)
        self.hours = hours
        """Seven, Monday first; an empty one is a day that does not count."""
        self.holidays, self.closures, self.years = dict(holidays), dict(closures), dict(years)
        self.not_bank_holidays = not_bank_holidays
        """Holidays that count as such by custom, not under the Act (Christmas Day, Good Friday)."""
        self.source = source
        self.text = self._text()
        """All that it says, as canonical JSON; `from_text` reads it back."""
        self.key = f"{name}@{blake2b(self.text.encode(), digest_size=6).hexdigest()}"
        self._closed: dict[int, str] = {}
        for day, why in {**self.holidays, **self.closures}.items():
            self._closed[day.toordinal()] = why

    def _text(self) -> str:
        said = {
            "name": self.name,
            "zone": self.zone_name,
            "hours": self.hours,
            "holidays": {day.isoformat(): why for day, why in self.holidays.items()},
            "closures": {day.isoformat(): why for day, why in self.closures.items()},
            "years": self.years,
            "not_bank_holidays": sorted(self.not_bank_holidays),
            "source": self.source,
        }
        return json.dumps(said, sort_keys=True, ensure_ascii=False)

    @classmethod
    def from_text(cls, text: str) -> "Calendar":
        """The calendar that said *text* of itself. Raises ValueError or KeyError for anything else."""
        said = json.loads(text)
        return cls(
            name=said["name"],
            zone=said["zone"],
            hours=tuple(tuple((a, b) for a, b in spans) for spans in said["hours"]),
            holidays={date.fromisoformat(day): why for day, why in said["holidays"].items()},
            closures={date.fromisoformat(day): why for day, why in said["closures"].items()},
            years={int(year): Certainty(certainty) for year, certainty in said["years"].items()},
            not_bank_holidays=frozenset(said["not_bank_holidays"]),
            source=said["source"],
        )

    @cached_property
    def _range(self) -> tuple[int, int]:
        return date(min(self.years), 1, 1).toordinal(), date(max(self.years), 12, 31).toordinal()

    def why_closed(self, day: int) -> str:
        """Why the day of that ordinal does not count; empty when it does. Raises CalendarEnded."""
        first, last = self._range
        if not first <= day <= last:
            asked = date.fromordinal(day)
            raise CalendarEnded(
                f"{asked} is outside the calendar {self.name}, which knows {min(self.years)} to {max(self.years)}; "
                f"add the year to calendars/{self.name}.yaml with its source"
            )
        if why := self._closed.get(day):
            return why
        weekday = (day - 1) % 7  # ordinal 1 was a Monday
        if not self.hours[weekday]:
            return "weekend" if weekday >= 5 else f"closed on {date.fromordinal(day):%A}s"
        return ""

    def is_projected(self, day: int) -> bool:
        """Whether what is said of that day rests on a projected year."""
        return self.years.get(date.fromordinal(day).year) is Certainty.PROJECTED

    def is_bank_holiday(self, day: int) -> bool:
        """Whether it is a bank holiday under the Act."""
        name = self.holidays.get(date.fromordinal(day), "")
        return bool(name) and name not in self.not_bank_holidays


def parse_calendar(sheet: Sheet, name: str, text: str, base: "Calendar | None" = None) -> Calendar | None:
    """The calendar written in *text*; None, with problems noted, when it is none.

    *base* is the calendar that the file says it is `based_on`: its years, holidays and hours hold where the file
    says nothing else.
    """
    root = sheet.parse(text)
    if root is None:
        return None
    keys = ("calendar", "based_on", "zone", "source", "read", "hours", "years", "not_bank_holidays", "closures")
    top = sheet.map(root, keys, ("calendar",) if base is not None else ("calendar", "zone", "years"))
    if "calendar" in top and sheet.text(top["calendar"]) != name:
        sheet.problem(top["calendar"], sheet.text(top["calendar"]), f"{name}, the name of the file")
    zone = sheet.read(top.get("zone"), zone_name, base.zone_name if base else "UTC", "a zone like Europe/London")
    holidays: dict[date, str] = dict(base.holidays) if base else {}
    years: dict[int, Certainty] = dict(base.years) if base else {}
    for year, node in sheet.map(top.get("years"), None).items():
        if not (year.isdigit() and 1970 <= int(year) <= 2200):
            sheet.problem(node, f"the year {year}", "a year like 2027")
            continue
        _year(sheet, int(year), node, years, holidays)
    if years and sorted(years) != list(range(min(years), max(years) + 1)):
        missing = next(y for y in range(min(years), max(years)) if y not in years)
        sheet.problem(top.get("years", root), f"no year {missing}", "every year between the first and the last")
    closures: dict[date, str] = dict(base.closures) if base else {}
    for node in sheet.list(top.get("closures")):
        _closure(sheet, node, closures)
    hours = _hours(sheet, top.get("hours"), base)
    if not years or not any(hours):
        if not any(hours):
            sheet.problem(top.get("hours", root), "no hour that counts", "hours for at least one day")
        return None
    return Calendar(
        name=name,
        zone=zone,
        hours=hours,
        holidays=holidays,
        closures=closures,
        years=years,
        not_bank_holidays=frozenset(sheet.texts(top.get("not_bank_holidays")))
        | (base.not_bank_holidays if base else frozenset()),
        source=sheet.text(top.get("source"), base.source if base else ""),
    )


def based_on(text: str) -> str:
    """The name of the calendar that the file builds on; empty when it stands alone."""
    quiet = Sheet("", [])
    return quiet.text(quiet.map(quiet.parse(text), None).get("based_on"))


def zone_name(text: str) -> str:
    """The zone of that name. Raises ValueError when there is none."""
    try:
        return ZoneInfo(text).key
    except (ZoneInfoNotFoundError, OSError):
        raise ValueError(text) from None


def _day(text: str) -> date:
    return date.fromisoformat(text)


def _year(sheet: Sheet, year: int, node: YamlNode, years: dict[int, Certainty], holidays: dict[date, str]) -> None:
    fields = sheet.map(node, ("certainty", "holidays"), ("certainty",))
    choices = {c.value: c for c in Certainty}
    years[year] = sheet.choice(fields.get("certainty"), choices, Certainty.PROJECTED)
    for text, entry in sheet.map(fields.get("holidays"), None).items():
        try:
            day = _day(text)
        except ValueError:
            sheet.problem(entry, text, f"a date like {year}-12-25")
            continue
        if day.year != year:
            sheet.problem(entry, text, f"a date in {year}")
        holidays[day] = sheet.text(entry, "holiday")


def _closure(sheet: Sheet, node: YamlNode, closures: dict[date, str]) -> None:
    fields = sheet.map(node, ("from", "until", "name"), ("from",))
    first = sheet.read(fields.get("from"), _day, date(1970, 1, 1), "a date like 2026-12-29")
    last = sheet.read(fields.get("until"), _day, first, "a date like 2026-12-31, the last day closed")
    if not first <= last <= first + timedelta(days=366):
        sheet.problem(node, f"{first} to {last}", "an end on or after the start, and at most a year of closure")
        return
    name = sheet.text(fields.get("name"), "closed")
    for ordinal in range(first.toordinal(), last.toordinal() + 1):
        closures[date.fromordinal(ordinal)] = name


def _hours(sheet: Sheet, node: YamlNode | None, base: Calendar | None) -> tuple[Spans, ...]:
    if node is None:
        return base.hours if base else ((((0, DAY_S),),) * 5) + ((), ())
    found: dict[str, Spans] = {}
    for days, entry in sheet.map(node, None).items():
        spans = _spans(sheet, entry)
        for day in days.replace(",", " ").split():
            if day not in WEEKDAYS:
                sheet.problem(entry, f"the day {day}", one_of(WEEKDAYS, day))
            elif day in found:
                sheet.problem(entry, f"{day} a second time", "each day once")
            else:
                found[day] = spans
    return tuple(found.get(day, ()) for day in WEEKDAYS)


def _spans(sheet: Sheet, node: YamlNode) -> Spans:
    spans: list[tuple[int, int]] = []
    for member in sheet.list(node):
        text = sheet.text(member)
        if text in ("closed", ""):
            continue
        try:
            opens, closes = (time_of_day(part) for part in text.split("-"))
            if not opens < closes or (spans and opens < spans[-1][1]):
                raise ValueError(text)
        except ValueError:
            sheet.problem(member, text, "hours like 09:00-12:30, after those before them")
            continue
        spans.append((opens, closes))
    return tuple(spans)


def time_of_day(text: str) -> int:
    """Seconds from local midnight of `17:00` or `24:00`. Raises ValueError."""
    hours, _, minutes = text.strip().partition(":")
    if not (hours.isdigit() and minutes.isdigit() and len(minutes) == 2 and int(minutes) < 60):
        raise ValueError(f"{text!r} is not a time of day; write it like 17:00")
    seconds = int(hours) * 3600 + int(minutes) * 60
    if seconds > DAY_S:
        raise ValueError(f"{text!r} is past the end of the day")
    return seconds


def load_calendars(texts: Mapping[str, str], problems: list[Problem], prefix: str = "") -> dict[str, Calendar]:
    """Every calendar of *texts* (`calendars/<name>.yaml` to text), by name; what builds on another comes after it."""
    found: dict[str, Calendar] = {}
    waiting = {p.removeprefix("calendars/").removesuffix(".yaml"): p for p in texts if p.startswith("calendars/")}
    while waiting:
        ready = [n for n, p in waiting.items() if (b := based_on(texts[p])) == "" or b in found]
        for name in ready or list(waiting):
            path = waiting.pop(name)
            sheet = Sheet(prefix + path, problems)
            base = based_on(texts[path])
            if base and base not in found:
                there = ", ".join(sorted(found)) or "none"
                problems.append(Problem(sheet.file, 1, 1, f"based_on: {base}", f"a calendar that stands: {there}"))
                continue
            calendar = parse_calendar(sheet, name, texts[path], found.get(base))
            if calendar is not None:
                found[name] = calendar
    return found
