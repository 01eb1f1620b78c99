"""Who may come in by HTTP: keys and roles, rates, back-pressure; and a record of those who were turned away.

Deny by default: a request is let in by a key in force that allows what it asks for, or by a tool's signature. The keys
are read again every second, so one that is added or revoked counts within two; while Redis is away nothing is taken in
anyway. What is refused is counted, and kept in the programme's stream of refusals.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from math import ceil

import msgspec
import structlog

from connectors.api_keys import ApiKey, KeyRing
from connectors.http_settings import HttpSettings
from connectors.key_store import read
from connectors.keyspace import PROBE, Keys
from connectors.rates import Rates
from connectors.redis_async import AsyncLink, end
from connectors.redis_link import ScriptMissing, StoreAway, StoreError, StoreRefusing
from flows.capture_metrics import CaptureMetrics

log = structlog.get_logger()

LOOK_S = 1.0
REFUSALS_KEPT = 10_000
REFUSALS_WAITING = 1000
"""Refusals that wait to be written, at most; more than that a second are only counted."""
FAILURES_RATE, FAILURES_BURST = 1.0, 20.0
"""Bad keys a second and address that are recorded one by one; more are only counted."""


class Refused(Exception):
    """A request is not let in. *status* for HTTP, *reason* for machines, *detail* for a person."""

    def __init__(self, status: int, reason: str, detail: str, retry_after_s: float = 0.0) -> None:
        super().__init__(detail)
        self.status, self.reason, self.detail = status, reason, detail
        self.retry_after = ceil(retry_after_s) if retry_after_s else 0


class Turned(msgspec.Struct, frozen=True):
    """Somebody who was turned away."""

    programme: str
    at: float
    reason: str
    door: str
    principal: str
    what: str
    address: str


class Doorkeeper:
    """Watches the keys and the length of the inboxes. Use as an async context manager."""

    def __init__(
        self,
        url: str,
        programmes: Sequence[str],
        settings: HttpSettings,
        metrics: CaptureMetrics,
        *,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._link = AsyncLink(url, timeout_s=3.0)
        self._programmes, self._settings, self._metrics, self._now = sorted(programmes), settings, metrics, now
        self._ring = KeyRing()
        self._inboxes: dict[str, int] = {}
        self._rates = Rates(settings.rate, settings.burst)
        self._failures = Rates(FAILURES_RATE, FAILURES_BURST)
        self._turned: deque[Turned] = deque()
        self._tasks: list[asyncio.Task[None]] = []
        self.trouble = "the keys were not read yet"
        """Why nobody can be let in just now; empty when all is well."""

    async def __aenter__(self) -> "Doorkeeper":
        self._tasks = [asyncio.create_task(self._watch())]
        return self

    async def __aexit__(self, *_: object) -> None:
        await end(self._tasks)
        await self._link.close()

    # -- letting in ---------------------------------------------------------------------------------------

    def who(self, authorization: str, key: str, address: str, door: str) -> ApiKey:
        """The key that a request came with (`Authorization: Bearer`, or `X-API-Key`). Raises Refused."""
        if self.trouble:
            raise Refused(503, "redis_away", "the store cannot be reached just now; send this again", LOOK_S)
        scheme, _, text = authorization.partition(" ")
        text = text.strip() if scheme.lower() == "bearer" else key.strip()
        found = self._ring.who(text, self._now())
        if isinstance(found, ApiKey):
            return found
        # A good key is never held up by this: behind a proxy all callers may have one address.
        if wait := self._failures.take(address, 1.0, time.monotonic()):
            self._metrics.refused(found)
            raise Refused(429, "too_many_failures", "too many bad keys came from this address", wait)
        self.turn_away(found, door, address=address)
        raise Refused(401, "unauthorised", "a key in force is needed: Authorization: Bearer tk_...")

    def spend(self, who: str, records: int) -> None:
        """Count *records* against the rate of *who*. Raises Refused."""
        if wait := self._rates.take(who, records, time.monotonic()):
            self._metrics.refused("too_fast")
            raise Refused(429, "too_fast", f"more than {self._settings.rate:g} records a second; slow down", wait)

    def make_room(self, programme: str) -> None:
        """Raises Refused while the inbox of *programme* is full."""
        limit, length = self._settings.inbox_limit, self._inboxes.get(programme, 0)
        if limit and length > limit:
            self._metrics.refused("inbox_full")
            raise Refused(503, "inbox_full", f"{length} records wait for the engine; send this again later", 5.0)

    def turn_away(
        self, reason: str, door: str, *, programme: str = "", principal: str = "", what: str = "", address: str = ""
    ) -> None:
        """Record that somebody was refused."""
        self._metrics.refused(reason)
        if len(self._turned) < REFUSALS_WAITING:
            whose = programme or self._programmes[0]
            self._turned.append(Turned(whose, self._now(), reason, door, principal, what[:200], address))

    # -- watching -----------------------------------------------------------------------------------------

    async def _watch(self) -> None:
        while True:
            try:
                if not self._link.is_open:
                    await self._link.open()
                await self._look()
                await self._write_refusals()
                if self.trouble:
                    log.info("doorkeeper.ready", keys=len(self._ring))
                self.trouble = ""
            except (StoreAway, StoreRefusing, StoreError, ScriptMissing, msgspec.DecodeError) as error:
                if not self.trouble:
                    log.error("doorkeeper.away", error=str(error)[:200])
                self.trouble = str(error)[:200] or type(error).__name__
            await asyncio.sleep(LOOK_S if not self.trouble else LOOK_S / 4)

    async def _look(self) -> None:
        names = [Keys(programme) for programme in self._programmes]
        asked = [("HGETALL", keys.api_keys) for keys in names]
        lengths = (*(("XLEN", keys.inbox) for keys in names), *(("ZCARD", keys.fetches) for keys in names))
        # A server whose disk or memory is full answers every question and takes nothing; so one word is written, too.
        replies = await self._link.calls([*asked, *lengths, ("INCR", names[0].marker_of(PROBE))])
        for reply in replies:
            if isinstance(reply, Exception):
                raise reply
        count = len(names)
        self._ring = KeyRing(key for kept in replies[:count] for key in read(kept))
        self._metrics.keys.set(len(self._ring))
        self._inboxes = dict(zip(self._programmes, replies[count : 2 * count], strict=True))
        for programme, length in self._inboxes.items():
            self._metrics.inbox.labels(programme).set(length)
        for programme, length in zip(self._programmes, replies[2 * count : 3 * count], strict=True):
            self._metrics.fetches.labels(programme).set(length)

    async def _write_refusals(self) -> None:
        group = [self._turned.popleft() for _ in range(len(self._turned))]
        if not group:
            return
        commands = []
        for one in group:
            log.warning("http.refused", **{name: value for name, value in msgspec.to_builtins(one).items() if value})
            fields = [w for name, value in msgspec.to_builtins(one).items() for w in (name, str(value))]
            key = Keys(one.programme).refusals
            commands.append(("XADD", key, "MAXLEN", "~", str(REFUSALS_KEPT), "*", *fields))
        try:
            replies = await self._link.calls(commands)
        except StoreAway:
            self._turned.extendleft(reversed(group))
            raise
        for reply in replies:
            if isinstance(reply, Exception):
                raise reply
