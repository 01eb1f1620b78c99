"""The queues of deliveries in Redis: what came in, what is due, what became of it.

Every method is one script or one read, safe to repeat, so `Link.patiently` may call it until Redis answers.
`delivery_script.py` says which keys there are and what the scripts promise; `delivery_commands.py` is for people.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from hashlib import sha1
from typing import Any, Literal, TypeVar

import msgspec
import redis.asyncio
import structlog
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import (
    BusyLoadingError,
    ClusterDownError,
    MasterDownError,
    NoScriptError,
    OutOfMemoryError,
    ReadOnlyError,
    ResponseError,
    TryAgainError,
)
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from connectors.delivery_script import HOLD, RELEASE, TAKE_IN, TURN
from connectors.endpoint_state import EndpointState
from connectors.keyspace import Keys
from connectors.redis_link import PASSING

log = structlog.get_logger()

GROUP = "deliveries"
CONSUMER = "deliveries"
"""One name for all processes: only the holder reads, and it finds what its predecessor left unacknowledged."""
BLOCK_MS = 1000
"""Shorter than the socket's time-out, or a quiet stream would look like a dead server."""
READ_COUNT = 200
BACKOFF_S = (0.05, 0.2, 1.0, 2.0)
STATE_STEM = "tocsin:{deliveries}:endpoint:"
"""Hash for each endpoint, over all programmes: the fields of `EndpointState`; absent while it is well."""

_AWAY = (RedisConnectionError, RedisTimeoutError, BusyLoadingError, OSError)
_REFUSING = (OutOfMemoryError, ReadOnlyError, ClusterDownError, MasterDownError, TryAgainError)

T = TypeVar("T")


class Fenced(Exception):
    """Another process has taken over this programme's deliveries."""


async def command(client: "redis.asyncio.Redis", *args: Any) -> Any:
    """One command and its reply, as redis-py parses it."""
    return await client.execute_command(*args)  # type: ignore[no-untyped-call]


def connect(url: str) -> "redis.asyncio.Redis":
    """A client of bytes without silent retries. Does not connect yet."""
    return redis.asyncio.Redis.from_url(
        url, protocol=2, socket_timeout=5.0, socket_connect_timeout=5.0, retry=Retry(NoBackoff(), 0)
    )


class Link:
    """A client, and patience with it: a call is repeated until Redis answers, or until we are stopping."""

    def __init__(self, client: "redis.asyncio.Redis", stopping: Callable[[], bool]) -> None:
        self.client, self._stopping = client, stopping
        self.trouble = ""
        """Why Redis does not answer; empty while it does."""

    async def patiently(self, call: Callable[[], Awaitable[T]]) -> T:
        """What *call* returns. Raises Redis's error only when stopping, or when the call itself is wrong."""
        attempt = 0
        while True:
            try:
                found = await call()
            except (*_AWAY, ResponseError) as error:
                if not _passes(error) or self._stopping():
                    raise
                if not self.trouble:
                    log.error("deliveries.redis_lost", error=type(error).__name__)
                self.trouble = f"Redis is away: {type(error).__name__}"
                await asyncio.sleep(BACKOFF_S[min(attempt, len(BACKOFF_S) - 1)])
                attempt += 1
            else:
                if self.trouble:
                    log.info("deliveries.redis_found")
                    self.trouble = ""
                return found


def _passes(error: Exception) -> bool:
    if isinstance(error, (*_AWAY, *_REFUSING)):
        return True
    return str(error).split(" ", 1)[0] in PASSING


class Incoming(msgspec.Struct, frozen=True):
    """One event of the log, read once and found sound."""

    stream_id: str
    id: str
    type: str
    line: str
    """Its case, or a line of its own."""
    history: bool = False
    """It was read in from a history (`tocsin backfill`), and nobody is told of it."""

    @property
    def since_ms(self) -> int:
        return int(self.stream_id.partition("-")[0])


class Poison(msgspec.Struct, frozen=True):
    """One entry of the log that is no event."""

    stream_id: str
    reason: str
    event: bytes


