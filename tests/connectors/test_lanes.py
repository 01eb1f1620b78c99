"""Whoever writes an action or a response finds its lane, also when the store is cut anew while they run."""

import asyncio
import json
from typing import Any

import pytest

from connectors.intake import Ask, Closed, Intake, entry_of
from connectors.keyspace import Keys
from connectors.records import Records, StoreClosed
from feedback.decode import Decoder
from feedback.ids import case_id
from feedback.layout import Layout
from feedback.metrics import STANDARD
from feedback.records import Action, Envelope, Outcome, Response

KEYS = Keys("default")
LAYOUT = Layout(shards=16, lanes=3)
DECODER = Decoder(STANDARD, frozenset({"default"}))


def record(**fields: Any) -> tuple[Response | Outcome | Action, bytes]:
    raw = json.dumps(fields).encode()
    found = DECODER.decode(Envelope(raw=raw, source="http", position="", received_at=1.8e9))
    assert isinstance(found, Response | Outcome | Action)
    return found, raw


def action(number: int) -> dict[str, Any]:
    return {"kind": "action", "id": f"a{number}", "case": case_id(number % 16, "x"), "do": "note", "by": "ann"}


def written(redis: Any, stream: str) -> dict[str, set[str]]:
    """Lane to the ids of what is in its stream."""
    names = {f"lane {lane}": KEYS.of_lane(stream, lane) for lane in range(3)}
    return {k: {json.loads(f[b"record"])["id"] for _, f in redis.xrange(name)} for k, name in names.items()}


def test_an_action_goes_into_the_lane_of_its_case(store_url: str, redis: Any) -> None:
    records = Records(store_url)
    records.lay_out(["default"], LAYOUT)
    for number in range(16):
        records.act("default", f"a{number}", json.dumps(action(number)).encode(), "ann")
    assert written(redis, KEYS.actions) == {
        f"lane {lane}": {f"a{n}" for n in range(16) if n % 3 == lane} for lane in range(3)
    }


def test_an_action_is_not_taken_while_the_store_is_cut_anew(store_url: str, redis: Any) -> None:
    records = Records(store_url)
    records.lay_out(["default"], Layout(shards=16, closed=True))
    with pytest.raises(StoreClosed, match="again in a minute"):
        records.act("default", "a1", json.dumps(action(1)).encode(), "ann")
    assert written(redis, KEYS.actions)["lane 0"] == set()


def test_the_door_finds_the_lane_of_a_case_and_of_a_customer(store_url: str, redis: Any) -> None:
    Records(store_url).lay_out(["default"], LAYOUT)
    said = [action(n) for n in range(16)] + [{"id": f"r{n}", "customer": f"c{n}"} for n in range(40)]
    said += [{"id": f"n{n}"} for n in range(10)]
    entries = tuple(entry_of(*record(**fields)) for fields in said)

    async def run() -> None:
        async with Intake(store_url, marker=KEYS.marker, wait_for_disk=False) as intake:
            for entry in entries:
                await intake.hand_in(Ask(programme="default", entries=(entry,), remember_s=60))

    asyncio.run(run())
    assert all(f"a{n}" in written(redis, KEYS.actions)[f"lane {n % 3}"] for n in range(16))
    found = written(redis, KEYS.inbox)
    for number in range(40):
        lane = LAYOUT.lane_of_customer("default", f"c{number}")
        assert f"r{number}" in found[f"lane {lane}"]
    assert all(len(ids) > 5 for ids in found.values())
    assert sum(len(ids) for ids in found.values()) == 50


def test_a_door_that_runs_on_while_the_store_is_cut_anew_refuses_and_then_finds_the_new_lanes(
    store_url: str, redis: Any
) -> None:
    records = Records(store_url)

    async def run() -> None:
        async with Intake(store_url, marker=KEYS.marker, wait_for_disk=False) as intake:

            async def hand_in(number: int) -> None:
                entry = entry_of(*record(**action(number)))
                await intake.hand_in(Ask(programme="default", entries=(entry,), remember_s=60))

            await hand_in(1)
            records.lay_out(["default"], Layout(shards=16, closed=True))
            for _ in range(2):
                with pytest.raises(Closed):
                    await hand_in(2)
            records.lay_out(["default"], Layout(shards=16, lanes=3, generation=1))
            await hand_in(2)
            await hand_in(4)

    asyncio.run(run())
    assert written(redis, KEYS.actions) == {"lane 0": {"a1"}, "lane 1": {"a4"}, "lane 2": {"a2"}}


@pytest.mark.parametrize("raw", [b"{", b"\xff", b"[1]", b""])
def test_what_cannot_be_read_is_handed_in_for_the_engine_to_reject(store_url: str, redis: Any, raw: bytes) -> None:
    records = Records(store_url)
    records.lay_out(["default"], LAYOUT)
    records.respond("default", raw)
    assert [fields for _, fields in redis.xrange(KEYS.inbox)] == [{b"record": raw}]
