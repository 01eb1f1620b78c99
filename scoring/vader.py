"""Sentiment of English text by VADER (Hutto & Gilbert, ICWSM 2014), number for number as vaderSentiment 3.3.2.

The package lowers every word of a text again for each word that carries feeling, and walks two lists for each
negation, so that its time grows faster than the text. Here each spelling of a word is looked at once in a
lifetime (`_Vocabulary`), and a text costs one look-up a word. The package's lexicon, word lists and constants
are used as they are; so are its quirks, each named where it is copied, because a score that differed from the
published tool would need a validation of its own. `tests/scoring/test_vader.py` holds this to the package.
"""

import math
import string
from collections.abc import Callable
from functools import lru_cache
from heapq import heappop, heappush

from vaderSentiment.vaderSentiment import (
    BOOSTER_DICT,
    C_INCR,
    N_SCALAR,
    NEGATE,
    SPECIAL_CASES,
    SentimentIntensityAnalyzer,
)

from scoring.reading import Sentiment

REMEMBERED_SPELLINGS = 65_536
"""Spellings kept at most, some 10 MB; most of them share two values."""
LONGEST_REMEMBERED = 32
"""Characters; a longer run is hardly a word, and is looked at each time."""

_ALPHA = 15
"""Of the normalisation x / sqrt(x^2 + alpha): `normalize` in the package."""
_NO_TEXT = Sentiment(0.0, 0.0, 0.0, 0.0)
_NO_FEELING = Sentiment(0.0, 0.0, 1.0, 0.0)


class _Word:
    """What one spelling means to the algorithm. Words without any part in it share `_PLAIN`."""

    __slots__ = ("acts", "booster", "ends_idiom", "low", "negates", "simple", "upper", "valence")

    def __init__(self, low: str, upper: bool, valence: float | None, booster: float, ends_idiom: bool) -> None:
        self.low = low
        self.upper = upper
        self.valence = valence
        """From the lexicon; None when it is not there."""
        self.booster = booster
        """Added to a feeling that follows; 0.0 when it is no booster."""
        self.negates = low in _NEGATIONS or "n't" in low
        self.acts = self.negates or booster != 0.0 or low in _NAMED
        """Can change a feeling that follows it."""
        self.simple = not upper and low not in ("kind", "no")
        """Its own feeling is its rating."""
        self.ends_idiom = ends_idiom


_NEGATIONS = frozenset(NEGATE)
_PAIR_BOOSTERS = {words: boost for words, boost in BOOSTER_DICT.items() if " " in words}
_NAMED = frozenset(("so", "this", "never", "without", "doubt", "or", "nor", "no", "at", "very", "least", "but"))
_IDIOM_WORDS = frozenset(word for words in (*SPECIAL_CASES, *_PAIR_BOOSTERS) for word in words.split())
_IDIOM_ENDS = frozenset(words.split()[-1] for words in (*SPECIAL_CASES, *_PAIR_BOOSTERS))
_PLAIN = _Word("", False, None, 0.0, False)
_PLAIN_UPPER = _Word("", True, None, 0.0, False)


class _Vocabulary(dict[str, _Word]):
    """Every spelling met so far; an unknown one is looked at, and remembered while there is room."""

    def __init__(self, lexicon: dict[str, float]) -> None:
        super().__init__()
        self._lexicon = lexicon

    def __missing__(self, spelling: str) -> _Word:
        # The package strips punctuation only off what keeps more than two characters, so that emoticons stay;
        # "no," stays too, and is then no "no".
        stripped = spelling.strip(string.punctuation)
        item = stripped if len(stripped) > 2 else spelling
        low = item.lower()
        upper = item.isupper()
        valence = self._lexicon.get(low)
        booster = BOOSTER_DICT.get(low, 0.0)
        if (
            valence is None
            and not booster
            and not (low in _NEGATIONS or "n't" in low or low in _NAMED or low in _IDIOM_WORDS)
        ):
            word = _PLAIN_UPPER if upper else _PLAIN
        else:
            word = _Word(low, upper, valence, booster, low in _IDIOM_ENDS)
        if len(self) < REMEMBERED_SPELLINGS and len(spelling) <= LONGEST_REMEMBERED:
            self[spelling] = word
        return word


