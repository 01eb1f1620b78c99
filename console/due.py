"""`tocsin due`: when a clock of a pack would fall due, and why, for a terminal and for a program."""

from datetime import date, datetime
from pathlib import Path
from typing import Any

from cases.asking import Answer, ask
from cases.counting import last_moment
from feedback.instants import Instant, parse_instant, rfc3339
from rules.calendar import Calendar
from rules.length import Unit
from rules.packs import Pack, SettingMissing
from rules.shipped import law


class DueError(ValueError):
    """A question that cannot be answered. Whose turn: who asks."""


def question(
    pack_name: str, clock_name: str, start: str, calendar_name: str, settings: list[str], directory: Path | None
) -> dict[str, Any]:
    """The answer as a JSON object. Raises DueError saying what to write instead."""
    packs, calendars = law(directory)
    pack = packs.get(pack_name)
    if pack is None:
        raise DueError(f"no pack {pack_name!r}; there is: {', '.join(sorted(packs))}")
    clock = pack.clocks.get(clock_name)
    if clock is None:
        raise DueError(f"{pack_name} has no clock {clock_name!r}; it has: {', '.join(pack.clocks)}")
    name = calendar_name or pack.calendars[0]
    if name not in pack.calendars:
        if name not in calendars:
            raise DueError(f"no calendar {name!r}; there is: {', '.join(sorted(calendars))}")
        named = " or ".join(pack.calendars)
        raise DueError(f"{pack_name} is counted on {named}, which its instrument names; not on {name}")
    calendar = calendars[name]
    said = {}
    for setting in settings:
        key, equals, value = setting.partition("=")
        if not equals:
            raise DueError(f"--set {setting}: write it like --set hazard=emergency")
        said[key] = value
    at, is_date = _start(start, calendar)
    try:
        answer = ask(pack, clock, at, calendar, said)
    except SettingMissing as error:
        raise DueError(str(error).replace("say ", "say --set ")) from None
    except ValueError as error:
        raise DueError(str(error)) from None
    if is_date and answer.length.unit in (Unit.SECONDS, Unit.WORKING_SECONDS):
        raise DueError(f"--start: hours are counted from a time; write it like {start}T09:00:00+00:00")
    return shown(pack, answer, calendar)


def _start(text: str, calendar: Calendar) -> tuple[Instant, bool]:
    """The instant that *text* names, and whether it is a plain date: its local midnight."""
    try:
        day = date.fromisoformat(text)
    except ValueError:
        try:
            return parse_instant(text), False
        except ValueError as error:
            raise DueError(f"--start: {error}") from None
    return Instant(int(datetime.combine(day, datetime.min.time(), calendar.zone).timestamp())), True


def shown(pack: Pack, answer: Answer, calendar: Calendar) -> dict[str, Any]:
    """*answer* as plain JSON; `due_at` is the first instant that is late."""
    first = answer.alternatives[0] if answer.alternatives else None
    length, due = answer.length, answer.due
    return {
        "pack": pack.name,
        "clock": answer.clock.name,
        "what": answer.clock.what,
        "start": rfc3339(answer.start),
        "due_at": rfc3339(due.at),
        "due_local": datetime.fromtimestamp(due.at, calendar.zone).isoformat(),
        "last_moment": last_moment(length, due.at, calendar),
        "last_day": None if due.last_day is None else due.last_day.isoformat(),
        "length": length.in_words,
        "day_one": "" if due.last_day is None else ("same day" if length.same_day else "next day"),
        "calendar": calendar.name,
        "calendar_version": calendar.key,
        "zone": calendar.zone_name,
        "days_counted": [d.day.isoformat() for d in answer.days if d.counted],
        "days_skipped": [{"day": d.day.isoformat(), "why": d.why} for d in answer.days if not d.counted],
        "projected": due.projected,
        "source": f"{pack.instrument}, {answer.clock.paragraph}",
        "source_read": pack.read.isoformat(),
        "in_force_from": (answer.clock.force_from or pack.force_from).isoformat(),
        "alternative_due_at": None if first is None else rfc3339(first.due.at),
        "alternatives": [
            {"due_at": rfc3339(a.due.at), "last_moment": last_moment(length, a.due.at, calendar), "why": a.why}
            for a in answer.alternatives
        ],
        "notes": [*answer.notes, *pack.notes],
    }


def lines(answer: dict[str, Any]) -> list[str]:
    """*answer* for a terminal."""
    said = [
        f"{answer['pack']} {answer['clock']}: {answer['what']}",
        f"  due        {answer['last_moment']}",
        f"  late from  {answer['due_at']}",
        f"  counted    {answer['length']} from {answer['start']}, calendar {answer['calendar']}",
        f"  source     {answer['source']} (read {answer['source_read']})",
    ]
    counted = answer["days_counted"]
    if counted:
        said.append(f"  days       {len(counted)} counted, {counted[0]} to {counted[-1]}")
    skipped = [day for day in answer["days_skipped"] if day["why"] != "weekend"]
    said += [f"  skipped    {date.fromisoformat(d['day']):%a %d %b %Y}: {d['why']}" for d in skipped]
    weekends = len(answer["days_skipped"]) - len(skipped)
    if weekends:
        said.append(f"  skipped    {weekends} days of weekends")
    said += [f"  or else    {a['last_moment']}: {a['why']}" for a in answer["alternatives"]]
    said += [f"  note       {note}" for note in answer["notes"]]
    return said
