"""One segment of customers and the themes that they name: how often, and in what mood, and when that changes.

What counts as a change, and the words, are in `spikes.py`; what is usual in an hour of the week in `weeks.py`. Pure: a
segment is changed by nothing but the responses that it takes, in their order, and is stored as plain data.
"""

from bisect import bisect_left
from collections.abc import Set as AbstractSet
from math import log

import msgspec

from feedback.instants import Instant
from scoring.moods import Mood, bounded
from scoring.spikes import (
    ACCEPTED_S,
    CALM,
    DAY_S,
    ENOUGH,
    HEARD,
    LEAST,
    NAMED,
    NEWS_S,
    SHOWN,
    SUDDEN,
    TURN,
    WORSE,
    Run,
    Said,
    Spike,
    SpikeSettings,
)
from scoring.weeks import HOUR_S, PART_OF, PARTS, SLOTS, Fading, Usual, share

VERSION = 1
"""Of the stored form of a segment."""


class _SavedTheme(msgspec.Struct, frozen=True, array_like=True):
    usual: tuple[bytes, bytes, float]
    now: tuple[int, int]
    mark: tuple[int, int]
    turn: tuple[int, int, float, int]
    runs: list[Run]
    open: int
    calm: float
    sad: int
    who: dict[int, int]
    scores: bytes
    score_hours: bytes
    last: list[tuple[str, str]]


class _Saved(msgspec.Struct, frozen=True, array_like=True):
    version: int
    began: int
    at: int
    base: int
    hour: int
    heard: int
    total: int
    mood: float
    past: list[tuple[int, int]]
    usual: tuple[bytes, bytes, float]
    scores: list[float]
    scored: list[float]
    who: dict[int, int]
    known: dict[str, int]
    themes: dict[str, _SavedTheme]


