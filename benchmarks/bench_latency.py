"""Arrival to readable in Redis: 1,000 responses a second of mixed lengths, one in ten opening a case, snapshots every
second, beside many open cases; and in the same run the bare engine (stream, no-op, stream) at the same rate.

A process of its own sends and reads, so what is measured includes both sockets.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import bytewax.operators as op
import msgspec
from bytewax.dataflow import Dataflow
from bytewax.inputs import FixedPartitionedSource, StatefulSourcePartition
from bytewax.outputs import DynamicSink, StatelessSinkPartition

from benchmarks.bench_throughput import settings_for
from benchmarks.common import percentile, report, texts
from connectors.embedded import Embedded
from connectors.files import FileReader, Lines
from connectors.journal import Journal
from connectors.reading import Reader
from connectors.redis_link import client
from connectors.redis_stream import RedisStreamReader
from feedback.records import Envelope
from flows.engine import Running, run_engine
from flows.run import Stop, run_flow
from flows.settings import CHECKOUT

FIRING = 10


def preload(folder: Path, settings: Any, cases: int) -> None:
    """Open *cases* cases through the engine itself, each with its clocks."""
    source = folder / "preload.jsonl"
    words = texts(1000, seed=3)
    with source.open("wb") as file:
        for number in range(cases):
            record = {"id": f"p{number}", "customer": f"p{number}", "language": "en", "scores": {"nps": 1},
                      "text": words[number % 1000], "channel": "web"}  # fmt: skip
            file.write(msgspec.json.encode(record) + b"\n")

    def open_reader(resume: str | None) -> Reader:
        journal = Journal(folder / "journal")
        return FileReader("preload", source, journal, resume, programme="default", follow=False, rows=Lines())

    run_engine(settings, {"preload": open_reader}, ends=True, stop=Stop())


def load(url: str, outbox: str, field: str, rate: float, seconds: float, firing: int, stop: Stop) -> list[float]:
    """Latencies, in seconds, as the generator process saw them; stops the flow when it is done."""
    command = [sys.executable, "-m", "benchmarks.load_generator", url, "tocsin:{default}:in", outbox, field]
    out = subprocess.run(
        [*command, str(rate), str(seconds), str(firing)], capture_output=True, text=True, check=True, cwd=CHECKOUT,
        env={**os.environ, "PYTHONPATH": str(CHECKOUT)},
    )  # fmt: skip
    stop.request("measured")
    found: list[float] = json.loads(out.stdout.splitlines()[-1])
    return found


class _Part(StatefulSourcePartition[Envelope, str]):
    def __init__(self, url: str, stop: Stop) -> None:
        inbox = "tocsin:{default}:in"
        newest = client(url).xrevrange(inbox, count=1)[0][0].decode()
        self._reader = RedisStreamReader("bare", url, inbox, newest, programme="default")
        self._stop = stop

    def next_batch(self) -> Sequence[Envelope]:
        if self._stop():
            raise StopIteration
        return self._reader.poll(500)

    def snapshot(self) -> str:
        return ""


class _Source(FixedPartitionedSource[Envelope, str]):
    def __init__(self, url: str, stop: Stop) -> None:
        self._url, self._stop = url, stop

    def list_parts(self) -> list[str]:
        return ["bare"]

    def build_part(self, step_id: str, for_part: str, resume_state: str | None) -> _Part:
        return _Part(self._url, self._stop)


class _Out(DynamicSink[Envelope]):
    def __init__(self, url: str) -> None:
        self._url = url

    def build(self, step_id: str, worker_index: int, worker_count: int) -> "_OutPart":
        return _OutPart(client(self._url))


class _OutPart(StatelessSinkPartition[Envelope]):
    def __init__(self, redis: Any) -> None:
        self._redis = redis

    def write_batch(self, items: list[Envelope]) -> None:
        pipeline = self._redis.pipeline(transaction=False)
        for item in items:
            pipeline.xadd("bare", {"event": item.raw})
        pipeline.execute()


def bare(url: str, folder: Path, rate: float, seconds: float) -> list[float]:
    """The same load through an engine that does nothing."""
    stop, found = Stop(), []  # type: ignore[var-annotated]
    flow = Dataflow("bare")
    given = op.input("in", flow, _Source(url, stop))
    op.output("out", op.map("noop", given, lambda item: item), _Out(url))
    folder.mkdir()
    thread = threading.Thread(target=lambda: found.extend(load(url, "bare", "event", rate, seconds, 1, stop)))
    thread.start()
    run_flow(flow, folder, epoch=timedelta(seconds=1))
    thread.join()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=100_000)
    parser.add_argument("--rate", type=float, default=1000)
    parser.add_argument("--seconds", type=float, default=20)
    asked = parser.parse_args()
    folder = Path(tempfile.mkdtemp())
    server = Embedded(folder / "server")
    settings = settings_for(folder, server.url)
    began = time.perf_counter()
    preload(folder, settings, asked.cases)
    took = time.perf_counter() - began
    stop, found = Stop(), []  # type: ignore[var-annotated]

    def started(running: Running) -> None:
        def measure() -> None:
            time.sleep(5)  # the resume's loads, and the first epochs
            found.extend(load(server.url, "tocsin:{default}:events", "event", asked.rate, asked.seconds, FIRING, stop))

        threading.Thread(target=measure).start()

    run_engine(settings, {}, ends=False, stop=stop, started=started)
    nothing = bare(server.url, folder / "bare", asked.rate, min(10.0, asked.seconds))
    server.close()
    figures = {f"p{name}_ms": round(percentile(found, share) * 1000, 2) for name, share in QUANTILES}
    bare_p99 = round(percentile(nothing, 0.99) * 1000, 2)
    report(
        "bench_latency",
        [
            ("open cases (opened through the engine)", f"{asked.cases:,} in {took:.0f} s"),
            ("load", f"{asked.rate:.0f} responses/s for {asked.seconds:.0f} s, 1 in {FIRING} opens a case"),
            ("alerts measured", f"{len(found)}"),
            (
                "p50 / p99 / p99.9",
                f"{figures['p50_ms']} / {figures['p99_ms']} / {figures['p999_ms']} ms (aim p99 < 50)",
            ),
            (
                "bare engine p50 / p99",
                f"{percentile(nothing, 0.5) * 1000:.2f} / {bare_p99} ms ({len(nothing)} records)",
            ),
        ],
        {**figures, "bare_p99_ms": bare_p99, "cases": asked.cases},
    )


QUANTILES = (("50", 0.5), ("99", 0.99), ("999", 0.999))

if __name__ == "__main__":
    main()
