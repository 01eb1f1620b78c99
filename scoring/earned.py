"""What say a learned model has earned: its lead over VADER on recent labels, each judged before it was learned from.

Risks are counted by bin, and the older ones fade, so that memory and time are the same after any number of labels.
Knows nothing of texts or weights; `learned.py` blends by it.
"""

import math
from collections.abc import Sequence

import msgspec

_BINS = 40
_JUDGED_EVERY = 32
"""Labels between two judgements; each also fades what is remembered of the older ones."""
_FADE = 0.965
"""Half of a label's say is gone after some 620 labels."""
_FEWEST = 8.0
"""Labels of either kind, faded, before a model can be judged."""
_DOUBT = 0.25
"""Taken off the lead, over the root of the labels of the rarer kind: about a standard error of an AUC of 0.8."""
_FULL_LEAD = 0.05
"""Of AUC, doubt taken off: a model so far ahead has the whole say."""


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """What a model has earned on recent labels, each judged before it was learned from."""

    reason: str
    """`few_labels`, `ahead`, or `behind`: set aside."""
    weight: float
    labels: int
    """Learned from, ever."""
    learned_auc: float
    vader_auc: float
    """0.5 in a language that VADER does not read: the model must be better than chance."""


class Judge:
    """Takes what both said of a text and what it was; every so many labels it sets the learned one's say anew."""

    __slots__ = ("alert_at", "aucs", "labels", "reason", "tallies", "weight")

    def __init__(self, alert_at: float) -> None:
        self.tallies = [[0.0] * _BINS for _ in range(4)]
        """By bin of risk: the learned one's texts that were not negative, that were; then VADER's."""
        self.labels = 0
        self.weight, self.reason = 0.0, "few_labels"
        self.alert_at = alert_at
        """The risk from which the learned one alone would alert."""
        self.aucs = (0.5, 0.5)
        """The learned one's, then VADER's."""

    def take(self, learned: float, beside: float, label: bool) -> None:
        """The learned one said *learned* of a text, VADER *beside*, and it was a negative one or not."""
        self.tallies[label][min(int(learned * _BINS), _BINS - 1)] += 1.0
        self.tallies[2 + label][min(int(beside * _BINS), _BINS - 1)] += 1.0
        self.labels += 1
        if self.labels % _JUDGED_EVERY == 0:
            self._judge()

    def _judge(self) -> None:
        """Set the say of the learned one by its lead over VADER on recent labels, then let those fade."""
        calm, negative, vader_calm, vader_negative = self.tallies
        self.aucs = _auc(calm, negative), _auc(vader_calm, vader_negative)
        rarer = min(sum(calm), sum(negative))
        if rarer < _FEWEST:
            self.weight, self.reason = 0.0, "few_labels"
        else:
            lead = self.aucs[0] - self.aucs[1] - _DOUBT / math.sqrt(rarer)
            self.weight = max(0.0, min(1.0, lead / _FULL_LEAD))
            self.reason = "ahead" if self.weight else "behind"
            self.alert_at = _best_threshold(calm, negative)
        for tally in self.tallies:
            tally[:] = [count * _FADE for count in tally]

    def standing(self) -> Standing:
        learned, beside = self.aucs
        return Standing(
            reason=self.reason, weight=self.weight, labels=self.labels, learned_auc=learned, vader_auc=beside
        )


def _auc(calm: Sequence[float], negative: Sequence[float]) -> float:
    """The chance that a negative text was given the higher risk of two; texts of one bin are even. 0.5 for none."""
    below = won = 0.0
    for calm_here, negative_here in zip(calm, negative, strict=True):
        won += negative_here * (below + calm_here / 2)
        below += calm_here
    pairs = below * sum(negative)
    return won / pairs if pairs else 0.5


def _best_threshold(calm: Sequence[float], negative: Sequence[float]) -> float:
    """The edge of a bin from which on an alert gives the best macro-F1 on these texts."""
    caught, false_alarms = sum(negative), sum(calm)
    missed = passed = 0.0
    best, best_at = -1.0, 0
    for edge in range(1, _BINS):
        missed += negative[edge - 1]
        passed += calm[edge - 1]
        caught -= negative[edge - 1]
        false_alarms -= calm[edge - 1]
        wrong = missed + false_alarms
        macro_f1 = caught / (2 * caught + wrong or 1.0) + passed / (2 * passed + wrong or 1.0)
        if macro_f1 > best:
            best, best_at = macro_f1, edge
    return best_at / _BINS
