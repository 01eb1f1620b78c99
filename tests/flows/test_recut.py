"""A store that is cut, and cut anew, and resumed says event for event what one says that was never touched."""

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
import pytest
from bytewax.errors import BytewaxRuntimeError
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from connectors.reading import Place, part_of
from feedback.ids import case_id
from feedback.layout import Layout
from feedback.records import Envelope
from flows.outages import merge
from flows.recut import LaneState, read_state, regroup, write_state
from flows.run import StateError
from tests.flows.story import SHARDS, START, STEP_S, Cut, ListReader, Store, World, action, response, run, said

SLOTS = 4
CUSTOMERS = [f"k{n}" for n in range(8)]
WHOLE = Layout(shards=SHARDS, slots=SLOTS)


def slot(customer: str) -> int:
    """The partition that a producer puts *customer* into: any will do, as long as it is always the same."""
    return int(customer[1:]) % SLOTS


def story() -> list[Envelope]:
    """Eight customers over four partitions: each opens a case, some are acknowledged, all are heard again.

    Never at the second at which a clock of theirs falls due: which of the two is told first hangs on the poll.
    """
    found: list[Envelope] = []

    def add(customer: str, envelope: Envelope) -> None:
        position = f"{slot(customer)}:{envelope.position}"
        found.append(msgspec.structs.replace(envelope, position=position))

    for turn, customer in enumerate(CUSTOMERS):
        shard = WHOLE.shard("default", customer, slot(customer))
        case = case_id(shard, "default", customer, "detractor", "", "story", f"{10 + turn}")
        at = 10 + 35 * turn
        add(customer, response(10 + turn, at, nps=1, customer=customer, text="late" if turn % 3 == 0 else "hm"))
        if turn % 2:
            add(customer, action(30 + turn, at + 60, case, "acknowledge", "ann"))
            add(customer, action(50 + turn, at + 90, case, "contact", "ann"))
        if turn % 4 == 1:
            add(customer, action(70 + turn, at + 200, case, "pause", "ann", reason="away", data={"clock": "resolve"}))
        add(customer, response(10 + turn, at + 287, nps=2, customer=customer, text="still late"))
        add(customer, response(90 + turn, at + 433, nps=0, customer=customer, text="and again"))
    return sorted(found, key=lambda envelope: envelope.received_at)


class PartReader(ListReader):
    """The partitions of one lane. Dies at an instant."""

    def __init__(
        self, world: World, envelopes: Sequence[Envelope], resume: str | None, mine: set[int], dies_at: float | None
    ) -> None:
        super().__init__(world, envelopes, None, None)
        place = Place(resume)
        order = [e.position for e in envelopes]
        taken = {part: order.index(f"{part}:{last}") for part in mine if (last := place.of(str(part))) is not None}
        self._left = [
            e for n, e in enumerate(envelopes) if (part := part_of(e.position)) in mine and n > taken.get(part or 0, -1)
        ]
        self._dies_at = dies_at

    def poll(self, limit: int) -> Sequence[Envelope]:
        if self._dies_at is not None and self._world.at >= self._dies_at:
            raise Cut
        self._world.at += STEP_S
        # All that is there, as a broker gives it: what comes a poll late is overtaken by clocks.
        ready = [e for e in self._left if e.received_at <= self._world.at]
        self._left = self._left[len(ready) :]
        return ready


def run_lanes(store: Store, base: Path, layout: Layout, *, begins_at: float, dies_at: float | None) -> None:
    """Every lane of the store under *base*, one after the other, each in a world of its own."""
    for lane in range(layout.lanes):
        mine = {part for part in range(SLOTS) if layout.lane_of_partition(part) == lane}
        world = World(at=begins_at)
        folder = base / f"{layout.generation}-{lane}" / "recovery"
        folder.parent.mkdir(parents=True, exist_ok=True)

        def reader_of(
            world: World, envelopes: Sequence[Envelope], resume: str | None, mine: set[int] = mine
        ) -> PartReader:
            return PartReader(world, envelopes, resume, mine, dies_at)

        try:
            run(store, story(), folder, world=world, layout=layout, lane=lane, reader_of=reader_of)
        except BytewaxRuntimeError:
            assert dies_at is not None


