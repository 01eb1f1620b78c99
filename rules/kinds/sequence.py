"""One thing and then another within a time: a then b, or a and no b."""

from feedback.instants import Instant, span_text
from rules.kinds.alerts import (
    Verdict,
    amend,
    dropped,
    end_due,
    first_after,
    first_from,
    forget_until,
    known,
    remember,
    settle,
)
from rules.kinds.values import Event, Kind, Role, Seen, Track, Window


class Sequence(Kind, frozen=True, kw_only=True, tag="sequence"):
    """a then b: true at once when a b stands in [a, a + within), in whatever order they came, as long as the
    watermark has not passed a + within. Each b that makes it so, or a that does, joins.

    a without b: true at a + within, when the watermark has passed it and no b of another response stands between.
    Each such a joins; one that a b answered breaks the row that `open_after` counts. A b that comes later still
    takes nothing back.
    """

    within_s: int
    without: bool = False

    def take(self, window: Window, track: Track, item: Seen, quiet: bool) -> list[Event]:
        if item.at <= track.watermark - self.within_s:
            return [dropped(window, track, "late")]
        if (old := known(track, item)) is not None:
            amend(old, item)
            return []
        events = remember(window, track, item)
        if self.without:
            return events
        pair = self._pair(track, item)
        if pair is None:
            return events
        first, then = pair
        verdict = Verdict(
            at=Instant(max(track.watermark, then.at)),
            members=pair,
            measure=then.at - first.at,
            threshold=self.within_s,
            why=f"the one and {span_text(then.at - first.at)} later the other, within {span_text(self.within_s)}",
        )
        return events + settle(window, track, item, verdict)

    def _pair(self, track: Track, item: Seen) -> tuple[Seen, Seen] | None:
        """The closest a and b that *item* completes."""
        if item.role == Role.FIRST:
            then = self._answer(track, item)
            return None if then is None else (item, then)
        low, high = first_after(track.seen, item.at - self.within_s), first_after(track.seen, item.at)
        for other in reversed(track.seen[low:high]):
            if other.role == Role.FIRST and other.hash != item.hash:
                return other, item
        return None

    def _answer(self, track: Track, first: Seen) -> Seen | None:
        low, high = first_from(track.seen, first.at), first_from(track.seen, first.at + self.within_s)
        for other in track.seen[low:high]:
            if other.role != Role.FIRST and other.hash != first.hash:
                return other
        return None

    def fire(self, window: Window, track: Track, quiet: bool) -> list[Event]:
        events: list[Event] = []
        closed = track.watermark - self.within_s
        if self.without:
            for item in track.seen[: first_after(track.seen, closed)]:
                if item.role == Role.FIRST:
                    events += self._mature(window, track, item)
        forget_until(track, closed)
        return events

    def _mature(self, window: Window, track: Track, item: Seen) -> list[Event]:
        at = Instant(item.at + self.within_s)
        events = end_due(window, track, at)
        if self._answer(track, item) is not None:
            return events + settle(window, track, None, None)
        verdict = Verdict(
            at=at,
            members=(item,),
            measure=0,
            threshold=self.within_s,
            why=f"nothing followed within {span_text(self.within_s)}",
        )
        return events + settle(window, track, item, verdict)

    def due_at(self, window: Window, track: Track, quiet: bool) -> Instant | None:
        if not track.seen:
            return None
        if self.without:
            first = next((item for item in track.seen if item.role == Role.FIRST), None)
            if first is not None:
                return Instant(first.at + self.within_s)
        return Instant(track.seen[-1].at + self.within_s)
