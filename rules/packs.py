"""A pack: the clocks that a regime demands, each with its paragraph, as a file in `rules/packs/` says them.

A pack speaks of *moments*: milestones that people report (`investigated`, or `investigated:significant` with what
was found), a few verbs (`contact`, `resolve`), and what clocks do (`breach:<clock>`, `extended:<clock>`). Each
clock names the moments that start, meet and end it. `parse.py` turns the clocks of a pack that a rule uses into
`ClockSpec`s; `console/due.py` asks a clock directly. The format is told for its readers in `rules/README.md`.
"""

from collections.abc import Mapping
from datetime import date, datetime, timedelta
from typing import Any

import msgspec
from msgspec.structs import replace

from feedback.instants import Instant, parse_span
from rules.calendar import Calendar, time_of_day
from rules.length import Length, Unit, estimate_s, parse_length
from rules.model import ClockSpec, MilestoneSpec, Rung
from rules.problems import one_of
from rules.warnings import check_warning
from rules.yaml import Sheet, YamlNode

VERBS = frozenset({"acknowledge", "contact", "resolve", "confirm", "close"})
"""Moments that are verbs of the lifecycle; every other bare name is a milestone."""
_CLOCK_REFERENCES = ("breach", "extended")
CLOSE_OF_BUSINESS = "close-of-business"


class SettingMissing(ValueError):
    """A clock's length hangs on something that was not said. Whose turn: who asks."""


class Setting(msgspec.Struct, frozen=True, kw_only=True):
    """What a pack needs to know besides the start."""

    name: str
    what: str = ""
    one_of: tuple[str, ...] = ()
    """Empty: a time of day."""
    default: str = ""
    """Empty: must be said."""


class Phase(msgspec.Struct, frozen=True):
    starts: date
    hazards: tuple[str, ...]


class Reading(msgspec.Struct, frozen=True, kw_only=True):
    """How a length is counted; one value, or one for each choice of a setting."""

    length: Mapping[str, Length]
    """Choice of `length_by` to length; the key is empty when there is one."""
    length_by: str = ""
    same_day: bool = False
    ends: str = ""
    """Empty for the end of the day, else `close-of-business`."""
    rolls: str = ""
    cutoff: Mapping[str, str] = {}
    """Choice of `cutoff_by` to time of day, `close-of-business` or `none`."""
    cutoff_by: str = ""

    def settle(self, settings: Mapping[str, str], calendar: str) -> Length:
        """The length under *settings* on the calendar of that key. Raises SettingMissing, ValueError."""
        length: Length = _chosen(self.length, self.length_by, settings)
        cutoff = _chosen(self.cutoff, self.cutoff_by, settings) if self.cutoff else "none"
        return replace(
            length,
            calendar="" if length.unit is Unit.SECONDS else calendar,
            same_day=self.same_day,
            ends_s=_time(self.ends, settings) if self.ends else 0,
            rolls=self.rolls,
            cutoff_s=0 if cutoff == "none" else _time(cutoff, settings),
        )


class OtherReading(msgspec.Struct, frozen=True, kw_only=True):
    """Another way to read ambiguous law. The earlier deadline is ours; this one is shown beside it."""

    why: str
    reading: Reading
    if_due_from: date | None = None
    """Only when the deadline falls on or after this day."""


class PackClock(msgspec.Struct, frozen=True, kw_only=True):
    """One clock of a pack."""

    name: str
    paragraph: str
    what: str
    starts: tuple[str, ...]
    """Moments (`milestone:aware`), the first of which starts it; each of which does when `again_each`."""
    counts_from: str = ""
    """Moment from whose time it counts, when that is not the one that starts it."""
    reading: Reading
    other: tuple[OtherReading, ...] = ()
    meets: tuple[str, ...]
    needs_all: bool = False
    ended_by: tuple[tuple[str, str], ...] = ()
    unless_live: tuple[str, ...] = ()
    unless_done: bool = False
    again_each: bool = False
    emergency: bool = False
    """In scope from the pack's first day, whatever the hazard's phase."""
    pausable: bool = False
    extend: Length | None = None
    extend_level: str = ""
    """The level whose role may put it off; empty for anybody who may act."""
    warnings: tuple[str, ...] = ()
    ladder: tuple[tuple[int, str], ...] = ()
    """Seconds past the breach, and the level told; the rule says which role a level is."""
    force_from: date | None = None
    force_to: date | None = None
    """Last day in force."""