class Vader:
    """Scores texts. Making one reads the lexicon (60 ms); `vader()` keeps one for the process."""

    def __init__(self) -> None:
        package = SentimentIntensityAnalyzer()
        self.lexicon: dict[str, float] = package.lexicon
        """Word or emoticon to its mean rating, -4 to 4."""
        self._word: Callable[[str], _Word] = _Vocabulary(self.lexicon).__getitem__
        # The package looks at single characters, so emoji of several are spelt out in parts, as there.
        self._emojis = {emoji: told for emoji, told in package.emojis.items() if len(emoji) == 1}

    def score(self, text: str) -> Sentiment:
        """The four numbers of *text*, rounded as the package rounds them. Linear in its length."""
        if not text.isascii() and not self._emojis.keys().isdisjoint(text):
            text = self._told(text)
        words = [*map(self._word, text.split())]
        if not words:
            return _NO_TEXT
        felt: list[tuple[int, float]] = []
        but = -1
        caps_differ: bool | None = None
        for i, word in enumerate(words):
            if word is _PLAIN:
                continue
            rating = word.valence
            if rating is not None:
                if word.simple and i > 2 and not (words[i - 1].acts or words[i - 2].acts or words[i - 3].acts):
                    # Two thirds of all feelings stand alone, and need none of the questions below.
                    value = rating if words[i - 3].valence is not None else _idioms(words, i, rating)
                else:
                    if caps_differ is None:
                        caps_differ = 0 < sum([w.upper for w in words]) < len(words)
                    value = _valence(words, i, rating, caps_differ)
                if value:
                    felt.append((i, value))
            elif but < 0 and word.low == "but":
                but = i
        if not felt:
            return _NO_FEELING
        values = [value for _, value in felt]
        if but >= 0:
            _shift(felt, values, but)
        return _summed(values, len(words), _emphasis(text))

    def _told(self, text: str) -> str:
        """*text* with its emoji in words, a blank before but none after each, as in the package."""
        parts = []
        before = " "
        for letter in text:
            told = self._emojis.get(letter)
            if told is None:
                parts.append(letter)
            else:
                parts.append(told if before == " " else " " + told)
            before = letter
        return "".join(parts)


@lru_cache(maxsize=1)
def vader() -> Vader:
    """The scorer of this process."""
    return Vader()


def _valence(words: list[_Word], i: int, rating: float, caps_differ: bool) -> float:
    """The feeling of the lexicon word at *i*, in the light of the three words before it and two after."""
    word = words[i]
    before = words[i - 1] if i else _PLAIN
    two_before = words[i - 2] if i > 1 else _PLAIN
    three_before = words[i - 3] if i > 2 else _PLAIN
    after = words[i + 1] if i + 1 < len(words) else _PLAIN
    value = rating
    if word.low == "kind" and after.low == "of":
        return 0.0
    if word.low == "no" and after.valence is not None:
        value = 0.0  # a negation here, not a feeling
    if before.low == "no" or two_before.low == "no" or (three_before.low == "no" and before.low in ("or", "nor")):
        value = rating * N_SCALAR
    if word.upper and caps_differ:
        value = value + C_INCR if value > 0 else value - C_INCR

    if i and before.valence is None:
        if before.booster:
            value += _boost(before, value, caps_differ)
        if before.negates:
            value *= N_SCALAR
    if i > 1 and two_before.valence is None:
        if two_before.booster:
            value += _boost(two_before, value, caps_differ) * 0.95
        if two_before.low == "never" and before.low in ("so", "this"):
            value *= 1.25
        elif two_before.negates and not (two_before.low == "without" and before.low == "doubt"):
            value *= N_SCALAR
    if i > 2 and three_before.valence is None:
        if three_before.booster:
            value += _boost(three_before, value, caps_differ) * 0.9
        # The package's `and` binds tighter than its `or`: any "so" or "this" just before will do.
        if (three_before.low == "never" and two_before.low in ("so", "this")) or before.low in ("so", "this"):
            value *= 1.25
        elif three_before.negates and not (
            three_before.low == "without" and (two_before.low == "doubt" or before.low == "doubt")
        ):
            value *= N_SCALAR
        value = _idioms(words, i, value)  # only here: an idiom among a text's first three words is not seen

    if before.low == "least" and before.valence is None and two_before.low not in ("at", "very"):
        value *= N_SCALAR
    return value


