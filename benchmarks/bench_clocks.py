"""Clocks on time: many due in the same second beside many more that are armed, with new responses all the while.

First the steady state: 1,000 responses/s, one in ten opening a case whose clock is due ten seconds later; how late each
is called. Then `--due` clocks fall due in one second: how long until the last of those breaches is readable, and
how long new responses take meanwhile. What is readable is what a client of Redis, a process of its own, has read.
"""

import sys
import tempfile
import time
from pathlib import Path

from benchmarks.common import percentile, report
from benchmarks.house import SHARED_S, SOON_S, House, arguments, house_with, open_cases, shards_for
from benchmarks.probe import Noted, Task, probe

BEFORE_S, AFTER_S = 5, 15


def steady(house: House, rate: float, seconds: float) -> Noted:
    """Clocks due one by one."""
    engine = house.engine()
    engine.wait()
    time.sleep(5)  # the first epochs
    noted = probe(Task(url=house.url, prefix="s", rate=rate, seconds=seconds, channel="soon", settle_s=SOON_S + 3))
    engine.stop()
    return noted


def together(house: House, rate: float, due: int, lead_s: float) -> tuple[Noted, int, float]:
    """*due* clocks in one second; what was noted, that second, and what opening them took."""
    due_at = int(time.time() + lead_s)
    took = open_cases(house, due, channel="shared", received_at=due_at - SHARED_S)
    engine = house.engine()
    engine.wait()
    left = due_at - BEFORE_S - time.time()
    if left < 0:
        sys.exit(f"the engine was ready {-left:.0f} s too late; give a --lead longer than {lead_s:.0f}")
    time.sleep(left)
    task = Task(url=house.url, prefix="t", rate=rate, seconds=BEFORE_S + AFTER_S, due_at=due_at, breaches=due)
    noted = probe(task)
    engine.stop()
    return noted, due_at, took


def main() -> None:
    parser = arguments(__doc__, 100_000)
    parser.add_argument("--due", type=int, default=100_000, help="clocks due in the same second")
    parser.add_argument("--rate", type=float, default=1000)
    parser.add_argument("--seconds", type=float, default=30, help="of the steady state")
    parser.add_argument("--lead", type=float, default=0, help="seconds until they are due, enough to open them")
    asked = parser.parse_args()
    shards = asked.shards or shards_for(asked.cases)
    house = house_with(Path(tempfile.mkdtemp()) / "house", asked.cases, shards, asked.keep)
    calm = steady(house, asked.rate, asked.seconds)
    lead = asked.lead or 45 + asked.due / 700 + asked.cases / 15_000
    storm, due_at, _ = together(house, asked.rate, asked.due, lead)
    house.discard()
    late = [seen - due for due, seen in calm.breached]
    called = sorted(seen - due for due, seen in storm.breached if due == due_at)
    missing = asked.due - len(called)
    if missing or calm.unanswered or storm.unanswered or len(late) < len(calm.opened):
        sys.exit(
            f"{missing} of {asked.due} breaches were not called, {len(calm.opened) - len(late)} of the steady ones, "
            f"{calm.unanswered + storm.unanswered} responses not answered"
        )
    drain = called[-1]
    meanwhile = [seen - sent for sent, seen in storm.opened if due_at <= sent <= due_at + drain]
    lateness = round(percentile(late, 0.99) * 1000, 1)
    responses = round(percentile(meanwhile, 0.99) * 1000, 1)
    report(
        "bench_clocks",
        [
            ("open cases, shards", f"{asked.cases:,}, {shards}"),
            ("load", f"{asked.rate:.0f} responses/s, 1 in 10 opens a case"),
            ("steady: clocks due", f"{len(late):,} in {asked.seconds:.0f} s"),
            (
                "steady: late by, p50 / p99 / most",
                f"{percentile(late, 0.5) * 1000:.1f} / {lateness} / {max(late) * 1000:.1f} ms (aim p99 < 50)",
            ),
            ("due in the same second", f"{asked.due:,}"),
            ("half of them, all of them readable", f"{percentile(called, 0.5):.2f}, {drain:.2f} s later (aim < 5)"),
            (
                "new responses meanwhile, p50 / p99",
                f"{percentile(meanwhile, 0.5) * 1000:.1f} / {responses} ms of {len(meanwhile)} (aim p99 < 500)",
            ),
        ],
        {
            "drain_s": round(drain, 2), "responses_p99_ms": responses, "lateness_p99_ms": lateness,
            "due": asked.due, "cases": asked.cases, "shards": shards,
        },
    )  # fmt: skip


if __name__ == "__main__":
    main()