class _Theme:
    """One theme in one segment. Mentions are weighed `TURN` at a time."""

    __slots__ = (
        "_share", "_share_hour", "calm", "hour", "last", "mark", "mood", "named", "off", "offs", "open", "runs", "sad",
        "turn", "turn_at", "usual", "who",
    )  # fmt: skip

    def __init__(self, times: float, segment: "Segment") -> None:
        self.usual = Usual()
        """Customers who named it, in hours that are over."""
        self.hour, self.named = segment.hour, 0
        """The hour of its last mention, and how many customers named it in that."""
        self.mark = segment.hour, segment.heard
        """Where it was last weighed: the hour, and how many had been heard in it by then."""
        self.turn, self.turn_at = 0, 0
        """Mentions since then, and when the first of them was."""
        self.off, self.offs = 0.0, 0
        """By how much their scores together are off the segment's, and how many had one."""
        self.runs = [Run(times), Run(times * SUDDEN)]
        self.open = 0
        """Since when it is spiking; 0 while it is not."""
        self.calm = 0.0
        self.sad = 0
        """When its score was last said to have fallen."""
        self.who: dict[int, int] = {}
        self.mood = Mood()
        self.last: list[tuple[str, str]] = []
        self._share_hour, self._share = -1, 0.0

    def mention(self, segment: "Segment", said: Said) -> bool:
        """A customer names it who has not done so for a day. True when it is to be weighed."""
        if self.hour != segment.hour:
            if self.named:
                self.usual.add(self.hour, self.named * segment.fading.weight(self.hour))
            self.hour, self.named = segment.hour, 0
        self.named += 1
        if said.score is not None:
            self.off += said.score - segment.mood
            self.offs += 1
        self.last.append((said.source, said.id))
        if len(self.last) > SHOWN:
            del self.last[0]
        if not self.turn:
            self.turn_at = segment.at
        self.turn += 1
        return self.turn >= TURN

    def weigh(self, segment: "Segment", news: bool) -> list[Spike]:
        """What its last mentions show. With *news* it may be said."""
        found: list[Spike] = []
        expected, heard = self._expected(segment)
        for run in self.runs:
            run.take(expected, heard, self.turn, Instant(self.turn_at))
        if self.open:
            self._calm_down(segment.at, expected)
        elif news and (enough := [run for run in self.runs if run.sum >= ENOUGH]):
            found.append(self._volume(segment, enough[0]))
            self.open, self.calm = segment.at, 0.0
        if self.offs and self.mood.take(segment.hour, self.off / self.offs) and news:
            found += self._fallen(segment)
        self.turn, self.off, self.offs = 0, 0.0, 0
        return found

    def _expected(self, segment: "Segment") -> tuple[float, int]:
        """Mentions that were to be expected of those heard since the last turn, and how many those were."""
        began, before = self.mark
        self.mark = segment.hour, segment.heard
        if began == segment.hour:
            heard = segment.heard - before
            return heard * self._usual_share(segment), heard
        heard = segment.heard
        expected = heard * self._usual_share(segment)
        enough = max(run.room for run in self.runs) + self.turn
        past = segment.past
        for place in range(len(past) - 1, bisect_left(past, (began, 0)) - 1, -1):
            hour, count = past[place]
            if hour == began:
                count -= before
            expected += count * share(self.usual, segment.usual, hour, segment.weight)
            heard += count
            if expected > enough:
                break  # every sum is down to nothing, and stays there
        return expected, heard

    def _usual_share(self, segment: "Segment") -> float:
        if self._share_hour != segment.hour:
            self._share_hour = segment.hour
            self._share = share(self.usual, segment.usual, segment.hour, segment.weight)
        return self._share

    def _volume(self, segment: "Segment", run: Run) -> Spike:
        heard = max(run.heard, run.count, 1)
        return Spike(
            theme="", measure="volume", since=run.since, at=segment.at, now=round(run.count / heard, 4),
            usual=round(run.expected / heard, 4), count=run.count, expected=round(run.expected, 2),
            responses=tuple(self.last),
        )  # fmt: skip

    def _calm_down(self, at: Instant, expected: float) -> None:
        times = self.runs[0].times
        self.calm = max(0.0, self.calm + expected * (times - 1) - self.turn * log(times))
        if self.calm >= CALM or at - self.open > ACCEPTED_S:
            self.open = 0
            for run in self.runs:
                run.clear()

    def _fallen(self, segment: "Segment") -> list[Spike]:
        was, is_now, hour, turns = self.mood.turned()
        if was - is_now < WORSE or segment.at - self.sad < ACCEPTED_S:
            return []
        self.sad = segment.at
        usual = segment.mood
        return [
            Spike(
                theme="", measure="score", since=Instant(max(hour * HOUR_S, segment.began)), at=segment.at,
                now=round(bounded(usual + is_now), 4), usual=round(bounded(usual + was), 4), count=turns * TURN,
                expected=0.0, responses=tuple(self.last),
            )
        ]  # fmt: skip

    # -- stored -----------------------------------------------------------------------------------------------

    def saved(self) -> _SavedTheme:
        return _SavedTheme(
            self.usual.saved(), (self.hour, self.named), self.mark, (self.turn, self.turn_at, self.off, self.offs),
            self.runs, self.open, self.calm, self.sad, self.who, bytes(self.mood.scores),
            self.mood.hours.tobytes(), self.last,
        )  # fmt: skip

    @classmethod
    def of(cls, saved: _SavedTheme, times: float, segment: "Segment") -> "_Theme":
        theme = cls(times, segment)
        theme.usual = Usual(*saved.usual)
        (theme.hour, theme.named), theme.mark = saved.now, saved.mark
        theme.turn, theme.turn_at, theme.off, theme.offs = saved.turn
        if [run.times for run in saved.runs] == [run.times for run in theme.runs]:
            theme.runs = saved.runs
        theme.open, theme.calm, theme.sad = saved.open, saved.calm, saved.sad
        theme.who, theme.last = saved.who, saved.last
        theme.mood = Mood(saved.scores, saved.score_hours)
        return theme


