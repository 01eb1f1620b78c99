"""Ids that come from what they name, so that a replay makes the same ones.

A *shard* is one of a fixed number of drawers into which customers are hashed; a case id carries its
shard, so that an action finds its way without knowing the customer.
"""

import re
from functools import lru_cache
from hashlib import blake2b
from typing import NewType

CaseId = NewType("CaseId", str)
"""`c-<shard>-<hash>`, e.g. `c-812-4f3a9c01d2e7`."""
EventId = NewType("EventId", str)
"""`e-` and 24 hex digits (96 bits). No dots: Standard Webhooks signs `id.timestamp.body`."""

DEFAULT_SHARDS = 4096
MAX_SHARDS = 65_536
_CASE_ID = re.compile(r"c-(\d{1,5})-([0-9a-f]{12})", re.ASCII)


def _digest(size: int, parts: tuple[str, ...]) -> bytes:
    # The separator cannot be written in a part's place: lengths go first.
    text = ""
    for part in parts:  # a generator for join costs half as much again, and this runs eight times a response
        text += f"{len(part)}:{part}"
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=size).digest()


def shard_of(programme: str, customer_key: str, shards: int) -> int:
    """The shard, 0 to *shards* - 1, that holds this customer's cases."""
    return int.from_bytes(_digest(8, (programme, customer_key)), "big") % shards


def shard_key(shard: int) -> str:
    """The key under which Bytewax keeps a shard. A stored name: changing it forgets every case."""
    return f"{shard:05d}"


@lru_cache(maxsize=256)  # the facts of one response, and its case, ask for the same
def response_key(programme: str, source: str, id_: str) -> int:
    """64 bits that stand for one response wherever cases remember it."""
    return int.from_bytes(_digest(8, (programme, source, id_)), "big")


def short_hash(*parts: str) -> int:
    """64 bits that stand for *parts* in a case's memory (identities, action ids)."""
    return int.from_bytes(_digest(8, parts), "big")


def case_id(shard: int, *parts: str) -> CaseId:
    """The id of the case that *parts* (identity and opening response) open."""
    return CaseId(f"c-{shard}-{_digest(6, parts).hex()}")


def case_shard(id_: str, shards: int) -> int | None:
    """The shard that a case id names, or None when it is no case id of this store."""
    match = _CASE_ID.fullmatch(id_)
    if match is None:
        return None
    shard = int(match[1])
    return shard if shard < shards and str(shard) == match[1] else None


_NUMBER_BITS = 48


def case_number(id_: str) -> int:
    """A case id as one number, for where many are kept: its shard, and 48 bits."""
    _, shard, rest = id_.split("-")
    return int(shard) << _NUMBER_BITS | int(rest, 16)


def case_of_number(number: int) -> CaseId:
    """The id that `case_number` made *number* of."""
    return CaseId(f"c-{number >> _NUMBER_BITS}-{number & (1 << _NUMBER_BITS) - 1:012x}")


def shard_of_number(number: int) -> int:
    """The shard of the case of that number."""
    return number >> _NUMBER_BITS


def number_in(shard: int) -> int:
    """Stands for some case of *shard*, which one is not known."""
    return shard << _NUMBER_BITS


def event_id(*parts: str) -> EventId:
    """The id of the event that says *parts* (case, type, clock, occurrence)."""
    return EventId("e-" + _digest(12, parts).hex())
