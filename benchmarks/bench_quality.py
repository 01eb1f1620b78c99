"""How often the reading of a text is right, on texts with labels or scores, and what it costs beside vaderSentiment.

DATA is a CSV, gzipped or not, or a folder of them. Each is read in the order of its timestamps (of its lines where it
has none), for every target it has a column for: `label` 1 to 5, from 4 on negative; `score` or `stars` 1 to 5, up to
2 negative; a `score` that goes below zero is negative below it. Two figures of each: every text is scored before its
label is learned, and all after the first 70 % scored by what was learned from those. `--text`, `--score` and `--label`
name other columns, `--question` and `--channel` what they say of a text.

Run: `make bench-quality DATA=folder`. The question and the channel are taken from the columns of these names.
"""

import argparse
import csv
import gzip
import io
import json
import math
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer

from benchmarks.common import RESULTS, machine
from scoring.learned import VADER_ALERT, Context, Learner
from scoring.vader import vader

LEARNED_SHARE = 0.7
CALIBRATION_BINS = 10
PASSES = 7
LONG_RUN = 100_000
"""Texts learned before the rate of a learner that has seen much is taken."""
TEXT = ("text", "comment", "review", "verbatim", "narrative")
SCORE = ("score", "stars", "rating")
LABEL = ("label", "sentiment", "criticality")
TIME = ("timestamp", "occurred_at", "date", "time")


def column(header: Sequence[str], given: str, guesses: Sequence[str]) -> str:
    """The column *given*, else the first whose name is guessed; empty when there is none."""
    if given:
        return given if given in header else ""
    known = {name.strip().lower(): name for name in header}
    return next((known[guess] for guess in guesses if guess in known), "")


def lines(path: Path) -> list[dict[str, str]]:
    data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    csv.field_size_limit(1 << 24)
    return list(csv.DictReader(io.StringIO(data.decode("utf-8-sig"), newline="")))


def number(cell: str | None) -> float | None:
    try:
        return float(cell or "")
    except ValueError:
        return None


def auc(risks: Sequence[float], truths: Sequence[bool]) -> float:
    """The chance that of two texts the negative one was given the higher risk; equal ones count half."""
    order = sorted(zip(risks, truths, strict=True))
    won = below = 0.0
    place = 0
    while place < len(order):
        end = place
        while end < len(order) and order[end][0] == order[place][0]:
            end += 1
        negative = sum(truth for _, truth in order[place:end])
        calm = end - place - negative
        won += negative * (below + calm / 2)
        below += calm
        place = end
    pairs = below * (len(order) - below)
    return won / pairs if pairs else 0.5


def figures(risks: Sequence[float], alerts: Sequence[bool], truths: Sequence[bool]) -> dict[str, Any]:
    """Macro-F1, AUC, precision, recall, the confusion table and the calibration of one scorer."""
    cells = [[0, 0], [0, 0]]
    for alert, truth in zip(alerts, truths, strict=True):
        cells[truth][alert] += 1
    (passed, false_alarms), (missed, caught) = cells
    wrong = missed + false_alarms
    bins: list[list[float]] = [[0.0, 0.0, 0.0] for _ in range(CALIBRATION_BINS)]
    for risk, truth in zip(risks, truths, strict=True):
        held = bins[min(int(risk * CALIBRATION_BINS), CALIBRATION_BINS - 1)]
        held[0] += 1
        held[1] += risk
        held[2] += truth
    return {
        "macro_f1": round(caught / (2 * caught + wrong or 1) + passed / (2 * passed + wrong or 1), 4),
        "auc": round(auc(risks, truths), 4),
        "precision": round(caught / (caught + false_alarms or 1), 4),
        "recall": round(caught / (caught + missed or 1), 4),
        "calibration_error": round(sum(abs(said - true) for _, said, true in bins) / (len(truths) or 1), 4),
        "calibration": [[int(n), round(said / n, 3), round(true / n, 3)] for n, said, true in bins if n],
        "confusion": {"caught": caught, "missed": missed, "false_alarms": false_alarms, "passed": passed},
    }


def run(texts: Sequence[tuple[str, Context]], truths: Sequence[bool], learned: int) -> dict[str, Any]:
    """The figures of all three scorers when only the first *learned* labels are taught; of those after, if any."""
    learner = Learner()
    told: dict[str, tuple[list[float], list[bool]]] = {"vader": ([], []), "learned": ([], []), "blend": ([], [])}
    for place, ((text, context), truth) in enumerate(zip(texts, truths, strict=True)):
        sentiment = vader().score(text)
        risk = learner.score(text, context, sentiment)
        assert risk is not None
        assert risk.vader is not None, "English is what VADER reads"
        for name, value, alert in (
            ("vader", risk.vader, risk.vader >= VADER_ALERT),
            ("learned", risk.learned, risk.learned >= learner.alert_at(context)),
            ("blend", risk.risk, risk.is_alert),
        ):
            told[name][0].append(value)
            told[name][1].append(alert)
        if place < learned:
            learner.learn(text, context, sentiment, truth)
    since = learned if learned < len(texts) else 0
    return {name: figures(risks[since:], alerts[since:], truths[since:]) for name, (risks, alerts) in told.items()}


