"""A value that was never seen under its key: a topic, a product, an error code."""

from feedback.ids import short_hash
from feedback.instants import Instant, span_text
from rules.kinds.alerts import Verdict, dropped, remember, settle
from rules.kinds.values import Event, Kind, Seen, Track, Window


class NewValue(Kind, frozen=True, kw_only=True, tag="new_value"):
    """True for a value that is not known, once `learn_s` have passed since the key's first response.

    What is seen while learning is known. After that a value becomes known when `open_after` responses brought it,
    which raises its own alert; more of the same join that. When `max_ids` values are known no more are taken, and each
    that is turned away is a `Dropped`: an old value must never look new because it was forgotten.
    """

    path: str
    """Where the value stands: `themes`, `attributes.<name>` …"""
    learn_s: int

    def take(self, window: Window, track: Track, item: Seen, quiet: bool) -> list[Event]:
        said, value = short_hash(str(item.hash), item.value), short_hash(item.value)
        if not track.is_new(said, window.max_ids):
            return []
        events: list[Event] = []
        track.first_at = track.first_at or item.at
        track.last_at = max(track.last_at, item.at)
        if value in track.counts:
            return settle(window, track, item, None, item.value) if item.value in track.alerts else []
        if len(track.counts) >= window.max_ids:
            return [dropped(window, track, "values")]
        if item.at < track.first_at + self.learn_s:
            track.counts[value] = item.at
            return []
        events += remember(window, track, item)
        members = [seen for seen in track.seen if seen.value == item.value]
        if len(members) < window.open_after:
            return events
        track.counts[value] = item.at
        track.seen = [seen for seen in track.seen if seen.value != item.value]
        verdict = Verdict(
            at=Instant(max(track.watermark, item.at)),
            members=members,
            measure=len(members),
            threshold=window.open_after,
            why=f"{self.path} has {item.value!r}, which it never had in {span_text(item.at - track.first_at)}",
        )
        track.streak[item.value] = window.open_after - 1  # the members are the row
        return events + settle(window, track, item, verdict, item.value)

    def fire(self, window: Window, track: Track, quiet: bool) -> list[Event]:
        if track.last_at + window.keep_s <= track.watermark:
            track.seen.clear()
            track.ids.clear()
            track.counts.clear()
            track.first_at = track.last_at = Instant(0)
        return []

    def due_at(self, window: Window, track: Track, quiet: bool) -> Instant | None:
        return Instant(track.last_at + window.keep_s) if track.last_at else None
