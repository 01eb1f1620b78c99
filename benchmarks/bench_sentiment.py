"""What reading a text costs, beside the vaderSentiment package in the same run.

Texts are made here, of sentences of our own, with lengths drawn log-normally: median 80 characters, p90 300.
Each figure is the best of five passes over the same texts, so that a busy machine disturbs it least; the
ratio is of the two bests. Run: `python -m benchmarks.bench_sentiment` in a checkout.
"""

import json
import math
import random
import time
from collections.abc import Callable, Sequence

from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer

from feedback.instants import Instant
from feedback.metrics import STANDARD
from feedback.records import Response
from scoring.language import Detector, detector
from scoring.reader import Reader
from scoring.taxonomy import Node, Taxonomy, fold
from scoring.vader import vader

TEXTS = 2000
PASSES = 5
SENTENCES = (
    "The heating has been off since Friday and nobody has rung us back.",
    "Staff were friendly and really helpful, thank you!",
    "I have called three times about the leak and it is still not fixed.",
    "There is black mould in my son's bedroom and he has asthma.",
    "Not happy with the service, but the engineer was polite.",
    "Everything was sorted within a day, great job.",
    "I was charged twice this month and would like my money back.",
    "The website kept logging me out, kind of annoying.",
    "VERY disappointed, the parcel never arrived and no one cares.",
    "It's okay I suppose.",
    "The adviser listened, explained it clearly and called back when she said she would.",
    "Parking is difficult and the lift is out of order again.",
    "My appointment was on Tuesday at ten in the office on the high street.",
    "Could you tell me when the contractor is coming to look at the roof?",
    "Good value, easy to use, would recommend to friends and family.",
)


def texts(count: int, seed: int = 7) -> list[str]:
    """Comments of lengths drawn with median 80 and p90 300, cut at a letter."""
    chance = random.Random(seed)
    spread = math.log(300 / 80) / 1.2816  # the 90th percentile of a normal distribution
    made = []
    for _ in range(count):
        length = min(max(round(80 * math.exp(chance.gauss(0, spread))), 4), 32_768)
        text = chance.choice(SENTENCES)
        while len(text) < length:
            text = f"{text} {chance.choice(SENTENCES)}"
        made.append(text[:length])
    return made


def best_us(step: Callable[[str], object], over: Sequence[str]) -> float:
    """Microseconds a text of the fastest pass."""
    best = math.inf
    for _ in range(PASSES):
        start = time.perf_counter()
        for text in over:
            step(text)
        best = min(best, time.perf_counter() - start)
    return best / len(over) * 1e6


def reading(language: str) -> Callable[[str], object]:
    """Reads a text as the engine does, with thirty phrases, remembering none of them."""
    words = "heating boiler leak* mould damp refund parcel website lift parking staff engineer roof rude polite".split()
    nodes = tuple(Node(path=f"t{n}", title="", phrases=(word, f"no {word}")) for n, word in enumerate(words))
    reader = Reader((Taxonomy(name="bench", themes=nodes, intents=nodes),), STANDARD)

    def read(text: str) -> object:
        response = Response(
            programme="p", source="s", id="1", occurred_at=Instant(0), received_at=Instant(0), arrived=0.0,
            text=text, language=language, scores={"nps": 3.0},
        )  # fmt: skip
        reader._newer.clear()
        reader._older.clear()
        return reader.read(response)

    return read


def main() -> None:
    corpus = texts(TEXTS)
    lengths = sorted(map(len, corpus))
    package = SentimentIntensityAnalyzer()
    print(f"{TEXTS} texts: median {lengths[TEXTS // 2]}, p90 {lengths[TEXTS * 9 // 10]} characters")
    differing = 0
    for text in corpus:
        theirs, ours = package.polarity_scores(text), vader().score(text)
        differing += tuple(theirs.values()) != (ours.negative, ours.neutral, ours.positive, ours.compound)
    folded = [fold(text) for text in corpus]
    one: Detector = detector()
    figures = {
        "package_us": best_us(package.polarity_scores, corpus),
        "ours_us": best_us(vader().score, corpus),
        "detect_us": best_us(one.detect, folded),
        "detector_alone_us": best_us(lambda text: one.alone(text), folded),
        "read_language_given_us": best_us(reading("en"), corpus),
        "read_language_absent_us": best_us(reading(""), corpus),
    }
    print(f"{'vaderSentiment':40} {figures['package_us']:8.1f} us a text")
    print(f"{'ours, the same numbers':40} {figures['ours_us']:8.1f}")
    print(f"{'language, English words first':40} {figures['detect_us']:8.1f}")
    print(f"{'language, py3langid on every text':40} {figures['detector_alone_us']:8.1f}")
    print(f"{'a whole reading, language given':40} {figures['read_language_given_us']:8.1f}")
    print(f"{'a whole reading, language absent':40} {figures['read_language_absent_us']:8.1f}")
    for length in (880, 32_768):
        long = (" ".join(SENTENCES) * 40)[:length]
        ours = best_us(vader().score, [long])
        figures[f"ours_{length}_us"] = ours
        beside = ""
        if length < 10_000:  # the package takes seconds for the longest
            figures[f"package_{length}_us"] = best_us(package.polarity_scores, [long])
            beside = f"   the package {figures[f'package_{length}_us']:.0f}"
        print(f"{f'ours, {length} characters':40} {ours:8.1f}{beside}")
    ratio = figures["package_us"] / figures["ours_us"]
    print(f"ratio {ratio:.1f}; texts on which the two differ: {differing}")
    rounded = {name: round(value, 2) for name, value in figures.items()}
    print(json.dumps({"ratio": round(ratio, 2), "differing": differing, "texts": TEXTS, **rounded}))


if __name__ == "__main__":
    main()
