"""What rules cost: a response judged by 10, 100 and 1,000 of them, and a step of one window beside 100,000 live keys.

Texts are read beforehand; vaderSentiment on the same texts, in the same run, is the measure beside it. Of every ten
rules six need a theme, two a band, one compares a sentiment and one needs CEL. Each figure is the best of five passes,
so that a busy machine disturbs it least. Run: `python -m benchmarks.bench_rules` in a checkout.
"""

import math
import random
import time
from collections.abc import Callable, Sequence

from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer

from benchmarks.common import report
from benchmarks.common import texts as make_texts
from feedback.instants import Instant
from feedback.metrics import STANDARD
from feedback.records import Response
from rules.judge import judge
from rules.kinds import Count, Event, Ref, Spike, Window, WindowFact
from rules.kinds.drawer import Drawer
from rules.parse import load_text
from rules.ruleset import RuleSet
from rules.watching import watch
from scoring.reader import Reader
from scoring.reading import Reading

TEXTS, PASSES = 2000, 5
RULES = (10, 100, 1000)
KEYS = (1000, 100_000)
STEPS = 20_000
START = Instant(1_790_000_000)
ROSTER = "roster: r\npeople: {ann: {name: Ann}}\nroles: {lead: {default: [ann]}}\n"
PHRASES = (
    "price", "staff", "delivery", "wait*", "neighbour", "form", "address", "rain*", "shop", "weekend", "desk", "colour",
    "page", "spring", "large", "small", "helpful", "slow", "quality", "disappointed", "value", "failing", "awful",
    "wonderful", "picture", "customers", "answer*", "happy", "lovely", "result",
)  # fmt: skip

Read = tuple[Response, Reading]


def rule_set(count: int, windows: bool = False) -> RuleSet:
    """A set of *count* rules of the mix; *windows*: each a count by site."""
    dice = random.Random(count)
    themes = "".join(f"  t{n}: {{phrases: ['{phrase}']}}\n" for n, phrase in enumerate(PHRASES))
    rules = []
    for number in range(count):
        theme, site = f"t{number % len(PHRASES)}", number % 50
        line = (
            f'"{theme}" in themes && scores.nps <= {dice.randint(1, 9)}' if number % 10 < 6
            else f'bands.nps == "detractor" && attributes.site == "site-{site}"' if number % 10 < 8
            else f"sentiment.compound <= -0.{dice.randint(80, 99)}" if number % 10 == 8
            else f'scores.nps < {dice.randint(1, 3)}.0 || attributes.site.startsWith("site-{site}x")'
        )  # fmt: skip
        window = "window: {kind: count, by: site, count: 5, within: 1h}, " if windows else ""
        rules.append(f"  - {{id: r{number}, when: {{all: ['{line}']}}, {window}case: {{type: t, owner: lead}}}}\n")
    files = {
        "sets/bench.yaml": f"set: bench\nroster: r\ntaxonomies: [t]\nrules:\n{''.join(rules)}",
        "rosters/r.yaml": ROSTER,
        "taxonomies/t.yaml": f"taxonomy: t\nthemes:\n{themes}",
    }
    return load_text(files, "bench", STANDARD)


def corpus(rules: RuleSet) -> list[Read]:
    """Responses and their readings: every third scored, in 50 sites, a third of those detractors."""
    dice = random.Random(3)
    reader = Reader(rules.taxonomies, STANDARD)
    made = []
    for number, text in enumerate(make_texts(TEXTS)):
        response = Response(
            programme="p", source="s", id=str(number), customer=f"c{number}", occurred_at=START, received_at=START,
            arrived=float(START), channel="web", language="en", text=text, scores={"nps": float(dice.randint(0, 10))},
            attributes={"site": f"site-{dice.randint(0, 49)}"},
        )  # fmt: skip
        made.append((response, reader.read(response)))
    return made


def best_us(once: Callable[[], object], each: int) -> float:
    """Microseconds of one of *each*, in the fastest pass."""
    best = math.inf
    for _ in range(PASSES):
        began = time.perf_counter()
        once()
        best = min(best, time.perf_counter() - began)
    return best / each * 1e6


def judged_us(rules: RuleSet, responses: Sequence[Read], how: Callable[[RuleSet, Response, Reading], object]) -> float:
    def once() -> None:
        for response, reading in responses:
            how(rules, response, reading)

    return best_us(once, len(responses))


def window_us(window: Window, keys: int) -> float:
    """One step of *window*, its drawer holding *keys* live keys, each touched at random."""
    drawer, windows = Drawer(), {window.id: window}
    dice = random.Random(keys)
    made = 0

    def facts(count: int) -> list[WindowFact]:
        nonlocal made
        found = []
        for _ in range(count):
            made += 1
            at = Instant(START + made // 1000)
            key = str(made if made <= keys else dice.randint(1, keys))
            ref = Ref("p", "s", str(made))
            found.append(
                WindowFact(
                    rule=window.rule, window=window.id, scope="p", key=key, ref=ref, occurred_at=at, received_at=at
                )
            )
        return found

    def take(some: list[WindowFact]) -> list[Event]:
        return [event for fact in some for event in drawer.step(windows, fact, fact.received_at)]

    take(facts(keys))
    batches = [facts(STEPS) for _ in range(PASSES)]
    cost = best_us(lambda: take(batches.pop()), STEPS)
    assert len(drawer) == keys, f"{len(drawer)} keys are live, of {keys}"
    return cost


def main() -> None:
    rows: list[tuple[str, str]] = []
    figures: dict[str, float] = {}
    package = SentimentIntensityAnalyzer()
    responses = corpus(rule_set(10))
    words = [response.text for response, _ in responses]
    vader = best_us(lambda: [package.polarity_scores(text) for text in words], len(words))
    rows.append(("vaderSentiment alone", f"{vader:8.1f} us a text"))
    figures["vader_us"] = round(vader, 2)
    for count in RULES:
        rules = rule_set(count)
        fired = sum(len(judge(rules, response, reading).triggers) for response, reading in responses) / TEXTS
        cost = judged_us(rules, responses, judge)
        aim = ", aim under 100" if count == 100 else ""
        share = f"{vader / cost:.1f} to one" if cost < vader else f"1 to {cost / vader:.1f}"
        rows.append((f"{count} rules", f"{cost:8.1f} us a response, {fired:.2f} fire{aim}; vaderSentiment {share}"))
        figures[f"rules_{count}_us"] = round(cost, 2)
    watching = judged_us(rule_set(100, windows=True), responses, watch)
    rows.append(("facts of 100 window rules", f"{watching:8.1f} us a response"))
    figures["watch_100_us"] = round(watching, 2)
    shared = {"rule": "r", "version": "v", "by": "attributes.site", "max_keys": max(KEYS)}
    kinds = {"count": Count(count=5, within_s=3600), "spike": Spike(within_s=3600, at_least=5)}
    for name, kind in kinds.items():
        few, many = (window_us(Window(**shared, id=name, kind=kind), keys) for keys in KEYS)  # type: ignore[arg-type]
        rows.append(
            (f"a step of a {name}", f"{few:8.1f} us beside {KEYS[0]:,} live keys, {many:.1f} beside {KEYS[1]:,}")
        )
        figures[f"{name}_{KEYS[0]}_keys_us"], figures[f"{name}_{KEYS[1]}_keys_us"] = round(few, 2), round(many, 2)
    figures["ratio"] = round(vader / figures["rules_100_us"], 2)
    rows.append(("ratio, vaderSentiment to 100 rules", f"{figures['ratio']:8.2f}"))
    report("bench_rules", rows, figures)


if __name__ == "__main__":
    main()
