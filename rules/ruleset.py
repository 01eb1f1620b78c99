"""A rule set: everything that judges one programme's responses, as one immutable value."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from rules.calendar import Calendar
from rules.conditions import Feature, Line
from rules.model import CaseSpec
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
        self.index: dict[Feature, tuple[int, ...]] = {}
        """Feature to the rules (by place) that need it."""
        unindexed = []
        for place, rule in enumerate(rules):
            features = rule.features()
            for feature in features:
                self.index[feature] = (*self.index.get(feature, ()), place)
            if not features:
                unindexed.append(place)
        self.unindexed = tuple(unindexed)
        """Rules that have to be asked about every response."""
        self.indexed_paths = frozenset(path for path, _ in self.index)
