"""HTTP to Redis: a request sent to its record readable in the stream that the engine reads, at 500 and 2,000 a second.

Beside it, in the same run and turn about, a bare server of the same framework that appends what it is sent and answers
at once. The door checks the key, decodes the record, refuses what was here before, and answers when the record is on
disk; the bare server does none of it. Last, with the engine beside the door: sent to the case's opening readable, with
one response in ten opening one. The sender is a process of its own and keeps its pace whether or not answers come.
"""

import argparse
import asyncio
import itertools
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import redis.asyncio
from aiohttp import web

from benchmarks.common import percentile, report
from connectors.embedded import Embedded
from connectors.key_store import KeyStore
from connectors.keyspace import Keys
from connectors.redis_link import client
from flows.settings import CHECKOUT, DEFAULT_FILE

RATES = (500, 2000)
ONE_IN = 10
CONNECTIONS = 2400
"""Open at once: an answer that waits for the disk takes up to a second."""
SETTLE_S = 1.0
"""Between the opening of the connections and the first request."""
BARE_CONNECTIONS = 64
"""Of the bare server to Redis; a request waits for one."""
INBOX, EVENTS = Keys("default").inbox, Keys("default").events
WARM_RATE, WARM_S = 200, 2


# -- the sender ------------------------------------------------------------------------------------------------------


class _Line(asyncio.Protocol):
    """A connection kept alive, one request at a time. Says so in *free* when it is answered."""

    def __init__(self, free: "deque[_Line]", took: list[float]) -> None:
        self._free, self._took = free, took
        self._sent, self._read = 0.0, b""
        self._transport: Any = None
        self.wrong = ""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._free.append(self)

    def send(self, request: bytes, now: float) -> None:
        self._sent = now
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._read += data
        head, end, body = self._read.partition(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0] or 0)
        if not end or len(body) < length:
            return
        if head[9:12] not in (b"200", b"202"):
            self.wrong = self._read.decode("latin-1")
            return
        self._took.append(time.time() - self._sent)
        self._read = b""
        self._free.append(self)

    def connection_lost(self, error: Exception | None) -> None:
        self.wrong = self.wrong or f"the connection was lost: {error}"


async def _send(where: str, key: str, rate: float, seconds: float, name: str, one_in: int) -> list[float]:
    """Requests at a steady rate, whether or not those before were answered; how long each answer took."""
    url, free, took = urlsplit(where), deque[_Line](), list[float]()
    head = (
        f"POST {url.path or '/'} HTTP/1.1\r\nHost: {url.netloc}\r\nAuthorization: Bearer {key}\r\n"
        "Content-Type: application/json\r\nContent-Length: "
    )
    loop = asyncio.get_running_loop()
    lines = [
        (await loop.create_connection(lambda: _Line(free, took), url.hostname or "", url.port or 80))[1]
        for _ in range(CONNECTIONS)
    ]
    await asyncio.sleep(SETTLE_S)
    began, count = loop.time(), int(rate * seconds)
    for number in range(count):
        while (left := began + number / rate - loop.time()) > 0 or not free:
            await asyncio.sleep(max(left, 0.001))
            if not free:
                _check(lines)
        record = {
            "id": f"{time.time():.6f}-{name}-{number}", "customer": f"{name}-{number}", "language": "en",
            "scores": {"nps": 1 if number % one_in == 0 else 9},
        }  # fmt: skip
        body = json.dumps(record)
        free.popleft().send(f"{head}{len(body)}\r\n\r\n{body}".encode(), time.time())
    while len(took) < count:
        await asyncio.sleep(0.05)
        _check(lines)
    return took


def _check(lines: list[_Line]) -> None:
    if wrong := next((line.wrong for line in lines if line.wrong), ""):
        raise SystemExit(f"not taken in: {wrong}")


# -- the reader ------------------------------------------------------------------------------------------------------


def _sent_at(fields: dict[bytes, bytes]) -> float | None:
    """When what stands in an entry was sent: a record of the inbox, or the opening of a case."""
    if b"record" in fields:
        return _moment(json.loads(fields[b"record"])["id"])
    if fields[b"type"] == b"tocsin.case.opened":
        return _moment(json.loads(fields[b"event"])["data"]["response"]["id"])
    return None


