"""What ticket tools have in common: one ticket a case, found again by the case's id, told of each later event.

A ticket is looked for before one is made, since an attempt whose answer was lost may have made it. A case that ended
without a ticket gets none.
"""

from collections.abc import Generator
from typing import Protocol

from connectors.targets.target import ENDINGS, Kit, Reply, Request, Talk, Told

Asking = Generator[Request, Reply, str]


class Tickets(Protocol):
    """The requests of one tool. `find` and `create` return the ticket's id, or empty."""

    def find(self, told: Told, kit: Kit) -> Asking: ...

    def create(self, told: Told, kit: Kit) -> Asking: ...

    def update(self, ticket: str, told: Told, kit: Kit) -> Asking:
        """The same id, or empty when the tool has no such ticket any more."""


def conversation(tool: Tickets, told: Told, kit: Kit) -> Talk:
    """Update the ticket of the case, making it when there is none. Events without a case need no ticket."""
    if not told.case:
        return ""
    if told.remembered and (yield from tool.update(told.remembered, told, kit)):
        return told.remembered
    found = yield from tool.find(told, kit)
    if found:
        # `case.opened` made it at an attempt whose answer was lost: there is nothing to add.
        return found if told.type == "case.opened" else (yield from tool.update(found, told, kit))
    return "" if told.type in ENDINGS else (yield from tool.create(told, kit))


def section(told: Told) -> str:
    """Which part of a template an update is made of."""
    return "end" if told.type in ENDINGS else "update"
