"""The deliveries flow with events waiting and half of its endpoints hanging: what that costs the healthy half.

The same log twice: for the healthy endpoints alone, and with as many that accept a request and never answer. The flow
is `tocsin deliver` in a process of its own; the receivers are one aiohttp server on the other core. A rate counts from
the first request to the last event's arrival at the last healthy endpoint. Aim: 0.9.
"""

import argparse
import asyncio
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
from aiohttp import web

from benchmarks.common import report
from connectors.embedded import Embedded
from connectors.keyspace import PROGRAMMES, Keys
from connectors.redis_link import client
from feedback.instants import Instant, rfc3339

SECRET = "whsec_" + "YmVuY2hz" * 5
TIMEOUT_S = 5
PATIENCE_S = 900.0


class Receivers:
    """One server for all endpoints: `/well/N` answers, `/hung/N` never does."""

    def __init__(self) -> None:
        self.got: Counter[str] = Counter()
        self.hung = 0
        self.first: float | None = None
        self.last = 0.0

    async def well(self, request: web.Request) -> web.Response:
        await request.read()
        self.last = time.monotonic()
        self.first = self.first or self.last
        self.got[request.match_info["name"]] += 1
        return web.Response(status=204)

    async def never(self, request: web.Request) -> web.Response:
        self.hung += 1
        await asyncio.sleep(PATIENCE_S)
        return web.Response(status=204)


def fill(url: str, count: int) -> None:
    """*count* events of as many cases in the log."""
    keys = Keys("default")
    with client(url) as redis:
        redis.sadd(PROGRAMMES, "default")
        pipe = redis.pipeline(transaction=False)
        at = rfc3339(Instant(int(time.time())))
        for number in range(count):
            id_, case = f"e-{number:024x}", f"c-0-{number:012x}"
            event = {
                "specversion": "1.0", "id": id_, "type": "tocsin.case.opened", "source": "/tocsin/default",
                "subject": case, "time": at, "timestamp": at, "sequence": "0000000001",
                "datacontenttype": "application/json", "data": {"type": "detractor", "text": "x" * 400},
            }  # fmt: skip
            fields = {
                "id": id_, "type": event["type"], "time": at, "case": case, "sequence": 1,
                "event": msgspec.json.encode(event),
            }  # fmt: skip
            pipe.xadd(keys.events, fields)
        pipe.execute()


async def rate(folder: Path, count: int, well: int, hanging: int) -> tuple[float, int]:
    """Events a second at each of *well* endpoints beside *hanging* ones; and how many requests those hung."""
    receivers = Receivers()
    app = web.Application()
    app.router.add_post("/well/{name}", receivers.well)
    app.router.add_post("/hung/{name}", receivers.never)
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    address: Any = runner.addresses[0]
    names = [f"well/{n}" for n in range(well)] + [f"hung/{n}" for n in range(hanging)]
    endpoints = [
        {
            "name": name.replace("/", "-"), "url": f"http://127.0.0.1:{address[1]}/{name}",
            "secrets": ["env:BENCH_SECRET"], "allow_private": True, "timeout_s": TIMEOUT_S,
        }
        for name in names
    ]  # fmt: skip
    settings = folder / "tocsin.yaml"
    settings.write_bytes(msgspec.json.encode({"privacy": {"seal": False}, "endpoints": endpoints}))
    store = Embedded(folder / "state")
    fill(store.url, count)
    command = [
        sys.executable, "-c", "from console.cli import main; main()", "deliver", "--settings", str(settings),
        "--redis", store.url, "--state", str(folder / "state"), "--metrics-port", "0",
    ]  # fmt: skip
    env = {**os.environ, "BENCH_SECRET": SECRET, "PYTHONPATH": str(Path(__file__).parent.parent)}
    with (folder / "log").open("wb") as log:
        flow = subprocess.Popen(command, stdout=log, stderr=log, env=env)
    limit = time.monotonic() + PATIENCE_S
    try:
        while len(receivers.got) < well or min(receivers.got.values()) < count:
            if flow.poll() is not None or time.monotonic() > limit:
                raise SystemExit(
                    f"the flow did not deliver all of it: {dict(receivers.got)}; {(folder / 'log').read_text()[-2000:]}"
                )
            await asyncio.sleep(0.05)
    finally:
        flow.terminate()
        flow.wait(60)
        await runner.cleanup()
        store.close()
    assert receivers.first is not None
    return count / (receivers.last - receivers.first), receivers.hung


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--events", type=int, default=10_000)
    parser.add_argument("--endpoints", type=int, default=4, help="Half of them hang.")
    asked = parser.parse_args()
    half = max(1, asked.endpoints // 2)
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as two:
        alone, _ = asyncio.run(rate(Path(one), asked.events, half, 0))
        beside, hung = asyncio.run(rate(Path(two), asked.events, half, half))
    rows = [
        ("events waiting, endpoints", f"{asked.events:,}, {half} healthy"),
        ("alone", f"{alone:,.0f} events/s at each"),
        (f"beside {half} that hang ({TIMEOUT_S} s a request)", f"{beside:,.0f} events/s at each; {hung} requests hung"),
        ("ratio (aim 0.9)", f"{beside / alone:.2f}"),
    ]
    figures = {"alone_per_s": round(alone), "beside_per_s": round(beside), "ratio": round(beside / alone, 2)}
    report("bench_deliveries", rows, {**figures, "events": asked.events, "hung_requests": hung})


if __name__ == "__main__":
    main()