class Pack(msgspec.Struct, frozen=True, kw_only=True):
    """One regime."""

    name: str
    title: str
    instrument: str
    read: date
    """When the source was last read."""
    force_from: date
    force_to: date | None = None
    calendars: tuple[str, ...]
    """Names of those it may be counted on; the first unless somebody says otherwise."""
    opens: str
    """Moment that an opening reaches unless the rule says otherwise."""
    notes: tuple[str, ...] = ()
    settings: Mapping[str, Setting] = {}
    milestones: Mapping[str, MilestoneSpec] = {}
    phases: tuple[Phase, ...] = ()
    clocks: Mapping[str, PackClock] = {}

    @property
    def hazards(self) -> tuple[str, ...]:
        return tuple(hazard for phase in self.phases for hazard in phase.hazards)

    def settled(self, said: Mapping[str, str]) -> dict[str, str]:
        """*said* with the defaults of what it leaves out. Raises ValueError for a name or value it does not know."""
        for name, value in said.items():
            setting = self.settings.get(name)
            if setting is None:
                known = ", ".join(sorted(self.settings)) or "nothing"
                raise ValueError(f"{self.name} knows no setting {name}; it takes: {known}")
            if setting.one_of and value not in setting.one_of:
                raise ValueError(f"{name} is {value!r}; say one of {', '.join(setting.one_of)}")
            if not setting.one_of:
                time_of_day(value)
        return {**{s.name: s.default for s in self.settings.values() if s.default}, **said}

    def in_force(self, clock: PackClock, day: date, hazard: str = "") -> str:
        """Why *clock* does not run for something of that local day; empty when it does."""
        first = clock.force_from or self.force_from
        if day < first:
            return f"{self.name} {clock.name} is in force from {first}"
        last = clock.force_to or self.force_to
        if last is not None and day > last:
            return f"{self.name} {clock.name} was in force until {last}"
        if hazard and self.phases and not clock.emergency:
            phase = next((p for p in self.phases if hazard in p.hazards), None)
            if phase is None:
                return f"{hazard} is in no phase of {self.name} with a date"
            if day < phase.starts:
                return f"{hazard} comes into {self.name} on {phase.starts}"
        return ""

    def specs(
        self, *, calendar: Calendar, roles: Mapping[str, str], hazard: str, settings: Mapping[str, str]
    ) -> tuple[ClockSpec, ...]:
        """The clocks as a case runs them, on *calendar*; *roles* says which role of the roster a level is."""
        settled = self.settled(settings)
        return tuple(
            self._spec(clock, choice, calendar, roles, hazard, settled)
            for clock in self.clocks.values()
            for choice in clock.reading.length
        )

    def _spec(
        self,
        clock: PackClock,
        choice: str,
        calendar: Calendar,
        roles: Mapping[str, str],
        hazard: str,
        settings: Mapping[str, str],
    ) -> ClockSpec:
        by = {clock.reading.length_by: choice} if clock.reading.length_by else {}
        length = clock.reading.settle({**settings, **by}, calendar.key)
        # What was found chooses the length where the pack says so: `investigated:emergency` starts the one for it.
        starts = tuple(s for s in clock.starts if not choice or s.endswith(f":{choice}"))
        first = clock.force_from or self.force_from
        if hazard and self.phases and not clock.emergency:
            phase = next((p for p in self.phases if hazard in p.hazards), None)
            first = max(first, phase.starts if phase else date(9000, 1, 1))
        last = clock.force_to or self.force_to
        elapsed = length.unit is Unit.SECONDS
        return ClockSpec(
            name=clock.name,
            length_s=length.n if elapsed else estimate_s(length),
            meets=clock.meets,
            warnings=clock.warnings,
            ladder=tuple(Rung(after, roles[level]) for after, level in clock.ladder if level in roles),
            pausable=clock.pausable,
            extendable_s=clock.extend.n if clock.extend is not None and elapsed else 0,
            length=None if elapsed else length,
            law=f"{self.name} {clock.paragraph}: {clock.what}",
            begins=starts,
            ended_by=clock.ended_by,
            unless_live=clock.unless_live,
            unless_done=clock.unless_done,
            needs_all=clock.needs_all,
            again_each=clock.again_each,
            counts_from=clock.counts_from,
            extend=None if elapsed or clock.extend is None else replace(clock.extend, calendar=calendar.key),
            extend_by=(roles[clock.extend_level],) if clock.extend_level in roles else (),
            from_at=_midnight(first, calendar),
            hazard=hazard,
            to_at=Instant(0) if last is None else _midnight(last + timedelta(days=1), calendar),
        )

    @property
    def levels(self) -> frozenset[str]:
        """The levels that its ladders tell."""
        told = {level for clock in self.clocks.values() for _, level in clock.ladder}
        return frozenset(told | {clock.extend_level for clock in self.clocks.values() if clock.extend_level})


