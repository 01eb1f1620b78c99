"""The rules of a set, read and checked: conditions, cases, clocks, and the clocks of the packs they use."""

import json
from collections.abc import Mapping
from hashlib import blake2b
from typing import Any, Protocol

import cel
import msgspec

from feedback.instants import parse_span
from feedback.metrics import Metric
from rules.calendar import Calendar
from rules.conditions import Line, check_result
from rules.conditions import check as check_line
from rules.facts import Facts, Vocabulary
from rules.length import Length, Unit, estimate_s, parse_length
from rules.model import OUTCOME_FIELDS, CaseSpec, ClockSpec, ClockStart, MilestoneSpec, Priority, Rung
from rules.packs import Pack, moment
from rules.problems import one_of
from rules.roster import Roster
from rules.ruleset import Rule
from rules.samples import full_facts
from rules.warnings import check_warning
from rules.yaml import Sheet, YamlNode, plain

MAX_RULES = 2000
_PRIORITIES = {p.name.lower(): p for p in Priority}
_STARTS = {s.value: s for s in ClockStart}
_MEETS: Mapping[str, tuple[str, ...]] = {
    "acknowledge": ("acknowledge",),
    "first_response": ("contact", "resolve"),
    "update": ("contact",),
    "resolve": ("resolve",),
    "idle": ("activity",),
    "confirm": ("confirm", "close"),
}
"""What meets a clock of a usual name; any other says `met_by`."""
_MEETERS = frozenset(
    {"acknowledge", "start", "wait", "note", "contact", "resolve", "confirm", "close", "activity", "escalate"}
)
_RULE_KEYS = ("id", "title", "when", "only", "case")
_CASE_KEYS = (
    "type", "subject", "priority", "owner", "fallback", "acknowledge_within", "acknowledgement", "notice",
    "next_best_action", "statutory", "reopen_for", "clocks", "packs", "issue", "closing",
)  # fmt: skip
_CLOCK_KEYS = (
    "within", "every", "after", "met_by", "starts", "warn", "escalate", "pausable", "extendable", "calendar",
)  # fmt: skip
_PACK_KEYS = ("hazard", "reaches", "roles", "calendar", "settings")


class Files(Protocol):
    """The other files that a rule may name."""

    def law(self) -> tuple[dict[str, Pack], dict[str, Calendar]]:
        """Packs and calendars by name."""

    def calendar_named(self, sheet: Sheet, node: YamlNode | None) -> Calendar | None:
        """The calendar that *node* names; None, with a problem noted, when there is none."""

    def template_named(self, sheet: Sheet, node: YamlNode | None) -> str:
        """The name of the template that *node* asks for, once it is known to be there."""


def has_window(node: YamlNode) -> bool:
    """Whether a rule is one with memory."""
    return "window" in Sheet("", []).map(node, None)


