"""The files that people edit, read and checked whole: sets, taxonomies, rosters, templates.

`load` reads a set from a directory, `load_text` from texts (a set that was stored), `check` every file there is.
Nothing is taken that has a problem, and all the problems of all the files are told at once. The format is told
for its readers in `rules/README.md`.
"""

import json
from collections.abc import Callable, Mapping
from hashlib import blake2b
from pathlib import Path
from typing import Any

import cel
import msgspec
import re2
from ruamel.yaml.nodes import Node as YamlNode

from feedback.instants import Instant, parse_instant, parse_span
from feedback.metrics import Metric
from rules.calendar import Calendar, zone_name
from rules.conditions import Line, check_result
from rules.conditions import check as check_line
from rules.facts import LISTS, PLAIN, SENTIMENT, Facts, Vocabulary
from rules.length import Length, Unit, estimate_s, parse_length
from rules.model import OUTCOME_FIELDS, CaseSpec, ClockSpec, ClockStart, MilestoneSpec, Priority, Rung
from rules.packs import Pack, moment
from rules.problems import Problem, RuleFileErrors, one_of
from rules.roster import Away, Person, Role, Roster
from rules.ruleset import Rule, RuleSet
from rules.samples import full_facts
from rules.shipped import law_of, law_texts, read_law
from rules.taxonomies import parse_taxonomy
from rules.templates import Template, parse_template
from rules.warnings import check_warning
from rules.yaml import Sheet, plain
from scoring.taxonomy import Matcher, Node, Taxonomy

MAX_RULES = 2000
DEFAULT_ZONE = "Europe/London"
"""In which people are told times, where neither the set nor its calendar says another."""
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
_SET_KEYS = ("set", "taxonomies", "roster", "attributes", "patterns", "staff", "rules", "calendar", "zone")
_PACK_KEYS = ("hazard", "reaches", "roles", "calendar", "settings")
_RULE_KEYS = ("id", "title", "when", "only", "case")
_CASE_KEYS = (
    "type", "subject", "priority", "owner", "fallback", "acknowledge_within", "acknowledgement", "notice",
    "next_best_action", "statutory", "reopen_for", "clocks", "packs", "issue", "closing",
)  # fmt: skip
_CLOCK_KEYS = (
    "within", "every", "after", "met_by", "starts", "warn", "escalate", "pausable", "extendable", "calendar",
)  # fmt: skip

Texts = Mapping[str, str]
"""Path below the rules directory, with forward slashes, to the text of the file."""


def load(directory: Path, set_name: str, metrics: Mapping[str, Metric]) -> RuleSet:
    """The set of that name below *directory*. Raises RuleFileErrors with every problem of every file."""
    return load_text(files_of(directory, set_name), set_name, metrics)


def files_of(directory: Path, set_name: str) -> dict[str, str]:
    """The texts of every file that the set is made of. Raises RuleFileErrors when one cannot be read."""
    problems: list[Problem] = []
    texts: dict[str, str] = {}

    def take(path: str, wanted_by: str = "") -> str:
        if path not in texts:
            text = _read(directory, path, wanted_by, problems)
            if text is None:
                return ""
            texts[path] = text
        return texts[path]

    quiet = Sheet("", [])  # the real reading, with its problems, comes after; here only names are wanted
    own = f"sets/{set_name}.yaml"
    root = quiet.parse(take(own)) if take(own) else None
    named = quiet.map(root, None)
    for name in quiet.texts(named.get("taxonomies")):
        take(f"taxonomies/{name}.yaml", own)
    if roster := quiet.text(named.get("roster")):
        take(f"rosters/{roster}.yaml", own)
    if staff := quiet.text(named.get("staff")):
        take(f"rosters/{staff}.txt", own)
    for path in sorted((directory / "templates").glob("*.txt")):
        if path.stem in texts.get(own, ""):
            take(f"templates/{path.name}")
    texts |= law_of(texts.get(own, ""), law_texts(directory))
    if problems:
        raise RuleFileErrors(problems)
    return texts


