"""The life of a case as one table. Everything about status lives here.

A pair that is missing from `TABLE` is a refusal, and nothing has changed. `ENDINGS` says what each ending
does to the clocks. `docs/lifecycle.md` holds the diagram drawn from this table (`python -m cases.lifecycle`).

Source of the states: the closed-loop practice of capture, acknowledge, act, resolve, confirm; acknowledged
is not resolved, and resolved is not closed.
"""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType

from feedback.records import Verb


class Status(StrEnum):
    NEW = "new"
    ACKNOWLEDGED = "acknowledged"
    IN_PROGRESS = "in_progress"
    WAITING = "waiting"
    RESOLVED = "resolved"
    CLOSED = "closed"


class Ending(StrEnum):
    """How a case, or a stretch of its life, came to an end."""

    RESOLVED = "resolved"
    CLOSED = "closed"
    INVALIDATED = "invalidated"


_ANY_OPEN = (Status.NEW, Status.ACKNOWLEDGED, Status.IN_PROGRESS, Status.WAITING)
_NOT_CLOSED = (*_ANY_OPEN, Status.RESOLVED)


def _table() -> dict[tuple[Status, Verb], Status]:
    table: dict[tuple[Status, Verb], Status] = {
        (Status.NEW, Verb.ACKNOWLEDGE): Status.ACKNOWLEDGED,
        # A new owner has acknowledged nothing yet.
        (Status.NEW, Verb.ASSIGN): Status.NEW,
        (Status.ACKNOWLEDGED, Verb.ASSIGN): Status.NEW,
        (Status.IN_PROGRESS, Verb.ASSIGN): Status.IN_PROGRESS,
        (Status.WAITING, Verb.ASSIGN): Status.WAITING,
        (Status.RESOLVED, Verb.ASSIGN): Status.RESOLVED,
        (Status.NEW, Verb.START): Status.IN_PROGRESS,
        (Status.ACKNOWLEDGED, Verb.START): Status.IN_PROGRESS,
        (Status.WAITING, Verb.START): Status.IN_PROGRESS,
        (Status.IN_PROGRESS, Verb.WAIT): Status.WAITING,
        # Speaking to the customer is work: a case that nobody had begun is in progress by it.
        (Status.NEW, Verb.CONTACT): Status.IN_PROGRESS,
        (Status.ACKNOWLEDGED, Verb.CONTACT): Status.IN_PROGRESS,
        (Status.IN_PROGRESS, Verb.CONTACT): Status.IN_PROGRESS,
        (Status.WAITING, Verb.CONTACT): Status.WAITING,
        (Status.RESOLVED, Verb.CONTACT): Status.RESOLVED,
        (Status.ACKNOWLEDGED, Verb.RESOLVE): Status.RESOLVED,
        (Status.IN_PROGRESS, Verb.RESOLVE): Status.RESOLVED,
        (Status.WAITING, Verb.RESOLVE): Status.RESOLVED,
        (Status.RESOLVED, Verb.CONFIRM): Status.RESOLVED,
        (Status.RESOLVED, Verb.CLOSE): Status.CLOSED,
        (Status.RESOLVED, Verb.REOPEN): Status.IN_PROGRESS,
        (Status.CLOSED, Verb.REOPEN): Status.IN_PROGRESS,
    }
    for status in _ANY_OPEN:
        for verb in (Verb.PAUSE, Verb.RESUME, Verb.EXTEND, Verb.ESCALATE, Verb.REBASE):
            table[status, verb] = status
    for status in _NOT_CLOSED:
        table[status, Verb.INVALIDATE] = Status.CLOSED
        for verb in (Verb.NOTE, Verb.MILESTONE):
            table[status, verb] = status
    for status in Status:
        # What was wrong in the record may come to light at any time.
        table[status, Verb.CORRECT] = status
        table[status, Verb.ERASE] = status
    return table


TABLE: Mapping[tuple[Status, Verb], Status] = MappingProxyType(_table())
"""(status, what is asked) to the next status."""

ENDINGS: Mapping[Ending, frozenset[str]] = MappingProxyType(
    {
        # After a resolution the promise to confirm and close may still run (`starts: resolved`).
        Ending.RESOLVED: frozenset({"opened", "acknowledged"}),
        Ending.CLOSED: frozenset({"opened", "acknowledged", "resolved"}),
        Ending.INVALIDATED: frozenset({"opened", "acknowledged", "resolved"}),
    }
)
"""For each ending the clocks, by what started them, that it ends; those it *meets* were met before.

The law's clocks are not ours to end: a resolution leaves them running, a case with one unmet does not close, and
only what is invalidated, a case that should never have been, takes them with it.
"""

NEEDS_REASON = frozenset(
    {
        Verb.WAIT,
        Verb.PAUSE,
        Verb.EXTEND,
        Verb.REOPEN,
        Verb.INVALIDATE,
        Verb.ESCALATE,
        Verb.CORRECT,
        Verb.REBASE,
        Verb.ERASE,
    }
)
"""Verbs that an auditor will ask "why?" of."""


def diagram() -> str:
    """The table as a Mermaid state diagram; verbs that stay where they are are left out."""
    lines = ["stateDiagram-v2", "    [*] --> new"]
    edges: dict[tuple[Status, Status], list[str]] = {}
    for (status, verb), target in TABLE.items():
        if status is not target:
            edges.setdefault((status, target), []).append(verb.value)
    lines += [f"    {a.value} --> {b.value}: {', '.join(verbs)}" for (a, b), verbs in edges.items()]
    return "\n".join([*lines, "    closed --> [*]"])


if __name__ == "__main__":
    print(diagram())
