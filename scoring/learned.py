"""Risk, learned: how likely a text is a negative one, or a detractor's, beside what VADER says of it.

One linear model for each programme and language, taught one label at a time (a score, a correction, an outcome).
What it says counts only as far as it has been the better of the two on labels that it had not seen yet; before
that, and again when it falls behind, the risk is VADER's own; `earned.py` judges that. Knows nothing of flows or of
where labels are from; the reading that it takes VADER's parts from is `reading.py`.
"""

import math
from array import array
from collections.abc import Sequence
from heapq import nlargest, nsmallest
from operator import add
from sys import byteorder
from typing import TypeVar
from zlib import crc32

import msgspec

from scoring.earned import Judge, Standing
from scoring.reading import Sentiment
from scoring.vader import vader
from scoring.words import words_of

VERSION = 1
"""Of the bytes that `Learner.dump` gives."""
SLOTS = 1 << 16
"""Weights of one model, found by hash; half a megabyte with their rates. Four times as many gained nothing on
3,000 comments."""
MODELS = 32
"""Programmes and languages at most; past them the one taught least recently is forgotten."""
LONGEST = 4000
"""Characters that are looked at: the cost of a text is bounded."""
REASONS = 3
"""Words named for a risk, at most."""
VADER_ALERT = 0.525
"""Risk from which VADER's label is negative: a compound of -0.05."""

_Values = TypeVar("_Values", "array[int]", "array[float]")
_MASK = SLOTS - 1
_DENSE = 4
"""Weights of their own: one for every text, then VADER's compound, negative and positive."""
_RATE = 0.3
"""Of AdaGrad (Duchi, Hazan & Singer 2011). On nhs_feedback 0.2 and 0.45 did no better."""
_START = 0.01
"""Squared gradients a weight starts with, so that its first step is bounded."""
_PRIOR = array("f", (0.0, -1.0, 0.0, 0.0))
"""An untaught model follows VADER's compound."""
_TEXT_SCALE = 2.0
"""The words of a text together weigh this much, however many they are."""


class Context(msgspec.Struct, frozen=True, kw_only=True):
    """Where a text is from, as far as it helps to read it. Empty for what is not known."""

    programme: str = ""
    language: str = ""
    """ISO 639-1, as the reading has it."""
    channel: str = ""
    question: str = ""
    """What was asked, or the touchpoint: "Nothing" is praise for one question and criticism for another."""


class Risk(msgspec.Struct, frozen=True, kw_only=True):
    """How likely, 0 to 1, a text is a negative one; and why."""

    risk: float
    """The blend of the two below."""
    alert_at: float
    """The blend from which it is better to act, by macro-F1 on recent labels."""
    vader: float | None
    """(1 - compound) / 2; None in a language that VADER does not read."""
    learned: float
    """A probability."""
    weight: float
    """Of the learned one in the blend, 0 to 1."""
    words: tuple[str, ...] = ()
    """The words and word pairs that weighed most towards this side, the heaviest first."""

    @property
    def is_alert(self) -> bool:
        return self.risk >= self.alert_at


class Saved(msgspec.Struct, frozen=True, array_like=True):
    """A model as it is kept: only the slots that were ever taught, little-endian."""

    programme: str
    language: str
    labels: int
    slots: bytes
    weights: bytes
    rates: bytes
    tallies: list[list[float]]
    weight: float
    alert_at: float
    reason: str
    learned_auc: float
    vader_auc: float


class _Version(msgspec.Struct):
    version: int


class _Book(msgspec.Struct, frozen=True):
    version: int
    models: list[Saved]


class VersionUnknown(ValueError):
    """The bytes are of a version that this code does not read: they are a newer one's, or no model's."""


