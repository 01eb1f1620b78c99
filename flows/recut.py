"""The state of a store's lanes, read out of their recovery stores and written into new ones, cut otherwise.

Bytewax's files are its own, so nothing here looks into them: a flow with the engine's names of steps is resumed on a
copy, notes what it is given, and another one puts it into a new store. A shard goes over as it is, bytes and all.
"""

import shutil
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import bytewax.operators as op
import msgspec
from bytewax.dataflow import Dataflow
from bytewax.inputs import FixedPartitionedSource, StatefulSourcePartition
from bytewax.operators import StatefulBatchLogic
from bytewax.outputs import FixedPartitionedSink, StatefulSinkPartition

from connectors.reading import Place, part_of
from feedback.ids import shard_key
from feedback.layout import Layout
from flows.alerts import FLOW_ID
from flows.keyed import Stored
from flows.lane import State
from flows.noticing import Stored as Noticed
from flows.noticing import notice_key
from flows.run import StateError, run_flow
from flows.spikes import Stored as Spiking
from flows.spikes import spike_key
from flows.watching import Stored as Windowed
from flows.watching import watch_key

SINKS = {"sink_0": "redis", "sink_1": "kafka"}
"""Steps that keep what a store may not have yet, and their one partition."""
MODELS = "models"
"""The reader of versions of the learned models: those that were not heard yet are learned again."""
OURS = ("control", "engine", "carried", MODELS)
"""Readers of the lane's own journals: their places mean nothing elsewhere. What is unread of them is carried over."""
EPOCH = timedelta(seconds=10)


class LaneState(msgspec.Struct, kw_only=True):
    """What the recovery store of one lane holds."""

    source: State | None = None
    """None when the lane has never taken a snapshot."""
    drawers: dict[int, Stored] = {}
    sinks: dict[str, list[bytes]] = {}
    windows: dict[int, Windowed] = {}
    """What rules with memory hold, and their cases, by the shard of these. It goes over as it is, to where its drawer
    lies now; what lanes of an earlier release counted for themselves ends, and its cases go on."""
    notices: dict[int, Noticed] = {}
    """What noise control holds back, by the number of its drawer; told from there, wherever that lies."""

    spikes: dict[int, Spiking] = {}
    """What is usual in segments, by drawer. Lanes count for themselves, and go on from what the first has."""

    @property
    def places(self) -> Mapping[str, str]:
        """Reader to the last record that it gave out."""
        return self.source["positions"] if self.source is not None else {}


def regroup(before: Sequence[LaneState], layout: Layout, places: Sequence[Mapping[str, str]]) -> list[LaneState]:
    """The state of each lane of *layout*, of that of the lanes before. Pure.

    *places* are those of the streams that the new lanes read. What a sink may not have, every lane is given: written
    again is written once, and so it is there before any lane says something new. Raises StateError.
    """
    books = {state.source["book"] for state in before if state.source is not None}
    if len(books) > 1:
        raise StateError(
            "the lanes stopped with different rules in force; run them once more with the rules as they are, and stop"
        )
    # Each lane had learned by itself; all of the new ones go on from what the first of them has.
    models = next(({"models": s.source["models"]} for s in before if s.source and "models" in s.source), {})
    sinks: dict[str, list[bytes]] = {}
    for state in before:
        for step, waiting in state.sinks.items():
            sinks.setdefault(step, []).extend(waiting)
    spikes = next((state.spikes for state in before if state.spikes), {})
    after: list[LaneState] = []
    for lane in range(layout.lanes):
        drawers = {s: d for state in before for s, d in state.drawers.items() if layout.lane_of(s) == lane}
        positions = {**_shared_out(before, layout, lane), **places[lane]}
        source = {"version": 1, "book": books.copy().pop(), "positions": positions, **models} if books else None
        windows = {s: w for state in before for s, w in state.windows.items() if layout.lane_of(s) == lane}
        notices = {s: n for state in before for s, n in state.notices.items() if layout.lane_of(s) == lane}
        after.append(
            LaneState(
                source=source, drawers=drawers, sinks=dict(sinks), windows=windows, notices=notices, spikes=dict(spikes)
            )
        )
    return after


def _shared_out(before: Sequence[LaneState], layout: Layout, lane: int) -> dict[str, str]:
    """The places in topics, each partition's to the lane that reads it; those in files to lane 0."""
    found: dict[str, Place] = {}
    for state in before:
        for name, stored in state.places.items():
            if name in OURS:
                continue
            for position in stored.split(","):
                part = part_of(position)
                if part is not None and layout.slots and layout.lane_of_partition(part) != lane:
                    continue
                if (part is None or not layout.slots) and lane:
                    continue
                found.setdefault(name, Place(None)).take(position)
    return {name: str(place) for name, place in found.items()}


# -- out of a store, and into one ------------------------------------------------------------------------------


def read_state(folder: Path) -> LaneState:
    """What the recovery store in *folder* would be resumed with; it is not touched. None there is an empty state."""
    found = LaneState(drawers={}, sinks={})
    if not folder.exists():
        return found
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix="reading-") as copy:
        shutil.copytree(folder, Path(copy) / "recovery")

        def opened(state: State | None) -> Iterable[tuple[str, Any]]:
            found.source = state
            return [(shard_key(0), None)]

        def loaded(stored: Stored | None) -> Stored | None:
            if stored is not None and stored[2] is not None:
                found.drawers[stored[1]] = stored
            return stored

        def kept(step: str, state: list[bytes] | None) -> list[bytes]:
            found.sinks[step] = list(state or ())
            return found.sinks[step]

        def watched(stored: Windowed | None) -> None:
            if stored is not None and any(part is not None for part in stored[3:5]):
                found.windows[stored[1]] = stored

        def noticed(stored: Noticed | None) -> None:
            if stored is not None:
                found.notices[stored[1]] = stored

        def counted(stored: Spiking | None) -> None:
            if stored is not None:
                found.spikes[stored[1]] = stored

        _run(Path(copy), opened, lambda: found.source, loaded, kept, watched, noticed, counted)
    return found


