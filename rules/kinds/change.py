"""A number that falls (or rises): one customer's score against the best they gave before."""

from feedback.instants import Instant, span_text
from rules.kinds.alerts import Verdict, amend, dropped, forget_until, known, remember, settle
from rules.kinds.values import Event, Kind, Seen, Track, Window


class Change(Kind, frozen=True, kw_only=True, tag="change"):
    """True when a response's number is `by` or more below one given earlier, less than `within_s` before it
    and not so long before the watermark.

    Against the highest of that time, not the last one, so that a slow slide is seen too. Two of the same second have
    no order and are not compared. One that comes out of order is compared both ways.
    """

    path: str
    """Where the number stands: `scores.nps`."""
    by: float
    """Above 0."""
    within_s: int
    rises: bool = False
    """Looks for a rise instead."""

    def take(self, window: Window, track: Track, item: Seen, quiet: bool) -> list[Event]:
        if item.at <= track.watermark - self.within_s:
            return [dropped(window, track, "late")]
        if (old := known(track, item)) is not None:
            return settle(window, track, None, self._verdict(track, old)) if amend(old, item) else []
        events = remember(window, track, item)
        verdict = self._verdict(track, item)
        return events + settle(window, track, item if verdict else None, verdict)

    def _verdict(self, track: Track, item: Seen) -> Verdict | None:
        """The greatest fall to *item*, or from it to one that came after."""
        sign = -1.0 if self.rises else 1.0
        most, pair = 0.0, None
        for other in track.seen:
            if other.at == item.at or abs(other.at - item.at) >= self.within_s:
                continue
            before, after = (other, item) if other.at < item.at else (item, other)
            fall = sign * (before.score - after.score)
            if fall > most:
                most, pair = fall, (before, after)
        if pair is None or most < self.by:
            return None
        before, after = pair
        word = "rose" if self.rises else "fell"
        return Verdict(
            at=Instant(max(track.watermark, after.at)),
            members=pair,
            measure=most,
            threshold=self.by,
            baseline=before.score,
            why=f"{self.path} {word} from {before.score:g} to {after.score:g} in {span_text(after.at - before.at)},"
            f" by {self.by:g} or more",
        )

    def fire(self, window: Window, track: Track, quiet: bool) -> list[Event]:
        forget_until(track, track.watermark - self.within_s)
        return []

    def due_at(self, window: Window, track: Track, quiet: bool) -> Instant | None:
        return Instant(track.seen[-1].at + self.within_s) if track.seen else None