class Segment:
    """The customers of one site, or product, and what they name. Changed in place by `take`."""

    def __init__(self, settings: SpikeSettings, began: Instant) -> None:
        self._settings = settings
        self.began = self.at = began
        self.hour = began // HOUR_S
        self.fading = Fading(self.hour)
        self.weight = self.fading.weight(self.hour)
        """Of what is counted in this hour."""
        self.mood = 0.5
        """The mean score in such hours, as it was when this hour began."""
        self.heard, self.total = 0, 0
        """Customers heard in this hour so far, and ever."""
        self.past: list[tuple[int, int]] = []
        """The hours of the last week that are over, and how many were heard in each."""
        self.usual = Usual()
        self.scores, self.scored = [0.0] * PARTS, [0.0] * PARTS
        self.who: dict[int, int] = {}
        self._known: dict[str, int] = {}
        """Theme to the instant from which on it could have been found here."""
        self._taxonomy: AbstractSet[str] | None = None
        self._themes: dict[str, _Theme] = {}
        self.late = self.untold = 0
        """Responses that came too late, and mentions of themes past those that are watched; for a meter to take."""

    def __len__(self) -> int:
        return len(self._themes)

    def take(self, said: Said) -> list[Spike]:
        """Count one response; what it shows to have changed."""
        if said.at > self.at:
            self.at = said.at
            if self.at // HOUR_S != self.hour:
                self._pass_hour(self.at // HOUR_S)
        elif said.at < self.at - 2 * DAY_S:
            self.late += 1
            return []
        if said.taxonomy is not self._taxonomy:
            self._learn_of(said.taxonomy)
        if _is_new(self.who, said.who, self.at, HEARD):
            self.heard += 1
            self.total += 1
            if said.score is not None:
                part = PART_OF[self.hour % SLOTS]
                self.scores[part] += said.score * self.weight
                self.scored[part] += self.weight
        found: list[Spike] = []
        for name in said.themes:
            theme = self._themes.get(name)
            if theme is None:
                if len(self._themes) >= self._settings.themes:
                    self.untold += 1
                    continue
                theme = self._themes[name] = _Theme(self._settings.times, self)
            if _is_new(theme.who, said.who, self.at, NAMED) and theme.mention(self, said):
                spikes = theme.weigh(self, self._is_news(name, said))
                found += [msgspec.structs.replace(spike, theme=name) for spike in spikes]
        return found

    def _usual_mood(self) -> float:
        """The mean score in hours as this one; 0.5 before there is one."""
        part = PART_OF[self.hour % SLOTS]
        overall = (sum(self.scores) + 0.5 * self.weight) / (sum(self.scored) + self.weight)
        return (self.scores[part] + 20 * self.weight * overall) / (self.scored[part] + 20 * self.weight)

    def _is_news(self, name: str, said: Said) -> bool:
        learned_s = self.at - max(self.began, self._known.get(name, self.began))
        learned = self.total >= LEAST and learned_s >= self._settings.learn_days * DAY_S
        return learned and said.received_at - self.at <= NEWS_S

    def _pass_hour(self, hour: int) -> None:
        if self.heard:
            self.usual.add(self.hour, self.heard * self.weight)
            self.past.append((self.hour, self.heard))
        self.hour, self.heard = hour, 0
        while self.past and self.past[0][0] < hour - SLOTS:
            del self.past[0]
        _forget_old(self.who, self.at)
        for theme in self._themes.values():
            _forget_old(theme.who, self.at)
        scale = self.fading.rebased(hour)
        if scale != 1.0:
            for usual in (self.usual, *(theme.usual for theme in self._themes.values())):
                usual.scale(scale)
            self.scores = [one * scale for one in self.scores]
            self.scored = [one * scale for one in self.scored]
        self.weight = self.fading.weight(hour)
        self.mood = self._usual_mood()

    def _learn_of(self, taxonomy: AbstractSet[str]) -> None:
        """Themes that came into the taxonomy are new, and not spiking; those that left it are forgotten."""
        self._taxonomy = taxonomy
        self._known = {name: self._known.get(name, self.at) for name in sorted(taxonomy)}
        self._themes = {name: theme for name, theme in self._themes.items() if name in taxonomy}

    def saved(self) -> _Saved:
        """As plain data, for `of`."""
        return _Saved(
            VERSION, self.began, self.at, self.fading.base, self.hour, self.heard, self.total, self.mood, self.past,
            self.usual.saved(), self.scores, self.scored, self.who, self._known,
            {name: theme.saved() for name, theme in self._themes.items()},
        )  # fmt: skip

    @classmethod
    def of(cls, saved: _Saved, settings: SpikeSettings) -> "Segment":
        segment = cls(settings, Instant(saved.began))
        segment.at, segment.hour, segment.heard = Instant(saved.at), saved.hour, saved.heard
        segment.fading, segment.total, segment.past = Fading(saved.base), saved.total, saved.past
        segment.weight, segment.mood = segment.fading.weight(saved.hour), saved.mood
        segment.usual, segment.scores, segment.scored = Usual(*saved.usual), saved.scores, saved.scored
        segment.who, segment._known = saved.who, saved.known
        segment._themes = {name: _Theme.of(theme, settings.times, segment) for name, theme in saved.themes.items()}
        return segment


def pack(segment: Segment) -> bytes:
    """*segment* as bytes."""
    return _encode(segment.saved())


def unpack(data: bytes, settings: SpikeSettings) -> Segment:
    """What `pack` made of a segment. Raises ValueError for another version or damaged bytes."""
    saved = _decode(data)
    if saved.version != VERSION:
        raise ValueError(f"a segment is stored in form {saved.version}, and this release reads {VERSION}")
    return Segment.of(saved, settings)


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_Saved).decode


def _is_new(known: dict[int, int], who: int, at: Instant, most: int) -> bool:
    """Whether *who* has not counted for a day; remembers that they do now, and of all but the last *most* forgets."""
    last = known.get(who)
    if last is not None:
        if at - last < DAY_S:
            return False
        del known[who]
    known[who] = at
    if len(known) > most:
        del known[next(iter(known))]
    return True


def _forget_old(known: dict[int, int], at: Instant) -> None:
    """Drop those who would count again; the earliest come first."""
    while known and at - known[first := next(iter(known))] >= DAY_S:
        del known[first]