def _moment(id_: str) -> float:
    """When the sender sent the record of that id."""
    return float(id_.partition("-")[0])


def _receive(url: str, stream: str, over: threading.Event, found: list[float]) -> None:
    with client(url) as reader:
        newest = reader.xrevrange(stream, count=1)
        after = newest[0][0].decode() if newest else "0-0"
        while not over.is_set():
            for _, entries in reader.xread({stream: after}, count=1000, block=200) or ():
                now = time.time()
                for id_, fields in entries:
                    after = id_.decode()
                    if (sent := _sent_at(fields)) is not None:
                        found.append(now - sent)


def measure(
    url: str, to: tuple[str, str], stream: str, rate: int, seconds: float, name: str
) -> tuple[list[float], list[float]]:
    """Seconds from sent to readable in *stream*, and from sent to answered, of every request."""
    one_in = 1 if stream == INBOX else ONE_IN
    over, readable = threading.Event(), list[float]()
    reader = threading.Thread(target=_receive, args=(url, stream, over, readable))
    reader.start()
    try:
        words = ("-m", "benchmarks.bench_ingest", "--send", *to, str(rate), str(seconds), name, str(ONE_IN))
        sent = subprocess.run((sys.executable, *words), cwd=CHECKOUT, stdout=subprocess.PIPE, check=False)
        if sent.returncode:
            raise SystemExit("a request was not taken in")
        answered: list[float] = json.loads(sent.stdout)
        expected = -(-len(answered) // one_in)
        until(lambda: len(readable) >= expected, f"{expected} entries of {stream}", 20)
    finally:
        over.set()
        reader.join()
    if len(readable) != expected:
        raise SystemExit(f"{expected} were expected in {stream}, {len(readable)} can be read")
    return readable, answered


# -- those who are measured ------------------------------------------------------------------------------------------


def bare(url: str, ready: Path) -> None:
    """A server that appends what it is sent, and answers."""
    pool = redis.asyncio.BlockingConnectionPool.from_url(url, protocol=2, max_connections=BARE_CONNECTIONS)
    store = redis.asyncio.Redis(connection_pool=pool)

    async def take(request: web.Request) -> web.Response:
        await store.xadd(INBOX, {"record": await request.read()})
        return web.Response(status=202)

    async def run() -> None:
        app = web.Application()
        app.router.add_post("/", take)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0, backlog=1024).start()
        draft = ready.with_suffix(".draft")
        draft.write_text(f"http://127.0.0.1:{runner.addresses[0][1]}/")
        draft.replace(ready)
        await asyncio.Event().wait()

    asyncio.run(run())


@contextmanager
def child(folder: Path, name: str, *words: str, **env: str) -> Iterator[Callable[[], str]]:
    """A process of ours while it is needed; what it has said so far."""
    path = folder / f"{name}.log"
    with path.open("w") as log:
        process = subprocess.Popen(
            (sys.executable, *words), cwd=folder, stdout=log, stderr=log,
            env={**os.environ, "PYTHONPATH": str(CHECKOUT), **env},
        )  # fmt: skip
        try:
            yield path.read_text
        finally:
            process.terminate()
            process.wait(60)


def until(said: Callable[[], Any], what: str, seconds: float = 60) -> Any:
    """What *said* returns once it is something."""
    deadline = time.monotonic() + seconds
    while not (found := said()):
        if time.monotonic() > deadline:
            raise SystemExit(f"{what}: waited for {seconds:.0f} s in vain")
        time.sleep(0.05)
    return found


# -- the comparison --------------------------------------------------------------------------------------------------


