"""What would start with empty state is refused, in words that say what to do; and a lane has one engine."""

from pathlib import Path

import msgspec
import pytest

from feedback.layout import Layout
from flows.alerts import FIRST_STATEFUL, STATEFUL
from flows.run import StateError
from flows.stores import StoreFile, alone, folder_of, owned, read_shape, write_shape


def make(base: Path, *, lanes: int = 1, slots: int = 0, shards: int = 16) -> None:
    """A store whose lanes have all been begun."""
    for lane in range(lanes):
        with owned(base, shard_count=shards, lane=lane, lanes=lanes) as store:
            if store.is_new:
                store.settle(slots)
            store.begin(STATEFUL)


def test_a_store_of_one_lane_lies_in_the_directory_itself_and_others_in_folders_of_their_cut(tmp_path: Path) -> None:
    make(tmp_path / "one")
    make(tmp_path / "two", lanes=2)
    assert (tmp_path / "one" / "recovery").is_dir()
    assert {p.name for p in (tmp_path / "two" / "lanes-0").iterdir()} == {"0", "1"}
    assert folder_of(tmp_path, Layout(shards=16, generation=3), 0) == tmp_path / "lanes-3" / "0"


def test_another_number_of_shards_is_refused(tmp_path: Path) -> None:
    make(tmp_path)
    with pytest.raises(StateError, match=r"shards was 16 and is now 32.*Set engine.shards to 16"):  # noqa: SIM117
        with owned(tmp_path, shard_count=32):
            pass


def test_another_number_of_lanes_is_refused_with_the_command_that_changes_it(tmp_path: Path) -> None:
    make(tmp_path, lanes=2)
    with pytest.raises(StateError, match="tocsin reshard --from 2 --to 3"):  # noqa: SIM117
        with owned(tmp_path, shard_count=16, lane=0, lanes=3):
            pass


def test_a_store_of_several_lanes_is_not_run_as_if_it_had_one(tmp_path: Path) -> None:
    make(tmp_path, lanes=2)
    with pytest.raises(StateError, match="--processes 2"):  # noqa: SIM117
        with owned(tmp_path, shard_count=16):
            pass


def test_a_lane_that_is_not_there_is_refused(tmp_path: Path) -> None:
    make(tmp_path, lanes=2)
    with pytest.raises(StateError, match="lanes 0 to 1"):  # noqa: SIM117
        with owned(tmp_path, shard_count=16, lane=2):
            pass


def test_a_flow_without_a_step_that_has_state_is_refused(tmp_path: Path) -> None:
    make(tmp_path)
    with owned(tmp_path, shard_count=16) as store, pytest.raises(StateError, match=r"tocsin\.shards"):
        store.begin(["tocsin.lane", "tocsin.drawers", "tocsin.sink_0"])


def test_a_recovery_store_that_is_gone_is_not_made_anew(tmp_path: Path) -> None:
    make(tmp_path)
    (tmp_path / "recovery").rename(tmp_path / "elsewhere")
    with owned(tmp_path, shard_count=16) as store, pytest.raises(StateError, match="restore it from a backup"):
        store.begin(STATEFUL)


@pytest.mark.parametrize(("name", "value"), [("flow", "alerts"), ("form", 7)])
def test_another_release_is_refused(tmp_path: Path, name: str, value: object) -> None:
    make(tmp_path)
    shape = read_shape(tmp_path)
    assert shape is not None
    write_shape(tmp_path, msgspec.structs.replace(shape, **{name: value}))
    with pytest.raises(StateError, match="Run with the release that made it"):
        read_shape(tmp_path)


@pytest.mark.parametrize("text", ["", "{", "{}", '{"flow":"tocsin","shards":4,"form":1,"lanes":9}'])
def test_a_damaged_shape_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "store.json").write_text(text)
    with pytest.raises(StateError, match="restore it from a backup"):
        read_shape(tmp_path)


def test_the_shape_that_earlier_releases_wrote_is_one_lane_placed_by_the_hash(tmp_path: Path) -> None:
    (tmp_path / "store.json").write_text('{"flow": "tocsin", "shards": 4096, "form": 1}\n')
    assert read_shape(tmp_path) == StoreFile(flow="tocsin", shards=4096, form=1, steps=FIRST_STATEFUL, lanes=1, slots=0)


def test_a_store_from_before_a_step_takes_it_up_and_cannot_go_back(tmp_path: Path) -> None:
    make(tmp_path)
    shape = read_shape(tmp_path)
    assert shape is not None
    write_shape(tmp_path, msgspec.structs.replace(shape, steps=FIRST_STATEFUL))
    with owned(tmp_path, shard_count=16) as store:
        store.begin(STATEFUL)
    with owned(tmp_path, shard_count=16) as store, pytest.raises(StateError, match=r"tocsin\.windows"):
        store.begin(FIRST_STATEFUL)


def test_a_lane_has_one_engine_and_another_lane_its_own(tmp_path: Path) -> None:
    make(tmp_path, lanes=2)
    again = owned(tmp_path, shard_count=16, lane=1)
    with owned(tmp_path, shard_count=16, lane=0), owned(tmp_path, shard_count=16, lane=1):  # noqa: SIM117
        with pytest.raises(StateError, match="another engine is running"), again:
            pass


def test_nobody_cuts_a_store_anew_beside_an_engine_nor_runs_one_meanwhile(tmp_path: Path) -> None:
    make(tmp_path, lanes=2)
    with owned(tmp_path, shard_count=16, lane=1), pytest.raises(StateError, match="an engine is running"):  # noqa: SIM117
        with alone(tmp_path):
            pass
    with alone(tmp_path), pytest.raises(StateError, match="being cut anew"):  # noqa: SIM117
        with owned(tmp_path, shard_count=16, lane=1):
            pass


def test_two_lanes_that_begin_together_agree_on_the_shape(tmp_path: Path) -> None:
    first_lane, second_lane = (owned(tmp_path, shard_count=16, lane=lane, lanes=2) for lane in (0, 1))
    with first_lane as first, second_lane as second:
        first.settle(8)
        second.settle(4)
        assert first.layout == second.layout == Layout(shards=16, lanes=2, slots=8, spread=True)


def test_more_lanes_than_partitions_are_refused(tmp_path: Path) -> None:
    with owned(tmp_path, shard_count=16, lane=0, lanes=5) as store, pytest.raises(StateError, match="4 partitions"):
        store.settle(4)
