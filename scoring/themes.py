"""Themes suggested by what was learned, frozen: for reading many texts with one state of a learner.

`learned_themes.py` learns and makes these; a model that is published is read with them.
"""

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from scoring.learned import LONGEST, Context
from scoring.reading import Found, Suggested
from scoring.theme_features import asked_of, found_of, of_word, pairs_of
from scoring.words import words_of

BINS = 40
PIECES_SCALE, REST_SCALE = 1.4, 0.3
"""Of pieces, and of what is not a word; words and pairs have 1."""
REMEMBERED_WORDS = 8192
"""With what their pieces add: 2 MB at most. A text is cut far below so many words."""
REMEMBERED_QUESTIONS = 256

Floats = npt.NDArray[np.float32]


class Themes:
    """What a learner knew of one programme at one moment, made for reading: immutable but for a memory of words."""

    def __init__(
        self,
        known: Sequence[str],
        weights: Floats,
        rarity: Floats,
        biases: Floats,
        thresholds: npt.NDArray[np.float64],
        sure: npt.NDArray[np.float64],
    ) -> None:
        """*thresholds* in log-odds; *sure* by theme and bin; *known* empty for a theme that is never suggested."""
        self._known, self._biases, self._thresholds, self._sure = known, biases, thresholds[: len(known)], sure
        # What each feature adds, and its square: a last column, so that one sum gives both.
        self._parts: Floats = np.concatenate([weights * rarity[:, None], (rarity * rarity)[:, None]], 1)
        self._plain: Floats = weights.copy()
        self._words: dict[str, tuple[int, int]] = {}
        """Word to its slot and its row of `_pieces`."""
        self._asked: dict[tuple[str, str], Floats] = {}
        self._pieces: Floats = np.zeros((REMEMBERED_WORDS, self._parts.shape[1]), np.float32)
        """What the pieces of each remembered word add together."""

    def suggest(self, text: str, context: Context, found: Sequence[Found] = ()) -> tuple[Suggested, ...]:
        """As the learner would have said it, some four times as fast."""
        words = words_of(text[:LONGEST])
        distinct = dict.fromkeys(words)
        if len(self._words) + len(distinct) > REMEMBERED_WORDS:
            self._words.clear()
        remembered = [self._words.get(word) or self._remember(word) for word in distinct]
        said = np.add.reduce(self._parts.take([slot for slot, _ in remembered] + pairs_of(words), 0))
        totals = said[:-1] / math.sqrt(said[-1]) + self._beside(context)
        if remembered:
            pieces = np.add.reduce(self._pieces.take([row for _, row in remembered], 0))
            if pieces[-1]:
                totals += pieces[:-1] * (PIECES_SCALE / math.sqrt(pieces[-1]))
        if found:
            totals += np.add.reduce(self._plain.take(found_of(found), 0)) * REST_SCALE
        return chosen(totals, self._thresholds, self._sure, self._known, found)

    def _beside(self, context: Context) -> Floats:
        """What the question and the language add, and what is the same for every text."""
        key = context.question, context.language
        known = self._asked.get(key)
        if known is None:
            if len(self._asked) >= REMEMBERED_QUESTIONS:
                self._asked.clear()
            known = self._asked[key] = self._biases + self._plain[asked_of(context)].sum(0) * REST_SCALE
        return known

    def _remember(self, word: str) -> tuple[int, int]:
        own, pieces = of_word(word)
        row = len(self._words)
        self._pieces[row] = self._parts[list(pieces)].sum(0) if pieces else 0.0
        self._words[word] = own, row
        return own, row


def chosen(
    totals: Floats,
    thresholds: npt.NDArray[np.float64],
    sure: npt.NDArray[np.float64],
    known: Sequence[str],
    found: Sequence[Found],
) -> tuple[Suggested, ...]:
    """The themes whose total is past its threshold, that are *known* by a path, and that the taxonomy did not find."""
    made = []
    for theme in (totals >= thresholds).nonzero()[0].tolist():
        path = known[theme]
        if path and not any(one.path == path or one.path.startswith(path + "/") for one in found):
            made.append(Suggested(path, round(float(sure[theme, bin_of(float(totals[theme]))]), 4)))
    made.sort(key=_surest)
    return tuple(made)


def bin_of(total: float) -> int:
    """Of a total: its probability, in `BINS` bins."""
    return min(int(BINS / (1.0 + math.exp(-max(-30.0, min(30.0, total))))), BINS - 1)


def _surest(one: Suggested) -> float:
    return -one.sure
