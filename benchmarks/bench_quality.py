"""How often the reading of a text is right, on texts with labels or scores, and what it costs beside vaderSentiment.

DATA is a CSV, gzipped or not, or a folder of them. Columns, scales, dates and languages are guessed, each guess is
told, and `--text`, `--score`, `--label`, `--themes`, `--time`, `--question`, `--channel`, `--language`, `--negative`
overrule it (`quality_data.py`). Each file is read in the order of its dates, of its lines where it has none. Two
figures of each: every text is scored before its label is learned, and all after the first 70 % scored by what was
learned from those. In a language that VADER does not read, VADER says 0.5 of every text.

Run: `make bench-quality DATA=folder`, `make bench-quality DATA=file.csv ARGS="--score rating --negative '<=2'"`.
"""

import argparse
import json
import math
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer

from benchmarks.common import RESULTS, machine
from benchmarks.quality_data import Columns, Unreadable, columns_of, contexts, in_order, lines, target, themes_of
from benchmarks.quality_figures import FEW, figures, theme_figures
from scoring.learned import VADER_ALERT, Context, Learner
from scoring.learned_themes import ThemeLearner
from scoring.reading import Sentiment
from scoring.vader import vader

LEARNED_SHARE = 0.7
PASSES = 7
LONG_RUN = 100_000
"""Texts learned before the rate of a learner that has seen much is taken."""
THEMES_LONG_RUN = 20_000
"""Learning themes goes over nine texts for each; what is read then is the same however many they were."""
FEWEST = 40
"""Texts below which nothing is measured, and of the rarer kind a tenth of it."""

Texts = Sequence[tuple[str, Context]]


def mood(text: str, context: Context) -> Sentiment | None:
    """What VADER says, as the flow asks it: English only."""
    return vader().score(text) if context.language == "en" else None


def run(texts: Texts, truths: Sequence[bool], learned: int) -> dict[str, Any]:
    """The figures of all three scorers when only the first *learned* labels are taught; of those after, if any."""
    learner = Learner()
    told: dict[str, tuple[list[float], list[bool]]] = {"vader": ([], []), "learned": ([], []), "blend": ([], [])}
    for place, ((text, context), truth) in enumerate(zip(texts, truths, strict=True)):
        sentiment = mood(text, context)
        risk = learner.score(text, context, sentiment)
        beside = 0.5 if sentiment is None else (1.0 - sentiment.compound) / 2
        said = learner.learned(text, context, sentiment)
        for name, value, alert in (
            ("vader", beside, beside >= VADER_ALERT),
            ("learned", said, said >= learner.alert_at(context)),
            ("blend", 0.5 if risk is None else risk.risk, risk is not None and risk.is_alert),
        ):
            told[name][0].append(value)
            told[name][1].append(alert)
        if place < learned:
            learner.learn(text, context, sentiment, truth)
    since = learned if learned < len(texts) else 0
    return {name: figures(risks[since:], alerts[since:], truths[since:]) for name, (risks, alerts) in told.items()}


