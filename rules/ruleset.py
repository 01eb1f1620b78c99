"""A rule set: everything that judges one programme's responses, as one immutable value."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from rules.calendar import Calendar
from rules.conditions import Feature, Line
from rules.facts import LEARNED, LISTS, Facts
from rules.kinds import Role, Window
from rules.model import CaseSpec
from rules.noise import NoisePolicy
from rules.roster import Roster
from rules.templates import Template
from scoring.taxonomy import Matcher, Taxonomy


class Rule:
    """One rule, ready to be asked: it fires when all of `all`, one of `any` and none of `none` hold."""

    def __init__(
        self,
        *,
        id: str,
        version: str,
        title: str,
        all: tuple[Line, ...],
        any: tuple[Line, ...],
        none: tuple[Line, ...],
        sites: frozenset[str],
        segments: frozenset[str],
        case: CaseSpec,
    ) -> None:
        self.id, self.version, self.title = id, version, title
        self.all, self.any, self.none = all, any, none
        self.sites, self.segments = sites, segments
        """Empty means everywhere."""
        self.case = case

    def features(self) -> tuple[Feature, ...]:
        """Features of which a response must have one for the rule to fire; empty when none can be told."""
        for line in self.all:
            if line.features:
                return line.features
        if self.any and all(line.features for line in self.any):
            return tuple(feature for line in self.any for feature in line.features)
        return ()


class WindowRule:
    """One rule with memory: what counts, and as what; how it is watched; and the systemic alert that it opens."""

    def __init__(
        self,
        *,
        window: Window,
        asks: tuple[tuple[Role, Rule], ...],
        part: Rule | None,
        case: CaseSpec,
        mutes: tuple[str, ...] = (),
    ) -> None:
        self.window = window
        self.asks = asks
        """A response counts in the role of each that fires; one alone, but for a sequence."""
        self.part = part
        """For a share: asked of a response that counts, whether it is of the part."""
        self.case = case
        self.mutes = mutes
        """Rules whose notices wait while an alert of this one is open."""


class Index:
    """Which rules have to be asked, by one thing that a response must have; those without it are left out."""

    def __init__(self, rules: Sequence[Rule]) -> None:
        self.places: dict[Feature, tuple[int, ...]] = {}
        """Feature to the rules (by place) that need it."""
        always = []
        for place, rule in enumerate(rules):
            features = rule.features()
            for feature in features:
                self.places[feature] = (*self.places.get(feature, ()), place)
            if not features:
                always.append(place)
        self.always = tuple(always)
        """Rules that have to be asked about every response."""
        self.paths = frozenset(path for path, _ in self.places)

    def candidates(self, facts: Facts) -> list[int]:
        """Places of the rules that may fire on *facts*, ascending."""
        places = list(self.always)
        for path in self.paths:
            value = facts.get(path)
            if value is None:
                continue
            if path in LISTS:
                for member in value:
                    places += self.places.get((path, member), ())
            else:
                places += self.places.get((path, value), ())
        return sorted(set(places)) if len(places) > 1 else places


class RuleSet:
    """The rules of one set with all that they refer to."""

    def __init__(
        self,
        *,
        name: str,
        hash: str,
        rules: tuple[Rule, ...],
        roster: Roster,
        templates: Mapping[str, Template],
        taxonomies: tuple[Taxonomy, ...],
        patterns: Mapping[str, Any],
        staff: Matcher,
        calendars: Mapping[str, Calendar] = MappingProxyType({}),
        zone: str = "UTC",
        windows: tuple[WindowRule, ...] = (),
        noise: NoisePolicy | None = None,
    ) -> None:
        self.name, self.hash = name, hash
        """`hash` is of the content of every file it was made from."""
        self.rules, self.roster, self.templates, self.taxonomies = rules, roster, templates, taxonomies
        self.patterns = patterns
        """Name to compiled RE2 pattern."""
        self.staff = staff
        """Finds employees whom a text names, for praise that names somebody."""
        self.calendars = calendars
        """By key, which holds a hash: those of this set, and any that open cases began with."""
        self.zone = zone
        """In which people are told times."""
        self.index = Index(rules)
        self.windows = windows
        """The rules with memory."""
        self.noise = noise
        """What holds notices back; None: each is told as it comes."""
        self.window_asks = tuple((rule, role, ask) for rule in windows for role, ask in rule.asks)
        self.window_index = Index([ask for _, _, ask in self.window_asks])
        asked = [*rules, *(ask for _, _, ask in self.window_asks), *(rule.part for rule in windows if rule.part)]
        self.roots = frozenset(
            root for rule in asked for line in (*rule.all, *rule.any, *rule.none) for root in line.roots
        )
        """Names that the lines which need CEL ask for, up to their first dot."""
        self.asks_learned = any(
            not LEARNED.isdisjoint(line.paths) for rule in asked for line in (*rule.all, *rule.any, *rule.none)
        )
        """Whether a rule asks for what the learned models say of a response."""


def difference(before: RuleSet | None, after: RuleSet) -> dict[str, list[str]]:
    """Which rules an edit `added`, `removed` and `changed`, by id; what is empty is left out."""
    old, new = (_versions(rules) for rules in (before, after))
    found = {
        "added": sorted(new.keys() - old.keys()),
        "removed": sorted(old.keys() - new.keys()),
        "changed": sorted(id_ for id_ in new.keys() & old.keys() if new[id_] != old[id_]),
    }
    return {what: ids for what, ids in found.items() if ids}


def _versions(rules: RuleSet | None) -> dict[str, str]:
    if rules is None:
        return {}
    return {r.id: r.version for r in rules.rules} | {r.window.rule: r.window.version for r in rules.windows}
