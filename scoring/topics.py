"""Emerging topics: phrases of one to three words that grow against their own past and belong to no theme.

Counted are customers, not mentions, by the hash of a phrase (a count-min sketch, Cormode & Muthukrishnan 2005), by day:
today's against the share that the phrase had of those heard in earlier days, which fade. No phrase is kept in words
before several customers have used it in one day; so what one person alone says, a name above all, leaves no trace
here. What is found is proposed to people, who accept it into the taxonomy or dismiss it. Memory is bounded throughout.
"""

import re
from collections.abc import Iterable, Sequence
from math import log
from zlib import crc32

import msgspec
import numpy as np

from feedback.instants import Instant
from scoring.reading import Found

VERSION = 1
DAY_S = 86_400
PROGRAMMES = 8
"""At most; past them the one heard of least recently is forgotten."""
ROWS, WIDTH = 2, 1 << 16
SEEN = 1 << 20
"""Marks of who has used which phrase today; two that share one count as one."""
HALF_LIFE_DAYS = 28
LEARN_DAYS = 7
LEAST_HEARD = 200
"""Customers heard in earlier days before anything is proposed."""
IN_WORDS, PROPOSED = 4, 8
"""Customers of one day from whom on a phrase is kept in words, and is proposed."""
SURPRISE = 12.0
"""Log of how much likelier today's count is than the usual one."""
CANDIDATES = 256
"""Phrases kept in words; past them the least surprising is forgotten."""
KEPT_DAYS = 14
"""After which a proposal that grew no more is forgotten."""
SHOWN = 5
MAX_LENGTH, MAX_WORDS = 1000, 60

_BREAKS = re.compile(r"[.!?;:,()\[\]\"\n\r/|]+|\s-\s")
_WORD = re.compile(r"[^\W\d_]+(?:'[^\W\d_]+)*|\S*\d\S*")
_EMPTY = frozenset(
    """a about after again all also am an and any are as at back be because been before being but by came can could did
    do does doing don't done down for from get go going got had has have he her here him his how i i'm i've if in into
    is isn't it it's its just like made make me more most much my never no not now of off on one only or other our out
    over said same she should so some still than that that's the their them then there they they're this time to too two
    up us very was wasn't we we've well went were what when where which while who why will with would you
    your""".split()
)
"""Words that open, close or are no phrase of their own."""


class Topic(msgspec.Struct, frozen=True, kw_only=True):
    """A phrase that is proposed."""

    phrase: str
    since: Instant
    """The beginning of the day on which it grew."""
    count: int
    """Customers who used it that day."""
    expected: float
    """How many would have been usual."""
    responses: tuple[tuple[str, str], ...]
    """The last of them: source and id."""


class _Candidate(msgspec.Struct, array_like=True):
    since: int
    count: int
    expected: float
    surprise: float
    proposed: bool
    last: list[tuple[str, str]]


class _Saved(msgspec.Struct, frozen=True, array_like=True):
    day: int
    began: int
    heard: int
    heard_before: float
    now: bytes
    before: bytes
    candidates: dict[str, _Candidate]


class _Book(msgspec.Struct, frozen=True):
    version: int
    programmes: dict[str, _Saved]


class _Phrases:
    """Of one programme."""

    def __init__(self, day: int) -> None:
        self.day, self.began = day, day
        self.heard, self.heard_before = 0, 0.0
        self.now = np.zeros((ROWS, WIDTH), np.uint32)
        self.before = np.zeros((ROWS, WIDTH), np.float32)
        self.seen = np.zeros(SEEN, np.bool_)
        self.candidates: dict[str, _Candidate] = {}

    def hear(self, phrases: Iterable[str], who: int, at: Instant, ref: tuple[str, str]) -> None:
        day = at // DAY_S
        if day > self.day:
            self._pass_days(day)
        elif day < self.day:
            return  # of a day that is over
        if self._is_new(crc32(b"", who)):
            self.heard += 1
        for phrase in phrases:
            raw = phrase.encode("utf-8", "surrogatepass")
            hashed = crc32(raw)
            if not self._is_new(crc32(raw, who)):
                continue
            places = (hashed % WIDTH, crc32(raw, 1) % WIDTH)
            for row, place in enumerate(places):
                self.now[row, place] += 1
            count = int(min(self.now[row, place] for row, place in enumerate(places)))
            if count >= IN_WORDS:
                before = float(min(self.before[row, place] for row, place in enumerate(places)))
                self._weigh(phrase, count, before, ref)

    def _is_new(self, mark: int) -> bool:
        if self.seen[mark % SEEN]:
            return False
        self.seen[mark % SEEN] = True
        return True

    def _weigh(self, phrase: str, count: int, before: float, ref: tuple[str, str]) -> None:
        expected = (before + 0.5) / (self.heard_before + 1) * self.heard
        surprise = count * log(count / expected) - (count - expected) if count > expected else 0.0
        candidate = self.candidates.get(phrase)
        if candidate is None:
            if count < 2 * expected or not self._has_room(surprise):
                return
            candidate = self.candidates[phrase] = _Candidate(self.day, 0, 0.0, 0.0, False, [])
        candidate.last = [*candidate.last, ref][-SHOWN:]
        if surprise < candidate.surprise:
            return
        candidate.since, candidate.count = self.day, count
        candidate.expected, candidate.surprise = expected, surprise
        learned = self.day - self.began >= LEARN_DAYS and self.heard_before >= LEAST_HEARD
        candidate.proposed |= learned and count >= PROPOSED and surprise >= SURPRISE

    def _has_room(self, surprise: float) -> bool:
        if len(self.candidates) < CANDIDATES:
            return True
        least = min(self.candidates, key=lambda phrase: self.candidates[phrase].surprise)
        if self.candidates[least].surprise >= surprise:
            return False
        del self.candidates[least]
        return True

    def _pass_days(self, day: int) -> None:
        fade = 0.5 ** (1 / HALF_LIFE_DAYS)
        self.before = (self.before + self.now) * np.float32(fade ** (day - self.day))
        self.heard_before = (self.heard_before + self.heard) * fade ** (day - self.day)
        self.now[:] = 0
        self.seen[:] = False
        self.heard, self.day = 0, day
        self.candidates = {
            phrase: one for phrase, one in self.candidates.items() if one.proposed and day - one.since < KEPT_DAYS
        }

    def saved(self) -> _Saved:
        return _Saved(
            self.day, self.began, self.heard, self.heard_before, self.now.astype("<u4").tobytes(),
            self.before.astype("<f4").tobytes(), self.candidates,
        )  # fmt: skip

    @classmethod
    def of(cls, saved: _Saved) -> "_Phrases":
        phrases = cls(saved.day)
        phrases.began, phrases.heard, phrases.heard_before = saved.began, saved.heard, saved.heard_before
        phrases.now = np.frombuffer(saved.now, "<u4").reshape(ROWS, WIDTH).astype(np.uint32)
        phrases.before = np.frombuffer(saved.before, "<f4").reshape(ROWS, WIDTH).astype(np.float32)
        phrases.candidates = dict(saved.candidates)
        return phrases


