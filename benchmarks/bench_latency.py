"""Arrival to readable in Redis: 1,000 responses a second of mixed lengths, one in ten opening a case, snapshots every
second, beside 10,000, 100,000 and up to `--cases` open cases; and the bare engine (stream, no-op, stream) at that rate.

A process of its own sends and reads, so what is measured includes both sockets. The store has as many shards as the
most cases ask for, also beside the fewer ones: their number is fixed when a store is made, and the cases grow.
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

from benchmarks.common import percentile, report
from benchmarks.house import arguments, house_with, shards_for
from benchmarks.probe import SETTLE_S, Task, probe
from connectors.embedded import Embedded
from connectors.redis_link import client
from connectors.redis_stream import RedisStreamReader
from feedback.records import Envelope
from flows.run import Stop, run_flow
from flows.settings import CHECKOUT

FIRING = 10


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
        entries = client(url).xrevrange(inbox, count=1)
        newest = entries[0][0].decode() if entries else "0-0"
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
    stop = Stop()
    found: list[float] = []
    flow = Dataflow("bare")
    given = op.input("in", flow, _Source(url, stop))
    op.output("out", op.map("noop", given, lambda item: item), _Out(url))
    folder.mkdir()
    thread = threading.Thread(target=lambda: found.extend(load(url, "bare", "event", rate, seconds, 1, stop)))
    thread.start()
    run_flow(flow, folder, epoch=timedelta(seconds=1))
    thread.join()
    return found


class Run(msgspec.Struct, frozen=True):
    """One load beside the open cases."""

    p50_ms: float
    p99_ms: float
    p999_ms: float
    written_mb_s: float
    load_average: float


def beside(asked: argparse.Namespace, cases: int, shards: int, folder: Path) -> list[Run]:
    """As many loads as *asked*, one after another, beside *cases* open cases."""
    house = house_with(folder / str(cases), cases, shards, asked.keep)
    engine = house.engine()
    engine.wait()
    time.sleep(5)  # the first epochs
    runs = []
    for number in range(asked.runs):
        before, average = engine.written_bytes, os.getloadavg()[0]
        task = Task(url=house.url, prefix=f"l{number}-", rate=asked.rate, seconds=asked.seconds, firing=FIRING)
        noted = probe(task)
        if noted.unanswered:
            sys.exit(f"{noted.unanswered} responses led to no case that could be read")
        written = (engine.written_bytes - before) / (asked.seconds + SETTLE_S) / 1e6
        found = [seen - sent for sent, seen in noted.opened]
        p50, p99, p999 = (round(percentile(found, share) * 1000, 2) for share in (0.5, 0.99, 0.999))
        runs.append(Run(p50, p99, p999, round(written, 2), round(average, 1)))
        print(f"{cases:,} cases, run {number + 1} of {asked.runs}: {runs[-1]}", file=sys.stderr)
    engine.stop()
    house.discard()
    return runs


def main() -> None:
    parser = arguments(__doc__, 100_000)
    parser.add_argument("--rate", type=float, default=1000)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--runs", type=int, default=1, help="loads beside each number of cases; the median counts")
    asked = parser.parse_args()
    shards = asked.shards or shards_for(asked.cases)
    sizes = [size for size in SIZES if size < asked.cases] + [asked.cases]
    folder = Path(tempfile.mkdtemp())
    by_size = {size: beside(asked, size, shards, folder) for size in sizes}
    server = Embedded(folder / "server")
    nothing = bare(server.url, folder / "bare", asked.rate, min(10.0, asked.seconds))
    server.close()
    bare_p99 = round(percentile(nothing, 0.99) * 1000, 2)
    middle = {size: sorted(runs, key=lambda run: run.p99_ms)[(len(runs) - 1) // 2] for size, runs in by_size.items()}
    rows = [
        ("load", f"{asked.rate:.0f} responses/s for {asked.seconds:.0f} s, 1 in {FIRING} opens a case"),
        ("store", f"{shards} shards, snapshots every second"),
    ]
    for size, runs in by_size.items():
        for run in runs:
            rows.append(
                (
                    f"{size:,} open cases",
                    f"p50 {run.p50_ms}, p99 {run.p99_ms}, p99.9 {run.p999_ms} ms; {run.written_mb_s} MB/s to disk; "
                    f"load average before {run.load_average}",
                )
            )
    most, least = middle[sizes[-1]], middle[sizes[0]]
    growth = round(most.p99_ms / least.p99_ms, 2)
    rows += [
        ("p99 with the most, of that with the fewest", f"{growth} (aim p99 < 50 ms and < 1.5 times; p99.9 < 250 ms)"),
        ("bare engine p50 / p99", f"{percentile(nothing, 0.5) * 1000:.2f} / {bare_p99} ms ({len(nothing)} records)"),
    ]
    figures = {
        "p50_ms": most.p50_ms, "p99_ms": most.p99_ms, "p999_ms": most.p999_ms, "cases": asked.cases,
        "p99_growth": growth, "written_mb_s": most.written_mb_s, "bare_p99_ms": bare_p99, "shards": shards,
    }  # fmt: skip
    report("bench_latency", rows, figures)


SIZES = (10_000, 100_000)

if __name__ == "__main__":
    main()