class Learner:
    """The models of all programmes and languages. What it says follows from what it was taught, in that order."""

    def __init__(self) -> None:
        self._models: dict[tuple[str, str], _Model] = {}

    def score(self, text: str, context: Context, sentiment: Sentiment | None) -> Risk | None:
        """The risk of *text*, whose sentiment VADER found so; None where neither of the two can tell."""
        model = self._models.get((context.programme, context.language))
        if model is None:
            return None if sentiment is None else _vader_risk(text, sentiment)
        return model.score(text, context, sentiment)

    def learn(self, text: str, context: Context, sentiment: Sentiment | None, label: bool) -> None:
        """Taught that *text* was a negative one, or not. First it is judged by what it would have said."""
        key = (context.programme, context.language)
        model = self._models.pop(key, None)
        if model is None:
            model = _Model()
            if len(self._models) >= MODELS:
                del self._models[next(iter(self._models))]
        self._models[key] = model
        model.learn(text, context, sentiment, label)

    def learned(self, text: str, context: Context, sentiment: Sentiment | None) -> float:
        """What the learned one alone says, whatever it has earned; 0.5 in a language that nobody taught."""
        model = self._models.get((context.programme, context.language))
        if model is None:
            return 0.5 if sentiment is None else (1.0 - sentiment.compound) / 2
        return model.learned(text, context, sentiment)

    def standing(self, programme: str, language: str) -> Standing | None:
        """What the model of this programme and language has earned; None when it was never taught."""
        model = self._models.get((programme, language))
        return None if model is None else model.judge.standing()

    def standings(self) -> dict[tuple[str, str], Standing]:
        """Of every programme and language that was taught. Another thread may be teaching."""
        return {key: model.judge.standing() for key, model in [*self._models.items()]}

    def alert_at(self, context: Context) -> float:
        """Where the learned one alone would alert, in this programme and language."""
        model = self._models.get((context.programme, context.language))
        return VADER_ALERT if model is None else model.judge.alert_at

    def dump(self) -> bytes:
        """Everything learned, as `load` takes it: MessagePack, with the version in it. Grows with what was taught."""
        models = [model.saved(*key) for key, model in self._models.items()]
        return msgspec.msgpack.encode(_Book(version=VERSION, models=models))

    @classmethod
    def load(cls, data: bytes) -> "Learner":
        """The learner that gave *data*. Raises VersionUnknown, or msgspec's DecodeError when it is no such bytes."""
        version = msgspec.msgpack.decode(data, type=_Version).version
        if version != VERSION:
            raise VersionUnknown(f"models of version {version}; this code reads {VERSION}")
        made = cls()
        for saved in msgspec.msgpack.decode(data, type=_Book).models:
            made._models[saved.programme, saved.language] = _Model.of(saved)
        return made


class _Model:
    """A logistic regression over hashed words, in fixed memory."""

    __slots__ = ("_looked", "_rates", "_weights", "judge")

    def __init__(self) -> None:
        self._weights = array("f", bytes(4 * SLOTS)) + _PRIOR
        self._rates = array("f", (_START,)) * (SLOTS + _DENSE)
        self.judge = Judge(VADER_ALERT)
        self._looked: tuple[str, Context, list[str], list[int]] = ("", Context(), *_look("", Context()))
        """The last text and what was found in it: most labels come right after their text was scored."""

    def _look(self, text: str, context: Context) -> tuple[list[str], list[int]]:
        before, around, words, slots = self._looked
        if text != before or context != around:
            words, slots = _look(text, context)
            self._looked = text, context, words, slots
        return words, slots

    def score(self, text: str, context: Context, sentiment: Sentiment | None) -> Risk | None:
        weight = self.judge.weight
        if not weight:
            if sentiment is None:
                return None
            learned = self._learned(self._look(text, context)[1], sentiment)[0]
            return msgspec.structs.replace(_vader_risk(text, sentiment), learned=learned)
        words, slots = self._look(text, context)
        learned, parts = self._learned(slots, sentiment)
        beside = (1.0 - sentiment.compound) / 2 if sentiment is not None else None
        said = 0.5 if beside is None else beside
        before = VADER_ALERT if beside is not None else 0.5
        risk = said + weight * (learned - said)
        alert_at = before + weight * (self.judge.alert_at - before)
        return Risk(
            risk=risk, alert_at=alert_at, vader=beside, learned=learned, weight=weight,
            words=_weighed_most(words, parts, risk >= alert_at),
        )  # fmt: skip

    def learned(self, text: str, context: Context, sentiment: Sentiment | None) -> float:
        return self._learned(self._look(text, context)[1], sentiment)[0]

    def learn(self, text: str, context: Context, sentiment: Sentiment | None, label: bool) -> None:
        _, slots = self._look(text, context)
        learned, _ = self._learned(slots, sentiment)
        beside = 0.5 if sentiment is None else (1.0 - sentiment.compound) / 2
        self.judge.take(learned, beside, label)
        self._step(slots, sentiment, learned - label)

    def _learned(self, slots: Sequence[int], sentiment: Sentiment | None) -> tuple[float, list[float]]:
        """The probability, and the part that each slot has in it."""
        parts = [*map(self._weights.__getitem__, slots)]
        total = self._weights[SLOTS] + sum(parts) * _TEXT_SCALE / math.sqrt(len(slots))
        if sentiment is not None:
            _, compound, negative, positive = self._weights[SLOTS:]
            total += compound * sentiment.compound + 2 * (negative * sentiment.negative + positive * sentiment.positive)
        return 1.0 / (1.0 + math.exp(-max(-30.0, min(30.0, total)))), parts

    def _step(self, slots: Sequence[int], sentiment: Sentiment | None, error: float) -> None:
        """One step of AdaGrad down the logistic loss, whose slope is *error*."""
        weights, rates = self._weights, self._rates
        slope = error * _TEXT_SCALE / math.sqrt(len(slots))
        square = slope * slope
        step = _RATE * slope
        root = math.sqrt
        for slot in slots:
            rate = rates[slot] + square
            rates[slot] = rate
            weights[slot] -= step / root(rate)
        values = [1.0]
        if sentiment is not None:
            values += (sentiment.compound, 2 * sentiment.negative, 2 * sentiment.positive)
        for slot, value in enumerate(values, SLOTS):
            slope = error * value
            rate = rates[slot] = rates[slot] + slope * slope
            weights[slot] -= _RATE * slope / math.sqrt(rate)

    def saved(self, programme: str, language: str) -> Saved:
        taught = array("I", (slot for slot, rate in enumerate(self._rates) if rate > _TAUGHT))
        judge = self.judge
        return Saved(
            programme, language, judge.labels, _little(taught),
            _little(array("f", map(self._weights.__getitem__, taught))),
            _little(array("f", map(self._rates.__getitem__, taught))),
            judge.tallies, judge.weight, judge.alert_at, judge.reason, *judge.aucs,
        )  # fmt: skip

    @classmethod
    def of(cls, saved: Saved) -> "_Model":
        model = cls()
        slots = _read(array("I"), saved.slots)
        weights, rates = _read(array("f"), saved.weights), _read(array("f"), saved.rates)
        for slot, weight, rate in zip(slots, weights, rates, strict=True):
            model._weights[slot], model._rates[slot] = weight, rate
        judge = model.judge
        judge.labels, judge.tallies = saved.labels, [list(tally) for tally in saved.tallies]
        judge.weight, judge.alert_at, judge.reason = saved.weight, saved.alert_at, saved.reason
        judge.aucs = saved.learned_auc, saved.vader_auc
        return model


