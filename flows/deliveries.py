"""The second flow: case events out of Redis, to webhooks and targets. A slow receiver waits here, never a clock.

For each programme one process holds the deliveries (others stand by): it reads the event log as a consumer group,
puts each event into the queue of every endpoint that wants it, in Redis, and acknowledges it in the same call.
Couriers (`courier.py`) empty the queues. At least once, with the same id each time; a case's events in order, until
one is dead-lettered. `connectors/delivery_script.py` tells how the queues are kept.
"""

import asyncio
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Literal, get_args

import structlog
from redis.exceptions import RedisError

from connectors.delivery_queue import DeliveryQueue, Fenced, Incoming, Link, Poison, connect, load_state
from connectors.notice_pause import Pause, ended, standing
from connectors.opening import Opener
from connectors.signing import Secret
from connectors.targets.loading import Ready, TargetSettingsError, all_ready
from connectors.targets.secrets import fetching
from connectors.webhooks import Endpoint, Format, matching
from flows.carriers import TargetCarrier
from flows.courier import Courier, Receiver
from flows.delivery_metrics import DeliveryMetrics
from flows.settings import DeclaredEndpoint, Settings, SettingsError

log = structlog.get_logger()

RENEW_S = 1.0
STAND_BY_S = 0.5
"""How often a process that stands by asks whether it may take over."""
FIRST_LOOK_BACK_S = 86_400.0
"""A programme's first deliveries begin with the events of this last day at most, less when none may be so old."""


class DeliveriesHealth:
    """What keeps deliveries from being ready, in words; give `reasons` to the health server."""

    def __init__(self) -> None:
        self._link: Link | None = None
        self._standing_by: set[str] = set()

    def watch(self, link: Link) -> None:
        self._link = link

    def stands_by(self, programme: str, is_so: bool) -> None:
        (self._standing_by.add if is_so else self._standing_by.discard)(programme)

    def reasons(self) -> Mapping[str, str]:
        """Empty when all is well. A disabled endpoint is a receiver's trouble, shown in its metric, not here."""
        if self._link is None:
            return {"deliveries": "not started"}
        found = {"deliveries": self._link.trouble} if self._link.trouble else {}
        for programme in sorted(self._standing_by):
            found[f"deliveries of {programme}"] = "another process delivers; this one stands by"
        return found


def endpoints_from(declared: Sequence[DeclaredEndpoint], environ: Mapping[str, str]) -> tuple[Endpoint, ...]:
    """The endpoints of the settings, their secrets fetched (`env:NAME`, `file:/path`). Raises SettingsError."""
    found: list[Endpoint] = []
    for one in declared:
        try:
            if one.format not in get_args(Format):
                raise ValueError(f"format is {one.format!r}; expected one of {', '.join(get_args(Format))}")
            made = Endpoint(
                name=one.name,
                url=one.url,
                secrets=tuple(Secret(_fetch(reference, environ)) for reference in one.secrets),
                events=tuple(one.events),
                programmes=tuple(one.programmes),
                format="standard" if one.format == "standard" else "cloudevents",
                allow_private=one.allow_private,
                timeout_s=one.timeout_s,
                max_age_s=one.max_age_s,
                headers=one.headers,
            )
        except ValueError as error:
            raise SettingsError(f"endpoints: {one.name[:64]!r}: {error}") from None
        if any(other.name == made.name for other in found):
            raise SettingsError(f"endpoints: two are named {made.name!r}")
        found.append(made)
    return tuple(found)


def receivers_from(settings: Settings, environ: Mapping[str, str]) -> tuple[Endpoint | Ready, ...]:
    """Endpoints and targets of the settings, their secrets fetched. Raises SettingsError."""
    endpoints = endpoints_from(settings.endpoints, environ)
    try:
        targets = all_ready(settings.targets, fetching(environ), settings.file.resolve().parent)
    except TargetSettingsError as error:
        raise SettingsError(str(error)) from None
    shared = {e.name for e in endpoints} & {t.name for t in targets}
    if shared:
        raise SettingsError(f"targets: an endpoint is named {min(shared)!r} too")
    return (*endpoints, *targets)


