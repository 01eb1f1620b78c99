"""Silence: no response under a key for longer than is usual for it, or for longer than was said."""

from itertools import pairwise
from typing import ClassVar

from feedback.instants import Instant, span_text
from rules.kinds.alerts import Verdict, amend, dropped, ended, known, remember, settle
from rules.kinds.values import Event, Kind, Seen, Track, Window

AFTER_ALERT = 1.0
"""The `score` of a response that ended an alert: the silence before it is not what is usual."""


class Absence(Kind, frozen=True, kw_only=True, tag="absence"):
    """True when nothing has come for `longer_than_s`, or, with `times`, for so many times the longest silence among
    the last `gaps` of this key, once `history` of them are known.

    Judged when the watermark has passed the end of the allowed silence, by engine time, so that one who is only late
    (within the bound) proves it wrong in time. Silences that raised an alert, or would have but for the catching up,
    teach nothing. The alert ends with the next response. A key that stays silent for `keep_s` is given up.
    """

    lingers: ClassVar[bool] = False
    longer_than_s: int = 0
    times: float = 0.0
    history: int = 20
    gaps: int = 100

    def allowed_s(self, track: Track) -> int | None:
        """The silence after the last response that may pass; None while that cannot be told."""
        if self.longer_than_s:
            return self.longer_than_s
        seen = track.seen
        gaps = [after.at - before.at for before, after in pairwise(seen) if after.score != AFTER_ALERT]
        return int(self.times * max(gaps)) if len(gaps) >= self.history and max(gaps) > 0 else None

    def take(self, window: Window, track: Track, item: Seen, quiet: bool) -> list[Event]:
        item.score = 0.0
        if (old := known(track, item)) is not None:
            item.score = old.score
            amend(old, item)
            return []
        if len(track.seen) > self.gaps and item < track.seen[0]:
            return [dropped(window, track, "late")]
        events: list[Event] = []
        due = self._due(track)
        if quiet and due is not None and item.at - window.late_s >= due:
            item.score = AFTER_ALERT
        if track.alerts and item.at > track.seen[-1].at:
            item.score = AFTER_ALERT
            silence = span_text(item.at - track.seen[-1].at)
            events.append(ended(window, track, "", item.at, f"a response after {silence}"))
        remember(window, track, item)
        del track.seen[: max(0, len(track.seen) - self.gaps - 1)]
        return events

    def fire(self, window: Window, track: Track, quiet: bool) -> list[Event]:
        events: list[Event] = []
        due = self._due(track)
        if due is not None and due <= track.watermark and not quiet:
            last, allowed = track.seen[-1], due - track.seen[-1].at
            usual = None if self.longer_than_s else allowed / self.times
            why = f"no response for {span_text(allowed)}"
            if usual is not None:
                why += f", {self.times:g} times the longest usual silence of {span_text(int(usual))}"
            verdict = Verdict(
                at=due, members=(last,), count=0, measure=allowed, threshold=allowed, baseline=usual, why=why
            )
            track.streak[""] = window.open_after - 1  # a silence is one judgement, however long
            events += settle(window, track, None, verdict)
        if track.seen and track.seen[-1].at + window.keep_s <= track.watermark:
            until = Instant(track.seen[-1].at + window.keep_s)
            if track.alerts:
                events.append(ended(window, track, "", until, f"given up after {span_text(window.keep_s)}"))
            track.seen.clear()
        return events

    def _due(self, track: Track) -> Instant | None:
        if not track.seen or track.alerts:
            return None
        allowed = self.allowed_s(track)
        return None if allowed is None else Instant(track.seen[-1].at + allowed)

    def due_at(self, window: Window, track: Track, quiet: bool) -> Instant | None:
        if not track.seen:
            return None
        given_up = Instant(track.seen[-1].at + window.keep_s)
        due = None if quiet else self._due(track)
        return given_up if due is None else min(due, given_up)
