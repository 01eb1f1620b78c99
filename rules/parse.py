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

import re2
from ruamel.yaml.nodes import Node as YamlNode

from feedback.metrics import Metric
from rules.calendar import Calendar, zone_name
from rules.facts import LISTS, PLAIN, RISK, SENTIMENT, Vocabulary
from rules.packs import Pack
from rules.parse_noise import read_noise
from rules.parse_roster import parse_roster
from rules.parse_rules import RuleReader
from rules.parse_windows import read_windows
from rules.problems import Problem, RuleFileErrors, one_of
from rules.roster import Roster
from rules.ruleset import RuleSet
from rules.shipped import law_of, law_texts, read_law
from rules.taxonomies import parse_taxonomy
from rules.templates import Template, parse_template
from rules.yaml import Sheet
from scoring.taxonomy import Matcher, Node, Taxonomy

DEFAULT_ZONE = "Europe/London"
"""In which people are told times, where neither the set nor its calendar says another."""
_SET_KEYS = ("set", "taxonomies", "roster", "attributes", "patterns", "staff", "rules", "calendar", "zone", "notices")

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
        reader = RuleReader(self, sheet, words, roster, patterns, self._metrics)
        reader.calendar = calendar
        rules = reader.read(top.get("rules"))
        windows = read_windows(reader, sheet, words, top.get("rules"), name, zone)
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
            windows=windows,
            noise=read_noise(sheet, top.get("notices"), zone, reader.ids, windows),
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
        kinds[RISK] = "number"
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
        roster: Roster = self._once(path, lambda text: parse_roster(self._sheet(path), text))
        return roster