def _midnight(day: date, calendar: Calendar) -> Instant:
    return Instant(int(datetime.combine(day, datetime.min.time(), calendar.zone).timestamp()))


def _chosen(of: Mapping[str, Any], by: str, settings: Mapping[str, str]) -> Any:
    if not by:
        return of[""]
    if by not in settings:
        raise SettingMissing(f"say {by}={'|'.join(of)}")
    return of[settings[by]]


def _time(text: str, settings: Mapping[str, str]) -> int:
    value = settings.get(text, "") if text == CLOSE_OF_BUSINESS else text
    hours, _, seconds = value.rpartition(":") if value.count(":") == 2 else (value, "", "0")
    return time_of_day(hours) + int(seconds)


# -- reading -------------------------------------------------------------------------------------------------------


_TOP = (
    "pack", "title", "instrument", "read", "in_force", "calendars", "opens", "notes", "settings", "milestones",
    "phases", "clocks",
)  # fmt: skip
_READING = ("length", "day_one", "ends", "rolls", "cutoff")
_CLOCK = (
    *_READING, "paragraph", "what", "in_force", "starts", "counts_from", "again", "met_by", "needs", "ended_by",
    "unless_live", "unless_done", "emergency", "pausable", "extend", "warn", "escalate", "other_readings",
)  # fmt: skip


def parse_pack(sheet: Sheet, name: str, text: str, calendars: Mapping[str, Calendar]) -> Pack | None:
    """The pack written in *text*; None, with problems noted, when it is none."""
    root = sheet.parse(text)
    if root is None:
        return None
    return _Reader(sheet, name, calendars).pack(root)


def moment(text: str) -> str:
    """`aware` as the moment `milestone:aware`; verbs and references to clocks stay as they are."""
    head = text.partition(":")[0]
    return text if text in VERBS or head in _CLOCK_REFERENCES else f"milestone:{text}"