def _fetch(reference: str, environ: Mapping[str, str]) -> str:
    kind, _, where = reference.partition(":")
    if kind == "env":
        if not environ.get(where):
            raise ValueError(f"the environment has no {where}, which a secret refers to")
        return environ[where]
    if kind == "file":
        try:
            return Path(where).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise ValueError(f"the secret's file cannot be read: {error}") from None
    raise ValueError("a secret is given as env:NAME or file:/path, never as itself")


async def run(
    redis_url: str,
    endpoints: Sequence[Endpoint | Ready],
    programmes: Sequence[str],
    *,
    metrics: DeliveryMetrics,
    now: Callable[[], float] = time.time,
    stop: asyncio.Event,
    health: DeliveriesHealth | None = None,
    vault: Path | None = None,
) -> None:
    """Deliver the events of *programmes* to *endpoints* (webhooks and targets) until *stop* is set.

    *now* is Unix seconds. Redis going away is waited out. Attempts under way when *stop* comes have a few seconds to
    end. What is sealed is opened with the file *vault*. Raises ValueError when two endpoints share a name; anything
    else that is raised is a mistake of ours.
    """
    if len({endpoint.name for endpoint in endpoints}) < len(endpoints):
        raise ValueError("two endpoints share a name")
    client = connect(redis_url)
    link = Link(client, stop.is_set)
    health = health or DeliveriesHealth()
    health.watch(link)
    receivers: list[Receiver] = []
    try:
        for endpoint in endpoints:
            state = await link.patiently(partial(load_state, client, endpoint.name))
            receivers.append(Receiver(endpoint, state, link, metrics, now))
        flow = _Flow(link, receivers, metrics, now, stop, health, Opener(vault))
        await flow.look_at_pause()
        async with asyncio.TaskGroup() as group:
            group.create_task(flow.watch())
            for programme in programmes:
                group.create_task(flow.serve(programme))
    except (RedisError, OSError):
        if not stop.is_set():  # Redis was away from the start to the stop
            raise
    finally:
        for receiver in receivers:
            await receiver.carrier.close()
        await client.aclose()


