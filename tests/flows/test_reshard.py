"""`tocsin reshard` on a store that real engines made: nothing is lost, and what stops it half-way changes nothing."""

import threading
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
from flows.stores import owned, read_shape, shape_of, write_shape

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
    records.lay_out(["default"], Layout(shards=SHARDS, lanes=2, spread=True))
    respond(records, range(60))
    run_lanes(with_lanes(house, 2), {f"c{n}" for n in range(60)})
    cases = [str(e["subject"]) for e in events(records) if e["type"] == "tocsin.case.opened"]
    for case in cases:
        note(records, case)
    respond(records, range(60, 80))

    done = reshard(house, house.redis, 2, 3, print)
    assert done.cases == len(cases)
    assert done.carried >= len(cases) + 20  # and facts that the lane which ran first had no more time to read
    assert len(cases) > 60  # a rule with memory opened the others
    layout = Layout(shards=SHARDS, lanes=3, generation=1, spread=True)
    assert records.layout("default") == layout
    respond(records, range(80, 90))
    run_lanes(with_lanes(house, 3), {*(f"c{n}" for n in range(60, 90)), *(f"note-{case}" for case in cases)})

    done = reshard(house, house.redis, 3, 1, print)
    said = events(records)
    assert done.cases == sum(e["type"] == "tocsin.case.opened" for e in said)
    opened = [c for e in said if e["type"] == "tocsin.case.opened" for c in marks_of("case.opened", e["data"])]
    assert sorted(opened) == sorted(f"c{n}" for n in range(90))
    assert not [e for e in said if e["type"] in ("tocsin.action.refused", "tocsin.response.rejected")]
    assert len({e["id"] for e in said}) == len(said)


def at_site(records: Records, customers: list[str]) -> None:
    for customer in customers:
        record = {"id": f"at-{customer}", "customer": customer, "scores": {"nps": 1}, "attributes": {"site": "Hull"}}
        records.respond("default", msgspec.json.encode(record))


def alerts(records: Records) -> list[dict[str, Any]]:
    """What the alert about the site said, in order: its opening, and who joined."""
    said = events(records)
    about = {e["subject"] for e in said if e["data"].get("alert", {}).get("key") == "Hull"}
    assert len(about) <= 1
    return [e["data"] for e in said if e.get("subject") in about and ("alert" in e["data"] or "count" in e["data"])]


def run_until_said(settings: Settings, lanes: int, count: int) -> None:
    """Run the lanes in turn, so long as it takes, until the alert about the site counts *count*."""
    records = Records(settings.redis)

    def is_said() -> bool:
        return any(d.get("count", d.get("alert", {}).get("count")) == count for d in alerts(records))

    deadline = time.monotonic() + 60
    while not is_said():
        assert time.monotonic() < deadline, alerts(records)
        for lane in range(lanes):
            stop, until = Stop(), time.monotonic() + 1.5
            ticker = threading.Timer(until - time.monotonic(), stop.request, ("for the next",))
            ticker.start()
            run_engine(with_lanes(settings, lanes), {}, ends=False, stop=stop, lane=lane)
            ticker.cancel()


def test_a_window_over_all_lanes_goes_on_after_each_cut_and_counts_nothing_twice(house: Settings) -> None:
    records = Records(house.redis)
    two, three = (Layout(shards=SHARDS, lanes=lanes, spread=True) for lanes in (2, 3))
    people = [[f"p{n}" for n in range(99) if two.lane_of_customer("default", f"p{n}") == lane] for lane in (0, 1)]
    records.lay_out(["default"], two)
    at_site(records, [*people[0][:2], *people[1][:2]])  # four: an alert takes five
    run_lanes(with_lanes(house, 2), {*people[0][:2], *people[1][:2]})
    assert reshard(house, house.redis, 2, 3, print).carried  # facts that the lane which ran first has not read
    more = [next(p for p in people[0][2:] if three.lane_of_customer("default", p) == lane) for lane in range(3)]
    at_site(records, more[:1])
    run_until_said(house, 3, 5)
    at_site(records, more[1:2])
    run_until_said(house, 3, 6)
    reshard(house, house.redis, 3, 1, print)
    at_site(records, more[2:])
    run_until_said(house, 1, 7)
    assert max(d["count"] for d in alerts(records) if "count" in d) == 7


def test_a_store_of_an_earlier_release_counts_by_lane_until_it_is_cut_anew(house: Settings) -> None:
    records = Records(house.redis)
    old = Layout(shards=SHARDS, lanes=2)
    people = [[f"p{n}" for n in range(99) if old.lane_of_customer("default", f"p{n}") == lane] for lane in (0, 1)]
    house.state.mkdir(parents=True)
    write_shape(house.state, shape_of(old, ""))
    records.lay_out(["default"], old)
    at_site(records, [*people[0][:4], *people[1][:4]])
    run_lanes(with_lanes(house, 2), {*people[0][:4], *people[1][:4]})
    assert not alerts(records)
    assert reshard(house, house.redis, 2, 2, print).cases == 8  # the same number: that is what it is for here
    shape = read_shape(house.state)
    assert shape is not None
    assert shape.spread
    at_site(records, people[1][4:8])  # what lane 0 had counted goes on, what lane 1 had is let go
    run_until_said(house, 2, 5)


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
    assert records.layout("default") == Layout(shards=SHARDS, spread=True)
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