_TAUGHT = array("f", (_START,))[0]
"""`_START` as a slot holds it."""


def _words(text: str) -> list[str]:
    return words_of(text[:LONGEST])


def _look(text: str, context: Context) -> tuple[list[str], list[int]]:
    words = _words(text)
    return words, _slots(words, context)


def _slots(words: list[str], context: Context) -> list[int]:
    """Where the weights of a text stand: its words, the pairs, the words under this question; then the rest.

    In that order, each word and pair as often as it is said; `_weighed_most` goes by it.
    """
    asked = crc32(f"{context.question}\0".encode())
    named = [word.encode(errors="replace") for word in words]
    pairs = [b"%b %b" % pair for pair in zip([b"^", *named], [*named, b"$"], strict=True)]
    slots = [crc32(word) & _MASK for word in named]
    slots += [crc32(pair) & _MASK for pair in pairs]
    slots += [crc32(word, asked) & _MASK for word in named]
    length = b"\0length %d" % min(len(words).bit_length(), 7)
    slots += (
        crc32(b"\0question", asked) & _MASK,
        crc32(length) & _MASK,
        crc32(length, asked) & _MASK,
        crc32(f"\0channel {context.channel}".encode(errors="replace")) & _MASK,
    )
    return slots


def _weighed_most(words: list[str], parts: list[float], towards_alert: bool) -> tuple[str, ...]:
    count = len(words)
    weighed = [*map(add, parts[:count], parts[2 * count + 1 : 3 * count + 1]), *parts[count + 1 : 2 * count]]
    choose = nlargest if towards_alert else nsmallest
    named: dict[str, None] = {}
    for place in choose(2 * REASONS, range(len(weighed)), key=weighed.__getitem__):
        if len(named) == REASONS or (weighed[place] > 0) != towards_alert or not weighed[place]:
            break
        first = place % count
        named[words[place] if place < count else f"{words[first]} {words[first + 1]}"] = None
    return tuple(named)


def _vader_risk(text: str, sentiment: Sentiment) -> Risk:
    """VADER's own, which is the risk until something better is known."""
    risk = (1.0 - sentiment.compound) / 2
    is_alert = risk >= VADER_ALERT
    lexicon = vader().lexicon
    rated = {word: -lexicon[word] if is_alert else lexicon[word] for word in _words(text) if word in lexicon}
    most = nlargest(REASONS, rated, key=rated.__getitem__)
    words = tuple([word for word in most if rated[word] > 0])
    return Risk(risk=risk, alert_at=VADER_ALERT, vader=risk, learned=risk, weight=0.0, words=words)


def _little(values: "array[int] | array[float]") -> bytes:
    if byteorder == "big":
        values.byteswap()
    return values.tobytes()


def _read(values: "_Values", data: bytes) -> "_Values":
    """*values*, which were empty, with what `_little` gave."""
    values.frombytes(data)
    if byteorder == "big":
        values.byteswap()
    return values
