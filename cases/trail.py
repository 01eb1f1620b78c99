"""The trail of a case: its events as a hash chain, which shows where it was altered, cut short or reordered.

Each event carries `data.previous`, the hash of the one before it in its case, and `data.hash`, its own: SHA-256 over
the event's JSON with keys sorted and no spaces, without `data.hash` and without what a replay may say differently
(`data.detected_at`, `data.late`). Anybody with a copy of an event, a webhook's receiver too, holds an anchor: to
change history unseen, every later event of the case would have to be changed in every copy.
"""

from collections.abc import Iterable
from hashlib import sha256
from typing import Any

import msgspec

NOT_HASHED = ("detected_at", "late", "hash")
"""What is said about the telling, not about what happened."""

_sorted = msgspec.json.Encoder(order="sorted").encode


def link(event: dict[str, Any]) -> str:
    """The hash of *event*, a CloudEvent as a dict; its `data.previous` is part of it. 64 hex digits."""
    data = {k: v for k, v in event["data"].items() if k not in NOT_HASHED}
    return digest({**event, "data": data}).hex()


def digest(event: dict[str, Any]) -> bytes:
    """The hash of *event*, whose data holds nothing that is `NOT_HASHED`."""
    return sha256(_sorted(event)).digest()


class Flaw(msgspec.Struct, frozen=True):
    """Where a trail is not what was written."""

    sequence: int
    event: str
    """Id of the first event that is not as it was; empty when it is missing."""
    what: str


def verify(log: Iterable[dict[str, Any]], *, length: int | None = None) -> Flaw | None:
    """The first flaw of a case's *log* (CloudEvents in order of `sequence`); None when it is whole.

    *length* is how many events the case's record says there are.
    """
    previous, expected = "", 1
    for event in log:
        sequence, data = int(event.get("sequence", 0)), event["data"]
        if sequence > expected:
            return Flaw(expected, "", f"event {expected} is missing: the next one there is {sequence}")
        if sequence < expected:
            return Flaw(sequence, event["id"], f"a second event {sequence}")
        if data.get("previous", "") != previous:
            return Flaw(sequence, event["id"], "it does not follow the event before it")
        if link(event) != data.get("hash"):
            return Flaw(sequence, event["id"], "it is not what was written")
        previous, expected = data["hash"], expected + 1
    if length is not None and expected <= length:
        return Flaw(expected, "", f"event {expected} is missing: the case's record says that there are {length}")
    return None