class RuleReader:
    """The rules of one set."""

    def __init__(
        self,
        files: Files,
        sheet: Sheet,
        words: Vocabulary,
        roster: Roster,
        patterns: Mapping[str, Any],
        metrics: Mapping[str, Metric],
    ) -> None:
        self._files, self._sheet, self._words, self._roster = files, sheet, words, roster
        self._full: Facts = full_facts(words, patterns, metrics)
        self._context = cel.Context(self._full.tree())
        self.calendar: Calendar | None = None
        """The set's own, for clocks that count on one and name none."""
        self.ids: set[str] = set()
        """Of all the rules, those with a window too."""

    def read(self, node: YamlNode | None) -> list[Rule]:
        """The rules without memory; `parse_windows.py` reads those with a `window`."""
        rules: list[Rule] = []
        members = list(self._sheet.list(node))
        for member in members:
            if not has_window(member):
                rules.append(self._rule(member))
            name = self.id_of(member)
            if name in self.ids:
                self._sheet.problem(member, f"the rule {name} a second time", "an id of its own")
            self.ids.add(name)
        if node is not None and not members:
            self._sheet.problem(node, "no rules", "at least one")
        if node is not None and len(members) > MAX_RULES:
            self._sheet.problem(node, f"{len(members)} rules", f"at most {MAX_RULES}")
        return rules

    def id_of(self, node: YamlNode) -> str:
        """The id that a rule gives itself; empty when it gives none, which is a problem noted elsewhere."""
        quiet = Sheet("", [])
        return quiet.text(quiet.map(node, None).get("id"))

    def _rule(self, node: YamlNode) -> Rule:
        fields = self._sheet.map(node, _RULE_KEYS, ("id", "when", "case"))
        return self.asking(node, fields, fields.get("when"), self.case(fields.get("case")))

    def asking(
        self, node: YamlNode, fields: Mapping[str, YamlNode], conditions: YamlNode | None, case: CaseSpec
    ) -> Rule:
        """The rule of *fields*, whose place is *node*, that fires when the lines below *conditions* hold."""
        sheet = self._sheet
        when = sheet.map(conditions, ("all", "any", "none"))
        if conditions is not None and not when:
            sheet.problem(conditions, "no condition", "all:, any: or none: with lines below it")
        only = sheet.map(fields.get("only"), ("sites", "segments"))
        written = json.dumps(plain(node), sort_keys=True, ensure_ascii=False)
        return Rule(
            id=sheet.text(fields.get("id")),
            version=blake2b(written.encode(), digest_size=4).hexdigest(),
            title=sheet.text(fields.get("title")),
            all=self._lines(when.get("all")),
            any=self._lines(when.get("any")),
            none=self._lines(when.get("none")),
            sites=frozenset(sheet.texts(only.get("sites"))),
            segments=frozenset(sheet.texts(only.get("segments"))),
            case=case,
        )

    def _lines(self, node: YamlNode | None) -> tuple[Line, ...]:
        lines = []
        for member in self._sheet.list(node):
            source = self._sheet.text(member)
            wrong = check_line(source, self._words)
            if not wrong:
                line = Line(source)
                wrong = check_result(line, self._full, self._context)
                lines.append(line)
            for found, expected in wrong:
                self._sheet.problem(member, found, expected)
        return tuple(lines)

    def case(self, node: YamlNode | None) -> CaseSpec:
        """What to open, as written below `case`."""
        sheet, files = self._sheet, self._files
        fields = sheet.map(node, _CASE_KEYS, ("type", "owner"))
        clocks = [self._clock(name, entry) for name, entry in sheet.map(fields.get("clocks"), None).items()]
        if "acknowledge_within" in fields:
            within = sheet.read(fields["acknowledge_within"], parse_span, 3600, "a span like 15m")
            clocks.insert(0, ClockSpec("acknowledge", within, ("acknowledge",), takeover=True))
        reaches: list[str] = []
        hazards: list[str] = []
        milestones: dict[str, MilestoneSpec] = {}
        for name, entry in sheet.map(fields.get("packs"), None).items():
            found = self._pack(name, entry)
            if found is not None:
                specs, reached, known = found
                hazards += [spec.hazard for spec in specs[:1] if spec.hazard]
                clocks += specs
                reaches += reached
                milestones |= known
        subject = sheet.text(fields.get("subject"))
        if subject and subject != "theme" and subject not in self._words.kinds:
            sheet.problem(fields["subject"], subject, "theme, or attributes.<a declared name>")
        return CaseSpec(
            type=sheet.text(fields.get("type"), "case"),
            subject=subject,
            priority=sheet.choice(fields.get("priority"), _PRIORITIES, Priority.NORMAL),
            role=self._role(fields.get("owner")),
            fallback_role=self._role(fields.get("fallback")),
            clocks=tuple(clocks),
            reaches=tuple(reaches),
            milestones=tuple(milestones.values()),
            hazard=next(iter(hazards), ""),
            issue=sheet.text(fields.get("issue"), next(iter(hazards), "")),
            closing=tuple(dict.fromkeys((*OUTCOME_FIELDS, *sheet.texts(fields.get("closing"))))),
            acknowledgement=files.template_named(sheet, fields.get("acknowledgement")),
            notice=files.template_named(sheet, fields.get("notice")),
            next_best_action=sheet.text(fields.get("next_best_action")),
            statutory=sheet.flag(fields.get("statutory"), bool(milestones)),
            reopen_for_s=sheet.read(fields.get("reopen_for"), parse_span, 90 * 86_400, "a span like 90d"),
        )

    def _pack(
        self, name: str, node: YamlNode
    ) -> tuple[tuple[ClockSpec, ...], list[str], Mapping[str, MilestoneSpec]] | None:
        """The clocks of a pack, the moments that an opening reaches, and the milestones it knows."""
        sheet = self._sheet
        packs, calendars = self._files.law()
        pack = packs.get(name)
        if pack is None:
            sheet.problem(node, f"the pack {name}", one_of(packs, name))
            return None
        fields = sheet.map(node, _PACK_KEYS)
        calendar = sheet.text(fields.get("calendar"), pack.calendars[0])
        if calendar not in pack.calendars:
            sheet.problem(fields["calendar"], f"the calendar {calendar}", one_of(pack.calendars, calendar))
            calendar = pack.calendars[0]
        hazard = sheet.text(fields.get("hazard"))
        if hazard and hazard not in pack.hazards:
            sheet.problem(fields["hazard"], f"the hazard {hazard}", one_of(pack.hazards, hazard))
        roles = {level: self._role(role) for level, role in sheet.map(fields.get("roles"), None).items()}
        for level in sorted(pack.levels - roles.keys()):
            sheet.problem(node, f"no role for the {level}, whom {name} asks for", f"roles: {{{level}: …}}")
        reaches = [moment(text) for text in sheet.texts(fields.get("reaches")) or (pack.opens,)]
        starts = {m for clock in pack.clocks.values() for m in (*clock.starts, clock.counts_from)}
        for reached in reaches:
            if reached not in starts:
                known = [m.removeprefix("milestone:") for m in starts if m]
                sheet.problem(fields.get("reaches", node), reached.removeprefix("milestone:"), one_of(known))
        settings = {k: sheet.text(v) for k, v in sheet.map(fields.get("settings"), None).items()}
        if calendar not in calendars:
            return None
        try:
            specs = pack.specs(calendar=calendars[calendar], roles=roles, hazard=hazard, settings=settings)
        except ValueError as error:
            sheet.problem(fields.get("settings", node), str(error), "what the pack needs to know")
            return None
        return specs, reaches, pack.milestones

    def _role(self, node: YamlNode | None) -> str:
        role = self._sheet.text(node)
        if node is not None and role not in self._roster.roles:
            self._sheet.problem(node, f"the role {role}", one_of(self._roster.roles, role))
        return role

    def _clock(self, name: str, node: YamlNode) -> ClockSpec:
        sheet = self._sheet
        fields = sheet.map(node, _CLOCK_KEYS)
        spans = [key for key in ("within", "every", "after") if key in fields]
        if len(spans) != 1:
            sheet.problem(node, f"{' and '.join(spans) or 'no length'}", "one of within: 4h, every: 24h or after: 8h")
        written = fields.get(spans[0]) if spans else None
        text = sheet.text(written).strip()
        counted = self._counted(written, text, fields) if " " in text and text[-1:].isalpha() else None
        if counted is not None:
            length = estimate_s(counted)
        else:
            length = sheet.read(written, parse_span, 3600, "a span like 4h, or a length like 2 working days")
        met_by = sheet.texts(fields.get("met_by")) or _MEETS.get(name, ())
        if not met_by:
            sheet.problem(node, f"the clock {name} that nothing meets", f"met_by: {one_of(_MEETERS)}")
        for verb in met_by:
            if verb not in _MEETERS and not verb.startswith("milestone:"):
                sheet.problem(fields["met_by"], verb, one_of(_MEETERS, verb) + " or milestone:<name>")
        restarts = "after" in fields
        if restarts and "activity" not in met_by:
            met_by = (*met_by, "activity")
        return ClockSpec(
            name=name,
            length_s=length,
            meets=met_by,
            starts=sheet.choice(fields.get("starts"), _STARTS, ClockStart.OPENED),
            recurring="every" in fields,
            restarts=restarts,
            warn_s=() if counted else self._warnings(fields.get("warn"), length),
            ladder=self._ladder(fields.get("escalate")),
            pausable=sheet.flag(fields.get("pausable")),
            extendable_s=0 if counted else sheet.read(fields.get("extendable"), parse_span, 0, "a span like 24h"),
            length=counted,
            warnings=self._warnings_as_written(fields.get("warn")) if counted else (),
            extend=self._extension(fields.get("extendable"), counted),
        )

    def _counted(self, node: YamlNode | None, text: str, fields: Mapping[str, YamlNode]) -> Length | None:
        """A length on a calendar (`2 working days`, `4 working hours`); None for an elapsed one."""
        try:
            length = parse_length(text)
        except ValueError:
            return None
        if length.unit is Unit.SECONDS:
            return None
        calendar = self.calendar
        if "calendar" in fields:
            calendar = self._files.calendar_named(self._sheet, fields["calendar"])
        elif calendar is None and node is not None:
            self._sheet.problem(node, f"{text} without a calendar", "calendar: … on the clock or on the set")
        return msgspec.structs.replace(length, calendar=calendar.key if calendar else "")

    def _extension(self, node: YamlNode | None, counted: Length | None) -> Length | None:
        if node is None or counted is None:
            return None
        by = self._sheet.read(node, parse_length, None, "a length like 2 working days")
        return None if by is None else msgspec.structs.replace(by, calendar=counted.calendar)

    def _warnings_as_written(self, node: YamlNode | None) -> tuple[str, ...]:
        for member in self._sheet.list(node):
            self._sheet.read(member, check_warning, None, "a share like 50%, or 2 working days before")
        return self._sheet.texts(node)

    def _warnings(self, node: YamlNode | None, length: int) -> tuple[int, ...]:
        """Seconds before the deadline, the earliest warning first, of `50%` and `3h before`."""
        before: set[int] = set()
        for member in self._sheet.list(node):
            text = self._sheet.text(member).strip()
            try:
                if text.endswith("%"):
                    share = float(text[:-1])
                    seconds = length - int(length * share / 100) if 0 < share < 100 else 0
                else:
                    seconds = parse_span(text.removesuffix("before"))
                if not 0 < seconds < length:
                    raise ValueError(text)
            except ValueError:
                self._sheet.problem(member, text, "a share like 75%, or 3h before, within the clock's own time")
                continue
            before.add(seconds)
        return tuple(sorted(before, reverse=True))

    def _ladder(self, node: YamlNode | None) -> tuple[Rung, ...]:
        rungs = []
        for member in self._sheet.list(node):
            fields = self._sheet.map(member, ("after", "to"), ("to",))
            after = self._sheet.read(fields.get("after"), parse_span, 0, "a span like 1h")
            rungs.append(Rung(after, self._role(fields.get("to"))))
        return tuple(sorted(rungs, key=lambda rung: rung.after_s))