class Topics:
    """The phrases of all programmes."""

    def __init__(self) -> None:
        self._programmes: dict[str, _Phrases] = {}

    def hear(
        self, programme: str, text: str, found: Sequence[Found], who: int, at: Instant, ref: tuple[str, str]
    ) -> None:
        """Count what *who* says; *found* are the themes of *text*, whose phrases are no news."""
        phrases = self._programmes.pop(programme, None)
        if phrases is None:
            if len(self._programmes) >= PROGRAMMES:
                del self._programmes[next(iter(self._programmes))]
            phrases = _Phrases(at // DAY_S)
        self._programmes[programme] = phrases
        phrases.hear(phrases_of(text, found), who, at, ref)

    @property
    def programmes(self) -> tuple[str, ...]:
        return tuple(self._programmes)

    def proposed(self, programme: str) -> list[Topic]:
        """What grew, the most surprising first; of phrases that say the same only the longest."""
        phrases = self._programmes.get(programme)
        if phrases is None:
            return []
        grown = {phrase: one for phrase, one in phrases.candidates.items() if one.proposed}
        ordered = sorted(grown, key=lambda phrase: (-grown[phrase].surprise, phrase))
        return [
            Topic(
                phrase=phrase, since=Instant(grown[phrase].since * DAY_S), count=grown[phrase].count,
                expected=round(grown[phrase].expected, 2), responses=tuple(grown[phrase].last),
            )
            for phrase in ordered
            if not any(_is_said_by(phrase, grown[phrase], other, grown[other]) for other in ordered if other != phrase)
        ]  # fmt: skip

    def dump(self) -> bytes:
        """All of it, but for who has used what today: after a load they may count once more."""
        return msgspec.msgpack.encode(_Book(VERSION, {name: one.saved() for name, one in self._programmes.items()}))

    @classmethod
    def load(cls, data: bytes) -> "Topics":
        """What `dump` gave. Raises ValueError (msgspec's among them)."""
        book = msgspec.msgpack.decode(data, type=_Book)
        if book.version != VERSION:
            raise ValueError(f"topics are stored in form {book.version}, and this release reads {VERSION}")
        topics = cls()
        topics._programmes = {name: _Phrases.of(saved) for name, saved in book.programmes.items()}
        return topics


def phrases_of(text: str, found: Sequence[Found] = ()) -> list[str]:
    """The phrases of *text*, each once: up to three words of one clause, none with a digit, none of *found*'s words."""
    low = text[:MAX_LENGTH].lower().replace("’", "'")
    for one in found:
        low = low.replace(one.phrase.lower().replace("’", "'"), ".")
    phrases: dict[str, None] = {}
    left = MAX_WORDS
    for clause in _BREAKS.split(low):
        words = _WORD.findall(clause)[:left]
        left -= len(words)
        for first, word in enumerate(words):
            if word in _EMPTY or not word[0].isalpha() or len(word) < 2:
                continue
            for end in range(first + 1, min(first + 3, len(words)) + 1):
                if any(character.isdigit() for character in words[end - 1]):
                    break
                if words[end - 1] not in _EMPTY:
                    phrases[" ".join(words[first:end])] = None
    return list(phrases)


def _is_said_by(phrase: str, own: _Candidate, other: str, of_other: _Candidate) -> bool:
    """Whether *other* says what *phrase* does, and more."""
    if own.last == of_other.last and own.count == of_other.count:  # the same customers said both
        return (len(other.split()), len(other), other) > (len(phrase.split()), len(phrase), phrase)
    longer, shorter = f" {other} ", f" {phrase} "
    if shorter in longer:
        return of_other.count >= 0.7 * own.count
    return longer in shorter and own.count < 0.7 * of_other.count
