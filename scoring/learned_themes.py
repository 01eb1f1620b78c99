"""Themes, learned: what people say a text is about, where the taxonomy's phrases miss it.

One linear learner for each theme over shared hashed features (words, pairs, pieces of words, the question, the
taxonomy's own matches), taught one text at a time by whoever knows its themes. It says how sure it is, and abstains
where a theme has too few labels. The taxonomy stays the base (`taxonomy.py`); the risk of a text is `learned.py`.
No text is kept: what is gone over again is kept as hashed slots.
"""

import math
from collections import deque
from collections.abc import Collection, Sequence
from zlib import compress, crc32, decompress

import msgspec
import numpy as np
import numpy.typing as npt

from scoring.learned import LONGEST, Context, VersionUnknown
from scoring.reading import Found, Suggested
from scoring.theme_features import SLOTS, Groups, Slots, groups_of, of_word
from scoring.themes import BINS, PIECES_SCALE, REST_SCALE, Floats, Themes, bin_of, chosen
from scoring.words import words_of

VERSION = 1
"""Of the bytes that `ThemeLearner.dump` gives."""
THEMES = 64
"""Of a programme at most; with `SLOTS` 17 MB. A theme past them is not learned, and counted."""
PROGRAMMES = 8
"""At most; past them the one taught least recently is forgotten."""
FEWEST = 3
"""Texts that are taught of a theme before it is ever suggested."""
KEPT = 2048
"""Texts, as slots, that are gone over again; and besides, so that rare themes are not drowned:"""
KEPT_OF_THEME = 16
AGAIN = 8
"""Kept texts gone over with each new one. On nhs_feedback none to 4, 8, 12: micro-F1 0.58, 0.69, 0.71, 0.72."""
REASONS = 3
"""Words named for a suggestion, at most."""

_Places = npt.NDArray[np.int32]
_RATE = 1.0
"""Plain steps, features scaled by rarity: AdaGrad in its place lost 0.03 of micro-F1 and 0.1 of macro-F1."""
_START = -3.0
"""A theme nobody has named is unlikely."""
_HEAVIEST = 10.0
"""A text of a rare theme weighs as the root of its rarity, up to this."""
_LOWEST = 12
"""Bin of the lowest threshold: 0.3."""
_DOUBT = 15.0
"""Labels by which a theme's threshold is half its own, half 0.5."""
_FADE = 0.99
"""Of what is remembered of older labels, each 16: half is gone after 1,100."""
_SMOOTH = 8.0
"""Texts of all themes that stand beside a theme's own when it is asked how sure it is."""


class Mastery(msgspec.Struct, frozen=True, kw_only=True):
    """How well a theme is known, on recent texts, each judged before it was learned from."""

    labels: int
    """Texts taught to be about it, ever."""
    threshold: float
    precision: float
    recall: float


class _Saved(msgspec.Struct, frozen=True, array_like=True):
    programme: str
    themes: list[str]
    taught: list[int]
    texts: int
    slots: bytes
    weights: bytes
    seen: bytes
    biases: bytes
    tallies: bytes
    judged: bytes
    kept: list[tuple[bytes, bytes, bytes]]
    of_theme: list[list[tuple[bytes, bytes, bytes]]]
    untold: int


class _Version(msgspec.Struct):
    version: int


class _Book(msgspec.Struct, frozen=True):
    version: int
    models: list[_Saved]