def _read(directory: Path, path: str, wanted_by: str, problems: list[Problem]) -> str | None:
    try:
        return (directory / path).read_text(encoding="utf-8")
    except FileNotFoundError:
        where = directory / Path(path).parent
        there = [p.stem for p in where.glob(f"*{Path(path).suffix}")] if where.is_dir() else []
        file = str(directory / (wanted_by or path))
        problems.append(Problem(file, 1, 1, f"no file {path}", one_of(there, Path(path).stem)))
    except UnicodeDecodeError as error:
        problems.append(Problem(str(directory / path), 1, 1, f"a byte that is no UTF-8 at {error.start}", "UTF-8 text"))
    except OSError as error:
        problems.append(Problem(str(directory / path), 1, 1, str(error), "a file that can be read"))
    return None


def load_text(texts: Texts, set_name: str, metrics: Mapping[str, Metric], prefix: str = "") -> RuleSet:
    """The set of that name, from the texts of its files. *prefix* goes before file names in problems."""
    problems: list[Problem] = []
    rules = _Loader(texts, metrics, problems, prefix).rule_set(set_name)
    if rules is None or any(not p.warning for p in problems):
        raise RuleFileErrors(p for p in problems if not p.warning)
    return rules


def check(directory: Path, metrics: Mapping[str, Metric]) -> list[Problem]:
    """Every problem of every set, taxonomy, roster and template below *directory*, in order; warnings too."""
    problems: list[Problem] = []
    texts: dict[str, str] = {}
    for pattern in ("sets/*.yaml", "taxonomies/*.yaml", "rosters/*.yaml", "rosters/*.txt", "templates/*.txt"):
        for path in sorted(directory.glob(pattern)):
            name = path.relative_to(directory).as_posix()
            text = _read(directory, name, "", problems)
            if text is not None:
                texts[name] = text
    sets = [Path(name).stem for name in texts if name.startswith("sets/")]
    if not sets:
        problems.append(Problem(str(directory / "sets"), 1, 1, "no set", "at least one sets/<name>.yaml"))
    own_law = {p for p in law_texts(directory) if (directory / p).is_file()}
    texts |= law_texts(directory)
    loader = _Loader(texts, metrics, problems, f"{directory}/")
    used: set[str] = {name for name in texts if name.startswith(("packs/", "calendars/"))} - own_law
    for name in sets:
        loader.rule_set(name)
        used |= loader.used
    for name in texts:
        if name not in used:
            loader.read_alone(name)
            if name.startswith(("packs/", "calendars/")):
                continue  # the law need not be used to be worth having
            problems.append(Problem(f"{directory}/{name}", 1, 1, "a file that no set uses", "a use, or no file", True))
    return sorted(set(problems))


