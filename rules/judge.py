"""Judging: all the rules of a set asked about one response.

Most rules need one thing that most responses lack (a theme, a band), so an index by that thing leaves a few to
be asked; which ones never changes what fires. The order of triggers is the order of the rules in their file.
"""

from collections.abc import Callable
from enum import StrEnum
from typing import Any

import cel
import msgspec

from feedback.records import Response
from rules.conditions import Line, LineError, Unknown
from rules.facts import Facts
from rules.model import Judgement, RuleFailure, Trigger
from rules.ruleset import Rule, RuleSet
from scoring.reading import Reading
from scoring.taxonomy import with_ancestors

_NOTHING = Judgement()


def judge(rules: RuleSet, response: Response, reading: Reading, context: "Context | None" = None) -> Judgement:
    """What *rules* say about one response. Never raises: a rule that fails is a `RuleFailure`, the rest go on.

    *context*: `context_of` the three, for a caller that asks rules with memory too.
    """
    context = context or context_of(rules, response, reading)
    facts = context.facts
    places = rules.index.candidates(facts)
    if not places:
        return _NOTHING
    triggers: list[Trigger] = []
    failures: list[RuleFailure] = []
    for place in places:
        rule = rules.rules[place]
        verdict = ask(rule, facts, context.get)
        if verdict.outcome is Outcome.FIRED:
            triggers.append(_trigger(rule, facts, reading, verdict))
        elif verdict.outcome is Outcome.FAILED and verdict.line is not None:
            source = verdict.line.source
            failures.append(RuleFailure(rule=rule.id, version=rule.version, line=source, error=verdict.detail))
    if not triggers and not failures:
        return _NOTHING
    return Judgement(triggers=tuple(triggers), failures=tuple(failures))


class Outcome(StrEnum):
    FIRED = "fired"
    NOT_TRUE = "not_true"
    NOT_APPLICABLE = "not_applicable"
    ELSEWHERE = "elsewhere"
    """Limited to sites or segments that this response is not from."""
    FAILED = "failed"


class Verdict(msgspec.Struct, frozen=True):
    """What one rule said, and the line that decided it."""

    outcome: Outcome
    line: Line | None = None
    detail: str = ""
    """What was missing, or the error."""
    held: tuple[Line, ...] = ()
    """The lines that were found true, for a rule that fired."""

    def words(self, facts: Facts) -> str:
        """For a person: what decided, with the values it saw."""
        if self.outcome is Outcome.FIRED:
            return "; ".join(line.seen(facts, whole=True) for line in self.held)
        seen = self.line.seen(facts, whole=True) if self.line is not None else ""
        return f"{self.detail}: {seen}" if self.detail and seen else self.detail or seen


def explain(rules: RuleSet, response: Response, reading: Reading) -> list[tuple[Rule, Verdict]]:
    """Every rule's verdict, in order, the index left aside."""
    context = context_of(rules, response, reading)
    return [(rule, ask(rule, context.facts, context.get)) for rule in rules.rules]


def facts_of(rules: RuleSet, response: Response, reading: Reading) -> Facts:
    """The response under the names that conditions use."""
    return Facts(response, reading, rules.patterns, rules.staff)


def context_of(rules: RuleSet, response: Response, reading: Reading) -> "Context":
    """The response as the conditions of *rules* ask it."""
    return Context(facts_of(rules, response, reading), rules.roots)


class Context:
    """The facts of one response, and its CEL context, built when the first line needs it.

    What it is given is copied, at 1 us a name and more for a map, so it holds only *roots*: what the lines that need
    CEL ask for. A line that fell back on CEL gets the whole.
    """

    def __init__(self, facts: Facts, roots: frozenset[str]) -> None:
        self.facts, self._roots = facts, roots
        self._some: Any = None
        self._whole: Any = None

    def get(self, whole: bool) -> Any:
        if whole:
            if self._whole is None:
                self._whole = cel.Context(self.facts.tree())
            return self._whole
        if self._some is None:
            self._some = cel.Context(self.facts.tree(self._roots))
        return self._some


def ask(rule: Rule, facts: Facts, context: Callable[[bool], Any]) -> Verdict:
    """What one rule says of *facts*. Never raises. *context* gives the CEL context, when a line needs it."""
    if rule.sites and facts.get("attributes.site") not in rule.sites:
        return _OTHER_SITE
    if rule.segments and facts.get("attributes.segment") not in rule.segments:
        return _OTHER_SEGMENT
    line: Line | None = None
    held = rule.all
    try:
        for line in rule.all:
            if not line.holds(facts, context):
                return Verdict(Outcome.NOT_TRUE, line)
        if rule.any:
            line = next((other for other in rule.any if _holds(other, facts, context)), None)
            if line is None:
                return Verdict(Outcome.NOT_TRUE, rule.any[-1], "none of `any` holds, the last of them")
            held = (*held, line)
        for line in rule.none:
            if _holds(line, facts, context):
                return Verdict(Outcome.NOT_TRUE, line, "must not hold")
    except Unknown as unknown:
        return Verdict(Outcome.NOT_APPLICABLE, line, f"no {unknown.path}")
    except LineError as error:
        return Verdict(Outcome.FAILED, line, str(error))
    return Verdict(Outcome.FIRED, held=held)


_OTHER_SITE = Verdict(Outcome.ELSEWHERE, detail="limited to other sites")
_OTHER_SEGMENT = Verdict(Outcome.ELSEWHERE, detail="limited to other segments")


def _holds(line: Line, facts: Facts, context: Callable[[bool], Any]) -> bool:
    """In `any` and `none` the unknown is simply not true."""
    try:
        return line.holds(facts, context)
    except Unknown:
        return False


def _trigger(rule: Rule, facts: Facts, reading: Reading, verdict: Verdict) -> Trigger:
    return Trigger(
        rule=rule.id,
        version=rule.version,
        title=rule.title,
        why=tuple(line.seen(facts) for line in verdict.held),
        case=rule.case,
        subject=_narrowed(rule, rule.case.subject, facts, reading),
        issue=_narrowed(rule, "theme", facts, reading) if rule.case.issue == "theme" else rule.case.issue,
    )


def _narrowed(rule: Rule, named: str, facts: Facts, reading: Reading) -> str:
    """The value of *named*, which narrows an identity; for `theme` the first found one that the rule asks for."""
    if not named:
        return ""
    if named == "theme":
        asked = {value for line in (*rule.all, *rule.any) for what, value in line.features if what == "themes"}
        found = [theme.path for theme in reading.themes]
        meant = [path for path in found if asked.intersection(with_ancestors(path))]
        return next(iter(meant or found), "")
    value = facts.get(named)
    return "" if value is None else str(value)