def rates(texts: Texts, truths: Sequence[bool]) -> dict[str, float]:
    """Texts a second on one core after 100,000 texts: the package; VADER's parts and the risk; learned from as well.

    The best of several passes, taken in turns, so that a busy machine disturbs the ratios least.
    """
    package = SentimentIntensityAnalyzer()
    learner = Learner()

    def learn(rounds: int = 1) -> None:
        for _ in range(rounds):
            for (text, context), truth in zip(texts, truths, strict=True):
                sentiment = mood(text, context)
                learner.score(text, context, sentiment)
                learner.learn(text, context, sentiment, truth)

    def score() -> None:
        for text, context in texts:
            learner.score(text, context, mood(text, context))

    def bare() -> None:
        for text, _ in texts:
            package.polarity_scores(text)

    learn(max(1, LONG_RUN // len(texts)))
    steps = {"vader_package": bare, "scored": score, "scored_and_learned": learn}
    return _best(steps, len(texts))


def run_themes(texts: Texts, truths: Sequence[frozenset[str]], learned: int) -> dict[str, Any]:
    """The figures of the learned themes when only the first *learned* texts are taught; of those after, if any."""
    learner = ThemeLearner()
    said = []
    for place, ((text, context), truth) in enumerate(zip(texts, truths, strict=True)):
        said.append({one.path for one in learner.suggest(text, context)})
        if place < learned:
            learner.learn(text, context, (), truth)
    since = learned if learned < len(texts) else 0
    counts = Counter(theme for truth in truths for theme in truth)
    return theme_figures(said[since:], truths[since:], counts)


def theme_rates(texts: Texts, truths: Sequence[frozenset[str]]) -> dict[str, float]:
    """Texts a second on one core: the package; VADER's parts and the themes of a frozen model, after many texts."""
    package = SentimentIntensityAnalyzer()
    learner = ThemeLearner()
    for _ in range(max(1, THEMES_LONG_RUN // len(texts))):
        for (text, context), truth in zip(texts, truths, strict=True):
            learner.learn(text, context, (), truth)
    frozen = learner.frozen(texts[0][1].programme)
    assert frozen is not None

    def bare() -> None:
        for text, _ in texts:
            package.polarity_scores(text)

    def read() -> None:
        for text, context in texts:
            mood(text, context)
            frozen.suggest(text, context)

    return _best({"vader_package": bare, "with_themes": read}, len(texts))


def _best(steps: dict[str, Callable[[], None]], texts: int) -> dict[str, float]:
    """Texts a second of each step, the best of several passes taken in turns, and the ratios to the first."""
    best = dict.fromkeys(steps, math.inf)
    for _ in range(PASSES):
        for name, step in steps.items():
            start = time.perf_counter()
            step()
            best[name] = min(best[name], time.perf_counter() - start)
    made = {name: round(texts / seconds, 1) for name, seconds in best.items()}
    bare, *others = made
    made.update({f"ratio_{name}": round(made[name] / made[bare], 3) for name in others})
    return made


def measure(path: Path, asked: argparse.Namespace) -> dict[str, Any]:
    """Everything there is to say of one file, by target; empty when it has no text, or nothing that says of one."""
    rows = lines(path)
    columns = columns_of(rows, lambda name: str(getattr(asked, name)))
    if not columns.text:
        return {}
    rows, order = in_order([row for row in rows if row[columns.text].strip()], columns.time)
    every = contexts(rows, columns, path.name.split(".")[0], asked.language)
    made: dict[str, Any] = {}
    for kind, name in (("label", columns.label), ("score", columns.score)):
        if name:
            found = _target(rows, every, columns, name, asked.negative, order)
            if found:
                made[kind] = found
    if columns.themes:
        themes = [(n, themes_of(row[columns.themes])) for n, row in enumerate(rows)]
        known = [(n, truth) for n, truth in themes if truth]
        if len(known) >= FEWEST and len({theme for _, truth in known for theme in truth}) > 1:
            texts = [(rows[n][columns.text], every[n]) for n, _ in known]
            truths = [truth for _, truth in known]
            made["themes"] = {
                "column": columns.themes,
                "order": order,
                "texts": len(texts),
                "themes": len({theme for truth in truths for theme in truth}),
                "test_then_learn": run_themes(texts, truths, len(texts)),
                "frozen_70": run_themes(texts, truths, int(len(texts) * LEARNED_SHARE)),
                "per_second": theme_rates(texts, truths),
            }
    return made


def _target(
    rows: Sequence[dict[str, str]], every: Sequence[Context], columns: Columns, name: str, negative: str, order: str
) -> dict[str, Any]:
    wanted = target(rows, name, columns.text, negative)
    known = [(n, truth) for n, truth in enumerate(wanted.truths) if truth is not None]
    truths = [truth for _, truth in known]
    if len(truths) < FEWEST or min(sum(truths), len(truths) - sum(truths)) < FEWEST // 10:
        print(f"{name}: {sum(truths)} negative of {len(truths)} texts are too few to measure", file=sys.stderr)
        return {}
    texts = [(rows[n][columns.text], every[n]) for n, _ in known]
    return {
        "column": name,
        "negative_is": wanted.rule,
        "order": order,
        "languages": dict(Counter(context.language for _, context in texts).most_common()),
        "texts": len(texts),
        "negative": sum(truths),
        "test_then_learn": run(texts, truths, len(texts)),
        "frozen_70": run(texts, truths, int(len(texts) * LEARNED_SHARE)),
        "per_second": rates(texts, truths),
    }


def table(name: str, measured: dict[str, Any]) -> str:
    told = []
    for kind, found in measured.items():
        if kind == "themes":
            told.append(
                f"{name}, {found['column']}: {found['texts']} texts, {found['themes']} themes; {found['order']}"
            )
            told.append(f"  {'':<16} micro-F1  macro-F1  of those with {FEW} texts  precision  recall")
            for how in ("test_then_learn", "frozen_70"):
                micro, macro, many, precision, recall = found[how].values()
                told.append(f"  {how:<16} {micro:8.3f} {macro:9.3f} {many:23.3f} {precision:10.3f} {recall:7.3f}")
        else:
            spoken = ", ".join(f"{language} {count}" for language, count in found["languages"].items())
            told.append(
                f"{name}, {found['column']}: {found['texts']} texts ({spoken}), {found['negative']} negative"
                f" ({found['negative_is']}); {found['order']}"
            )
            for how in ("test_then_learn", "frozen_70"):
                told += _scorers(how, found[how])
        told += [f"  {what:<30} {rate:10,.2f}" for what, rate in found["per_second"].items()]
    return "\n".join(told)


def _scorers(how: str, found: dict[str, Any]) -> list[str]:
    told = [f"  {how:<16} macro-F1    AUC  precision  recall  calibration error  caught/missed/false/passed"]
    for scorer, f in found.items():
        cells = "/".join(map(str, f["confusion"].values()))
        told.append(
            f"    {scorer:<14} {f['macro_f1']:8.3f} {f['auc']:6.3f} {f['precision']:10.3f} {f['recall']:7.3f}"
            f" {f['calibration_error']:18.3f}  {cells}"
        )
    for scorer in found:
        bins = "  ".join(f"{said:.2f}:{true:.2f}({n})" for n, said, true in found[scorer]["calibration"])
        told.append(f"    {scorer}, said:true(texts)  {bins}")
    return told


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bench_quality")
    parser.add_argument("data", type=Path)
    for name in ("text", "score", "label", "themes", "time", "question", "channel"):
        parser.add_argument(f"--{name}", default="", help=f"the column of the {name}")
    parser.add_argument("--language", default="", help="ISO 639-1 of every text, in place of what is detected")
    parser.add_argument("--negative", default="", help="what is negative: '<=2', '>=4', or values with commas")
    asked = parser.parse_args()
    data: Path = asked.data
    paths = sorted(p for p in data.iterdir() if p.name.endswith((".csv", ".csv.gz"))) if data.is_dir() else [data]
    every = {}
    for path in paths:
        try:
            made = measure(path, asked)
        except (Unreadable, OSError) as error:
            sys.exit(f"{path.name}: {error}")
        if made:
            every[path.name.split(".")[0]] = made
        else:
            print(f"{path.name}: no text with a score, a label or a theme to it", file=sys.stderr)
    if not every:
        sys.exit(f"no CSV with a text and a score, a label or themes in {data}")
    told = "\n\n".join(table(name, made) for name, made in every.items())
    print(told)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "bench_quality.md").write_text(
        f"# bench_quality\n\n{machine()}\n{datetime.now(UTC):%Y-%m-%d}, `make bench-quality DATA={data.name}`\n\n"
        f"```\n{told}\n```\n\n{json.dumps(every)}\n"
    )
    print(json.dumps(every))


if __name__ == "__main__":
    main()
