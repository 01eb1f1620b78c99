"""`tocsin reshard` on a store that real engines made: nothing is lost, and what stops it half-way changes nothing."""

import time
from pathlib import Path
from typing import Any

import msgspec
import pytest

from cases.events import Event
from connectors.keyspace import Keys
from connectors.records import Records
from feedback.encode import encode_action
from feedback.instants import Instant
from feedback.layout import Layout
from feedback.records import Action, Verb
from flows import reshard as resharding
from flows.engine import run_engine
from flows.reshard import reshard
from flows.run import StateError, Stop
from flows.settings import DEFAULT_FILE, EngineSettings, Privacy, Programme, Settings, load
from flows.stores import owned, read_shape

SHARDS = 64


@pytest.fixture
def house(tmp_path: Path, store_url: str) -> Settings:
    return msgspec.structs.replace(
        load(DEFAULT_FILE, {}), state=tmp_path / "state", redis=store_url, metrics_port=0, privacy=Privacy(seal=False),
        programmes={"default": Programme(rules="contact-centre")}, engine=EngineSettings(shards=SHARDS, epoch_ms=50),
    )  # fmt: skip


def with_lanes(settings: Settings, lanes: int) -> Settings:
    return msgspec.structs.replace(settings, engine=msgspec.structs.replace(settings.engine, lanes=lanes))


def respond(records: Records, numbers: range) -> None:
    for number in numbers:
        record = {"id": f"r{number}", "customer": f"c{number}", "scores": {"nps": 1}, "text": "Nobody rang."}
        records.respond("default", msgspec.json.encode(record))


def note(records: Records, case: str) -> None:
    at = Instant(int(time.time()))
    action = Action(
        id=f"note-{case}", programme="default", case=case, do=Verb.NOTE, by="ann", at=at, received_at=at, arrived=0.0,
        reason="rang twice",
    )  # fmt: skip
    records.act("default", action.id, encode_action(action), "ann")


def events(records: Records) -> list[dict[str, Any]]:
    return [event for _, event in records.events("default", limit=10_000)]


def run_lanes(settings: Settings, until: set[str]) -> None:
    """Run each lane in turn until its share of *until* (marks of `marks_of`) has been said."""
    layout = Records(settings.redis).layout("default") or Layout(shards=SHARDS, lanes=settings.engine.lanes)
    for lane in range(layout.lanes):
        wanted = {mark for mark in until if _lane(layout, mark) == lane}
        stop = Stop()

        def watched(said: list[Event], wanted: set[str] = wanted, stop: Stop = stop) -> None:
            wanted -= {mark for event in said for mark in marks_of(event.type, event.data)}
            if not wanted:
                stop.request("all was said")

        run_engine(settings, {}, ends=False, stop=stop, watched=watched, lane=lane)


def marks_of(type_: str, data: Any) -> set[str]:
    """`c7` when its case was opened, `note-c-…` when that action had its effect."""
    if type_ == "case.opened":
        return {str(data["response"]["customer"])} if "response" in data else set()
    return {str(data["action"])} if str(data.get("action", "")).startswith("note-") else set()


def _lane(layout: Layout, mark: str) -> int | None:
    if mark.startswith("note-"):
        return layout.lane_of_case(mark.removeprefix("note-"))
    return layout.lane_of_customer("default", mark)


def test_cases_and_what_waited_unread_go_over_and_nothing_is_doubled(house: Settings) -> None:
    records = Records(house.redis)
    records.lay_out(["default"], Layout(shards=SHARDS, lanes=2))
    respond(records, range(60))
    run_lanes(with_lanes(house, 2), {f"c{n}" for n in range(60)})
    cases = [str(e["subject"]) for e in events(records) if e["type"] == "tocsin.case.opened"]
    for case in cases:
        note(records, case)
    respond(records, range(60, 80))

    done = reshard(house, house.redis, 2, 3, print)
    assert (done.cases, done.carried) == (len(cases), len(cases) + 20)
    assert len(cases) > 60  # a rule with memory opened the others
    layout = Layout(shards=SHARDS, lanes=3, generation=1)
    assert records.layout("default") == layout
    respond(records, range(80, 90))
    run_lanes(with_lanes(house, 3), {*(f"c{n}" for n in range(60, 90)), *(f"note-{case}" for case in cases)})

    done = reshard(house, house.redis, 3, 1, print)
    said = events(records)
    assert (done.cases, done.carried) == (sum(e["type"] == "tocsin.case.opened" for e in said), 0)
    opened = [c for e in said if e["type"] == "tocsin.case.opened" for c in marks_of("case.opened", e["data"])]
    assert sorted(opened) == sorted(f"c{n}" for n in range(90))
    assert not [e for e in said if e["type"] in ("tocsin.action.refused", "tocsin.response.rejected")]
    assert len({e["id"] for e in said}) == len(said)


def test_what_stops_it_half_way_leaves_the_old_cut_as_it_was(house: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    records = Records(house.redis)
    respond(records, range(5))
    run_lanes(with_lanes(house, 1), {f"c{n}" for n in range(5)})

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(resharding, "write_shape", full)
        with pytest.raises(OSError, match="No space left"):
            reshard(house, house.redis, 1, 2, print)
    assert records.layout("default") == Layout(shards=SHARDS)
    respond(records, range(5, 8))
    run_lanes(with_lanes(house, 1), {f"c{n}" for n in range(5, 8)})
    assert reshard(house, house.redis, 1, 2, print).cases == 8
    shape = read_shape(house.state)
    assert shape is not None
    assert (shape.lanes, shape.generation) == (2, 1)


def test_it_is_refused_beside_an_engine_and_for_what_the_store_is_not(house: Settings) -> None:
    with owned(house.state, shard_count=SHARDS) as store:
        store.settle(0)
        with pytest.raises(StateError, match="an engine is running"):
            reshard(house, house.redis, 1, 2, print)
    for before, after, words in ((2, 3, "--from 1"), (1, 1, "already"), (1, 65, "64 shards")):
        with pytest.raises(StateError, match=words):
            reshard(house, house.redis, before, after, print)


def test_a_redis_that_lost_what_it_held_is_refused(house: Settings, redis: Any) -> None:
    respond(Records(house.redis), range(3))
    run_lanes(with_lanes(house, 1), {f"c{n}" for n in range(3)})
    marker = Keys("default").marker_of((house.state / "known" / "id").read_text().strip())
    (house.state / "known" / "marker").write_bytes((99).to_bytes(8, "little"))
    assert int(redis.get(marker) or 0) < 99
    with pytest.raises(StateError, match="has lost what it held"):
        reshard(house, house.redis, 1, 2, print)
