"""The one input step: a lane of records, actions and controls, merged with the ticks of the clocks.

A lane is one Bytewax partition that reads several readers and merges them by received time, so that a replay
meets the same records in the same order. Ticks are items of it. A tick never overtakes a record that was
received before it: while something waits unread, ticks go only as far as the oldest of it, so that a run that
was cut and resumed later says the same as one that was not. A backlog of responses may hold them for
`HOLD_AT_MOST_S`; a backlog of actions, which may disprove a breach, for as long as it lasts.

A record that was on its way may still come after one that was received later, so the order is written down
(`order.py`): after a crash everything is given out again as it was.
"""

import time
from collections import deque
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, Protocol

import structlog
from bytewax.inputs import FixedPartitionedSource, StatefulSourcePartition

from connectors.reading import Forgetful, Place, Reader, part_of
from feedback.instants import Instant
from feedback.records import Envelope, Restate, Tick
from flows.engine_time import EngineClock
from flows.erasures import Erasures
from flows.indexes import DueIndex
from flows.order import Entry, OrderLog, Ticked, is_behind
from flows.outages import Outages
from flows.rewriting import Rewriting
from flows.timetable import InForce, Timetable

log = structlog.get_logger()

HOLD_AT_MOST_S = 60.0
AWAIT_S = 5.0
"""How long the other readers wait for one that has not said yet whether it holds something older: after a restart the
actions would else be heard before the responses that opened their cases."""
TICKS_A_POLL = 256
TICKS_AT_LEAST = 8
TICKING_S = 0.03
"""What a batch with ticks may take until the source is asked again. When many clocks are due at once, fewer shards are
ticked a poll, so that new responses are heard in between (`benchmarks/bench_clocks.py`)."""
BUFFER = 512
"""Records read ahead of a reader; bounded, so that a fast source waits in its own storage."""

BATCH_COST = 10_000
"""Microseconds of work, by estimate, in one batch: a batch of long texts must not hold the clocks."""
TICK_GRACE_S = 0.02
"""Ticks run this far behind, so that an action on its way through a socket is not overtaken by a deadline."""
RECORD_US, BYTE_US, TICK_US = 40, 0.25, 40
"""The estimate: measured with the shipped rules, 40 us for a short response and 0.25 us for each further byte."""

State = dict[str, Any]
"""`version` (1), `book` (hash of the rules in force), `models` (versions, each with the received time from which on;
absent in older snapshots), `positions` (reader to the last record given out), `order` (where the order of what follows
is written; absent in older snapshots)."""

Given = tuple[Envelope | Tick | Restate, Instant]
"""What the lane gives out, and the engine time at which it did."""