class _Loader:
    """Reads sets out of texts, noting problems; a file that two sets use is read, and complained of, once."""

    def __init__(self, texts: Texts, metrics: Mapping[str, Metric], problems: list[Problem], prefix: str) -> None:
        self._texts, self._metrics, self._problems, self._prefix = texts, metrics, problems, prefix
        self._read: dict[str, Any] = {}
        self._law: tuple[dict[str, Pack], dict[str, Calendar]] | None = None
        self.used: set[str] = set()

    def read_alone(self, name: str) -> None:
        """Check a file that no set uses."""
        folder, stem = name.split("/", 1)[0], Path(name).stem
        if folder in ("packs", "calendars"):
            self.law()
        elif folder == "taxonomies":
            self._taxonomy(stem)
        elif name.endswith(".yaml"):
            self._roster(stem)
        elif folder == "templates":
            self._template(stem)

    def _once(self, path: str, how: Callable[[str], Any]) -> Any:
        self.used.add(path)
        if path not in self._read:
            self._read[path] = how(self._texts[path])
        return self._read[path]

    def _sheet(self, path: str) -> Sheet:
        return Sheet(self._prefix + path, self._problems)

    def _file(self, sheet: Sheet, node: YamlNode | None, folder: str, name: str, suffix: str) -> bool:
        """Whether the file that *node* names is there; a problem when not."""
        if f"{folder}/{name}{suffix}" in self._texts:
            return True
        if node is not None:
            there = [Path(p).stem for p in self._texts if p.startswith(folder + "/") and p.endswith(suffix)]
            sheet.problem(node, f"no file {folder}/{name}{suffix}", one_of(there, name))
        return False

    def _taxonomy(self, name: str) -> Taxonomy:
        path = f"taxonomies/{name}.yaml"
        taxonomy: Taxonomy = self._once(path, lambda text: parse_taxonomy(self._sheet(path), name, text))
        return taxonomy

    def _template(self, name: str) -> Template:
        path = f"templates/{name}.txt"
        read = lambda text: parse_template(self._prefix + path, text, self._problems)  # noqa: E731
        template: Template = self._once(path, read)
        return template

    def law(self) -> tuple[dict[str, Pack], dict[str, Calendar]]:
        """The packs and calendars among the texts, read and complained of once."""
        if self._law is None:
            texts = {p: t for p, t in self._texts.items() if p.startswith(("packs/", "calendars/"))}
            self._law = read_law(texts, self._problems, self._prefix)
        return self._law

    # -- the set ------------------------------------------------------------------------------------------

    def rule_set(self, name: str) -> RuleSet | None:
        self.used = {f"sets/{name}.yaml"}
        sheet = self._sheet(f"sets/{name}.yaml")
        root = sheet.parse(self._texts[f"sets/{name}.yaml"])
        if root is None:
            return None
        top = sheet.map(root, _SET_KEYS, ("set", "roster", "rules"))
        if "set" in top and sheet.text(top["set"]) != name:
            sheet.problem(top["set"], sheet.text(top["set"]), f"{name}, the name of the file")
        taxonomies = []
        for node in sheet.list(top.get("taxonomies")):
            named = sheet.text(node)
            if self._file(sheet, node, "taxonomies", named, ".yaml"):
                taxonomies.append(self._taxonomy(named))
        roster = Roster({}, {})
        if "roster" in top and self._file(sheet, top["roster"], "rosters", sheet.text(top["roster"]), ".yaml"):
            roster = self._roster(sheet.text(top["roster"]))
        staff = self._staff(sheet, top.get("staff"))
        patterns = self._patterns(sheet, top.get("patterns"))
        words = self._vocabulary(sheet, top, taxonomies, patterns)
        self.used |= law_of(self._texts[f"sets/{name}.yaml"], self._texts).keys()
        calendar = self.calendar_named(sheet, top.get("calendar"))
        zone = sheet.read(top.get("zone"), zone_name, calendar.zone_name if calendar else DEFAULT_ZONE, "a zone")
        reader = _Rules(self, sheet, words, roster, patterns, self._metrics)
        reader.calendar = calendar
        rules = reader.read(top.get("rules"))
        templates = {
            Path(p).stem: self._template(Path(p).stem) for p in sorted(self.used) if p.startswith("templates/")
        }
        digest = json.dumps({p: self._texts[p] for p in sorted(self.used)}, sort_keys=True)
        return RuleSet(
            name=name,
            hash=blake2b(digest.encode(), digest_size=8).hexdigest(),
            rules=tuple(rules),
            roster=roster,
            templates=templates,
            taxonomies=tuple(taxonomies),
            patterns=patterns,
            staff=staff,
            calendars={c.key: c for c in self.law()[1].values()},
            zone=zone,
        )

    def calendar_named(self, sheet: Sheet, node: YamlNode | None) -> Calendar | None:
        """The calendar that *node* names; None, with a problem noted, when there is none."""
        name = sheet.text(node)
        calendars = self.law()[1]
        if node is not None and name not in calendars:
            sheet.problem(node, f"the calendar {name}", one_of(calendars, name))
        return calendars.get(name)

    def template_named(self, sheet: Sheet, node: YamlNode | None) -> str:
        """The name of the template that *node* asks for, once it is known to be there."""
        name = sheet.text(node)
        if node is None or not self._file(sheet, node, "templates", name, ".txt"):
            return ""
        self._template(name)
        return name

    def _staff(self, sheet: Sheet, node: YamlNode | None) -> Matcher:
        if node is None or not self._file(sheet, node, "rosters", sheet.text(node), ".txt"):
            return Matcher(())
        path = f"rosters/{sheet.text(node)}.txt"
        self.used.add(path)
        lines = [line.split("#")[0].strip() for line in self._texts[path].splitlines()]
        return Matcher(Node(path=name, title=name, phrases=(name,)) for name in lines if name)

    def _patterns(self, sheet: Sheet, node: YamlNode | None) -> dict[str, Any]:
        patterns: dict[str, Any] = {}
        options = re2.Options()
        options.case_sensitive = False
        options.log_errors = False
        for name, value in sheet.map(node, None).items():
            if not name.isidentifier():
                sheet.problem(value, f"the pattern name {name}", "letters, digits and _")
            parts = sheet.texts(value)
            # A list is of plain phrases; a single text is a pattern.
            is_list = getattr(value, "value", None) is not None and isinstance(value.value, list)
            source = "|".join(rf"\b{re2.escape(p)}\b" for p in parts) if is_list else "".join(parts)
            try:
                patterns[name] = re2.compile(source, options)
            except re2.error as error:
                sheet.problem(
                    value, f"{source[:60]!r} ({error})", "an RE2 pattern (no look-around, no back-references)"
                )
        return patterns

    def _vocabulary(
        self, sheet: Sheet, top: Mapping[str, YamlNode], taxonomies: list[Taxonomy], patterns: Mapping[str, Any]
    ) -> Vocabulary:
        kinds = {f"scores.{name}": "number" for name in self._metrics}
        kinds |= {f"bands.{name}": "text" for name in self._metrics}
        kinds |= {f"sentiment.{name}": "text" if name == "label" else "number" for name in SENTIMENT}
        kinds |= dict.fromkeys(PLAIN, "text") | dict.fromkeys(LISTS, "list")
        kinds |= {f"match.{name}": "flag" for name in patterns}
        for name, node in sheet.map(top.get("attributes"), None).items():
            kinds[f"attributes.{name}"] = sheet.choice(node, {k: k for k in ("text", "number", "flag")}, "text")
        for name in ("site", "segment", "agent"):
            kinds.setdefault(f"attributes.{name}", "text")
        themes = frozenset(node.path for taxonomy in taxonomies for node in taxonomy.themes)
        intents = frozenset(node.path for taxonomy in taxonomies for node in taxonomy.intents)
        return Vocabulary(kinds=kinds, themes=themes, intents=intents)

    # -- the roster ---------------------------------------------------------------------------------------

    def _roster(self, name: str) -> Roster:
        path = f"rosters/{name}.yaml"
        roster: Roster = self._once(path, lambda text: _roster(self._sheet(path), text))
        return roster