def _boost(booster: _Word, value: float, caps_differ: bool) -> float:
    """What *booster* adds to a feeling of *value*."""
    boost = -booster.booster if value < 0 else booster.booster
    if booster.upper and caps_differ:
        boost = boost + C_INCR if value > 0 else boost - C_INCR
    return boost


def _idioms(words: list[_Word], i: int, value: float) -> float:
    """*value* in the light of idioms ("the bomb") and boosters of two words ("kind of") around *i*, above 2."""
    for word in words[i - 2 : i + 3]:
        if word.ends_idiom:
            break
    else:
        return value
    three, two, one, zero = (word.low for word in words[i - 3 : i + 1])
    behind = (f"{one} {zero}", f"{two} {one} {zero}", f"{two} {one}", f"{three} {two} {one}", f"{three} {two}")
    for words_behind in behind:
        if words_behind in SPECIAL_CASES:
            value = SPECIAL_CASES[words_behind]
            break
    if i + 1 < len(words):
        value = SPECIAL_CASES.get(f"{zero} {words[i + 1].low}", value)
    if i + 2 < len(words):
        value = SPECIAL_CASES.get(f"{zero} {words[i + 1].low} {words[i + 2].low}", value)
    for pair in (f"{three} {two}", f"{two} {one}"):
        value += _PAIR_BOOSTERS.get(pair, 0.0)
    return value


def _shift(felt: list[tuple[int, float]], values: list[float], but: int) -> None:
    """Halve in *values* what was felt before "but" at word *but*, and give half as much again to what follows.

    The package finds each feeling's place by `list.index`, which is the first place with the same number, so that
    of two equal feelings the first may be shifted twice and the second stay. Kept; a heap of places for each
    number does it without a search.
    """
    places: dict[float, list[int]] = {}
    for place, value in enumerate(values):
        places.setdefault(value, []).append(place)  # ascending, so already a heap
    for place in range(len(values)):
        value = values[place]
        first = heappop(places[value])
        shifted = value * (0.5 if felt[first][0] < but else 1.5)
        values[first] = shifted
        heappush(places.setdefault(shifted, []), first)


def _emphasis(text: str) -> float:
    """What "!" and "?" add: 0.292 for each of up to four "!", and from the second "?" on up to 0.96."""
    questions = text.count("?")
    if questions > 3:
        asked = 0.96
    else:
        asked = questions * 0.18 if questions > 1 else 0
    return min(text.count("!"), 4) * 0.292 + asked


def _summed(values: list[float], words: int, emphasis: float) -> Sentiment:
    """The four numbers of the *values* felt in a text of so many *words*. At least one value, none zero."""
    total = float(sum(values))
    if total > 0:
        total += emphasis
    elif total < 0:
        total -= emphasis
    positive = negative = 0.0
    for value in values:
        if value > 0:
            positive += value + 1  # the neutral words count one each
        else:
            negative += value - 1
    if positive > -negative:
        positive += emphasis
    elif positive < -negative:
        negative -= emphasis
    negative = abs(negative)
    neutral = words - len(values)
    whole = positive + negative + neutral
    return Sentiment(
        round(total / math.sqrt(total * total + _ALPHA), 4),
        round(positive / whole, 3),
        round(neutral / whole, 3),
        round(negative / whole, 3),
    )
