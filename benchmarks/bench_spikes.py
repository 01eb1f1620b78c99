"""What it costs to watch themes for change: of each response, and as a share of what vaderSentiment takes for its text.

Each response belongs to the two segments of the defaults (its programme, one of 50 sites) and names one theme, or all
of the many that the texts of the benchmarks have. Counted are the notes that hearing makes and the drawers' work, as
the engine does both. Each figure is the best of five passes, so that a busy machine disturbs it least. Run:
`python -m benchmarks.bench_spikes` in a checkout.
"""

import gc
import random
import time
from collections.abc import Sequence

import msgspec
from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer

from benchmarks.bench_rules import rule_set
from benchmarks.common import report
from benchmarks.common import texts as make_texts
from feedback.instants import Instant
from feedback.metrics import STANDARD
from feedback.records import Response
from flows.spikes import DRAWERS, Scout, SpikeStep
from flows.virtual import Uncounted
from rules.ruleset import RuleSet
from scoring.reader import Reader
from scoring.reading import Reading
from scoring.spikes import SpikeSettings

TEXTS, PASSES, BATCH = 20_000, 5, 200
A_DAY = 20_000
START = Instant(1_790_000_000)


def main() -> None:
    dice = random.Random(1)
    rules = rule_set(10)
    reader = Reader(rules.taxonomies, STANDARD)
    texts = make_texts(TEXTS, seed=1)
    responses = [
        Response(
            programme="default", source="bench", id=f"r{n}", customer=f"c{n}", text=text, language="en",
            occurred_at=at, received_at=at, arrived=float(at),
            attributes={"site": f"site-{dice.randrange(50)}"},
        )
        for n, text in enumerate(texts)
        for at in (Instant(START + n * 86_400 // A_DAY),)
    ]  # fmt: skip
    readings = [reader.read(response) for response in responses]
    named = sum(len(reading.themes) for reading in readings) / TEXTS
    one = [msgspec.structs.replace(reading, themes=reading.themes[:1]) for reading in readings]
    vader = min(vader_us(texts[:2000]) for _ in range(PASSES))
    watched, stored_ms, size = least(responses, one, rules)
    many, _, _ = least(responses, readings, rules)
    rows = [
        ("vaderSentiment alone", f"{vader:8.1f} us a text"),
        ("one theme a response", f"{watched:8.1f} us in two segments; aim under 10"),
        (f"{named:.1f} themes a response", f"{many:8.1f} us in two segments"),
        ("ratio, watching to vaderSentiment", f"{watched / vader:8.3f}"),
        ("a snapshot of all", f"{stored_ms:8.1f} ms, {size / 1e6:.2f} MB of 51 segments"),
    ]
    figures = {
        "vader_us": round(vader, 1), "watched_us": round(watched, 2), "many_themes": round(named, 2),
        "many_themes_us": round(many, 2), "ratio": round(watched / vader, 4), "snapshot_ms": round(stored_ms, 1),
        "snapshot_bytes": size,
    }  # fmt: skip
    report("bench_spikes", rows, figures)


def vader_us(texts: Sequence[str]) -> float:
    """Microseconds a text."""
    analyser = SentimentIntensityAnalyzer()
    began = time.perf_counter()
    for text in texts:
        analyser.polarity_scores(text)
    return (time.perf_counter() - began) / len(texts) * 1e6


def least(responses: Sequence[Response], readings: Sequence[Reading], rules: RuleSet) -> tuple[float, float, int]:
    """Microseconds a response, milliseconds of a snapshot, and its bytes."""
    watched, stored, size = [], [], 0
    gc.collect()
    gc.freeze()  # as `flows/run.py` does it
    for _ in range(PASSES):
        scout = Scout(SpikeSettings(), STANDARD)
        scout.take_up({"default": rules})
        steps = [SpikeStep(None, SpikeSettings(), Uncounted()) for _ in range(DRAWERS)]
        began = time.perf_counter()
        for first in range(0, TEXTS, BATCH):
            part = slice(first, first + BATCH)
            for response, reading in zip(responses[part], readings[part], strict=True):
                scout.note(response, reading, response.received_at)
            for _key, noted in scout.give():
                steps[noted.drawer].take(noted)
        watched.append((time.perf_counter() - began) / TEXTS * 1e6)
        began = time.perf_counter()
        size = sum(len(step.stored()[2]) for step in steps)
        stored.append((time.perf_counter() - began) * 1e3)
    return min(watched), min(stored), size


if __name__ == "__main__":
    main()