class Input:
    """One reader in the lane and what was read ahead of it."""

    def __init__(self, reader: Reader, position: str | None, *, binding: bool) -> None:
        self.reader = reader
        self._place = Place(position)
        self.binding = binding
        """Whether ticks wait for its backlog however long that lasts (actions and controls)."""
        self.waiting: deque[Envelope] = deque()
        self._unread_since: float | None = None

    def fill(self, room: int = 0) -> None:
        """Read ahead; with *room* that much further, whatever waits."""
        if room or (len(self.waiting) < BUFFER // 2 and not self.reader.finished):
            self.waiting.extend(self.reader.poll(room or BUFFER - len(self.waiting)))
        if self.waiting or self.reader.finished or self.reader.caught_up:
            self._unread_since = None
        elif self._unread_since is None:
            self._unread_since = time.monotonic()

    @property
    def awaited(self) -> bool:
        """Something older than what the others hold may come from here, and there is patience left for it."""
        return self._unread_since is not None and time.monotonic() - self._unread_since < AWAIT_S

    def is_behind(self, before: float) -> bool:
        """Whether something from *before* that instant waits here, or may."""
        if self.waiting:
            return self.waiting[0].received_at < before
        return not (self.reader.finished or self.reader.caught_up)

    def take(self) -> Envelope:
        """The next record, given out from now on."""
        envelope = self.waiting.popleft()
        self._place.take(envelope.position)
        return envelope

    def take_until(self, position: str) -> tuple[Envelope | None, bool]:
        """The next record of the part that *position* names, if it stands no further; and whether one may yet come."""
        part = part_of(position)
        for index, envelope in enumerate(self.waiting):
            if part_of(envelope.position) == part:
                if is_behind(position, envelope.position):
                    return None, False
                self.waiting.rotate(-index)
                found = self.take()
                self.waiting.rotate(index)
                return found, True
        before = self._place.of("" if part is None else str(part))
        return None, not (self.is_read_up or (before is not None and not is_behind(before, position)))

    @property
    def is_read_up(self) -> bool:
        """Nothing more is there to be read now."""
        return self.reader.finished or self.reader.caught_up

    @property
    def place(self) -> str:
        """Where the next run goes on; empty before the first record."""
        return str(self._place)

    @property
    def exhausted(self) -> bool:
        """Nothing waits, and either nothing will come or (a stream has no end) nothing has come yet."""
        return not self.waiting and (self.reader.finished or (self.binding and self.reader.caught_up))


class Meter(Protocol):
    """What the lane tells of itself; `flows/metrics.py` keeps the numbers."""

    def polled(self, now: float) -> None:
        """The source was asked for more: the worker is alive."""

    def snapshotted(self) -> None:
        """An epoch closes: its snapshots are being written."""


class Lane(StatefulSourcePartition[Given, State]):
    """The partition. `next_batch` returns at once, whatever its readers do."""

    def __init__(
        self,
        inputs: Sequence[Input],
        *,
        in_force: InForce,
        due: DueIndex,
        clock: EngineClock,
        stopping: Callable[[], bool],
        ends: bool,
        meter: Meter,
        outages: Outages,
        rewriting: Rewriting | None = None,
        foresee: Callable[[Envelope, InForce], InForce] = lambda _, in_force: in_force,
        erasures: Erasures | None = None,
        order: OrderLog | None = None,
        since: int | None = None,
        apart: Callable[[int], bool] = lambda _: False,
        ticks: bool = True,
    ) -> None:
        """*foresee* says which rules and models a record will put in force: the snapshot that has it given out names
        them, and may be taken before it is heard. *ends*: stop when the inputs are exhausted, and wait for no more.

        What is written in *order* since the snapshot of the number *since* (0: since the beginning) is given out
        first, as it was; None when that snapshot knew of no order. A tick for a shard that stands *apart* is a
        batch of its own: everything given out before has been worked off by then. Without *ticks* no clock is looked
        at, which a history would else overtake.
        """
        self.inputs = list(inputs)
        self.in_force = in_force
        """Once everything given out has been heard."""
        self._due, self._clock, self._stopping, self._ends = due, clock, stopping, ends
        self._meter, self._outages = meter, outages
        self._rewriting = rewriting or Rewriting(None, 0)
        self._foresee = foresee
        self._erasures = erasures or Erasures()
        self.elsewhere: dict[str, str] = {}
        """Positions of readers that are not open this time; kept in every snapshot for when they are again."""
        self.shelved: list[Forgetful] = []
        """Journals of readers that are not open this time."""
        self._held_since: float | None = None
        self._snapshots: list[tuple[dict[str, str], int]] = []
        self._order = order or OrderLog(None)
        self._again = deque[Entry]() if since is None else self._order.since(since)
        """What was given out before, and is to be again."""
        self._again_since: float | None = None
        self._ticks = ticks
        self._apart, self._left = apart, deque[Ticked]()
        self._ticks_a_poll = TICKS_A_POLL
        self._ticked_at: float | None = None
        """When ticks were last given out and not yet worked off, on the monotonic clock."""

    def next_batch(self) -> list[Given]:
        if self._stopping():
            raise StopIteration
        for source in self.inputs:
            source.fill()
        now = self._clock.now()
        self._meter.polled(now)
        seen_at = Instant(int(now))
        self._outages.look(seen_at)
        given: list[Given] = []
        if self._left:
            self._tick(self._left.popleft(), given, seen_at)
            self._order.write()
            return given
        if self._again:
            self._give_again(given, seen_at)
            self._order.write()
            return given
        if self._ticks and not self._clock.is_held:
            horizon = self._horizon(now)
            due = self._due.take_due(horizon, self._ticks_to_give())
            if later := [shard for shard in due if self._apart(shard)]:
                self._left.append(Ticked(horizon, later))
                due = [shard for shard in due if shard not in later]
            given = [(Tick(shard=s, at=horizon), seen_at) for s in due]
            self._order.ticked(horizon, due)
        self._ticked_at = time.monotonic() if given else None
        given += self._rewriting.take(seen_at)
        self._take_records(given, seen_at)
        self._order.write()
        ended = not given and self._ends and not self._rewriting.is_active
        if ended and all(source.exhausted for source in self.inputs):
            raise StopIteration
        return given

    def _give_again(self, given: list[Given], seen_at: Instant) -> None:
        """What was given out before the crash, in the order that is written, as much as a batch has room for."""
        room = float(BATCH_COST)
        by_name = {source.reader.name: source for source in self.inputs}
        while self._again and room > 0:
            entry = self._again[0]
            if isinstance(entry, Ticked):
                if any(map(self._apart, entry.shards)):
                    self._left.append(entry)
                    self._again.popleft()
                    return
                self._tick(entry, given, seen_at)
                room -= TICK_US * len(entry.shards)
            elif (source := by_name.get(entry.reader)) is not None:
                envelope, more = source.take_until(entry.position)
                if envelope is not None:
                    given.append((envelope, seen_at))
                    self.in_force = self._foresee(envelope, self.in_force)
                    self._order.taken(entry.reader, envelope.position)
                    room -= RECORD_US + BYTE_US * len(envelope.raw)
                    continue
                if more and self._waits_for(source, entry):
                    return
            self._again.popleft()
            self._again_since = None

    def _tick(self, ticked: Ticked, given: list[Given], seen_at: Instant) -> None:
        given += [(Tick(shard=shard, at=ticked.at), seen_at) for shard in ticked.shards]
        self._order.ticked(ticked.at, ticked.shards)

    def _waits_for(self, source: Input, entry: Entry) -> bool:
        """Whether it is worth to wait for *entry*: a source that stays away must not hold the clocks for ever."""
        now = time.monotonic()
        self._again_since = self._again_since or now
        if now - self._again_since < HOLD_AT_MOST_S:
            source.fill(BUFFER)
            return True
        log.warning("order.given_up", reader=source.reader.name, left=len(self._again))
        self._again.clear()
        self._again.append(entry)  # for the caller to take off
        return False

    def _ticks_to_give(self) -> int:
        """How many shards to tick: as many as the last ones, unless those took too long or left time to spare."""
        if self._ticked_at is not None:
            # One worker: the source is asked again when what it gave is worked off, down to the sinks.
            took = time.monotonic() - self._ticked_at
            if took > TICKING_S:
                self._ticks_a_poll = max(TICKS_AT_LEAST, self._ticks_a_poll // 2)
            elif took < TICKING_S / 2:
                self._ticks_a_poll = min(TICKS_A_POLL, self._ticks_a_poll * 2)
        return self._ticks_a_poll

    def _horizon(self, now: float) -> Instant:
        """How far ticks may go: almost now, or the oldest record that waits unread."""
        now -= TICK_GRACE_S
        oldest = min((s.waiting[0].received_at for s in self.inputs if s.waiting), default=now)
        # A stream of actions that was not read yet may hold one that disproves what a tick would say.
        unread = any(s.binding and not s.waiting and not s.reader.caught_up for s in self.inputs)
        unread = unread or any(source.awaited for source in self.inputs)
        if oldest >= now and not unread:
            self._held_since = None
            return Instant(int(now))
        self._held_since = self._held_since or now
        if now - self._held_since < HOLD_AT_MOST_S:
            return Instant(0) if unread else Instant(int(oldest))
        binding = min((s.waiting[0].received_at for s in self.inputs if s.waiting and s.binding), default=now)
        return Instant(int(min(binding, now)))

    def _take_records(self, given: list[Given], seen_at: Instant) -> None:
        """Waiting records by received time, as many as a batch has room for; at least one if any may be taken."""
        room = float(BATCH_COST)
        awaited = any(source.awaited for source in self.inputs)
        while room > 0 and not awaited:
            source = min((s for s in self.inputs if s.waiting), key=lambda s: s.waiting[0].received_at, default=None)
            if source is None:
                return
            # As long as this source's records come first there is nothing to compare with.
            other = min(
                (s.waiting[0].received_at for s in self.inputs if s.waiting and s is not source),
                default=float("inf"),
            )
            while source.waiting and room > 0 and source.waiting[0].received_at <= other:
                envelope = source.take()
                given.append((envelope, seen_at))
                self.in_force = self._foresee(envelope, self.in_force)
                self._order.taken(source.reader.name, envelope.position)
                room -= RECORD_US + BYTE_US * len(envelope.raw)

    def next_awake(self) -> datetime | None:
        return None

    def snapshot(self) -> State:
        positions = {s.reader.name: place for s in self.inputs if (place := s.place)}
        # An epoch starts when the one before it is durable, so the snapshot before last is safe to stand on.
        self._meter.snapshotted()
        self._rewriting.snapshotted()
        order = self._order.snapshotted()
        self._snapshots.append((positions, order))
        if len(self._snapshots) > 2:
            durable, told = self._snapshots.pop(0)
            self._order.release(told)
            for source in self.inputs:
                if (position := durable.get(source.reader.name)) is not None:
                    source.reader.release(position)
        self._erasures.snapshotted([*(source.reader for source in self.inputs), *self.shelved])
        return {
            "version": 1,
            "book": self.in_force.book,
            "models": [list(change) for change in self.in_force.models.changes],
            "positions": {**self.elsewhere, **positions},
            "order": order,
        }

    def close(self) -> None:
        self._order.close()
        for source in self.inputs:
            source.reader.close()


def in_force(state: State) -> InForce:
    """What a snapshot says was judged by."""
    models = Timetable(tuple((Instant(since), version) for since, version in state.get("models", ())))
    return InForce(state["book"], models if models.changes else Timetable())


class LaneSource(FixedPartitionedSource[Given, State]):
    """The source with its single partition. *open_lane* builds it from what was stored, or from None."""

    def __init__(self, open_lane: Callable[[State | None], Lane]) -> None:
        self._open_lane = open_lane

    def list_parts(self) -> list[str]:
        return ["lane"]

    def build_part(self, step_id: str, for_part: str, resume_state: State | None) -> Lane:
        return self._open_lane(resume_state)