def compare(seconds: float, turns: int, fsync: str) -> None:
    with ExitStack() as open_:
        folder = Path(open_.enter_context(tempfile.TemporaryDirectory()))
        server = Embedded(folder / "server")
        open_.callback(server.close)
        with client(server.url) as store:
            store.config_set("appendfsync", fsync)
        keys = KeyStore(server.url)
        _, key = keys.add("bench", "default", ["capture"], int(time.time()))
        keys.close()
        settings = f"rules: {CHECKOUT / 'rules'}\nhttp: {{port: 0, rate: 1000000, burst: 1000000}}\n"
        (folder / "tocsin.yaml").write_text(f"{DEFAULT_FILE.read_text()}\n{settings}")
        env = {"TOCSIN_REDIS_URL": server.url, "TOCSIN_METRICS_PORT": "0", "TOCSIN_STATE": str(folder / "state")}
        cli = ("-c", "from console.cli import main; main()")
        said = open_.enter_context(child(folder, "door", *cli, "serve", **env))
        address = folder / "bare"
        open_.enter_context(child(folder, "bare", "-m", "benchmarks.bench_ingest", "--bare", server.url, str(address)))
        door = until(lambda: [word for word in said().split() if word.startswith("http://")], "the door")[0]
        until(address.exists, "the bare server")
        ours, theirs = (f"{door}/v1/responses", key), (address.read_text(), "-")
        names = (f"n{number}" for number in itertools.count())
        for to in (ours, theirs):
            measure(server.url, to, INBOX, WARM_RATE, WARM_S, next(names))
        found: dict[str, list[float]] = {}
        for rate, _, (whose, to) in itertools.product(RATES, range(turns), (("door", ours), ("bare", theirs))):
            readable, answered = measure(server.url, to, INBOX, rate, seconds, next(names))
            found.setdefault(f"{whose}_readable_{rate}", []).extend(readable)
            found.setdefault(f"{whose}_answered_{rate}", []).extend(answered)
        engine = open_.enter_context(child(folder, "engine", *cli, "run", "--no-deliver", **env))
        with client(server.url) as store:
            store.delete(INBOX)
        until(lambda: "metrics at" in engine(), "the engine")
        measure(server.url, ours, EVENTS, WARM_RATE, WARM_S, next(names))
        for rate in RATES:
            opened, _ = measure(server.url, ours, EVENTS, rate, seconds, next(names))
            found[f"case_readable_{rate}"] = opened
    figures: dict[str, Any] = {"fsync": fsync}
    for name, values in found.items():
        figures |= {f"{name}_p{q}_ms": round(percentile(values, q / 100) * 1000, 2) for q in (50, 99)}
    for rate, q in itertools.product(RATES, (50, 99)):
        ours_ms, theirs_ms = (figures[f"{who}_readable_{rate}_p{q}_ms"] for who in ("door", "bare"))
        figures[f"ratio_p{q}_{rate}"] = round(ours_ms / theirs_ms, 2)
    report("bench_ingest", _rows(figures, seconds * turns, fsync), figures)


def _rows(figures: dict[str, Any], seconds: float, fsync: str) -> list[tuple[str, str]]:
    rows = [("load", f"one response a request; {seconds:.0f} s a rate and side, turn about; appendfsync {fsync}")]
    for rate in RATES:
        for who, what in (("door", "door"), ("bare", "bare server, XADD")):
            for kind in ("readable", "answered"):
                p50, p99 = (figures[f"{who}_{kind}_{rate}_p{q}_ms"] for q in (50, 99))
                rows.append((f"{rate}/s, {what}: sent to {kind}", f"p50 {p50}, p99 {p99} ms"))
        rows.append(
            (f"{rate}/s, ratio to readable", f"p50 {figures[f'ratio_p50_{rate}']}, p99 {figures[f'ratio_p99_{rate}']}")
        )
        p50, p99 = (figures[f"case_readable_{rate}_p{q}_ms"] for q in (50, 99))
        rows.append((f"{rate}/s, door and engine: sent to the case's opening readable", f"p50 {p50}, p99 {p99} ms"))
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--send", nargs=6, help=argparse.SUPPRESS)
    parser.add_argument("--bare", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--seconds", type=float, default=4, help="of each turn")
    parser.add_argument("--turns", type=int, default=2, help="of the door and the bare server, at each rate")
    parser.add_argument("--fsync", default="everysec", choices=["everysec", "always"])
    asked = parser.parse_args()
    if asked.send:
        where, key, rate, seconds, name, one_in = asked.send
        print(json.dumps(asyncio.run(_send(where, key, float(rate), float(seconds), name, int(one_in)))))
    elif asked.bare:
        bare(asked.bare[0], Path(asked.bare[1]))
    else:
        compare(asked.seconds, asked.turns, asked.fsync)


if __name__ == "__main__":
    main()