def write_state(folder: Path, state: LaneState) -> None:
    """Make a recovery store under *folder* (a lane's) that is resumed with *state*."""
    folder.mkdir(parents=True, exist_ok=True)
    items: list[tuple[str, Any]] = [(shard_key(shard), stored) for shard, stored in state.drawers.items()]
    items += [(watch_key(shard), stored) for shard, stored in state.windows.items()]
    items += [(notice_key(shard), stored) for shard, stored in state.notices.items()]
    items += [(spike_key(drawer), stored) for drawer, stored in state.spikes.items()]
    _run(
        folder,
        lambda _: [*items, (shard_key(0), None)],
        lambda: state.source,
        lambda stored: stored,
        lambda step, _: state.sinks.get(step, []),
    )


def _run(
    folder: Path,
    opened: Callable[[State | None], Iterable[tuple[str, Any]]],
    source: Callable[[], State | None],
    loaded: Callable[[Stored | None], Stored | None],
    kept: Callable[[str, list[bytes] | None], list[bytes]],
    watched: Callable[[Windowed | None], None] = lambda _: None,
    noticed: Callable[[Noticed | None], None] = lambda _: None,
    counted: Callable[[Spiking | None], None] = lambda _: None,
) -> None:
    """A flow with the engine's step ids over the recovery store under *folder*."""
    flow = Dataflow(FLOW_ID)
    given = op.input("lane", flow, _Source(opened, source))
    drawers = op.filter("drawers", given, lambda item: item[1] is not None and not _is_apart(item[0]))
    op.stateful_batch("shards", drawers, lambda stored: _Drawer(loaded(stored)))
    windows = op.filter("watched", given, lambda item: item[1] is not None and item[0].startswith("w"))
    op.stateful_batch("windows", windows, lambda stored: _Watched(watched, stored))
    notices = op.filter("noticed", given, lambda item: item[1] is not None and item[0].startswith("n"))
    op.stateful_batch("notices", notices, lambda stored: _Watched(noticed, stored))
    spikes = op.filter("counted", given, lambda item: item[1] is not None and item[0].startswith("s"))
    op.stateful_batch("spikes", spikes, lambda stored: _Watched(counted, stored))
    rest = op.filter("rest", given, lambda item: item[1] is None)
    for step, part in SINKS.items():
        op.output(step, rest, _Sink(step, part, kept))
    run_flow(flow, folder, epoch=EPOCH)


def _is_apart(key: str) -> bool:
    return key.startswith(("w", "n", "s"))


class _Part(StatefulSourcePartition[tuple[str, Any], State]):
    def __init__(self, items: Iterable[tuple[str, Any]], state: Callable[[], State | None]) -> None:
        self._items, self._state = list(items), state

    def next_batch(self) -> list[tuple[str, Any]]:
        if not self._items:
            raise StopIteration
        batch, self._items = self._items[:1000], self._items[1000:]
        return batch

    def snapshot(self) -> State:
        state = self._state()
        return {"version": 1} if state is None else state


class _Source(FixedPartitionedSource[tuple[str, Any], State]):
    def __init__(
        self, opened: Callable[[State | None], Iterable[tuple[str, Any]]], state: Callable[[], State | None]
    ) -> None:
        self._opened, self._state = opened, state

    def list_parts(self) -> list[str]:
        return ["lane"]

    def build_part(self, step_id: str, for_part: str, resume_state: State | None) -> _Part:
        return _Part(self._opened(resume_state), self._state)


class _Drawer(StatefulBatchLogic[Stored, None, Stored | None]):
    def __init__(self, stored: Stored | None) -> None:
        self._stored = stored

    def on_batch(self, values: list[Stored]) -> tuple[Iterable[None], bool]:
        self._stored = values[-1]
        return (), False

    def on_eof(self) -> tuple[Iterable[None], bool]:
        return (), False

    def snapshot(self) -> Stored | None:
        return self._stored


class _Watched(StatefulBatchLogic[Any, None, Any]):
    """A drawer of windows, of notices, or of segments."""

    def __init__(self, watched: Callable[[Any], None], stored: Any) -> None:
        self._stored = stored
        watched(stored)

    def on_batch(self, values: list[Any]) -> tuple[Iterable[None], bool]:
        self._stored = values[-1]
        return (), False

    def on_eof(self) -> tuple[Iterable[None], bool]:
        return (), False

    def snapshot(self) -> Any:
        return self._stored


class _Keeper(StatefulSinkPartition[Any, list[bytes]]):
    def __init__(self, state: list[bytes]) -> None:
        self._state = state

    def write_batch(self, values: list[Any]) -> None:
        """Nothing leaves here."""

    def snapshot(self) -> list[bytes]:
        return self._state


class _Sink(FixedPartitionedSink[Any, list[bytes]]):
    def __init__(self, step: str, part: str, kept: Callable[[str, list[bytes] | None], list[bytes]]) -> None:
        self._step, self._part, self._kept = step, part, kept

    def list_parts(self) -> list[str]:
        return [self._part]

    def build_part(self, step_id: str, for_part: str, resume_state: list[bytes] | None) -> _Keeper:
        return _Keeper(self._kept(self._step, resume_state))