class _Flow:
    def __init__(
        self,
        link: Link,
        receivers: Sequence[Receiver],
        metrics: DeliveryMetrics,
        now: Callable[[], float],
        stop: asyncio.Event,
        health: DeliveriesHealth,
        opener: Opener,
    ) -> None:
        self._opener = opener
        self._link, self._receivers, self._metrics = link, receivers, metrics
        self._now, self._stop, self._health = now, stop, health
        self._pause: Pause | None = None

    async def look_at_pause(self) -> None:
        """Hold what waits while somebody has paused all notices; say how much was held when that is over."""
        now, before = self._now(), self._pause
        found = await self._link.patiently(lambda: standing(self._link.client, now))
        self._metrics.paused(found.until if found is not None else 0.0)
        if found == before:
            return
        self._pause = found
        if found is not None:
            log.warning("notices.paused", by=found.by, reason=found.reason, until=found.until)
        elif before is not None:
            held = self._metrics.waiting
            log.warning("notices.resumed", by=before.by, reason=before.reason, held=held)
            await self._link.patiently(lambda: ended(self._link.client, before, held=held, at=now))
        for receiver in self._receivers:
            receiver.pause(found is not None)

    async def watch(self) -> None:
        """Notice a pause of all notices, and endpoints that somebody enabled."""
        while not await _stopped(self._stop, RENEW_S):
            try:
                await self.look_at_pause()
            except (RedisError, OSError):
                if not self._stop.is_set():
                    raise
            for receiver in self._receivers:
                try:
                    await receiver.look()
                except (RedisError, OSError):
                    if not self._stop.is_set():
                        raise

    async def serve(self, programme: str) -> None:
        """Hold *programme* and deliver, or stand by; again and again until the flow stops."""
        queue = DeliveryQueue(self._link.client, programme, uuid.uuid4().hex)
        standing_by = False
        while not self._stop.is_set():
            try:
                held = await self._link.patiently(queue.hold)
                if held == standing_by:
                    standing_by = not held
                    self._health.stands_by(programme, standing_by)
                    log.info("deliveries.stood_by" if standing_by else "deliveries.taken_over", programme=programme)
                if held:
                    await self._session(queue)
                    await self._link.patiently(queue.release)
            except* Fenced:
                log.warning("deliveries.fenced", programme=programme)
            except* (RedisError, OSError):
                # Not patient any more because we are stopping: what was not settled is delivered again.
                if not self._stop.is_set():
                    raise
            await _stopped(self._stop, STAND_BY_S)

    async def _session(self, queue: DeliveryQueue) -> None:
        """Deliver until the flow stops or somebody else holds the programme. Raises Fenced, in a group.

        The tasks of a session also ask whether it is over: a cancellation that meets a time-out inside the client can
        be lost, and a task that was not told would keep the session, and the stand-by after it, waiting.
        """
        over = asyncio.Event()

        def ending() -> bool:
            return over.is_set() or self._stop.is_set()

        couriers = {
            receiver.endpoint.name: Courier(receiver, queue, self._link, self._metrics, self._now, ending, self._opener)
            for receiver in self._receivers
            if not receiver.endpoint.programmes or queue.programme in receiver.endpoint.programmes
        }
        async with asyncio.TaskGroup() as group:
            background = [
                group.create_task(self._renew(queue, over)),
                group.create_task(self._take_in(queue, couriers, ending)),
            ]
            background += [
                group.create_task(self._say_again(receiver.carrier, queue, ending))
                for receiver in self._receivers
                if receiver.endpoint.name in couriers and isinstance(receiver.carrier, TargetCarrier)
            ]
            running = [group.create_task(courier.run(group)) for courier in couriers.values()]
            try:
                await self._stop.wait()
                for courier in couriers.values():
                    courier.wake()
                if running:
                    await asyncio.wait(running)
            finally:
                over.set()
                for courier in couriers.values():
                    courier.wake()
            for task in background:
                task.cancel()

    async def _renew(self, queue: DeliveryQueue, over: asyncio.Event) -> None:
        while not over.is_set():
            await asyncio.sleep(RENEW_S)
            if not await self._link.patiently(queue.hold):
                raise Fenced(queue.programme)

    async def _say_again(self, carrier: TargetCarrier, queue: DeliveryQueue, ending: Callable[[], bool]) -> None:
        while carrier.repeat_s and not ending():
            await asyncio.sleep(carrier.repeat_s)
            await carrier.again(queue.programme, self._now())

    async def _take_in(self, queue: DeliveryQueue, couriers: Mapping[str, Courier], ending: Callable[[], bool]) -> None:
        """Move events from the log into the queues; never waits for a receiver."""
        endpoints = [r.endpoint for r in self._receivers if r.endpoint.name in couriers]
        names = matching(endpoints, queue.programme)
        oldest_s = max((e.max_age_s for e in endpoints), default=0.0)
        after: Literal["0", ">"] = "0"

        async def move(inlet: DeliveryQueue) -> list[Incoming | Poison]:
            nonlocal after
            start_ms = int((self._now() - min(oldest_s, FIRST_LOOK_BACK_S)) * 1000)
            try:
                entries = await inlet.read(after, start_ms)
                items = [(e, () if e.history else names(e.type)) for e in entries if isinstance(e, Incoming)]
                if entries:
                    await inlet.take_in(items, [e for e in entries if isinstance(e, Poison)])
            except (RedisError, OSError):
                # The reply may be lost, or Redis may have lost what it had taken: begin with what was read and is not
                # acknowledged. It comes before anything newer, and before what is in hand.
                after = "0"
                raise
            for name in {name for _, wanted in items for name in wanted}:
                couriers[name].wake()
            return entries

        async with queue.on_one_connection() as inlet:
            while not ending():
                entries = await self._link.patiently(partial(move, inlet))
                if not entries:
                    # Quiet: look whether something was read and its reply lost, then wait for what is new.
                    after = ">" if after == "0" else "0"
                for bad in (e for e in entries if isinstance(e, Poison)):
                    log.error("delivery.poisoned", programme=queue.programme, entry=bad.stream_id, reason=bad.reason)
                    self._metrics.died("", bad.reason)


async def _stopped(stop: asyncio.Event, within_s: float) -> bool:
    """Wait up to *within_s* for *stop*; whether it is set."""
    try:
        async with asyncio.timeout(within_s):
            await stop.wait()
    except TimeoutError:
        return False
    return True
