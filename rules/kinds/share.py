"""The share of responses that are of some part: detractors among the last 50, or within an hour."""

from collections.abc import Iterator

from feedback.instants import Instant, span_text
from rules.kinds.alerts import (
    Verdict,
    amend,
    dropped,
    first_from,
    forget_until,
    known,
    remember,
    settle,
    windows_with,
)
from rules.kinds.values import Event, Kind, Role, Seen, Track, Window


class Share(Kind, frozen=True, kw_only=True, tag="share"):
    """True when, in the newest open window that holds the response and has enough, the part has reached its share.

    Either `within_s` (windows as for a count) or `last`: windows are then that many responses in order of event time,
    and the open ones end at the newest response or at one that the watermark has not passed. A corrected response
    (the same id again) counts as it now stands.
    """

    share: float
    """Above 0, at most 1; reached counts."""
    at_least: int
    """Responses without which a share says nothing."""
    within_s: int = 0
    last: int = 0

    def take(self, window: Window, track: Track, item: Seen, quiet: bool) -> list[Event]:
        if (old := known(track, item)) is not None:
            was = old.role
            if not amend(old, item):
                return []
            joins = old if (was, old.role) == (Role.COUNTS, Role.PART) else None
            return settle(window, track, joins, self._verdict(track, old))
        if self.within_s and item.at <= track.watermark - self.within_s:
            return [dropped(window, track, "late")]
        events = remember(window, track, item)
        if self.last:
            self._trim(track)
            if not track.seen or item < track.seen[0]:
                return [*events, dropped(window, track, "late")]
        joins = item if item.role == Role.PART else None
        return events + settle(window, track, joins, self._verdict(track, item))

    def _windows(self, track: Track, item: Seen) -> Iterator[tuple[Instant, int, int]]:
        if self.within_s:
            yield from windows_with(track, item.at, self.within_s)
            return
        seen = track.seen
        place = seen.index(item)
        first_open = min(first_from(seen, track.watermark), len(seen) - 1)
        for end in range(max(place, first_open), min(place + self.last, len(seen))):
            yield Instant(max(seen[end].at, track.watermark)), max(0, end + 1 - self.last), end + 1

    def _verdict(self, track: Track, item: Seen) -> Verdict | None:
        found = None
        for end, low, high in self._windows(track, item):
            total = high - low
            if total < self.at_least:
                continue
            part = sum(member.role == Role.PART for member in track.seen[low:high])
            if part >= self.share * total:
                found = (end, low, high, part)
        if found is None:
            return None
        end, low, high, part = found
        share = part / (high - low)
        words = f"within {span_text(self.within_s)}" if self.within_s else "the last"
        return Verdict(
            at=end,
            members=[member for member in track.seen[low:high] if member.role == Role.PART],
            measure=share,
            threshold=self.share,
            why=f"{part} of {high - low} responses, {words}: {share:.0%}, of {self.share:.0%} that raise an alert",
        )

    def _trim(self, track: Track) -> None:
        """Forget what is in no open window of the last N."""
        if track.seen:
            first_open = min(first_from(track.seen, track.watermark), len(track.seen) - 1)
            del track.seen[: max(0, first_open + 1 - self.last)]

    def fire(self, window: Window, track: Track, quiet: bool) -> list[Event]:
        if self.within_s:
            forget_until(track, track.watermark - self.within_s)
        elif track.seen and track.seen[-1].at + window.keep_s <= track.watermark:
            track.seen.clear()
        else:
            self._trim(track)
        return []

    def due_at(self, window: Window, track: Track, quiet: bool) -> Instant | None:
        return Instant(track.seen[-1].at + (self.within_s or window.keep_s)) if track.seen else None
