"""What a response means to the rules with memory: one fact for each window, and each key in it, in which it counts."""

from collections.abc import Callable
from itertools import product
from typing import Any

import msgspec

from feedback.records import Response
from rules.facts import Facts
from rules.judge import Context, Outcome, Verdict, ask, context_of
from rules.kinds import Change, NewValue, Ref, Role, Window, WindowFact
from rules.model import RuleFailure
from rules.ruleset import RuleSet, WindowRule
from scoring.reading import Reading

MAX_KEY = 200
"""Characters of a key, and of a value; what is longer is cut."""


class Watched(msgspec.Struct, frozen=True, kw_only=True):
    """What all the rules with memory made of one response."""

    facts: tuple[WindowFact, ...] = ()
    failures: tuple[RuleFailure, ...] = ()


_NOTHING = Watched()


def watch(
    rules: RuleSet, response: Response, reading: Reading, case: str = "", context: Context | None = None
) -> Watched:
    """The facts of *response*, in the order of the rules. *case*: the id of its own case, where one is known.

    Never raises. A response that lacks what a rule is keyed by, or the value it looks at, gives no fact; one with
    three themes gives three to a rule by theme. Facts hang on nothing but the arguments, so that a replay, or an
    update of the response, gives the same again; windows count each once. *context*: as of `judge`.
    """
    if not rules.windows:
        return _NOTHING
    context = context or context_of(rules, response, reading)
    facts = context.facts
    found: list[WindowFact] = []
    failures: list[RuleFailure] = []
    for place in rules.window_index.candidates(facts):
        rule, role, asked = rules.window_asks[place]
        verdict = ask(asked, facts, context.get)
        if verdict.outcome is Outcome.FAILED:
            failures.append(_failure(rule, verdict))
        if verdict.outcome is not Outcome.FIRED:
            continue
        if rule.part is not None:
            role = _part(rule, facts, context.get, failures)
        found += _facts(rule.window, role, response, reading, facts, case)
    return Watched(facts=tuple(found), failures=tuple(failures)) if found or failures else _NOTHING


def _part(rule: WindowRule, facts: Facts, context: Callable[[bool], Any], failures: list[RuleFailure]) -> Role:
    assert rule.part is not None
    verdict = ask(rule.part, facts, context)
    if verdict.outcome is Outcome.FAILED:
        failures.append(_failure(rule, verdict))
    return Role.PART if verdict.outcome is Outcome.FIRED else Role.COUNTS


def _failure(rule: WindowRule, verdict: Verdict) -> RuleFailure:
    line = verdict.line.source if verdict.line is not None else ""
    return RuleFailure(rule=rule.window.rule, version=rule.window.version, line=line, error=verdict.detail)


def _facts(
    window: Window, role: Role, response: Response, reading: Reading, facts: Facts, case: str
) -> list[WindowFact]:
    values: tuple[str, ...] = ("",)
    score = 0.0
    if isinstance(window.kind, NewValue):
        values = _texts(facts.get(window.kind.path))
    elif isinstance(window.kind, Change):
        number = facts.get(window.kind.path)
        if not isinstance(number, float):
            return []
        score = number
    return [
        WindowFact(
            rule=window.rule,
            window=window.id,
            scope="" if window.by == "none" else response.programme,
            key=key,
            ref=Ref(response.programme, response.source, response.id),
            occurred_at=response.occurred_at,
            received_at=response.received_at,
            role=role,
            value=value,
            score=score,
            case=case,
            customer=response.customer,
        )
        for key, value in product(_keys(window, reading, facts), values)
    ]


def _keys(window: Window, reading: Reading, facts: Facts) -> tuple[str, ...]:
    """Under which a response counts; none when it has not what the rule is keyed by."""
    if window.by in ("none", "programme"):
        return ("",)
    if window.by == "theme":
        return facts.get("themes") if window.ancestors else tuple(found.path for found in reading.themes)
    return _texts(facts.get(window.by))


def _texts(value: Any) -> tuple[str, ...]:
    if isinstance(value, tuple):
        return tuple(text[:MAX_KEY] for text in value)
    if value is None or value == "":
        return ()
    if isinstance(value, bool):
        return ("true" if value else "false",)
    return (f"{value:g}" if isinstance(value, float) else str(value)[:MAX_KEY],)
