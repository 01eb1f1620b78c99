"""A pause of all notices, kept in Redis: who asked for it, why, and until when. Every one and every end is on a trail.

Deliveries read it and hold what they have in their queues; the engine does not know of it, so no clock pauses.
It ends by itself: a pause that was forgotten tells nobody of a breach.
"""

from typing import Any

import msgspec
import redis.asyncio

from connectors.delivery_queue import command

KEY = "tocsin:{deliveries}:pause"
TRAIL = "tocsin:{deliveries}:pauses"
"""Stream: `do by reason at until held`, in Unix seconds; what is older than `KEPT` entries goes."""
KEPT = 10_000
LONGEST_S = 7 * 86_400
"""Longer, and the first events held would expire unsent."""


class PauseRefused(ValueError):
    """What was asked cannot be. Whose turn: the caller's; the text says why."""


class Pause(msgspec.Struct, frozen=True, kw_only=True):
    """Instants are Unix seconds; nothing is sent in [since, until)."""

    by: str
    reason: str
    since: float
    until: float


async def pause(client: "redis.asyncio.Redis", asked: Pause) -> None:
    """Nothing is sent from here on; takes the place of a pause that stands. Raises PauseRefused."""
    if not asked.by.strip() or not asked.reason.strip():
        raise PauseRefused("a pause needs an author and a reason (--by, --reason): it stands on the trail")
    if not 0 < asked.until - asked.since <= LONGEST_S:
        raise PauseRefused(f"a pause lasts from a second to {LONGEST_S // 86_400} days")
    async with client.pipeline(transaction=True) as both:
        both.set(KEY, msgspec.json.encode(asked))
        _note(both, "pause", asked.by, asked.reason, at=asked.since, until=asked.until)
        await both.execute()


async def resume(client: "redis.asyncio.Redis", *, by: str, reason: str, at: float) -> Pause | None:
    """Send again; what stood until now, None when nothing did. Raises PauseRefused."""
    if not by.strip():
        raise PauseRefused("a resume needs an author (--by): it stands on the trail")
    stood = await standing(client, at)
    if stood is not None:
        async with client.pipeline(transaction=True) as both:
            both.delete(KEY)
            _note(both, "resume", by, reason, at=at, until=at)
            await both.execute()
    return stood


async def standing(client: "redis.asyncio.Redis", now: float) -> Pause | None:
    """The pause that holds at *now*."""
    kept = await command(client, "GET", KEY)
    found = None if kept is None else msgspec.json.decode(kept, type=Pause)
    return found if found is not None and now < found.until else None


async def ended(client: "redis.asyncio.Redis", past: Pause, *, held: int, at: float) -> None:
    """Put on the trail that deliveries go on after *past*, with *held* events to send."""
    async with client.pipeline(transaction=True) as one:
        _note(one, "ended", past.by, past.reason, at=at, until=past.until, held=held)
        await one.execute()


async def trail(client: "redis.asyncio.Redis", limit: int = 100) -> list[dict[str, str]]:
    """The newest *limit* entries, oldest first."""
    found = await command(client, "XREVRANGE", TRAIL, "+", "-", "COUNT", limit)
    return [{k.decode(): v.decode() for k, v in fields.items()} for _, fields in reversed(found)]


def _note(pipe: Any, do: str, by: str, reason: str, *, at: float, until: float, held: int = 0) -> None:
    fields = {"do": do, "by": by, "reason": reason, "at": int(at), "until": int(until), "held": held}
    pipe.xadd(TRAIL, fields, maxlen=KEPT, approximate=True)
