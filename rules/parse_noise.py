"""The `notices` of a set, read and checked: grouping, quiet hours, caps, and which rules mute which (`noise.py`)."""

from collections.abc import Collection, Iterable, Mapping, Sequence

from feedback.instants import parse_span
from rules.calendar import zone_name
from rules.noise import GROUPED_BY, Cap, Grouping, Inhibition, NoisePolicy, Quiet
from rules.problems import one_of
from rules.ruleset import WindowRule
from rules.yaml import Sheet, YamlNode

DAY_S = 86_400
MAX_SPAN_S = 7 * DAY_S
MAX_CAP = 10_000
_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_PER = {"rule": "rule", "receiver": "receiver"}


def read_noise(
    sheet: Sheet, node: YamlNode | None, zone: str, rules: Collection[str], windows: Sequence[WindowRule]
) -> NoisePolicy | None:
    """The policy below *node*, with what the *windows* mute; None when the set says nothing of its notices.

    *zone* is the set's own, *rules* are the ids of all its rules.
    """
    by_windows = [Inhibition(rule=w.window.rule, mutes=w.mutes) for w in windows if w.mutes]
    if node is None and not by_windows:
        return None
    fields = sheet.map(node, ("group", "quiet", "caps", "inhibit"))
    written = [_inhibition(sheet, member, rules) for member in sheet.list(fields.get("inhibit"))]
    inhibitions = (*by_windows, *written)
    if written:
        _check_muting(sheet, fields["inhibit"], inhibitions)
    return NoisePolicy(
        group=_group(sheet, fields.get("group")),
        quiet=tuple(_quiet(sheet, member, zone) for member in sheet.list(fields.get("quiet"))),
        caps=tuple(_cap(sheet, member) for member in sheet.list(fields.get("caps"))),
        inhibitions=inhibitions,
    )


def _group(sheet: Sheet, node: YamlNode | None) -> Grouping | None:
    if node is None:
        return None
    fields = sheet.map(node, ("by", "wait", "interval"), ("interval",))
    by = sheet.texts(fields.get("by"))
    for name in by:
        if name not in GROUPED_BY:
            sheet.problem(fields["by"], f"by {name}", one_of(GROUPED_BY, name))
    return Grouping(by=by, wait_s=_span(sheet, fields.get("wait"), 0), interval_s=_span(sheet, fields.get("interval")))


def _quiet(sheet: Sheet, node: YamlNode, zone: str) -> Quiet:
    fields = sheet.map(node, ("name", "from", "to", "days", "zone"), ("name", "from", "to"))
    days = sheet.texts(fields.get("days")) or _DAYS
    for day in days:
        if day not in _DAYS:
            sheet.problem(fields["days"], f"the day {day}", one_of(_DAYS, day))
    return Quiet(
        name=sheet.text(fields.get("name")),
        zone=sheet.read(fields.get("zone"), zone_name, zone, "a zone like Europe/London"),
        days=frozenset(_DAYS.index(day) for day in days if day in _DAYS),
        start_s=sheet.read(fields.get("from"), _time_of_day, 0, 'a time of day like "22:00"'),
        end_s=sheet.read(fields.get("to"), _time_of_day, 0, 'a time of day like "07:00"'),
    )


def _cap(sheet: Sheet, node: YamlNode) -> Cap:
    fields = sheet.map(node, ("per", "most", "within"), ("per", "most", "within"))
    return Cap(
        per=sheet.choice(fields.get("per"), _PER, "receiver"),
        most=sheet.read(fields.get("most"), _most, 1, f"a whole number from 1 to {MAX_CAP}"),
        within_s=_span(sheet, fields.get("within")),
    )


def _inhibition(sheet: Sheet, node: YamlNode, rules: Collection[str]) -> Inhibition:
    fields = sheet.map(node, ("rule", "mutes"), ("rule", "mutes"))
    rule, mutes = sheet.text(fields.get("rule")), sheet.texts(fields.get("mutes"))
    named: list[tuple[str, str]] = [("rule", rule)] if "rule" in fields else []
    for place, name in (*named, *(("mutes", muted) for muted in mutes)):
        if name not in rules:
            sheet.problem(fields[place], f"the rule {name}", one_of(rules, name))
    return Inhibition(rule=rule, mutes=mutes)


def _check_muting(sheet: Sheet, node: YamlNode, inhibitions: Iterable[Inhibition]) -> None:
    """A rule that mutes itself, by itself or by way of others, would never be heard again."""
    muting: dict[str, set[str]] = {}
    for inhibition in inhibitions:
        muting.setdefault(inhibition.rule, set()).update(inhibition.mutes)
    for name in muting:
        if name in _reached(muting, name):
            sheet.problem(node, f"the rule {name}, which mutes itself", "other rules, and no way back")


def _reached(muting: Mapping[str, set[str]], name: str) -> set[str]:
    reached: set[str] = set()
    ways = [name]
    while ways:
        for muted in muting.get(ways.pop(), ()):
            if muted not in reached:
                reached.add(muted)
                ways.append(muted)
    return reached


def _span(sheet: Sheet, node: YamlNode | None, least: int = 1) -> int:
    def read(text: str) -> int:
        seconds = parse_span(text)
        if not least <= seconds <= MAX_SPAN_S:
            raise ValueError(text)
        return seconds

    return sheet.read(node, read, least, f"a span like 10m, from {least}s to {MAX_SPAN_S // DAY_S}d")


def _time_of_day(text: str) -> int:
    hours, colon, minutes = text.partition(":")
    if not (colon and hours.isdecimal() and minutes.isdecimal() and len(minutes) == 2):
        raise ValueError(text)
    if not (int(hours) < 24 and int(minutes) < 60) and (hours, minutes) != ("24", "00"):
        raise ValueError(text)
    return int(hours) * 3600 + int(minutes) * 60


def _most(text: str) -> int:
    number = int(text)
    if not 1 <= number <= MAX_CAP:
        raise ValueError(text)
    return number