class ThemeLearner:
    """The themes of all programmes. What it says follows from what it was taught, in that order."""

    def __init__(self) -> None:
        self._models: dict[str, _Model] = {}

    def suggest(self, text: str, context: Context, found: Sequence[Found] = ()) -> tuple[Suggested, ...]:
        """Themes of *text* beyond those that the taxonomy *found*, the surest first; none where it cannot tell."""
        model = self._models.get(context.programme)
        return () if model is None else model.suggest(text, context, found)

    def frozen(self, programme: str) -> Themes | None:
        """What is known of this programme now, for reading many texts; None when it was never taught."""
        model = self._models.get(programme)
        return None if model is None else model.frozen()

    def why(self, text: str, context: Context, path: str, found: Sequence[Found] = ()) -> tuple[str, ...]:
        """The words of *text* that weighed most towards the theme *path*, the heaviest first."""
        model = self._models.get(context.programme)
        return () if model is None else model.why(text, context, path, found)

    def learn(
        self,
        text: str,
        context: Context,
        found: Sequence[Found],
        present: Collection[str],
        absent: Collection[str] | None = None,
    ) -> None:
        """Taught that *text* is about the themes *present*, and not about *absent*: all others where that is None."""
        model = self._models.pop(context.programme, None)
        if model is None:
            model = _Model()
            if len(self._models) >= PROGRAMMES:
                del self._models[next(iter(self._models))]
        self._models[context.programme] = model
        model.learn(text, context, found, present, absent)

    @property
    def programmes(self) -> tuple[str, ...]:
        return tuple(self._models)

    def mastery(self, programme: str) -> dict[str, Mastery]:
        """Of each theme ever taught."""
        model = self._models.get(programme)
        return {} if model is None else model.mastery()

    def dump(self) -> bytes:
        """Everything learned, as `load` takes it: MessagePack, with the version in it."""
        return msgspec.msgpack.encode(
            _Book(version=VERSION, models=[model.saved(programme) for programme, model in self._models.items()])
        )

    @classmethod
    def load(cls, data: bytes) -> "ThemeLearner":
        """The learner that gave *data*. Raises VersionUnknown, or msgspec's DecodeError when it is no such bytes."""
        version = msgspec.msgpack.decode(data, type=_Version).version
        if version != VERSION:
            raise VersionUnknown(f"themes of version {version}; this code reads {VERSION}")
        made = cls()
        for saved in msgspec.msgpack.decode(data, type=_Book).models:
            made._models[saved.programme] = _Model.of(saved)
        return made


class _Kept(msgspec.Struct, frozen=True):
    """A text as it is gone over again: its slots in their three groups, what it is about, and what was said of."""

    groups: Groups
    present: _Places
    told: _Places | None
    """The themes that it says anything of; None: all."""


