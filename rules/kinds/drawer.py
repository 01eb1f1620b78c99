"""Many keys in one drawer: what a keyed step of the second stage holds, hands on and packs.

Facts are hashed by their place into a fixed number of drawers; each holds the keys of all the rules that fall into
it. A key is unpacked when it is first touched and packed again only when it changed. How many keys a rule may have
is shared out among the drawers: past its part, the key that was touched least recently and has no alert open is
forgotten, and that is an event.
"""

from collections.abc import Mapping
from functools import lru_cache
from heapq import heapify, heappop, heappush

import msgspec

from feedback.ids import short_hash
from feedback.instants import Instant
from rules.kinds import Dropped, Event, Kind, Track, Window, WindowFact, pack, step, unpack, wake, wake_at
from rules.kinds.alerts import ended

_GONE = Kind()
"""Stands for the kind of a rule that is no longer there; nothing is asked of it."""

Place = tuple[str, str, str]
"""(window, scope, key)."""


@lru_cache(maxsize=4096)
def drawer_of(place: Place, drawers: int) -> int:
    """The drawer, 0 to *drawers* - 1, of a place."""
    return short_hash(*place) % drawers


class _Slot(msgspec.Struct, array_like=True):
    """One key in the drawer. The order of fields is stored."""

    place: Place
    rule: str
    wake_at: Instant | None
    open: bool
    """It has an alert open, and is not forgotten for want of room."""
    packed: bytes


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[_Slot]).decode