class _Data(msgspec.Struct):
    history: bool = False


class _Sound(msgspec.Struct):
    id: str
    type: str
    time: str
    data: _Data


_sound = msgspec.json.Decoder(_Sound).decode
_ID = re.compile(r"[A-Za-z0-9_-]{1,128}", re.ASCII)
"""No dot: it separates the parts of what is signed."""
_CASE = re.compile(r"[A-Za-z0-9_.:@-]{1,256}", re.ASCII)


def read_entry(stream_id: str, fields: Mapping[bytes, bytes] | None) -> Incoming | Poison:
    """What one entry of the log holds. Never raises; the reason names what is wrong."""
    event = (fields or {}).get(b"event")
    if fields is None or event is None:
        return Poison(stream_id, "lost" if not fields else "no_event", b"")
    try:
        sound = _sound(event)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return Poison(stream_id, "not_an_event", event)
    if not _ID.fullmatch(sound.id) or fields.get(b"id", b"").decode("ascii", "replace") != sound.id:
        return Poison(stream_id, "bad_id", event)
    case = fields.get(b"case", b"").decode("utf-8", "replace")
    if case and not _CASE.fullmatch(case):
        return Poison(stream_id, "bad_case", event)
    return Incoming(stream_id, sound.id, sound.type, case or "~" + sound.id, sound.data.history)


