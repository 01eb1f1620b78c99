"""What travels through the engine: responses, actions, outcomes, controls, ticks, and what was unreadable.

Every record carries when it was *received*: a fact of the record (a stream entry's id, a journal's
stamp), never of the moment it happens to be read, so that a second reading decides the same.
`decode.py` makes these from bytes; nothing else should build them from the outside world.
"""

from enum import StrEnum
from typing import Any

import msgspec

from feedback.instants import Instant

Scalar = str | float | bool


class Envelope(msgspec.Struct, frozen=True, kw_only=True):
    """One record as it came through a door, not yet decoded."""

    raw: bytes
    """The record: one JSON object."""
    source: str
    """The connector's name; the default of a response's `source`."""
    position: str
    """Where it stands in its source (`in.jsonl:1042`, `1732350000000-3`): for people and for quarantine."""
    received_at: float
    """Unix seconds, with a fraction, stamped by the source's own storage."""
    programme: str = "default"
    """The programme of records that name none."""
    principal: str = ""
    """Who the door says is acting (a login, a key's name); empty when the door knows nobody."""
    fault: str = ""
    """Why the door could not make a record of it, as `reason: detail`; `raw` is then what was there."""
    history: bool = False
    """It was given long ago, and is heard now to learn from (`tocsin backfill`)."""


class Response(msgspec.Struct, frozen=True, kw_only=True):
    """One customer's answer."""

    programme: str
    source: str
    id: str
    """Unique within (programme, source); the same again is an update."""
    customer: str = ""
    """Who said it; empty means anonymous, a case of its own."""
    occurred_at: Instant
    received_at: Instant
    arrived: float
    """`received_at` with its fraction, for measuring latency only."""
    channel: str = ""
    touchpoint: str = ""
    language: str = ""
    text: str = ""
    scores: dict[str, float] = {}
    attributes: dict[str, Scalar] = {}
    history: bool = False
    """Heard to learn from: received when it occurred, and nobody is told of it."""

    @property
    def customer_key(self) -> str:
        """What the shard and the case are keyed by: the customer, or this one response if anonymous."""
        return self.customer or f"anonymous {self.source} {self.id}"


class Verb(StrEnum):
    """What a person (or a system for them) can ask of a case."""

    ACKNOWLEDGE = "acknowledge"
    ASSIGN = "assign"
    START = "start"
    WAIT = "wait"
    NOTE = "note"
    CONTACT = "contact"
    MILESTONE = "milestone"
    PAUSE = "pause"
    RESUME = "resume"
    EXTEND = "extend"
    RESOLVE = "resolve"
    CONFIRM = "confirm"
    CLOSE = "close"
    REOPEN = "reopen"
    INVALIDATE = "invalidate"
    CORRECT = "correct"
    ESCALATE = "escalate"
    REBASE = "rebase"
    ERASE = "erase"


class Action(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody did something to a case, or asks for it."""

    id: str
    programme: str
    case: str
    do: Verb
    by: str
    at: Instant
    """When it took place, by the person's word; at or before `received_at`."""
    received_at: Instant
    arrived: float
    principal: str = ""
    reason: str = ""
    data: dict[str, Any] = {}


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a customer (left, renewed …). Kept in the stream for models to learn from."""

    id: str
    programme: str
    customer: str
    result: str
    occurred_at: Instant
    received_at: Instant


class Control(msgspec.Struct, frozen=True, kw_only=True):
    """A change of the engine's own mind (its rule set …), placed in the stream so that replay finds it."""

    id: str
    do: str
    """`rules`: judge by the stored set named in `data["set"]` from here on."""
    received_at: Instant
    by: str = ""
    data: dict[str, Any] = {}


class Tick(msgspec.Struct, frozen=True, kw_only=True):
    """`shard` has something due at or before `at`. Only asks; the shard's state decides."""

    shard: int
    at: Instant


class Restate(msgspec.Struct, frozen=True, kw_only=True):
    """The store has lost what it had: `shard` is to say how each of its cases stands, as of `at`."""

    shard: int
    at: Instant


class Rejected(msgspec.Struct, frozen=True, kw_only=True):
    """A record that could not be read, with everything needed to mend it and send it again."""

    reason: str
    """One of a few stable names, fit for a metric label (`not_json`, `score_out_of_range` …)."""
    detail: str
    """For a person: field, found, expected. Never the customer's words."""
    programme: str
    source: str
    position: str
    received_at: Instant
    original: bytes


Record = Response | Action | Outcome | Control | Rejected
