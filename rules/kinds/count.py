"""N responses in a sliding window, or so many an hour."""

from math import ceil

from feedback.instants import Instant, span_text
from rules.kinds.alerts import Verdict, amend, dropped, forget_until, known, remember, settle, windows_with
from rules.kinds.values import Event, Kind, Seen, Track, Window


class Count(Kind, frozen=True, kw_only=True, tag="count"):
    """True when some open window (end - within, end] that holds the response has so many in it.

    More responses only ever make it truer, so it is judged at once; one out of order is judged in the windows to
    which it belongs.
    """

    within_s: int
    count: int = 0
    per_hour: float = 0.0
    """In place of `count`: a rate, held against the whole window."""

    @property
    def needed(self) -> int:
        """Responses that make it true."""
        return self.count or max(1, ceil(self.per_hour * self.within_s / 3600))

    def take(self, window: Window, track: Track, item: Seen, quiet: bool) -> list[Event]:
        if item.at <= track.watermark - self.within_s:
            return [dropped(window, track, "late")]
        if (old := known(track, item)) is not None:
            amend(old, item)
            return []
        events = remember(window, track, item)
        fullest = max(windows_with(track, item.at, self.within_s), key=lambda found: found[2] - found[1])
        return events + settle(window, track, item, self._verdict(track, *fullest))

    def _verdict(self, track: Track, end: Instant, low: int, high: int) -> Verdict | None:
        count = high - low
        if count < self.needed:
            return None
        words = f"{count} responses within {span_text(self.within_s)}"
        if not self.per_hour:
            return Verdict(
                at=end, members=track.seen[low:high], measure=count, threshold=self.count,
                why=f"{words}, of {self.count} that raise an alert",
            )  # fmt: skip
        rate = count * 3600 / self.within_s
        return Verdict(
            at=end, members=track.seen[low:high], measure=rate, threshold=self.per_hour,
            why=f"{words}: {rate:g} an hour, of {self.per_hour:g} that raise an alert",
        )  # fmt: skip

    def fire(self, window: Window, track: Track, quiet: bool) -> list[Event]:
        forget_until(track, track.watermark - self.within_s)
        return []

    def due_at(self, window: Window, track: Track, quiet: bool) -> Instant | None:
        return Instant(track.seen[-1].at + self.within_s) if track.seen else None