def rates(texts: Sequence[tuple[str, Context]], truths: Sequence[bool]) -> dict[str, float]:
    """Texts a second on one core after 100,000 texts: the package; VADER's parts and the risk; learned from as well.

    The best of several passes, taken in turns, so that a busy machine disturbs the ratios least.
    """
    package = SentimentIntensityAnalyzer()
    fast = vader()
    learner = Learner()

    def learn(rounds: int = 1) -> None:
        for _ in range(rounds):
            for (text, context), truth in zip(texts, truths, strict=True):
                sentiment = fast.score(text)
                learner.score(text, context, sentiment)
                learner.learn(text, context, sentiment, truth)

    def score() -> None:
        for text, context in texts:
            learner.score(text, context, fast.score(text))

    def bare() -> None:
        for text, _ in texts:
            package.polarity_scores(text)

    learn(max(1, LONG_RUN // len(texts)))
    steps = {"vader_package": bare, "scored": score, "scored_and_learned": learn}
    best = dict.fromkeys(steps, math.inf)
    for _ in range(PASSES):
        for name, step in steps.items():
            start = time.perf_counter()
            step()
            best[name] = min(best[name], time.perf_counter() - start)
    made = {name: round(len(texts) / seconds, 1) for name, seconds in best.items()}
    made["ratio_scored"] = round(made["scored"] / made["vader_package"], 3)
    made["ratio_scored_and_learned"] = round(made["scored_and_learned"] / made["vader_package"], 3)
    return made


def measure(path: Path, asked: argparse.Namespace) -> dict[str, Any]:
    """Everything there is to say of one file, by target; empty when it has no score and no label."""
    rows = lines(path)
    header = list(rows[0]) if rows else []
    text, when = column(header, asked.text, TEXT), column(header, "", TIME)
    question, channel = column(header, asked.question, ("question",)), column(header, asked.channel, ("channel",))
    if not text:
        return {}
    if when:
        rows.sort(key=lambda row: row[when] or "")
    made: dict[str, Any] = {}
    for target, name in (("label", column(header, asked.label, LABEL)), ("score", column(header, asked.score, SCORE))):
        known = [(row, value) for row in rows if name and (value := number(row[name])) is not None and row[text]]
        if not known:
            continue
        if target == "label":
            truths = [value >= 4 for _, value in known]
        elif min(value for _, value in known) < 0:
            truths = [value < 0 for _, value in known]
        else:
            truths = [value <= 2 for _, value in known]
        texts = [
            (
                row[text],
                Context(
                    programme=path.stem,
                    language="en",
                    channel=(row[channel] or "") if channel else "",
                    question=(row[question] or "") if question else "",
                ),
            )
            for row, _ in known
        ]
        made[target] = {
            "texts": len(texts),
            "negative": sum(truths),
            "test_then_learn": run(texts, truths, len(texts)),
            "frozen_70": run(texts, truths, int(len(texts) * LEARNED_SHARE)),
            "per_second": rates(texts, truths),
        }
    return made


def table(name: str, measured: dict[str, Any]) -> str:
    told = []
    for target, found in measured.items():
        told.append(f"{name}, {target}: {found['texts']} texts, {found['negative']} negative")
        for how in ("test_then_learn", "frozen_70"):
            told.append(
                f"  {how:<16} macro-F1    AUC  precision  recall  calibration error  caught/missed/false/passed"
            )
            for scorer, f in found[how].items():
                cells = "/".join(map(str, f["confusion"].values()))
                told.append(
                    f"    {scorer:<14} {f['macro_f1']:8.3f} {f['auc']:6.3f} {f['precision']:10.3f} {f['recall']:7.3f}"
                    f" {f['calibration_error']:18.3f}  {cells}"
                )
            bins = "  ".join(f"{said:.2f}:{true:.2f}({n})" for n, said, true in found[how]["blend"]["calibration"])
            told.append(f"    blend, said:true(texts)  {bins}")
        told += [f"  {what:<30} {rate:10,.2f}" for what, rate in found["per_second"].items()]
    return "\n".join(told)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bench_quality")
    parser.add_argument("data", type=Path)
    for name in ("text", "score", "label", "question", "channel"):
        parser.add_argument(f"--{name}", default="", help=f"the column of the {name}")
    asked = parser.parse_args()
    data: Path = asked.data
    paths = sorted([*data.glob("*.csv"), *data.glob("*.csv.gz")]) if data.is_dir() else [data]
    every = {path.name.split(".")[0]: made for path in paths if (made := measure(path, asked))}
    if not every:
        sys.exit(f"no CSV with a text and a score or a label in {data}")
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
