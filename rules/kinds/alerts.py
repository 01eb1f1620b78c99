"""What the kinds share: windows over sorted responses, and the alert that is raised, joined and ended.

An alert is raised when the condition was found true `open_after` times in a row; every response that counts joins
it while it is open; it ends `stay_open` after the condition was last true, once the watermark says that nobody in
time can change that any more.
"""

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterator, Sequence

import msgspec

from feedback.instants import Instant
from rules.kinds.values import MAX_LISTED, Alert, Dropped, Event, Finding, Role, Seen, Track, What, Window


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """The condition holds, for the window that ends at `at`."""

    at: Instant
    members: Sequence[Seen]
    """The responses of that window that it is about, oldest first."""
    measure: float
    threshold: float
    baseline: float | None = None
    why: str
    count: int = -1
    """Responses in it, when they are more than the members remembered."""


def known(track: Track, item: Seen) -> Seen | None:
    """The entry of the same response in the same role, if there is one."""
    for other in track.seen:
        if other.hash == item.hash and (other.role == Role.FIRST) == (item.role == Role.FIRST):
            return other
    return None


def remember(window: Window, track: Track, item: Seen) -> list[Event]:
    """Put *item* in its place; the oldest goes when there are too many."""
    if not track.seen or track.seen[-1] <= item:
        track.seen.append(item)
    else:
        insort(track.seen, item)
    if len(track.seen) <= window.max_ids:
        return []
    over = len(track.seen) - window.max_ids
    del track.seen[:over]
    return [dropped(window, track, "ids", over)]


def amend(old: Seen, new: Seen) -> bool:
    """The same response again: what is said last counts, where and when it was counted stays. Whether it changed."""
    changed = (old.role, old.value, old.score) != (new.role, new.value, new.score)
    old.role, old.value, old.score = new.role, new.value, new.score
    old.case = new.case or old.case
    return changed


def forget_until(track: Track, last: int) -> None:
    """Forget the responses at or before *last*."""
    if track.seen and track.seen[0].at <= last:
        del track.seen[: first_after(track.seen, last)]


def first_after(seen: Sequence[Seen], at: int) -> int:
    """Place of the first response later than *at*."""
    return bisect_right(seen, at, key=_at)


def first_from(seen: Sequence[Seen], at: int) -> int:
    """Place of the first response at or after *at*."""
    return bisect_left(seen, at, key=_at)


def _at(item: Seen) -> int:
    return item.at


def windows_with(track: Track, at: Instant, within_s: int) -> Iterator[tuple[Instant, int, int]]:
    """(end, from, to) of each open window (end - within, end] that holds *at*, as places in `track.seen`.

    Windows may end at any instant; those tried are the ones with the most in them: ending at a response, and the
    earliest that is open.
    """
    seen = track.seen
    start = max(at, track.watermark)
    if start >= at + within_s:
        return
    high = first_after(seen, start)
    yield start, first_after(seen, start - within_s), high
    while high < len(seen):
        end = seen[high].at
        if end >= at + within_s:
            return
        high = first_after(seen, end)
        yield end, first_after(seen, end - within_s), high


def settle(
    window: Window, track: Track, item: Seen | None, verdict: Verdict | None, value: str = "", quiet: bool = False
) -> list[Event]:
    """What becomes of the alert now that *item* came and the condition was found to be *verdict* (None: not true).

    *item* None: it did not come newly, or is not one of those that join. *quiet*: nothing is raised.
    """
    alert = track.alerts.get(value)
    if alert is not None:
        if verdict is not None:
            alert.last_at = max(alert.last_at, verdict.at)
        if item is None:
            return []
        alert.total += 1
        return [_joined(window, track, alert, item, verdict, value)]
    if verdict is None or quiet:
        track.streak.pop(value, None)
        return []
    streak = track.streak.get(value, 0) + 1
    if streak < window.open_after:
        track.streak[value] = streak
        return []
    track.streak.pop(value, None)
    count = len(verdict.members) if verdict.count < 0 else verdict.count
    since = verdict.members[0].at if verdict.members else verdict.at
    alert = Alert(opened_at=verdict.at, since=since, last_at=verdict.at, total=count)
    track.alerts[value] = alert
    return [raised(window, track, alert, verdict, value)]


def raised(window: Window, track: Track, alert: Alert, verdict: Verdict, value: str = "") -> Finding:
    cases = list(dict.fromkeys(member.case for member in verdict.members if member.case))
    return Finding(
        kind="raised",
        rule=window.rule,
        version=window.version,
        window=window.id,
        scope=track.scope,
        key=track.key,
        value=value,
        opened_at=alert.opened_at,
        since=alert.since,
        until=verdict.at,
        count=alert.total,
        baseline=verdict.baseline,
        threshold=verdict.threshold,
        measure=verdict.measure,
        refs=tuple(member.ref for member in verdict.members[-MAX_LISTED:]),
        cases=tuple(cases[-MAX_LISTED:]),
        cases_total=len(cases),
        why=verdict.why,
    )


def _joined(window: Window, track: Track, alert: Alert, item: Seen, verdict: Verdict | None, value: str) -> Finding:
    return Finding(
        kind="joined",
        rule=window.rule,
        version=window.version,
        window=window.id,
        scope=track.scope,
        key=track.key,
        value=value,
        opened_at=alert.opened_at,
        since=alert.since,
        until=item.at,
        ripe_at=item.at if verdict is None else max(item.at, verdict.at),
        count=alert.total,
        baseline=verdict.baseline if verdict else None,
        threshold=verdict.threshold if verdict else 0.0,
        measure=verdict.measure if verdict else 0.0,
        refs=(item.ref,),
        cases=(item.case,) if item.case else (),
        cases_total=1 if item.case else 0,
        why=verdict.why if verdict else "one more, while the alert is open",
    )


def ended(window: Window, track: Track, value: str, until: Instant, why: str) -> Finding:
    """Take the alert of *value* away and say so."""
    alert = track.alerts.pop(value)
    return Finding(
        kind="ended",
        rule=window.rule,
        version=window.version,
        window=window.id,
        scope=track.scope,
        key=track.key,
        value=value,
        opened_at=alert.opened_at,
        since=alert.since,
        until=until,
        count=alert.total,
        threshold=0.0,
        measure=0.0,
        why=why,
    )


def end_due(window: Window, track: Track, at: Instant) -> list[Event]:
    """End the alerts whose time was over at *at*, a watermark; in the order of their ends."""
    if not track.alerts or not window.kind.lingers:
        return []
    over = sorted((Instant(alert.last_at + window.stay_open_s), value) for value, alert in track.alerts.items())
    return [ended(window, track, value, until, "not true any more") for until, value in over if until <= at]


def dropped(window: Window, track: Track, what: What, count: int = 1) -> Dropped:
    return Dropped(rule=window.rule, window=window.id, scope=track.scope, key=track.key, what=what, count=count)
