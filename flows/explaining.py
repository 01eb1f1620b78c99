"""Why a response did or did not fire: every rule's verdict with the values it saw, and what was read in it.

Knows one response and one book; what became of it is in the record of the engine that heard it.
"""

from collections.abc import Iterator
from typing import Any

import msgspec

from cases.opening import read, shown
from feedback.records import Response
from flows.books import Book
from rules.judge import Context, Outcome, facts_of
from rules.judge import ask as one_rule
from rules.judge import explain as ask
from rules.kinds import Role, WindowFact
from rules.ruleset import RuleSet
from rules.watching import watch
from scoring.models import Models
from scoring.reading import Reading


class RuleSaid(msgspec.Struct, frozen=True, kw_only=True):
    """One rule about one response."""

    rule: str
    version: str
    title: str
    outcome: str
    """`fired` (of a rule with memory `counts`), `not_true`, `not_applicable`, `elsewhere` or `failed`."""
    words: str
    """The lines that held, or the first that did not, with the values it saw; never the customer's words."""

    @property
    def fired(self) -> bool:
        return self.outcome == Outcome.FIRED


class Explained(msgspec.Struct, frozen=True, kw_only=True):
    response: dict[str, Any]
    reading: dict[str, Any]
    """Language, sentiment (or why there is none), themes, intents, bands, the learned risk and suggested themes."""
    rules: tuple[RuleSaid, ...]
    windows: tuple[RuleSaid, ...]
    """Rules with memory: under which keys the response counts, and as what, or why it does not."""


def explain(book: Book, response: Response, models: Models | None = None) -> Explained:
    """Every rule of *book* asked about *response*, scored by *models* (VADER alone without), in the file's order."""
    rules = book.sets[response.programme]
    reading = (models or Models()).read(response, book.reader(response.programme).read(response))
    facts = facts_of(rules, response, reading)
    return Explained(
        response=shown(response),
        reading=read(reading),
        rules=tuple(
            RuleSaid(
                rule=rule.id,
                version=rule.version,
                title=rule.title,
                outcome=verdict.outcome,
                words=verdict.words(facts),
            )
            for rule, verdict in ask(rules, response, reading)
        ),
        windows=tuple(_windows(rules, response, reading)),
    )


def _windows(rules: RuleSet, response: Response, reading: Reading) -> Iterator[RuleSaid]:
    facts = facts_of(rules, response, reading)
    context = Context(facts, rules.roots)
    counted = watch(rules, response, reading).facts
    for rule in rules.windows:
        window = rule.window
        verdicts = [one_rule(asked, facts, context.get) for _, asked in rule.asks]
        verdict = next((v for v in verdicts if v.outcome is Outcome.FIRED), verdicts[0])
        outcome, words = str(verdict.outcome), verdict.words(facts)
        if verdict.outcome is Outcome.FIRED:
            mine = [fact for fact in counted if fact.window == window.id]
            outcome = "counts" if mine else str(Outcome.NOT_APPLICABLE)
            where = ", ".join(dict.fromkeys(_place(window.by, fact) for fact in mine)) or f"it has no {window.by}"
            words = f"{where}: {words}" if words else where
        yield RuleSaid(rule=window.rule, version=window.version, title=window.title, outcome=outcome, words=words)


def _place(by: str, fact: WindowFact) -> str:
    """Under which key *fact* counts, for a person; of a customer's own the key stays unsaid."""
    under = {"none": "among all", "programme": f"in {fact.scope}", "customer": "for this customer"}
    text = under.get(by, f"under {by.removeprefix('attributes.')} {fact.key}")
    text += {Role.COUNTS: "", Role.PART: ", of the part"}.get(fact.role, f", as {fact.role.name.lower()}")
    return text + (f", with {fact.value}" if fact.value else "")
