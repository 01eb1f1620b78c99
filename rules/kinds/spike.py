"""More than this rule usually finds at this time of the week."""

from datetime import UTC, datetime
from functools import lru_cache
from statistics import median
from zoneinfo import ZoneInfo

from feedback.instants import Instant, span_text
from rules.kinds.alerts import Verdict, dropped, first_from, forget_until, remember, settle
from rules.kinds.values import Event, Kind, Seen, Track, Window

WEEK_S, DAY_S = 604_800, 86_400


class Spike(Kind, frozen=True, kw_only=True, tag="spike"):
    """True when a bucket (`within_s` long, from midnight UTC) has `at_least` responses, `factor` times the usual, and
    `z` deviations more than the usual.

    The usual is the median of the same bucket of the last `weeks` weeks, by the clock of `zone`; where fewer than two
    of them are known, of the same time of each of the last 7 days. A median, so that the last spike does not hide the
    next. The deviation is the largest of 1, the root of the usual (what chance alone does to a count) and 1.4826
    times the median absolute deviation (Rousseeuw & Croux, JASA 1993). Nothing is judged before `learn_s`.

    The bucket that runs is judged as it fills, against whole ones. Late responses count in the bucket they belong to,
    which teaches; only open buckets raise.
    """

    within_s: int
    """Divides a day."""
    at_least: int
    factor: float = 3.0
    z: float = 3.0
    weeks: int = 8
    learn_s: int = 2 * WEEK_S
    zone: str = "UTC"

    def bucket(self, at: int) -> int:
        return at // self.within_s

    def take(self, window: Window, track: Track, item: Seen, quiet: bool) -> list[Event]:
        bucket = self.bucket(item.at)
        is_open = (bucket + 1) * self.within_s > track.watermark
        first = self.bucket(track.first_at)
        if not is_open and (not track.first_at or bucket < max(first, self._oldest(track))):
            return [dropped(window, track, "late")]
        if not track.is_new(item.hash, window.max_ids):
            return []
        if not track.first_at or bucket < first:
            track.first_at = item.at
        track.last_at = max(track.last_at, item.at)
        track.counts[bucket] = track.counts.get(bucket, 0) + 1
        if not is_open:
            return []
        events = remember(window, track, item)
        return events + settle(window, track, item, self._verdict(track, item, bucket), quiet=quiet)

    def past(self, track: Track, bucket: int) -> list[int]:
        """What the bucket's like had before: of past weeks, or else of past days."""
        first = self.bucket(track.first_at)
        for step, times in ((WEEK_S, self.weeks), (DAY_S, 7)):
            places = [self._before(bucket, n * step) for n in range(1, times + 1)]
            found = [track.counts.get(place, 0) for place in places if place > first]
            if len(found) >= 2:
                return found
        return []

    def _before(self, bucket: int, ago_s: int) -> int:
        """The bucket *ago_s* earlier by the clock on the wall; its middle, so that an hour's shift stays in a day."""
        middle = bucket * self.within_s + self.within_s // 2
        return self.bucket(middle - ago_s + _offset_s(self.zone, middle) - _offset_s(self.zone, middle - ago_s))

    def _verdict(self, track: Track, item: Seen, bucket: int) -> Verdict | None:
        count = track.counts[bucket]
        if count < self.at_least or item.at < track.first_at + self.learn_s:
            return None
        past = self.past(track, bucket)
        if not past:
            return None
        usual = float(median(past))
        deviation = max(1.0, usual**0.5, 1.4826 * median(abs(value - usual) for value in past))
        if count < self.factor * usual or count < usual + self.z * deviation:
            return None
        low = first_from(track.seen, bucket * self.within_s)
        high = first_from(track.seen, (bucket + 1) * self.within_s)
        return Verdict(
            at=Instant(max(track.watermark, item.at)),
            members=track.seen[low:high],
            measure=count,
            threshold=max(self.at_least, self.factor * usual, usual + self.z * deviation),
            baseline=usual,
            count=count,
            why=f"{count} responses in {span_text(self.within_s)}, where {usual:g} are usual at this time",
        )

    def _oldest(self, track: Track) -> int:
        """The first bucket that the usual of an open one may look at."""
        return self.bucket(track.watermark - self.weeks * WEEK_S) - self.bucket(DAY_S)

    def fire(self, window: Window, track: Track, quiet: bool) -> list[Event]:
        forget_until(track, self.bucket(track.watermark) * self.within_s - 1)
        oldest = self._oldest(track)
        if track.counts and next(iter(track.counts)) < oldest - self.bucket(DAY_S):  # a day at once, not each by itself
            track.counts = {bucket: count for bucket, count in sorted(track.counts.items()) if bucket >= oldest}
        if not track.counts:
            track.ids.clear()
            track.first_at = track.last_at = Instant(0)
        return []

    def due_at(self, window: Window, track: Track, quiet: bool) -> Instant | None:
        if not track.last_at:
            return None
        return Instant(track.last_at + self.weeks * WEEK_S + 2 * DAY_S + self.within_s)


@lru_cache(maxsize=4096)
def _offset_s(zone: str, at: int) -> int:
    offset = datetime.fromtimestamp(at, UTC).astimezone(ZoneInfo(zone)).utcoffset()
    return 0 if offset is None else int(offset.total_seconds())
