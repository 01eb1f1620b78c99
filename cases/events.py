"""Everything the engine says: one `Event`, and its bytes as a CloudEvent.

An event's id comes from what it says (case, type, clock, occurrence), so the same fact has the same id
on every replay. The types are listed in `TYPES`; `tests/wire/` holds a golden message of each.
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from cases.noise import Heed
from feedback.ids import CaseId, EventId, event_id
from feedback.instants import Instant, rfc3339

TYPES = frozenset(
    {
        "case.opened", "case.updated", "case.acknowledged", "case.assigned", "case.escalated",
        "case.resolved", "case.closed", "case.reopened", "case.invalidated",
        "customer.acknowledged", "customer.contacted",
        "clock.armed", "clock.warned", "clock.breached", "clock.met", "clock.paused", "clock.resumed",
        "clock.extended", "clock.ended", "clock.corrected",
        "milestone.reached",
        "notice.asked", "notice.sent", "notice.held", "notice.suppressed", "notice.digest",
        "silence.started", "silence.ended", "silence.refused",
        "response.rejected", "action.refused", "rule.failed",
        "owner.missing", "rules.changed", "rules.refused", "heartbeat", "outage.over", "item.quarantined", "store.lost",
        "store.rewritten", "case.erased", "model.changed", "model.set_aside", "theme.spiked",
    }
)  # fmt: skip
"""Event types without their `tocsin.` prefix."""


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """Where a case stands after a step: what the indexes of the store are made of."""

    status: str
    open: bool
    """False once it is closed; a closed case leaves every index."""
    owner: str
    """Person's id; empty while nobody could be named."""
    opened_at: Instant
    due_at: Instant | None
    """Earliest deadline of a running clock."""


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that became true."""

    id: EventId
    type: str
    """One of `TYPES`."""
    programme: str
    time: Instant
    """When it became true: for a breach its `due_at`."""
    case: CaseId | None = None
    """The CloudEvent's `subject`; None for events that concern no case."""
    sequence: int = 0
    """Place in the case's own history, from 1; tells a receiver the order. 0 without a case."""
    data: dict[str, Any]
    """As it may lie anywhere: what is personal is sealed in it (`sealing.py`), where the engine has a vault."""
    private: Mapping[str, Mapping[str, Any]] = {}
    """What is sealed: in `data`, in its `response`, in its `case`. For whoever stands beside us; never on the wire."""
    record: msgspec.Raw | None = None
    """The case as it stands after the step that said this, as JSON; goes out as `data.case`."""
    standing: Standing | None = None
    """The same, for indexes; None without a case."""
    arrived: float = 0.0
    """When the record that caused it arrived (Unix seconds), for the latency metric; never on the wire."""
    heed: Heed | None = None
    """For noise control (`noise.py`), where the rule set has a policy; never on the wire."""
    restates: bool = False
    """No event: the case as it stands, for a store that lost it (`restating.py`). Goes nowhere else."""
    onward: int | None = None
    """No event: `data.record` is for that lane's stream of facts (`flows/facts.py`). Goes nowhere else."""

    @property
    def is_told(self) -> bool:
        """It is an event, for everybody; the rest is between the engine and its store."""
        return not self.restates and self.onward is None


_encoder = msgspec.json.Encoder()


def encode(event: Event) -> bytes:
    """*event* as a structured CloudEvents 1.0 JSON object.

    `timestamp` repeats `time` as an extension, so that a Standard Webhooks reader of `type`, `timestamp`
    and `data` finds all three; `sequence` (an extension too) is a decimal string, as its spec asks.
    """
    return _encoder.encode(wire(event))


def wire(event: Event) -> dict[str, Any]:
    """*event* as the dict that goes out; `data.case` is still JSON."""
    at = rfc3339(event.time)
    said: dict[str, Any] = {
        "specversion": "1.0",
        "id": event.id,
        "type": "tocsin." + event.type,
        "source": "/tocsin/" + event.programme,
        "time": at,
        "timestamp": at,
        "datacontenttype": "application/json",
        "data": event.data if event.record is None else {**event.data, "case": event.record},
    }
    if event.case:
        said["subject"] = event.case
    if event.sequence:
        said["sequence"] = str(event.sequence)
    return said


def readable(event: Event) -> Event:
    """*event* with nothing sealed, for this machine's own eyes."""
    if not event.private:
        return event
    data = {k: v for k, v in event.data.items() if k != "sealed"} | dict(event.private.get("data", {}))
    for place, held in (("response", data.get("response")), ("case", _plain(event.record))):
        if held is not None:
            data[place] = {k: v for k, v in held.items() if k != "sealed"} | dict(event.private.get(place, {}))
    return msgspec.structs.replace(event, data=data, record=None, private={})


def _plain(record: msgspec.Raw | None) -> dict[str, Any] | None:
    return None if record is None else msgspec.json.decode(record)


def caseless(
    type_: str,
    programme: str,
    at: Instant,
    occurrence: tuple[str, ...],
    data: dict[str, Any],
    arrived: float = 0.0,
) -> Event:
    """An event that concerns no case of ours; *occurrence* tells it from all others of its type."""
    return Event(
        id=event_id(programme, type_, *occurrence),
        type=type_,
        programme=programme,
        time=at,
        data=data,
        arrived=arrived,
    )