def _roster(sheet: Sheet, text: str) -> Roster:
    top = sheet.map(sheet.parse(text), ("roster", "people", "roles"), ("people", "roles"))
    people: dict[str, Person] = {}
    stand_ins: list[tuple[YamlNode, str]] = []
    for id_, node in sheet.map(top.get("people"), None).items():
        fields = sheet.map(node, ("name", "email", "away"), ("name",))
        away = []
        for entry in sheet.list(fields.get("away")):
            part = sheet.map(entry, ("from", "until", "stand_in"), ("from", "until"))
            start = sheet.read(part.get("from"), parse_instant, Instant(0), "a time like 2026-12-24T00:00:00+00:00")
            end = sheet.read(part.get("until"), parse_instant, Instant(1), "a time like 2026-12-28T00:00:00+00:00")
            if end <= start:
                sheet.problem(entry, "an absence that ends before it starts", "until after from")
            if "stand_in" in part:
                stand_ins.append((part["stand_in"], sheet.text(part["stand_in"])))
            away.append(Away(start, end, sheet.text(part.get("stand_in"))))
        people[id_] = Person(
            id=id_,
            name=sheet.text(fields.get("name"), id_),
            email=sheet.text(fields.get("email")),
            away=tuple(away),
        )
    for node, id_ in stand_ins:
        if id_ not in people:
            sheet.problem(node, f"the stand-in {id_}", one_of(people, id_))
    roles = {}
    for role, node in sheet.map(top.get("roles"), None).items():
        fields = sheet.map(node, ("default", "by_site", "by_segment", "pick"))
        roles[role] = Role(
            default=_ids(sheet, fields.get("default"), people),
            by_site={k: _ids(sheet, v, people) for k, v in sheet.map(fields.get("by_site"), None).items()},
            by_segment={k: _ids(sheet, v, people) for k, v in sheet.map(fields.get("by_segment"), None).items()},
            spread=sheet.choice(fields.get("pick"), {"first": False, "spread": True}, False),
        )
        if not any((roles[role].default, roles[role].by_site, roles[role].by_segment)):
            sheet.problem(node, f"nobody for {role}", "default: [a person's id]")
    return Roster(people, roles)


