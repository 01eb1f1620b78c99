"""The figures of `bench_quality.py`: how right a scorer was, by what it said and what was true."""

from collections import Counter
from collections.abc import Collection, Sequence
from typing import Any

CALIBRATION_BINS = 10
FEW = 20
"""Texts of a theme below which its own F1 says little: the macro-F1 is also given without such themes."""


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


def theme_figures(
    said: Sequence[Collection[str]], truths: Sequence[Collection[str]], counts: Counter[str]
) -> dict[str, Any]:
    """Micro- and macro-F1 of themes; *counts* has the texts of each in the whole file, by which few ones are told."""
    right: Counter[str] = Counter()
    wrong: Counter[str] = Counter()
    missed: Counter[str] = Counter()
    for told, true in zip(said, truths, strict=True):
        right.update(theme for theme in told if theme in true)
        wrong.update(theme for theme in told if theme not in true)
        missed.update(theme for theme in true if theme not in told)
    f1 = {theme: 2 * right[theme] / (2 * right[theme] + wrong[theme] + missed[theme] or 1) for theme in counts}
    many = [f1[theme] for theme, count in counts.items() if count >= FEW]
    caught, false = sum(right.values()), sum(wrong.values())
    lost = sum(missed.values())
    return {
        "micro_f1": round(2 * caught / (2 * caught + false + lost or 1), 4),
        "macro_f1": round(sum(f1.values()) / (len(f1) or 1), 4),
        f"macro_f1_from_{FEW}_texts": round(sum(many) / (len(many) or 1), 4),
        "precision": round(caught / (caught + false or 1), 4),
        "recall": round(caught / (caught + lost or 1), 4),
    }
