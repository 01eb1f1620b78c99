"""kill -9 with many open cases under load: how long until the engine, started again, has said something new; what it
holds in memory for each case; and what a clean stop takes and leaves on disk.

A response lies waiting when the engine starts again, so that there is something to say. Memory is that of the process
after the resume and some seconds of load, less that of an engine with an empty store, for each case.
"""

import os
import sys
import tempfile
import time
from pathlib import Path
from subprocess import Popen

import msgspec

from benchmarks.common import report
from benchmarks.house import Engine, House, arguments, house_with, shards_for
from benchmarks.probe import EVENTS, INBOX, Task, probe, start
from connectors.redis_link import client

KILL_AFTER_S = 4.0
PATIENCE_S = 300.0


def first_event(house: House, engine: Engine, number: int) -> tuple[float, Engine]:
    """Kill *engine* in the middle of a load; seconds from the next start to its first new event, and that engine."""
    loading: Popen[bytes] = start(Task(url=house.url, prefix=f"k{number}-", seconds=KILL_AFTER_S + 2, patience_s=0))
    time.sleep(KILL_AFTER_S)
    engine.kill()
    loading.wait()
    with client(house.url) as redis:
        newest = redis.xrevrange(EVENTS, count=1)[0][0]
        name = f"first{number}"
        record = {"id": name, "customer": name, "channel": "web", "scores": {"nps": 1}, "text": "Nobody rang back."}
        redis.xadd(INBOX, {"record": msgspec.json.encode(record)})
        engine = house.engine()
        limit = time.time() + PATIENCE_S
        while not redis.xread({EVENTS: newest}, count=1, block=1000):
            if time.time() > limit or engine.process.poll() is not None:
                sys.exit(f"no event {PATIENCE_S:.0f} s after the start; see {house.folder / 'engine.log'}")
    return time.time() - engine.started_at, engine


def resident(house: House, prefix: str) -> int:
    """Memory of an engine on *house* after its start and a short load; it is stopped again."""
    engine = house.engine()
    engine.wait()
    probe(Task(url=house.url, prefix=prefix, seconds=3))
    found = engine.resident_bytes
    engine.stop()
    return found


def main() -> None:
    parser = arguments(__doc__, 100_000)
    parser.add_argument("--runs", type=int, default=3, help="kills; the median counts")
    asked = parser.parse_args()
    shards = asked.shards or shards_for(asked.cases)
    folder = Path(tempfile.mkdtemp())
    house = house_with(folder / "house", asked.cases, shards, asked.keep)
    engine = house.engine()
    engine.wait()
    firsts = []
    for number in range(asked.runs):
        took, engine = first_event(house, engine, number)
        firsts.append(took)
        print(f"kill {number + 1} of {asked.runs}: first event after {took:.2f} s", file=sys.stderr)
    probe(Task(url=house.url, prefix="m", seconds=3))
    held = engine.resident_bytes
    average = os.getloadavg()[0]
    loading = start(Task(url=house.url, prefix="e", seconds=6, patience_s=0))
    time.sleep(4)
    stopped = engine.stop()
    loading.wait()
    stored = house.stored_bytes()
    house.discard()
    empty = House(folder / "empty", shards)
    alone = resident(empty, "m")
    empty.discard()
    bytes_per_case = round((held - alone) / asked.cases)
    first = round(sorted(firsts)[(len(firsts) - 1) // 2], 2)
    report(
        "bench_resume",
        [
            ("open cases, shards", f"{asked.cases:,}, {shards}"),
            ("kill -9 to restart to first new event", f"{', '.join(f'{t:.2f}' for t in firsts)} s (aim < 10)"),
            ("memory of the engine, and with no case", f"{held / 1e6:.0f}, {alone / 1e6:.0f} MB"),
            ("memory for each open case", f"{bytes_per_case} bytes (aim < 1,000)"),
            ("a clean stop, under 1,000 responses/s", f"{stopped:.2f} s"),
            ("the recovery store then", f"{stored / 1e6:.0f} MB, {stored / asked.cases:.0f} bytes a case"),
            ("load average", f"{average:.1f}"),
        ],
        {
            "first_event_s": first, "bytes_per_case": bytes_per_case, "stop_s": round(stopped, 2),
            "stored_mb": round(stored / 1e6), "cases": asked.cases, "shards": shards,
        },
    )  # fmt: skip


if __name__ == "__main__":
    main()