class Drawer:
    """The keys of one drawer. Changed in place; `pack` may be asked at any time and does not disturb it."""

    def __init__(self, body: bytes | None = None, drawers: int = 1) -> None:
        """From what `pack` gave. *drawers*: how many there are in all. Raises StoredStateError when a key is touched
        whose stored form is not of this version."""
        self._drawers = drawers
        self._slots: dict[Place, _Slot] = {}
        self._live: dict[Place, Track] = {}
        self._stale: set[Place] = set()
        """Touched since their slot was packed."""
        self._of: dict[str, dict[Place, None]] = {}
        """Window to its places, least recently touched first."""
        self._due: list[tuple[Instant, Place]] = []
        """A heap. A slot whose instant moves later keeps its old entry, which is put right when it comes up."""
        self._queued: dict[Place, Instant] = {}
        """The earliest entry of each place in the heap."""
        for slot in _decode(body) if body else ():
            self._slots[slot.place] = slot
            self._of.setdefault(slot.place[0], {})[slot.place] = None
            if slot.wake_at is not None:
                self._due.append((slot.wake_at, slot.place))
                self._queued[slot.place] = slot.wake_at
        heapify(self._due)

    def __len__(self) -> int:
        return len(self._slots)

    def pack(self) -> bytes | None:
        """Everything as bytes; None when nothing is left, and the key can be forgotten."""
        for place in self._stale:
            self._slots[place].packed = pack(self._live[place])
        self._stale.clear()
        self._live.clear()  # one form of each is enough
        ordered = [self._slots[place] for places in self._of.values() for place in places]
        return _encode(ordered) if ordered else None

    def step(
        self, windows: Mapping[str, Window], fact: WindowFact, at: Instant, *, catching_up: bool = False
    ) -> list[Event]:
        """Count *fact*, received at *at*. *windows*: by id, of the rules in force; a fact of none of them is let go."""
        window = windows.get(fact.window)
        if window is None:
            return []
        place = fact.place
        events: list[Event] = []
        if place not in self._slots and not self._make_room(window, events):
            return [_no_room(window, fact)]
        before = self._track(place)
        track, found = step(window, before, fact, at, catching_up=catching_up)
        self._keep(window, place, track, catching_up)
        if track is not None:
            places = self._of.setdefault(place[0], {})
            places.pop(place, None)
            places[place] = None
        return events + found

    def learn(self, windows: Mapping[str, Window], fact: WindowFact) -> list[Dropped]:
        """Count *fact* of a history: no alert is left of it, so that what still goes on is raised by what comes."""
        found = self.step(windows, fact, fact.at, catching_up=True)
        track = self._track(fact.place)
        if track is not None:
            track.alerts.clear()
            track.streak.clear()
            self._keep(windows[fact.window], fact.place, track, False)
        return [event for event in found if isinstance(event, Dropped)]

    def wake(self, windows: Mapping[str, Window], at: Instant, *, catching_up: bool = False) -> list[Event]:
        """Everything that is due at engine time *at*, earliest first."""
        events: list[Event] = []
        if catching_up:
            return events
        places = []
        while (due := self.wake_at()) is not None and due <= at:
            places.append(self._unqueue())
        for place in places:
            window = windows.get(place[0])
            if window is None:
                continue  # `retire` has not been told yet
            track, found = wake(window, self._track(place), at)
            self._keep(window, place, track, False)
            events += found
        return events

    def wake_at(self) -> Instant | None:
        """When to call `wake` next."""
        while self._due:
            due, place = self._due[0]
            slot = self._slots.get(place)
            if slot is not None and slot.wake_at == due and self._queued.get(place) == due:
                return due
            if self._queued.get(place) == due:
                del self._queued[place]
            heappop(self._due)
            if slot is not None and slot.wake_at is not None:
                self._queue(place, slot.wake_at)
        return None

    def _unqueue(self) -> Place:
        _, place = heappop(self._due)
        del self._queued[place]
        return place

    def _queue(self, place: Place, due: Instant) -> None:
        queued = self._queued.get(place)
        if queued is None or due < queued:
            self._queued[place] = due
            heappush(self._due, (due, place))

    def caught_up(self, windows: Mapping[str, Window]) -> None:
        """Catching up is over: work out afresh when each key wants to be woken."""
        for place in list(self._slots):
            if (window := windows.get(place[0])) is not None:
                self._keep(window, place, self._track(place), False, touched=False)

    def retire(self, windows: Mapping[str, Window], at: Instant) -> list[Event]:
        """Forget the keys of rules that are no longer in force; alerts that were open end at *at*, and say why."""
        events: list[Event] = []
        for place, slot in list(self._slots.items()):
            if place[0] not in windows:
                gone = Window(rule=slot.rule, version="", id=place[0], kind=_GONE)
                track = self._track(place)
                if track is not None:
                    why = "the rule is no longer in force"
                    events += [ended(gone, track, value, at, why) for value in list(track.alerts)]
                self._forget(place)
        return events

    # -- inside -----------------------------------------------------------------------------------------------

    def _track(self, place: Place) -> Track | None:
        if place not in self._live:
            slot = self._slots.get(place)
            if slot is None:
                return None
            self._live[place] = unpack(slot.packed)
        return self._live[place]

    def _keep(self, window: Window, place: Place, track: Track | None, catching_up: bool, touched: bool = True) -> None:
        if track is None:
            self._forget(place)
            return
        slot = self._slots.get(place)
        if slot is None:
            slot = self._slots[place] = _Slot(place, window.rule, None, False, b"")
            self._of.setdefault(place[0], {})[place] = None
        self._live[place] = track
        if touched:
            self._stale.add(place)
        slot.open = bool(track.alerts)
        due = wake_at(window, track, catching_up=catching_up)
        slot.wake_at = due
        if due is not None:
            self._queue(place, due)

    def forget(self, place: Place) -> None:
        """Let go of one key, whatever it holds; one that is not there is no error."""
        if place in self._slots:
            self._forget(place)

    def _forget(self, place: Place) -> None:
        self._slots.pop(place, None)
        self._live.pop(place, None)
        self._stale.discard(place)
        places = self._of.get(place[0], {})
        places.pop(place, None)
        if not places:
            self._of.pop(place[0], None)

    def _make_room(self, window: Window, events: list[Event]) -> bool:
        """Whether a further key of *window* may be kept, another forgotten if need be."""
        places = self._of.get(window.id, {})
        if len(places) < max(1, -(-window.max_keys // self._drawers)):
            return True
        oldest = next((place for place in places if not self._slots[place].open), None)
        if oldest is None:
            return False
        self._forget(oldest)
        events.append(Dropped(rule=window.rule, window=window.id, scope=oldest[1], key=oldest[2], what="keys"))
        return True


def _no_room(window: Window, fact: WindowFact) -> Dropped:
    return Dropped(rule=window.rule, window=window.id, scope=fact.scope, key=fact.key, what="keys")
