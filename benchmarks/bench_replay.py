"""Responses a second of virtual time: a generated history through `tocsin replay`'s driver, beside bare vaderSentiment.

The history: 90 days, one response in ten fires a rule, a third repeats a set phrase (as survey answers do), the rest
are different texts of the usual lengths; cases are acknowledged, contacted, resolved and closed by their owners within
two days. Bare vaderSentiment reads a sample of the same texts in the same run; the ratio is of the two rates. All
is one thread, so its time on the processor is what one core needs; the wall's is told beside it.
Run: `python -m benchmarks.bench_replay --responses 1000000` in a checkout (`make bench-replay`).
"""

import argparse
import multiprocessing
import random
import resource
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer

from benchmarks.common import report, texts
from connectors.files import Lines
from connectors.history import History
from feedback.ids import DEFAULT_SHARDS, case_id, shard_of
from feedback.instants import Instant, parse_instant, rfc3339
from feedback.metrics import STANDARD
from flows.books import book_of
from flows.replay import replay
from flows.settings import CHECKOUT

START = parse_instant("2026-02-02T00:00:00Z")
DAYS = 90
SAMPLE = 3000
SOURCE = "history.jsonl"
_DEEDS = (
    (1200, "assign", {"to": "ana.reyes"}), (1500, "acknowledge", {}), (4 * 3600, "contact", {}), (30 * 3600, "resolve",
     {"outcome": {"problem": "p", "action_taken": "a", "customer_told": "by phone", "satisfied": "yes"}}),
    (40 * 3600, "close", {}),
)  # fmt: skip


def records(count: int, seed: int = 3) -> Iterator[tuple[int, dict[str, object]]]:
    """(second, record) of *count* responses and of what people did about them, in no particular order."""
    dice = random.Random(seed)
    phrases, different = texts(500, 5), texts(min(count, 200_000), 7)
    for number in range(count):
        at = START + number * DAYS * 86_400 // count
        fires = dice.random() < 0.1
        text = dice.choice(phrases) if dice.random() < 1 / 3 else f"{different[number % len(different)]} {number}"
        customer, id_ = f"c{number}", f"r{number}"
        scores = {"nps": dice.randint(0, 6)} if fires else {"csat": 3}
        said = {"id": id_, "customer": customer, "occurred_at": rfc3339(Instant(at)), "language": "en"}
        yield at, {**said, "scores": scores, "text": text}
        if fires:
            shard = shard_of("default", customer, DEFAULT_SHARDS)
            case = case_id(shard, "default", customer, "detractor", "", SOURCE, id_)
            for after, do, data in _DEEDS:
                when = rfc3339(Instant(at + after))
                action = {"kind": "action", "id": f"a{number}-{do}", "case": case, "do": do, "by": "ana.reyes"}
                yield at + after, {**action, "at": when, "data": data}


def write(path: Path, count: int) -> None:
    """The history at *path*, in order of time."""
    lines = sorted(((at, msgspec.json.encode(record)) for at, record in records(count)), key=lambda pair: pair[0])
    with path.open("wb") as file:
        for _, line in lines:
            file.write(line + b"\n")


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--responses", type=int, default=100_000)
    count = asked.parse_args().responses
    with TemporaryDirectory() as folder:
        path = Path(folder) / SOURCE
        # In a process of its own, so that the memory of making it is not taken for the replay's.
        maker = multiprocessing.get_context("spawn").Process(target=write, args=(path, count))
        maker.start()
        maker.join()
        book = book_of("", CHECKOUT / "rules", {"default": "contact-centre"}, STANDARD)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        began, on_core = time.perf_counter(), time.process_time()
        history = History(path, Lines(), source=SOURCE, programme="default")
        found = replay(history, book, STANDARD, shards=DEFAULT_SHARDS)
        wall, took = time.perf_counter() - began, time.process_time() - on_core
        after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert found is not None
    sample = texts(SAMPLE, 7)
    vader = SentimentIntensityAnalyzer()
    on_core = time.process_time()
    for text in sample:
        vader.polarity_scores(text)
    bare = SAMPLE / (time.process_time() - on_core)
    rate = count / took
    totals = found.a.totals
    figures = {
        "responses": count,
        "records": history.records,
        "core_s": round(took, 2),
        "wall_s": round(wall, 2),
        "responses_per_s": round(rate),
        "vader_per_s": round(bare),
        "ratio": round(rate / bare, 3),
        "million_s": round(1e6 / rate, 1),
        "opened": totals["opened"],
        "breaches": totals["breaches"],
        "open_at_end": found.open_cases,
        "grown_mb": round((after - before) / 1024, 1),
    }
    rows = [
        ("responses, and records with actions", f"{count:,} and {history.records:,}, over {DAYS} days"),
        ("replayed in", f"{took:.1f} s of one core ({wall:.1f} s by the wall): {rate:,.0f} responses a second"),
        ("a million would take", f"{1e6 / rate:.0f} s"),
        ("bare vaderSentiment", f"{bare:,.0f} texts a second"),
        ("ratio", f"{rate / bare:.2f} of bare vaderSentiment's rate"),
        ("cases opened, open at the end", f"{totals['opened']:,}, {found.open_cases:,}"),
        ("events counted: breaches, notices", f"{totals['breaches']:,}, {totals['notices']:,}"),
        ("refused or rejected", str(sum(found.a.problems.values()))),
        ("memory grown by", f"{figures['grown_mb']} MB"),
    ]
    report("bench_replay", rows, figures)


if __name__ == "__main__":
    main()
