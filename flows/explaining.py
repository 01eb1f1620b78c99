"""Why a response did or did not fire: every rule's verdict with the values it saw, and what was read in it.

Knows one response and one book; what became of it is in the record of the engine that heard it.
"""

from typing import Any

import msgspec

from cases.opening import read, shown
from feedback.records import Response
from flows.books import Book
from rules.judge import Outcome, facts_of
from rules.judge import explain as ask
from scoring.models import Models


class RuleSaid(msgspec.Struct, frozen=True, kw_only=True):
    """One rule about one response."""

    rule: str
    version: str
    title: str
    outcome: str
    """`fired`, `not_true`, `not_applicable`, `elsewhere` or `failed`."""
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
    )
