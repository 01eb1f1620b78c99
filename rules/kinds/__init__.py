"""Rules with memory: one kind a module, a frozen struct that says what is watched and answers three questions.

    step(window, track, fact, at)  -> (track, events)     a response counts
    wake(window, track, at)        -> (track, events)     time has passed
    wake_at(window, track)         -> instant | None      when to ask again

*track* is all the memory of one key of one window (`WindowFact.place`), None before there is any and again when
nothing is left to remember. `pack` and `unpack` store it. Pure and synchronous; `drawer.py` holds many keys.

Time. A window is of *event time*. The watermark of a key is the latest time it has heard of (of a response, or of the
engine, when *at* is later) less `late_s`; windows that end before it are closed. A response out of order counts in
all open windows it belongs to; one that belongs to none is a `Dropped` "late". *at* is when the response was received
in `step` (a fact of the record, so that a replay decides the same) and engine time in `wake`. Each `step` first does
what `wake` would have done at *at*, so what is found does not hang on when, or whether, anybody woke.

Catching up. With `catching_up=True` (a backfill, an outage being read up) *at* is not believed, for it says nothing
about what else is still to come: time moves by the responses alone; absence and spikes raise nothing, but learn; and
`wake` does nothing. `wake_at` answers None for what would only hold its tongue.

Where to look next: `values.py` (facts, findings, settings, state), `alerts.py` (what the kinds share).
"""

import msgspec

from feedback.instants import Instant
from rules.kinds.absence import Absence
from rules.kinds.alerts import end_due
from rules.kinds.change import Change
from rules.kinds.count import Count
from rules.kinds.new_value import NewValue
from rules.kinds.sequence import Sequence
from rules.kinds.share import Share
from rules.kinds.spike import Spike
from rules.kinds.values import (
    MAX_LISTED,
    Alert,
    Dropped,
    Event,
    Finding,
    Kind,
    Ref,
    Role,
    Seen,
    Track,
    Window,
    WindowFact,
    new_track,
)

__all__ = [
    "MAX_LISTED",
    "VERSION",
    "Absence",
    "Alert",
    "AnyKind",
    "Change",
    "Count",
    "Dropped",
    "Event",
    "Finding",
    "Kind",
    "NewValue",
    "Ref",
    "Role",
    "Seen",
    "Sequence",
    "Share",
    "Spike",
    "StoredStateError",
    "Track",
    "Window",
    "WindowFact",
    "pack",
    "step",
    "unpack",
    "wake",
    "wake_at",
]

AnyKind = Count | Share | Spike | Absence | NewValue | Change | Sequence
"""Every kind there is."""

VERSION = 1
"""Of the stored form of `Track`. A change of its fields needs an upgrade in `unpack`."""


class StoredStateError(Exception):
    """The stored memory of a key is not of a version this program reads. Whose turn: whoever deployed it."""


def step(
    window: Window, track: Track | None, fact: WindowFact, at: Instant, *, catching_up: bool = False
) -> tuple[Track | None, list[Event]]:
    """*track* once *fact*, received at *at*, has been counted, and what was found.

    Takes *track* over: it may be changed in place, so the caller keeps no other hold of it (one that must survive an
    error keeps the packed bytes). The same response again is counted once.
    """
    track = new_track(fact) if track is None else track
    now = fact.at if catching_up else max(fact.at, at)
    events = _move(window, track, Instant(now - window.late_s), catching_up)
    item = Seen(
        at=fact.at,
        hash=fact.hash,
        role=fact.role.value,
        ref=fact.ref,
        case=fact.case,
        value=fact.value,
        score=fact.score,
    )
    events += window.kind.take(window, track, item, catching_up)
    return _kept(track), events


def wake(
    window: Window, track: Track | None, at: Instant, *, catching_up: bool = False
) -> tuple[Track | None, list[Event]]:
    """*track* at engine time *at*, and what came true by the passing of time. Takes *track* over, as `step` does."""
    if track is None or catching_up:
        return track, []
    events = _move(window, track, Instant(at - window.late_s), False)
    return _kept(track), events


def wake_at(window: Window, track: Track | None, *, catching_up: bool = False) -> Instant | None:
    """The engine time at which to wake this key next (it may be past); None while there is nothing to wait for."""
    if track is None or catching_up:
        return None
    due = window.kind.due_at(window, track, catching_up)
    if window.kind.lingers:
        ends = [Instant(alert.last_at + window.stay_open_s) for alert in track.alerts.values()]
        due = min(ends + ([] if due is None else [due]), default=None)
    return None if due is None else Instant(max(due + window.late_s, 0))


def _move(window: Window, track: Track, watermark: Instant, quiet: bool) -> list[Event]:
    """Move the watermark on, and do what is due by it."""
    track.watermark = max(track.watermark, watermark)
    events = window.kind.fire(window, track, quiet)
    events += end_due(window, track, track.watermark)
    if not track.seen:
        track.streak.clear()
    return events


def _kept(track: Track) -> Track | None:
    return track if track.seen or track.alerts or track.counts or track.ids else None


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Track).decode


def pack(track: Track) -> bytes:
    """*track* as bytes, its version first."""
    return VERSION.to_bytes(1, "big") + _encode(track)


def unpack(body: bytes) -> Track:
    """What `pack` made. Raises StoredStateError for another version, or for bytes that are no such thing."""
    if body[:1] != VERSION.to_bytes(1, "big"):
        raise StoredStateError(f"window state of version {body[0] if body else 'none'}; this program reads {VERSION}")
    try:
        return _decode(memoryview(body)[1:])
    except msgspec.MsgspecError as error:
        raise StoredStateError(f"window state that cannot be read: {error}") from None
