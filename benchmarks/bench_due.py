"""How long `tocsin due` takes once packs and calendars are loaded, over every clock and dates from 2025 to 2030.

Beside it, in the same run, the least that such an answer could cost: ten working days stepped with the `holidays`
package and `datetime`, no reasons given.
"""

import random
import time
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import holidays

from benchmarks.common import percentile, report
from cases.asking import NotInForce, ask
from feedback.instants import Instant
from rules.shipped import law

ASKED = 20_000


def main() -> None:
    began = time.perf_counter()
    packs, calendars = law()
    loaded_s = time.perf_counter() - began
    dice = random.Random(3)
    first, last = (int(datetime(year, 1, 1, tzinfo=UTC).timestamp()) for year in (2025, 2031))
    clocks = [(pack, clock) for pack in packs.values() for clock in pack.clocks.values()]
    said = {"hazard": "significant"}
    took: list[float] = []
    while len(took) < ASKED:
        pack, clock = dice.choice(clocks)
        settings = {name: value for name, value in said.items() if name in pack.settings}
        start = Instant(dice.randrange(first, last))
        began = time.perf_counter()
        try:
            ask(pack, clock, start, calendars[pack.calendars[0]], settings)
        except NotInForce:
            continue
        took.append(time.perf_counter() - began)
    stepped: list[float] = []
    table, london = holidays.country_holidays("GB", subdiv="ENG", years=range(2024, 2033)), ZoneInfo("Europe/London")
    for _ in range(ASKED):
        start = Instant(dice.randrange(first, last))
        began = time.perf_counter()
        day, left = datetime.fromtimestamp(start, london).date(), 10
        while left:
            day += timedelta(days=1)
            left -= day.weekday() < 5 and day not in table
        datetime(day.year, day.month, day.day, tzinfo=london).timestamp()
        stepped.append(time.perf_counter() - began)
    p50, p99 = percentile(took, 0.5) * 1000, percentile(took, 0.99) * 1000
    bare = percentile(stepped, 0.5) * 1000
    rows = [
        ("loading ten packs and four calendars", f"{loaded_s * 1000:.0f} ms, once"),
        (f"{ASKED:,} answers, p50 / p99", f"{p50:.3f} / {p99:.3f} ms (aim 5 ms)"),
        ("the bare stepping, p50", f"{bare:.3f} ms"),
        ("ratio of the medians", f"{p50 / bare:.1f}"),
    ]
    report("bench_due", rows, {"p50_ms": round(p50, 4), "p99_ms": round(p99, 4), "ratio": round(p50 / bare, 2)})


if __name__ == "__main__":
    main()