class Settled(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one attempt, as the queue needs to know it."""

    entry: str
    verb: Literal["done", "retry", "dead", "keep"]
    attempts: int
    at_ms: int = 0
    reason: str = ""
    detail: str = ""


class Head(msgspec.Struct, frozen=True, kw_only=True):
    """The next event of a line, due now."""

    line: str
    entry: str
    attempts: int
    """Made so far."""
    since_ms: int
    body: bytes | None
    """None when neither the log nor the case's log holds it any more."""

    @property
    def id(self) -> str:
        return self.entry.split(" ")[1]


class Turned(msgspec.Struct, frozen=True, kw_only=True):
    """How a queue stands after a turn."""

    heads: tuple[Head, ...]
    next_due_ms: int | None
    waiting: int
    oldest_ms: int | None
    expired: int


class DeliveryQueue:
    """The queues of one programme. *token* names the process that holds them; each call renews the hold."""

    def __init__(self, client: "redis.asyncio.Redis", programme: str, token: str) -> None:
        self._client, self.programme, self._token = client, programme, token
        keys = Keys(programme)
        self._events = keys.events
        stem = keys.stem + "deliveries:"
        self._keys = (stem + "holder", self._events, stem + "dead")

    @asynccontextmanager
    async def on_one_connection(self) -> "AsyncIterator[DeliveryQueue]":
        """The same queue on a connection of its own, so that each time it breaks a call says so.

        A pool puts a new connection in the place of one that died while it lay unused, and says nothing; Redis may have
        come back without the end of its file in between.
        """
        async with self._client.client() as client:
            yield DeliveryQueue(client, self.programme, self._token)

    async def hold(self) -> bool:
        """Take or renew the hold; False while another process has it."""
        return bool(await _script(self._client, HOLD, self._keys[:1], self._token))

    async def release(self) -> None:
        await _script(self._client, RELEASE, self._keys[:1], self._token)

    async def read(self, after: Literal["0", ">"], start_ms: int) -> list[Incoming | Poison]:
        """Some entries not yet acknowledged (`0`), or new ones (`>`, waiting for them up to a second).

        A log without our group gets one that begins at *start_ms*.
        """
        block = ("BLOCK", BLOCK_MS) if after == ">" else ()
        try:
            found = await command(
                self._client,
                "XREADGROUP",
                "GROUP",
                GROUP,
                CONSUMER,
                "COUNT",
                READ_COUNT,
                *block,
                "STREAMS",
                self._events,
                after,
            )
        except ResponseError as error:
            if "NOGROUP" not in str(error):
                raise
            await self._make_group(start_ms)
            return []
        streams: Any = found.items() if isinstance(found, dict) else found or ()
        return [read_entry(id_.decode(), fields) for _, entries in streams for id_, fields in entries]

    async def _make_group(self, start_ms: int) -> None:
        try:
            await command(self._client, "XGROUP", "CREATE", self._events, GROUP, f"{max(start_ms, 0)}-0", "MKSTREAM")
        except ResponseError as error:
            if "BUSYGROUP" not in str(error):
                raise

    async def take_in(self, items: Sequence[tuple[Incoming, Sequence[str]]], poison: Sequence[Poison]) -> int:
        """Queue each event for the endpoints named with it, and acknowledge it; returns how much was poison.

        Raises Fenced.
        """
        given = (
            GROUP,
            [(i.stream_id, i.id, i.line, i.since_ms, names) for i, names in items],
            [(p.stream_id, p.reason) for p in poison],
        )
        return int(await self._fenced(TAKE_IN, given, *(p.event for p in poison)))

    async def turn(
        self,
        endpoint: str,
        *,
        now_ms: int,
        expire_before_ms: int,
        want: int,
        under_way: Sequence[str],
        settled: Sequence[Settled],
        hasten: bool = False,
    ) -> Turned:
        """Settle the attempts that ended, expire what is too old, and get up to *want* heads that are due.

        *under_way* are lines with an attempt in flight; *hasten* makes everything due now. Raises Fenced.
        """
        given = (
            endpoint, now_ms, max(expire_before_ms, 0), want, hasten, under_way,
            [(s.entry, s.verb, s.attempts, s.at_ms, s.reason, s.detail) for s in settled],
        )  # fmt: skip
        heads, next_due, waiting, oldest, expired = await self._fenced(TURN, given)
        return Turned(
            heads=tuple(
                Head(line=line.decode(), entry=entry.decode(), attempts=n, since_ms=since, body=body)
                for line, entry, n, since, body in heads
            ),
            next_due_ms=next_due if next_due >= 0 else None,
            waiting=waiting,
            oldest_ms=oldest if oldest >= 0 else None,
            expired=expired,
        )

    async def _fenced(self, script: str, given: Any, *more: bytes) -> Any:
        packed = msgspec.msgpack.encode(given)
        try:
            return await _script(self._client, script, self._keys, self._token, packed, *more)
        except ResponseError as error:
            if str(error).startswith("FENCED"):
                raise Fenced(self.programme) from error
            raise


_SHA = {script: sha1(script.encode()).hexdigest() for script in (HOLD, RELEASE, TAKE_IN, TURN)}


async def _script(client: "redis.asyncio.Redis", script: str, keys: Sequence[str], *args: Any) -> Any:
    try:
        return await command(client, "EVALSHA", _SHA[script], len(keys), *keys, *args)
    except NoScriptError:
        return await command(client, "EVAL", script, len(keys), *keys, *args)


# -- the state of endpoints -----------------------------------------------------------------------------------


async def load_state(client: "redis.asyncio.Redis", endpoint: str) -> EndpointState:
    """What was last known of *endpoint*; well when nothing is."""
    found: Any = await command(client, "HGETALL", STATE_STEM + endpoint)
    flat = found.items() if isinstance(found, dict) else zip(found[::2], found[1::2], strict=True)
    plain = {name.decode(): value.decode() for name, value in flat}
    return msgspec.convert(plain, EndpointState, strict=False)


async def save_state(client: "redis.asyncio.Redis", endpoint: str, state: EndpointState) -> None:
    """Keep *state*, so that people see it and a restart goes on from it."""
    key = STATE_STEM + endpoint
    if state == EndpointState():
        await command(client, "DEL", key)
        return
    flat = [x for name, value in msgspec.structs.asdict(state).items() for x in (name, value)]
    await command(client, "HSET", key, *flat)


async def is_well(client: "redis.asyncio.Redis", endpoint: str) -> bool:
    """Whether nothing is held against *endpoint*: it was well when last saved, or somebody enabled it since."""
    return not await command(client, "EXISTS", STATE_STEM + endpoint)