def _ids(sheet: Sheet, node: YamlNode | None, people: Mapping[str, Person]) -> tuple[str, ...]:
    ids = []
    for member in sheet.list(node):
        id_ = sheet.text(member)
        if id_ in people:
            ids.append(id_)
        else:
            sheet.problem(member, f"the person {id_}", one_of(people, id_))
    return tuple(ids)


class _Rules:
    """The rules of one set."""

    def __init__(
        self,
        loader: _Loader,
        sheet: Sheet,
        words: Vocabulary,
        roster: Roster,
        patterns: Mapping[str, Any],
        metrics: Mapping[str, Metric],
    ) -> None:
        self._loader, self._sheet, self._words, self._roster = loader, sheet, words, roster
        self._full: Facts = full_facts(words, patterns, metrics)
        self._context = cel.Context(self._full.tree())
        self.calendar: Calendar | None = None
        """The set's own, for clocks that count on one and name none."""

    def read(self, node: YamlNode | None) -> list[Rule]:
        rules: list[Rule] = []
        ids: set[str] = set()
        for member in self._sheet.list(node):
            rule = self._rule(member)
            if rule.id in ids:
                self._sheet.problem(member, f"the rule {rule.id} a second time", "an id of its own")
            ids.add(rule.id)
            rules.append(rule)
        if node is not None and not rules:
            self._sheet.problem(node, "no rules", "at least one")
        if node is not None and len(rules) > MAX_RULES:
            self._sheet.problem(node, f"{len(rules)} rules", f"at most {MAX_RULES}")
        return rules

    def _rule(self, node: YamlNode) -> Rule:
        sheet = self._sheet
        fields = sheet.map(node, _RULE_KEYS, ("id", "when", "case"))
        when = sheet.map(fields.get("when"), ("all", "any", "none"))
        if "when" in fields and not when:
            sheet.problem(fields["when"], "no condition", "all:, any: or none: with lines below it")
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
            case=self._case(fields.get("case")),
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

    def _case(self, node: YamlNode | None) -> CaseSpec:
        sheet, loader = self._sheet, self._loader
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
            acknowledgement=loader.template_named(sheet, fields.get("acknowledgement")),
            notice=loader.template_named(sheet, fields.get("notice")),
            next_best_action=sheet.text(fields.get("next_best_action")),
            statutory=sheet.flag(fields.get("statutory"), bool(milestones)),
            reopen_for_s=sheet.read(fields.get("reopen_for"), parse_span, 90 * 86_400, "a span like 90d"),
        )

    def _pack(
        self, name: str, node: YamlNode
    ) -> tuple[tuple[ClockSpec, ...], list[str], Mapping[str, MilestoneSpec]] | None:
        """The clocks of a pack, the moments that an opening reaches, and the milestones it knows."""
        sheet = self._sheet
        packs, calendars = self._loader.law()
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
            calendar = self._loader.calendar_named(self._sheet, fields["calendar"])
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
