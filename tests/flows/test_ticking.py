"""How many shards the lane ticks in one batch, by how long the last ones took."""

from collections.abc import Callable

import pytest

from feedback.instants import Instant
from feedback.records import Tick
from flows.engine_time import EngineClock
from flows.indexes import DueIndex
from flows.lane import TICKING_S, TICKS_A_POLL, TICKS_AT_LEAST, Lane
from flows.outages import Outages
from flows.timetable import InForce

SHARDS = 4096


class Unmetered:
    def polled(self, now: float) -> None:
        """Nobody looks."""

    def snapshotted(self) -> None:
        """Nobody looks."""


class World:
    """A lane without readers, and the time that its flow takes for a batch."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, took: Callable[[int], float]) -> None:
        self._at, self._took = 0.0, took
        monkeypatch.setattr("flows.lane.time.monotonic", lambda: self._at)
        self.due = DueIndex()
        self.lane = Lane(
            [],
            in_force=InForce("b"),
            due=self.due,
            clock=EngineClock(wall=lambda: 1000.0, boot=lambda: 1000.0),
            stopping=lambda: False,
            ends=False,
            meter=Unmetered(),
            outages=Outages(None),
        )

    def batch(self) -> list[int]:
        """Shards that the next batch ticks; the flow then works it off."""
        shards = [what.shard for what, _ in self.lane.next_batch() if isinstance(what, Tick)]
        self._at += self._took(len(shards))
        return shards


def all_due(due: DueIndex) -> None:
    for shard in range(SHARDS):
        due.register(shard, Instant(900))


def test_ticks_that_take_long_are_given_out_in_smaller_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(monkeypatch, took=lambda ticks: ticks * TICKING_S / 20)
    all_due(world.due)
    sizes = [len(world.batch()) for _ in range(6)]
    assert sizes[0] == TICKS_A_POLL
    assert sizes[-1] in (16, 8)


def test_there_is_always_a_tick_however_long_one_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(monkeypatch, took=lambda _: 10 * TICKING_S)
    all_due(world.due)
    assert [len(world.batch()) for _ in range(10)][-1] == TICKS_AT_LEAST


def test_ticks_that_become_quick_again_are_given_out_in_large_batches_again(monkeypatch: pytest.MonkeyPatch) -> None:
    slow = [True]
    world = World(monkeypatch, took=lambda _: 10 * TICKING_S if slow[0] else 0.0)
    all_due(world.due)
    for _ in range(10):
        world.batch()
    slow[0] = False
    assert [len(world.batch()) for _ in range(10)][-1] == TICKS_A_POLL


def test_a_long_pause_in_which_nothing_was_due_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(monkeypatch, took=lambda _: 100.0)
    assert world.batch() == []
    all_due(world.due)
    assert len(world.batch()) == TICKS_A_POLL


def test_every_shard_that_is_due_is_ticked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(monkeypatch, took=lambda ticks: ticks * TICKING_S / 20)
    all_due(world.due)
    ticked: list[int] = []
    while batch := world.batch():
        ticked += batch
    assert sorted(ticked) == list(range(SHARDS))
