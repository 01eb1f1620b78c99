"""The store against a real server: idempotent, ordered, and written again when the server lost something."""

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cases.events import Event
from connectors.embedded import Embedded
from connectors.records import Records
from connectors.redis_link import client
from connectors.redis_store import RedisStore
from connectors.store_mark import StoreMark
from feedback.instants import Instant
from tests.builders import START, engine, envelope
from tests.connectors.outage import Outage
from tests.flows.story import book


def events(count: int = 3) -> list[Event]:
    """What the engine says of a few detractors and something unreadable."""
    world = engine(book())
    records = [
        envelope({"id": f"r{n}", "customer": f"c{n}", "scores": {"nps": 1}, "text": "schlecht ✗"}, START, str(n))
        for n in range(count)
    ]
    said = world.hear([*records, envelope(b"\xff not json", START, "bad")])
    return [*said, *world.advance(Instant(START + 400))]


def written(redis: Any) -> list[str]:
    return [fields[b"id"].decode() for _, fields in redis.xrange("tocsin:{default}:events")]


def waited_for(url: str, count: int) -> list[str]:
    """Ids of the events that can be read, once there are *count* of them."""
    deadline = time.monotonic() + 20
    with client(url) as connection:
        while len(found := written(connection)) < count and time.monotonic() < deadline:
            time.sleep(0.02)
    return found


def wait_until(claim: Callable[[], Any]) -> None:
    deadline = time.monotonic() + 20
    while not claim():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_events_are_written_in_order_and_once(store_url: str, redis: Any) -> None:
    said = events()
    store = RedisStore(store_url, ["default"])
    store.write(said)
    store.write(said)
    store.close()
    assert written(redis) == [event.id for event in said]


def test_a_replay_in_another_order_changes_no_record(store_url: str, redis: Any) -> None:
    said = events()
    store = RedisStore(store_url, ["default"])
    store.write(said)
    case = next(str(event.case) for event in said if event.case)
    before = redis.hgetall(f"tocsin:{{default}}:case:{case}")
    for event in said:
        store.write([event])
    store.close()
    assert redis.hgetall(f"tocsin:{{default}}:case:{case}") == before


def test_the_record_is_what_people_see(store_url: str) -> None:
    said = events(1)
    store = RedisStore(store_url, ["default"])
    store.write(said)
    store.close()
    records = Records(store_url)
    case = next(str(event.case) for event in said if event.case)
    record = records.case("default", case)
    assert record is not None
    assert [entry["id"] for entry in record["log"]] == [event.id for event in said if event.case]
    assert record["responses"][0]["text"] == "schlecht ✗"
    assert [row["id"] for row in records.cases("default")] == [case]
    assert records.dead("default")[0]["reason"] == "not_json"
    records.close()


def test_what_a_killed_server_lost_is_written_again(own_server: Embedded, tmp_path: Path) -> None:
    said = events()
    store = RedisStore(own_server.url, ["default"])
    store.write(said[:5])
    outage = Outage(own_server)
    outage.begin()
    outage.lose(tmp_path)
    outage.end()
    store.write(said[5:])
    store.close()
    with client(own_server.url) as connection:
        assert sorted(written(connection)) == sorted(event.id for event in said)


def test_what_a_killed_server_lost_is_written_again_though_nothing_new_is_said(
    own_server: Embedded, tmp_path: Path
) -> None:
    said = events()
    store = RedisStore(own_server.url, ["default"])
    store.write(said)
    outage = Outage(own_server)
    outage.begin()
    outage.lose(tmp_path)
    outage.end()
    assert waited_for(own_server.url, len(said)) == [event.id for event in said]
    store.close()


def test_a_snapshot_is_written_though_nothing_new_is_said(store_url: str, redis: Any) -> None:
    said = events()
    first = RedisStore(store_url, ["default"])
    first.write(said)
    kept = first.unconfirmed()
    first.close()
    redis.flushall()
    second = RedisStore(store_url, ["default"])
    second.restore(kept)
    assert waited_for(store_url, len(said)) == [event.id for event in said]
    second.close()


def test_a_server_that_comes_back_full_is_written_again_once_it_has_room(own_server: Embedded, tmp_path: Path) -> None:
    said = events()
    store = RedisStore(own_server.url, ["default"])
    store.write(said[:5])
    outage = Outage(own_server)
    outage.begin()
    outage.lose(tmp_path)
    outage.end()
    with client(own_server.url) as connection:
        connection.config_set("maxmemory", 1)
        writing = threading.Thread(target=store.write, args=(said[5:],))
        writing.start()
        deadline = time.monotonic() + 20
        while "maxmemory" not in store.trouble and time.monotonic() < deadline:
            time.sleep(0.005)
        connection.config_set("maxmemory", 0)
        writing.join(20)
        store.close()
        assert sorted(written(connection)) == sorted(event.id for event in said)


def test_what_is_not_confirmed_goes_into_the_snapshot_and_is_written_by_the_next(store_url: str, redis: Any) -> None:
    said = events()
    first = RedisStore(store_url, ["default"])
    first.write(said)
    kept = first.unconfirmed()
    first.close()
    assert kept
    redis.flushall()
    second = RedisStore(store_url, ["default"])
    second.restore(kept)
    second.write([])
    second.close()
    assert written(redis) == [event.id for event in said]


def test_after_a_restart_of_the_server_what_is_written_is_confirmed_again(own_server: Embedded) -> None:
    said = events()
    store = RedisStore(own_server.url, ["default"])
    store.write(said[:5])
    wait_until(lambda: not store.unconfirmed())
    outage = Outage(own_server)
    outage.begin()
    outage.end()
    store.write(said[5:])
    wait_until(lambda: not store.unconfirmed())
    store.close()


def test_a_store_that_has_less_than_was_known_is_told_of_once(store_url: str, redis: Any) -> None:
    lost: list[tuple[int, int]] = []
    mark = StoreMark()
    store = RedisStore(store_url, ["default"], mark=mark, lost=lambda *found: lost.append(found))
    store.write(events())
    wait_until(lambda: mark.number)
    known = mark.number
    redis.flushall()
    wait_until(lambda: lost)
    wait_until(lambda: redis.exists("tocsin:programmes"))
    store.write(events())
    wait_until(lambda: mark.number)
    store.close()
    assert lost == [(known, 0)]


def test_a_mark_outlives_its_process_and_keeps_its_name(tmp_path: Path) -> None:
    first = StoreMark(tmp_path)
    first.note(812)
    again = StoreMark(tmp_path)
    assert (again.number, again.id) == (812, first.id)


@pytest.mark.parametrize("raw", [b"", b"\x93\x03\xa1x\x90"])
def test_a_snapshot_of_another_form_is_refused(store_url: str, raw: bytes) -> None:
    store = RedisStore(store_url, ["default"])
    with pytest.raises(ValueError, match="batch of events"):
        store.restore([raw])