class _Model:
    """The themes of one programme, in bounded memory."""

    def __init__(self) -> None:
        self._themes: dict[str, int] = {}
        self._taught = [0] * THEMES
        self._texts = 0
        self._weights: Floats = np.zeros((SLOTS, 8), np.float32)
        """By slot and theme; twice as wide whenever that is too few."""
        self._biases: Floats = np.full(THEMES, _START, np.float32)
        self._seen: Floats = np.ones(SLOTS, np.float32)
        """Texts that each slot was in, and one."""
        self._tallies = np.zeros((2, THEMES, BINS), np.float32)
        """Texts not about each theme, then about it, by what was said of it."""
        self._judged = self._tallies.copy()
        """As they were when last judged by."""
        self._kept: deque[_Kept] = deque(maxlen=KEPT)
        self._of_theme: list[deque[_Kept]] = []
        self._untold = 0
        """Labels for themes past `THEMES`."""
        self._measure()

    def _measure(self) -> None:
        """The thresholds of the best F1, drawn to 0.5 while labels are few, and how sure each bin is."""
        calm, about = self._judged
        from_here = np.cumsum(about[:, ::-1], 1)[:, ::-1]
        alarmed = np.cumsum(calm[:, ::-1], 1)[:, ::-1] + from_here
        labels = about.sum(1)
        f1 = 2 * from_here / np.maximum(alarmed + labels[:, None], 1)
        f1[:, :_LOWEST] = -1.0
        best = (f1 + 1e-6 * np.arange(BINS)).argmax(1) / BINS
        own = labels / (labels + _DOUBT)
        self._thresholds = own * best + (1 - own) * 0.5
        self._odds = np.log(self._thresholds / (1 - self._thresholds))
        pooled = (about.sum(0) + np.arange(BINS) / BINS) / (self._judged.sum((0, 1)) + 1)
        self._sure = (about + _SMOOTH * pooled) / (calm + about + _SMOOTH)
        self._rates = from_here, alarmed, labels

    def _totals(self, values: Floats, slots: Slots) -> Floats:
        """Of each theme how strongly the text is about it, in log-odds of the weighted texts."""
        count = len(self._themes)
        totals: Floats = values @ self._weights[slots, :count] + self._biases[:count]
        return totals

    def _values(self, groups: Groups) -> tuple[Slots, Floats]:
        """The slots of a text, each once, and what it has in each: rarer ones more, each group of a fixed length."""
        slots = np.concatenate(groups)
        values = self._rarity(slots)
        words, pieces, _ = map(len, groups)
        for part, scale in ((values[:words], 1.0), (values[words : words + pieces], PIECES_SCALE)):
            if len(part):
                part *= scale / math.sqrt(part @ part)
        values[words + pieces :] = REST_SCALE
        once, places = np.unique(slots, return_inverse=True)
        return once, np.bincount(places, values, len(once)).astype(np.float32)

    def _rarity(self, slots: Slots | slice) -> Floats:
        """The rarer a feature, the more it says (Spärck Jones 1972)."""
        rarity: Floats = np.log((self._texts + 2) / self._seen[slots]).astype(np.float32) + np.float32(1)
        return rarity

    def frozen(self) -> Themes:
        rarity = self._rarity(slice(None))
        count = len(self._themes)
        known = [path if self._taught[theme] >= FEWEST else "" for path, theme in self._themes.items()]
        weights = self._weights[:, :count]
        return Themes(known, weights, rarity, self._biases[:count].copy(), self._odds, self._sure)

    def suggest(self, text: str, context: Context, found: Sequence[Found]) -> tuple[Suggested, ...]:
        if not self._themes:
            return ()
        slots, values = self._values(groups_of(text, context, found))
        known = [path if self._taught[theme] >= FEWEST else "" for path, theme in self._themes.items()]
        return chosen(self._totals(values, slots), self._odds[: len(known)], self._sure, known, found)

    def why(self, text: str, context: Context, path: str, found: Sequence[Found]) -> tuple[str, ...]:
        theme = self._themes.get(path)
        if theme is None:
            return ()
        slots, values = self._values(groups_of(text, context, found))
        parts = dict(zip(slots.tolist(), (values * self._weights[slots, theme]).tolist(), strict=True))
        weighed = {}
        for word in dict.fromkeys(words_of(text[:LONGEST])):
            own, pieces = of_word(word)
            weighed[word] = sum(parts.get(slot, 0.0) for slot in (own, *pieces))
        heaviest = sorted((word for word in weighed if weighed[word] > 0), key=lambda word: -weighed[word])
        return tuple(heaviest[:REASONS])

    def learn(
        self,
        text: str,
        context: Context,
        found: Sequence[Found],
        present: Collection[str],
        absent: Collection[str] | None,
    ) -> None:
        about = [place for path in dict.fromkeys(present) if (place := self._place(path)) is not None]
        told = None
        if absent is not None:
            denied = [place for path in absent if (place := self._themes.get(path)) is not None]
            told = np.array(sorted({*about, *denied}), np.int32)
        kept = _Kept(groups_of(text, context, found), np.array(sorted(about), np.int32), told)
        slots, values = self._values(kept.groups)
        bins = [bin_of(total) for total in self._totals(values, slots).tolist()]
        for theme in range(len(bins)) if told is None else told.tolist():
            self._tallies[int(theme in about), theme, bins[theme]] += 1
        self._texts += 1
        self._seen[slots] += 1
        for theme in about:
            self._taught[theme] += 1
        if self._texts % 16 == 0:
            self._judged = self._tallies.copy()
            self._tallies *= _FADE
            self._measure()
        self._step(kept)
        self._kept.append(kept)
        for theme in about:
            self._of_theme[theme].append(kept)
        for turn in range(AGAIN):
            self._step(self._older(turn))

    def _older(self, turn: int) -> _Kept:
        """One of the kept texts, by a draw that the count of texts decides; each fourth is some theme's own."""
        draw = crc32(b"%d %d" % (self._texts, turn))
        if turn % 4 == 3:
            own = self._of_theme[draw % len(self._of_theme)] if self._of_theme else None
            if own:
                return own[(draw >> 8) % len(own)]
        return self._kept[draw % len(self._kept)]

    def _place(self, path: str) -> int | None:
        place = self._themes.get(path)
        if place is None:
            if len(self._themes) >= THEMES:
                self._untold += 1
                return None
            place = self._themes[path] = len(self._themes)
            self._of_theme.append(deque(maxlen=KEPT_OF_THEME))
            width = self._weights.shape[1]
            if place >= width:
                self._weights = np.concatenate([self._weights, np.zeros((SLOTS, width), np.float32)], 1)
        return place

    def _step(self, kept: _Kept) -> None:
        """One step down the logistic loss; a text of a rare theme weighs more for that theme."""
        count = len(self._themes)
        slots, values = self._values(kept.groups)
        slopes = (1 / (1 + np.exp(-self._totals(values, slots).clip(-30, 30)))).astype(np.float32)
        if len(kept.present):
            taught = np.array([self._taught[theme] for theme in kept.present.tolist()], np.float32)
            rarity = np.sqrt(np.maximum(self._texts + 1 - taught, 0) / (taught + 1))
            slopes[kept.present] = (slopes[kept.present] - 1) * np.clip(rarity, 0.1, _HEAVIEST)
        if kept.told is not None:
            silent = np.ones(count, bool)
            silent[kept.told] = False
            slopes[silent] = 0.0
        steps = (_RATE * slopes).astype(np.float32)
        self._weights[slots, :count] -= values[:, None] * steps
        self._biases[:count] -= _BIAS_SHARE * steps

    def mastery(self) -> dict[str, Mastery]:
        from_here, alarmed, labels = self._rates
        made = {}
        for path, theme in self._themes.items():
            edge = min(math.ceil(self._thresholds[theme] * BINS), BINS - 1)
            right = float(from_here[theme, edge])
            made[path] = Mastery(
                labels=self._taught[theme],
                threshold=round(float(self._thresholds[theme]), 3),
                precision=round(right / max(float(alarmed[theme, edge]), 1.0), 3),
                recall=round(right / max(float(labels[theme]), 1.0), 3),
            )
        return made

    def saved(self, programme: str) -> _Saved:
        count = len(self._themes)
        taught = np.flatnonzero(self._seen > 1).astype("<i4")
        return _Saved(
            programme, list(self._themes), self._taught[:count], self._texts, taught.tobytes(),
            compress(self._weights[taught, :count].astype("<f4").tobytes(), 1),
            self._seen[taught].astype("<f4").tobytes(), self._biases[:count].astype("<f4").tobytes(),
            self._tallies[:, :count].astype("<f4").tobytes(), self._judged[:, :count].astype("<f4").tobytes(),
            [_packed(kept) for kept in self._kept], [[_packed(kept) for kept in own] for own in self._of_theme],
            self._untold,
        )  # fmt: skip

    @classmethod
    def of(cls, saved: _Saved) -> "_Model":
        model = cls()
        for path in saved.themes:
            model._place(path)
        count = len(saved.themes)
        model._taught[:count] = saved.taught
        model._texts, model._untold = saved.texts, saved.untold
        taught = np.frombuffer(saved.slots, "<i4")
        model._weights[taught, :count] = np.frombuffer(decompress(saved.weights), "<f4").reshape(-1, count)
        model._seen[taught] = np.frombuffer(saved.seen, "<f4")
        model._biases[:count] = np.frombuffer(saved.biases, "<f4")
        model._tallies[:, :count] = np.frombuffer(saved.tallies, "<f4").reshape(2, count, BINS)
        model._judged[:, :count] = np.frombuffer(saved.judged, "<f4").reshape(2, count, BINS)
        model._kept.extend(map(_unpacked, saved.kept))
        for own, packed in zip(model._of_theme, saved.of_theme, strict=True):
            own.extend(map(_unpacked, packed))
        model._measure()
        return model


_BIAS_SHARE = 0.3
"""Of the step of a word, for what is the same in every text."""
_ALL = b"all"


def _packed(kept: _Kept) -> tuple[bytes, bytes, bytes]:
    sizes = np.array([len(group) for group in kept.groups], "<u2")
    slots = np.concatenate([sizes, *kept.groups]).astype("<u2").tobytes()
    told = _ALL if kept.told is None else kept.told.astype("<i4").tobytes()
    return slots, kept.present.astype("<i4").tobytes(), told


def _unpacked(packed: tuple[bytes, bytes, bytes]) -> _Kept:
    numbers = np.frombuffer(packed[0], "<u2").astype(np.uint16)
    words, pieces, _ = numbers[:3].tolist()
    first, second, third = np.split(numbers[3:], [words, words + pieces])
    told = None if packed[2] == _ALL else np.frombuffer(packed[2], "<i4").astype(np.int32)
    return _Kept((first, second, third), np.frombuffer(packed[1], "<i4").astype(np.int32), told)
