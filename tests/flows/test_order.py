"""What the lane gave out before a crash it gives out again in the same order, however its readers answer then."""

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.reading import Place, Theirs
from feedback.instants import Instant
from feedback.records import Envelope, Tick
from flows.engine_time import EngineClock
from flows.indexes import DueIndex
from flows.lane import HOLD_AT_MOST_S, Input, Lane
from flows.order import OrderLog, is_behind
from flows.outages import Outages
from flows.timetable import InForce
from tests.flows.test_ticking import Unmetered


class Source:
    """Records of one or several parts, each of which arrives when it is told to; what it holds outlives a crash."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.parts: dict[str, list[Envelope]] = defaultdict(list)
        self.here = True

    def put(self, received_at: int, part: str = "") -> None:
        records = self.parts[part]
        position = f"{part}:{len(records)}" if part else f"{len(records)}-0"
        records.append(Envelope(raw=b"", source=self.name, position=position, received_at=received_at, programme="p"))


class FromSource:
    """A reader of it. *backwards*: which part it looks at first."""

    lag = 0
    trouble = ""
    finished = False

    def __init__(self, source: Source, place: str | None, *, backwards: bool = False) -> None:
        self.name, self._source, self._backwards = source.name, source, backwards
        self._place = Place(place)
        self.caught_up = False

    def poll(self, limit: int) -> Sequence[Envelope]:
        if not self._source.here:
            return ()
        found: list[Envelope] = []
        for part in sorted(self._source.parts, reverse=self._backwards):
            before = self._place.of(part)
            found += [e for e in self._source.parts[part] if before is None or is_behind(before, e.position)]
        found = found[:limit]
        for envelope in found:
            self._place.take(envelope.position)
        self.caught_up = not found
        return found

    def release(self, place: str) -> None:
        """It keeps everything."""

    def forget(self, is_theirs: Theirs) -> int:
        return 0

    def close(self) -> None:
        """Nothing is open."""


class World:
    """Two sources, and the lane that reads them; `crash` starts another one from the last snapshot."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.one, self.two = Source("one"), Source("two")
        self.due = DueIndex()
        self.at = 1000.0
        self._state: dict[str, object] | None = None
        self.given: list[str] = []
        """Since the snapshot."""
        self._start()

    def _start(self, *, backwards: bool = False) -> None:
        state = self._state or {"positions": {}, "order": 0}
        places = state["positions"]
        assert isinstance(places, dict)
        inputs = [
            Input(FromSource(s, places.get(s.name), backwards=backwards), places.get(s.name), binding=False)
            for s in (self.one, self.two)
        ]
        since = state["order"]
        assert isinstance(since, int)
        self.lane = Lane(
            inputs,
            in_force=InForce("b"),
            due=self.due,
            clock=EngineClock(wall=lambda: self.at, boot=lambda: self.at),
            stopping=lambda: False,
            ends=False,
            meter=Unmetered(),
            outages=Outages(None),
            order=OrderLog(self._folder),
            since=since,
        )

    def batch(self) -> list[str]:
        found = [
            f"{what.source} {what.position}" if isinstance(what, Envelope) else f"tick {what.shard} {what.at}"
            for what, _ in self.lane.next_batch()
            if isinstance(what, Envelope | Tick)
        ]
        self.given += found
        return found

    def snapshot(self) -> None:
        self._state = self.lane.snapshot()
        self.given = []

    def crash(self, *, backwards: bool = False) -> list[str]:
        """What had been given out since the snapshot."""
        before, self.given = self.given, []
        self._start(backwards=backwards)
        return before


def test_a_record_that_came_late_and_a_tick_stay_where_they_were(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.one.put(900)
    world.batch()
    world.due.register(7, Instant(950))
    world.batch()
    world.two.put(800)
    world.batch()
    assert world.given == ["one 0-0", "tick 7 999", "two 0-0"]
    before = world.crash()
    world.due.register(8, Instant(950))  # what fell due meanwhile waits until the past is told
    for _ in range(3):
        world.batch()
    assert world.given == [*before, "tick 8 999"]


def test_a_second_crash_in_the_middle_changes_nothing(tmp_path: Path) -> None:
    world = World(tmp_path)
    for at in range(600):
        world.one.put(at)
        if at % 3 == 0:
            world.batch()
    world.snapshot()
    for at in (900, 300, 200):
        world.two.put(at)
        world.batch()
        world.one.put(at - 1)
        world.batch()
    before = world.crash()
    world.batch()
    world.crash()
    while len(world.given) < len(before):
        world.batch()
    assert world.given == before


def test_what_is_gone_from_its_source_is_not_waited_for(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.two.put(500)
    world.batch()
    world.one.put(400)
    world.batch()
    world.two.parts.clear()
    world.crash()
    world.one.put(450)
    for _ in range(3):
        world.batch()
    assert world.given == ["one 0-0", "one 1-0"]


def test_a_source_that_stays_away_does_not_hold_the_clocks_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds = [5.0]
    monkeypatch.setattr("flows.lane.time.monotonic", lambda: seconds[0])
    world = World(tmp_path)
    world.two.put(500)
    world.batch()
    world.crash()
    world.due.register(7, Instant(950))
    world.two.here = False
    for _ in range(int(HOLD_AT_MOST_S)):
        assert world.batch() == []
        seconds[0] += 1
        world.at += 1
    world.batch()  # gives up
    assert world.batch() == ["tick 7 1059"]


def test_only_what_a_resume_may_ask_for_is_kept(tmp_path: Path) -> None:
    world = World(tmp_path)
    for at in range(20):
        world.one.put(at)
        world.batch()
        world.snapshot()
    assert len(list(tmp_path.iterdir())) <= 3


def test_a_line_torn_by_a_power_cut_ends_what_is_known(tmp_path: Path) -> None:
    log = OrderLog(tmp_path)
    for number in range(3):
        log.taken("one", str(number))
        log.write()
    log.close()
    (path,) = tmp_path.iterdir()
    path.write_bytes(path.read_bytes()[:-4])
    assert [entry.position for entry in OrderLog(tmp_path).since(0) if hasattr(entry, "position")] == ["0", "1"]


@given(
    steps=st.lists(
        st.tuples(
            st.sampled_from(["one", "two", "tick", "batch", "snapshot"]), st.integers(0, 990), st.sampled_from("01")
        ),
        max_size=60,
    ),
    crash_after=st.integers(0, 60),
    backwards=st.booleans(),
)
def test_however_it_went_it_goes_so_again(steps: list[tuple[str, int, str]], crash_after: int, backwards: bool) -> None:
    with TemporaryDirectory() as folder:
        world = World(Path(folder))
        for number, (what, at, part) in enumerate(steps):
            match what:
                case "one":
                    world.one.put(at)
                case "two":
                    world.two.put(at, part)
                case "tick":
                    world.due.register(int(at), Instant(at))
                case "snapshot":
                    world.snapshot()
                case _:
                    world.batch()
            if number == crash_after:
                before = world.crash(backwards=backwards)
                for _ in range(2 * len(before) + 2):
                    if len(world.given) < len(before):
                        world.batch()
                assert world.given[: len(before)] == before