class _Reader:
    def __init__(self, sheet: Sheet, name: str, calendars: Mapping[str, Calendar]) -> None:
        self.sheet, self.name, self.calendars = sheet, name, calendars
        self.settings: dict[str, Setting] = {}

    def pack(self, root: YamlNode) -> Pack:
        sheet = self.sheet
        top = sheet.map(root, _TOP, ("pack", "title", "instrument", "read", "in_force", "calendars", "opens", "clocks"))
        if "pack" in top and sheet.text(top["pack"]) != self.name:
            sheet.problem(top["pack"], sheet.text(top["pack"]), f"{self.name}, the name of the file")
        first, last = self._force(top.get("in_force"))
        for node in sheet.list(top.get("calendars")):
            if sheet.text(node) not in self.calendars:
                sheet.problem(node, f"the calendar {sheet.text(node)}", one_of(self.calendars, sheet.text(node)))
        self.settings = {name: self._setting(name, node) for name, node in sheet.map(top.get("settings"), None).items()}
        milestones = {n: self._milestone(n, node) for n, node in sheet.map(top.get("milestones"), None).items()}
        clocks = {n: self._clock(n, node) for n, node in sheet.map(top.get("clocks"), None).items()}
        self._references(top.get("clocks"), clocks)
        self._cycles(top.get("milestones", root), milestones)
        return Pack(
            name=self.name,
            title=sheet.text(top.get("title")),
            instrument=sheet.text(top.get("instrument")),
            read=sheet.read(top.get("read"), date.fromisoformat, date(1970, 1, 1), "a date like 2026-11-23"),
            force_from=first or date(1970, 1, 1),
            force_to=last,
            calendars=sheet.texts(top.get("calendars")) or ("",),
            opens=sheet.text(top.get("opens")),
            notes=sheet.texts(top.get("notes")),
            settings=self.settings,
            milestones=milestones,
            phases=tuple(self._phase(node) for node in sheet.list(top.get("phases"))),
            clocks=clocks,
        )

    def _force(self, node: YamlNode | None) -> tuple[date | None, date | None]:
        sheet = self.sheet
        fields = sheet.map(node, ("from", "to"))
        day = "a date like 2025-10-27"
        first = sheet.read(fields.get("from"), date.fromisoformat, None, day)
        last = sheet.read(fields.get("to"), date.fromisoformat, None, day)
        if node is not None and first and last and last < first:
            sheet.problem(node, f"in force from {first} to {last}", "an end on or after its start")
        return first, last

    def _setting(self, name: str, node: YamlNode) -> Setting:
        fields = self.sheet.map(node, ("one_of", "default", "what"))
        choices, default = self.sheet.texts(fields.get("one_of")), self.sheet.text(fields.get("default"))
        if default and choices and default not in choices:
            self.sheet.problem(fields["default"], default, one_of(choices, default))
        return Setting(name=name, one_of=choices, default=default, what=self.sheet.text(fields.get("what")))

    def _milestone(self, name: str, node: YamlNode) -> MilestoneSpec:
        fields = self.sheet.map(node, ("after", "finding", "new_owner"))
        return MilestoneSpec(
            name=name,
            after=self.sheet.texts(fields.get("after")),
            finding=self.sheet.texts(fields.get("finding")),
            new_owner=self.sheet.flag(fields.get("new_owner")),
        )

    def _cycles(self, node: YamlNode, milestones: Mapping[str, MilestoneSpec]) -> None:
        """A milestone that can only follow itself would never be reached."""
        reachable: set[str] = set()
        while True:
            fresh = {
                m.name
                for m in milestones.values()
                if m.name not in reachable
                and (not m.after or any(a in reachable or a not in milestones for a in m.after))
            }
            if not fresh:
                break
            reachable |= fresh
        if stuck := sorted(set(milestones) - reachable):
            self.sheet.problem(node, f"a cycle of milestones: {', '.join(stuck)}", "milestones that can be reached")

    def _phase(self, node: YamlNode) -> Phase:
        fields = self.sheet.map(node, ("from", "hazards"), ("from", "hazards"))
        starts = self.sheet.read(fields.get("from"), date.fromisoformat, date(1970, 1, 1), "a date like 2025-10-27")
        return Phase(starts, self.sheet.texts(fields.get("hazards")))

    def _clock(self, name: str, node: YamlNode) -> PackClock:
        sheet = self.sheet
        fields = sheet.map(node, _CLOCK, ("paragraph", "starts", "length", "met_by"))
        first, last = self._force(fields.get("in_force"))
        reading = self._counting(fields, None)
        extension = sheet.map(fields.get("extend"), ("by", "who"), ("by",))
        extend = extension.get("by")
        by = sheet.read(extend, parse_length, None, "a length like 10 working days")
        if by is not None:
            units = {length.unit for length in reading.length.values()}
            if extend is not None and (by.unit is Unit.SECONDS) != (units == {Unit.SECONDS}):
                sheet.problem(extend, by.in_words, "a length of the clock's own kind, elapsed or days")
        for warning in sheet.list(fields.get("warn")):
            sheet.read(warning, check_warning, None, "a share like 50%, or 2 working days before, or 3 hours before")
        ladder = []
        for member in sheet.list(fields.get("escalate")):
            rung = sheet.map(member, ("after", "to"), ("to",))
            after = sheet.read(rung.get("after"), parse_span, 0, "a span like 24h")
            ladder.append((after, sheet.text(rung.get("to"))))
        return PackClock(
            name=name,
            paragraph=sheet.text(fields.get("paragraph")),
            what=sheet.text(fields.get("what")),
            starts=tuple(moment(t) for t in sheet.texts(fields.get("starts"))),
            counts_from=moment(sheet.text(fields["counts_from"])) if "counts_from" in fields else "",
            reading=reading,
            other=tuple(self._other(n, fields) for n in sheet.list(fields.get("other_readings"))),
            meets=tuple(moment(t) for t in sheet.texts(fields.get("met_by"))),
            needs_all=sheet.choice(fields.get("needs"), {"all": True, "any": False}, False),
            ended_by=tuple((moment(m), sheet.text(why)) for m, why in sheet.map(fields.get("ended_by"), None).items()),
            unless_live=sheet.texts(fields.get("unless_live")),
            unless_done=sheet.flag(fields.get("unless_done")),
            again_each=sheet.choice(fields.get("again"), {"each": True, "first": False}, False),
            emergency=sheet.flag(fields.get("emergency")),
            pausable=sheet.flag(fields.get("pausable")),
            extend=by,
            extend_level=sheet.text(extension.get("who")),
            warnings=sheet.texts(fields.get("warn")),
            ladder=tuple(sorted(ladder)),
            force_from=first,
            force_to=last,
        )

    def _other(self, node: YamlNode, of: Mapping[str, YamlNode]) -> OtherReading:
        fields = self.sheet.map(node, (*_READING, "why", "if_due_from"), ("why",))
        return OtherReading(
            why=self.sheet.text(fields.get("why")),
            reading=self._counting({**{k: of[k] for k in _READING if k in of}, **fields}, fields),
            if_due_from=self.sheet.read(fields.get("if_due_from"), date.fromisoformat, None, "a date like 2026-04-08"),
        )

    def _counting(self, fields: Mapping[str, YamlNode], own: Mapping[str, YamlNode] | None) -> Reading:
        sheet = self.sheet
        lengths, length_by = self._choices(fields.get("length"))
        cutoffs, cutoff_by = self._choices(fields.get("cutoff"))
        length = {
            choice: sheet.read(node, parse_length, Length(1, Unit.DAYS), "a length like 24 hours or 10 working days")
            for choice, node in lengths.items()
        }
        times = {choice: sheet.text(node) for choice, node in cutoffs.items()}
        for choice, node in cutoffs.items():
            self._check_time(node, times[choice], ("none", CLOSE_OF_BUSINESS))
        ends = sheet.text(fields.get("ends"))
        if "ends" in fields:
            self._check_time(fields["ends"], ends, (CLOSE_OF_BUSINESS,))
        days = {"next day": False, "same day": True}
        return Reading(
            length=length,
            length_by=length_by,
            same_day=sheet.choice(fields.get("day_one"), days, False),
            ends=ends,
            rolls=sheet.choice(fields.get("rolls"), {"working": "working", "bank": "bank"}, ""),
            cutoff=times,
            cutoff_by=cutoff_by,
        )

    def _choices(self, node: YamlNode | None) -> tuple[dict[str, YamlNode], str]:
        """A plain value, or `{by: <setting>, <choice>: <value> …}`."""
        if node is None:
            return {}, ""
        if not isinstance(node.value, list):
            return {"": node}, ""
        fields = self.sheet.map(node, None, ("by",))
        by = self.sheet.text(fields.pop("by", None))
        setting = self.settings.get(by)
        if setting is None or set(setting.one_of) != set(fields):
            wanted = f"each of {', '.join(setting.one_of)}" if setting else one_of(self.settings, by)
            self.sheet.problem(node, f"by {by}: {', '.join(fields)}", wanted)
        return fields, by

    def _check_time(self, node: YamlNode, text: str, words: tuple[str, ...]) -> None:
        if text in words and (text != CLOSE_OF_BUSINESS or CLOSE_OF_BUSINESS in self.settings):
            return
        try:
            _time(text, {})
        except ValueError:
            self.sheet.problem(node, text, f"a time like 17:00, or {' or '.join(words)} with a setting of that name")

    def _references(self, node: YamlNode | None, clocks: Mapping[str, PackClock]) -> None:
        """`breach:x`, `extended:x` and `unless_live` name clocks of this pack, and no clock starts itself."""
        for name, entry in self.sheet.map(node, None).items():
            clock = clocks[name]
            for other in clock.unless_live:
                if other not in clocks:
                    self.sheet.problem(entry, f"unless_live: {other}", one_of(clocks, other))
            seen, waiting = {name}, [clock]
            while waiting:
                for start in waiting.pop().starts:
                    head, _, other = start.partition(":")
                    if head not in _CLOCK_REFERENCES:
                        continue
                    if other not in clocks:
                        self.sheet.problem(entry, start, one_of(clocks, other))
                    elif other == name:
                        self.sheet.problem(entry, f"a cycle: {name} starts from itself", "a moment that comes first")
                    elif other not in seen:
                        seen.add(other)
                        waiting.append(clocks[other])
