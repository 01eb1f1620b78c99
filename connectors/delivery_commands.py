"""What people do about deliveries: look at endpoints and dead letters, enable an endpoint, replay what died.

Each works from any process, beside a running flow; the flow notices within seconds.
"""

from typing import Any

import msgspec
import redis.asyncio

from connectors.delivery_queue import STATE_STEM, command, load_state
from connectors.delivery_script import REPLAY
from connectors.endpoint_state import EndpointState
from connectors.keyspace import Keys

PAGE = 200


class DeadLetter(msgspec.Struct, frozen=True, kw_only=True):
    """One event that one endpoint never got."""

    letter: str
    """Its id among the dead letters; begins with the milliseconds when it died."""
    endpoint: str
    """Empty for an entry of the log that was no event: it can be read here, but not replayed."""
    reason: str
    detail: str = ""
    attempts: int = 0
    id: str = ""
    event: str = ""


async def enable(client: "redis.asyncio.Redis", endpoint: str) -> bool:
    """Let a disabled or failing endpoint start afresh; False when nothing was held against it."""
    return bool(await command(client, "DEL", STATE_STEM + endpoint))


async def state(client: "redis.asyncio.Redis", endpoint: str) -> EndpointState:
    """What the flow last noted of *endpoint*."""
    return await load_state(client, endpoint)


async def dead_letters(
    client: "redis.asyncio.Redis",
    programme: str,
    *,
    endpoint: str | None = None,
    start: str = "-",
    end: str = "+",
    limit: int = 100,
) -> list[DeadLetter]:
    """Up to *limit* dead letters from letter *start* to *end* (both included; milliseconds will do), oldest first."""
    found: list[DeadLetter] = []
    while len(found) < limit:
        page = await _page(client, programme, start, end)
        found += [letter for letter in page if endpoint is None or letter.endpoint == endpoint]
        if len(page) < PAGE:
            break
        start = "(" + page[-1].letter
    return found[:limit]


async def replay(
    client: "redis.asyncio.Redis",
    programme: str,
    *,
    now: float,
    endpoint: str | None = None,
    event_id: str | None = None,
    start: str = "-",
    end: str = "+",
) -> int:
    """Put dead letters back at the end of their queues, as waiting since *now*; returns how many.

    All that are named: of one *endpoint*, of one event, from letter *start* to *end*. They are taken page by page,
    each page at once, so a replay that is cut short has moved whole letters and can be repeated.
    """
    stem = Keys(programme).stem + "deliveries:"
    keys = (stem + "holder", Keys(programme).events, stem + "dead")
    if end == "+":  # what dies again meanwhile is not ours to replay once more
        newest = await command(client, "XREVRANGE", keys[2], "+", "-", "COUNT", 1)
        if not newest:
            return 0
        end = newest[0][0].decode()
    moved = 0
    while True:
        page = await _page(client, programme, start, end)
        named = [
            letter.letter
            for letter in page
            if letter.endpoint
            and (endpoint is None or letter.endpoint == endpoint)
            and (event_id is None or letter.id == event_id)
        ]
        if named:
            given = msgspec.msgpack.encode((int(now * 1000), named))
            moved += int(await command(client, "EVAL", REPLAY, len(keys), *keys, "", given))
        if len(page) < PAGE:
            return moved
        start = "(" + page[-1].letter


async def _page(client: "redis.asyncio.Redis", programme: str, start: str, end: str) -> list[DeadLetter]:
    key = Keys(programme).stem + "deliveries:dead"
    found: Any = await command(client, "XRANGE", key, start, end, "COUNT", PAGE)
    return [
        msgspec.convert(
            {k.decode(): v.decode("utf-8", "replace") for k, v in fields.items()} | {"letter": id_.decode()},
            DeadLetter,
            strict=False,
        )
        for id_, fields in found
    ]