def cut_anew(base: Path, before: Layout, after: Layout) -> None:
    old = [base / f"{before.generation}-{lane}" for lane in range(before.lanes)]
    states = regroup([read_state(folder / "recovery") for folder in old], after, [{}] * after.lanes)
    for lane, state in enumerate(states):
        folder = base / f"{after.generation}-{lane}"
        write_state(folder, state)
        merge([path / "time" for path in old], folder / "time")


def whole() -> Store:
    store = Store()
    with TemporaryDirectory() as folder:
        run_lanes(store, Path(folder), WHOLE, begins_at=float(START), dies_at=None)
    return store


WANTED = whole()


def test_the_story_is_worth_cutting() -> None:
    types = {event.type for event in WANTED.events.values()}
    assert {"case.opened", "clock.breached", "clock.paused", "clock.warned", "case.updated", "case.escalated"} <= types
    assert {slot(customer) for customer in CUSTOMERS} == set(range(SLOTS))


@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.lists(st.integers(1, SLOTS), min_size=2, max_size=3),
    st.lists(st.integers(1, 140).map(lambda n: n * 5), min_size=2, max_size=2, unique=True).map(sorted),
)
@example([1, 2, 4], [200, 500])
@example([4, 1, 3], [35, 310])
@example([1, 1, 1], [5, 475])
def test_cut_anew_anywhere_it_says_the_same(lanes: list[int], cuts: list[int]) -> None:
    store, begins_at = Store(), float(START)
    with TemporaryDirectory() as folder:
        layouts = [Layout(shards=SHARDS, slots=SLOTS, lanes=n, generation=g) for g, n in enumerate(lanes)]
        for number, layout in enumerate(layouts):
            is_last = number == len(layouts) - 1
            dies_at = None if is_last else START + cuts[number]
            run_lanes(store, Path(folder), layout, begins_at=begins_at, dies_at=dies_at)
            if not is_last:
                cut_anew(Path(folder), layout, layouts[number + 1])
                begins_at = START + cuts[number] + 20.0
    assert {i: said(e) for i, e in store.events.items()} == {i: said(e) for i, e in WANTED.events.items()}
    assert {i: e.sequence for i, e in store.events.items()} == {i: e.sequence for i, e in WANTED.events.items()}


def test_no_drawer_is_lost_and_none_is_in_two_lanes(tmp_path: Path) -> None:
    drawers = {n: (2, n, bytes([n])) for n in range(SHARDS)}
    state = LaneState(source={"version": 1, "book": "b", "positions": {"t": "0:7,1:8,2:9"}}, drawers=drawers)
    found = regroup([state], Layout(shards=SHARDS, slots=SLOTS, lanes=3), [{}] * 3)
    assert sorted(n for lane in found for n in lane.drawers) == list(range(SHARDS))
    assert [lane.places for lane in found] == [{"t": "0:7"}, {"t": "1:8"}, {"t": "2:9"}]


def test_what_is_written_is_read_back_with_what_the_store_may_not_have(tmp_path: Path) -> None:
    state = LaneState(
        source={"version": 1, "book": "b", "positions": {"default:actions": "1-1"}},
        drawers={3: (2, 3, b"three"), 15: (2, 15, b"fifteen")},
        sinks={"sink_0": [b"batch"], "sink_1": []},
    )
    write_state(tmp_path, state)
    assert read_state(tmp_path / "recovery") == state
    assert read_state(tmp_path / "recovery") == state


def test_lanes_that_stopped_under_different_rules_are_refused() -> None:
    lanes = [LaneState(source={"version": 1, "book": book, "positions": {}}) for book in "ab"]
    with pytest.raises(StateError, match="different rules"):
        regroup(lanes, WHOLE, [{}])


def test_the_models_of_the_first_lane_go_on_in_every_new_one() -> None:
    source = {"version": 1, "book": "b", "positions": {}}
    before = [LaneState(source={**source, "models": [[0, "v"]]}), LaneState(source={**source, "models": [[0, "w"]]})]
    after = regroup(before, Layout(shards=8, lanes=3), [{}, {}, {}])
    assert [state.source["models"] for state in after if state.source] == [[[0, "v"]]] * 3
