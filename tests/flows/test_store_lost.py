"""A store that is not the one the engine knew: wiped under it, wiped while it was away, or an older copy.

The whole program against a real server. Afterwards every case has its record and its place in every index again.
"""

import json
import re
import shutil
import struct
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from connectors.keyspace import Keys
from connectors.records import Records
from connectors.redis_link import client
from connectors.redis_store import CONFIRM_EVERY_S
from console.export import verify_store
from tests.storm import house
from tests.storm.processes import Engine, Server

KEYS = Keys("default")
RESPONSES = 40
WAIT_S = 60.0


def until(claim: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + WAIT_S
    while not (found := claim()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return found


class World:
    """`tocsin run` on a file, and the server of its own that it writes to."""

    def __init__(self, folder: Path) -> None:
        self.data = folder / "redis"
        self.server = Server(self.data)
        self.feed = folder / "feed.jsonl"
        self.feed.touch()
        self.engine = Engine(folder, house.furnish(folder), self.feed, self.server.url)
        self.server.start()
        self.server.wait_until_ready()
        self.engine.start()
        self.engine.wait_until_ready()

    def say(self, numbers: range) -> None:
        with self.feed.open("ab") as file:
            file.write(b"".join(msgspec.json.encode(house.record(n)) + b"\n" for n in numbers))

    @property
    def url(self) -> str:
        return re.findall(r"(http://127\.0\.0\.1:\d+)/metrics", self.engine.log.read_text())[-1]

    def reasons(self) -> dict[str, str]:
        try:
            with urllib.request.urlopen(f"{self.url}/ready", timeout=5) as answer:
                return dict(json.load(answer)["reasons"])
        except urllib.error.HTTPError as answer:
            return dict(json.load(answer)["reasons"])

    def rewritten(self) -> float:
        with urllib.request.urlopen(f"{self.url}/metrics", timeout=5) as answer:
            return float(re.findall(r"^tocsin_store_rewritten_cases_total (\S+)", answer.read().decode(), re.M)[0])

    def kept(self) -> dict[str, Any]:
        """Records, and what every index says."""
        with client(self.server.url) as redis:
            cases = [id_.decode() for id_ in redis.zrange(KEYS.cases, 0, -1)]
            flat = {case: redis.hgetall(KEYS.case(case)) for case in cases}
            gone = (b"rewritten_at", b"rewritten_sequence")
            return {
                "records": {
                    case: {k: v for k, v in fields.items() if k not in gone and not k.startswith(b"response:")}
                    for case, fields in flat.items()
                },
                "open": redis.zrange(KEYS.open, 0, -1, withscores=True),
                "due": redis.zrange(KEYS.due, 0, -1, withscores=True),
                "owners": {
                    o: redis.zrange(KEYS.owner(o), 0, -1, withscores=True) for o in ("ann", "bob", "cat", "dan")
                },
            }

    def types(self) -> list[str]:
        with client(self.server.url) as redis:
            return [fields[b"type"].decode() for _, fields in redis.xrange(KEYS.events)]

    def settled(self) -> dict[str, Any]:
        """What is kept once the short fuses have said all, and it is known to be on disk."""
        opened = RESPONSES // 10 * 2
        until(lambda: self.types().count("tocsin.case.escalated") == RESPONSES // 10 * 2)
        kept = self.kept()
        assert len(kept["open"]) == opened
        self.wait_until_on_disk()
        return kept

    def wait_until_on_disk(self) -> None:
        """The engine has noted a marker that was written after all that can be read."""
        known = self.engine.log.parent / "state" / "known"
        key = KEYS.marker_of((known / "id").read_text().strip())

        def noted() -> bool:
            with client(self.server.url) as redis:
                before = int(redis.get(key) or 0)
                time.sleep(2 * CONFIRM_EVERY_S)
                return before == int(redis.get(key) or 0) == struct.unpack("<q", (known / "marker").read_bytes())[0]

        until(noted)

    def wait_until_rewritten(self) -> None:
        until(lambda: "tocsin.store.rewritten" in self.types())
        until(lambda: "records" not in self.reasons())


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    found = World(tmp_path)
    yield found
    found.engine.kill()
    found.server.kill()


def test_a_store_wiped_under_the_engine_has_every_case_again(world: World) -> None:
    world.say(range(RESPONSES))
    before = world.settled()
    with client(world.server.url) as redis:
        redis.flushall()
    until(lambda: "the store was wiped" in world.reasons().get("records", ""))
    world.wait_until_rewritten()
    assert world.kept() == before
    assert world.rewritten() == len(before["open"])
    assert world.types() == ["tocsin.store.lost", "tocsin.store.rewritten"]
    world.say(range(RESPONSES, RESPONSES + 10))
    until(lambda: world.types().count("tocsin.case.opened") == 2)
    assert not world.engine.crashes


def test_the_record_says_up_to_where_its_history_is_gone(world: World) -> None:
    world.say(range(RESPONSES))
    world.settled()
    with client(world.server.url) as redis:
        redis.flushall()
    world.wait_until_rewritten()
    records = Records(world.server.url)
    case = next(records.cases("default"))
    whole = records.case("default", case["id"])
    assert whole is not None
    assert whole["rewritten"]["sequence"] == case["sequence"]
    (_, _, flaw), *_ = verify_store(records, [case["id"]])
    assert flaw is not None
    assert f"the store was lost up to event {case['sequence']}" in flaw.what
    records.close()


def test_a_store_that_is_empty_when_the_engine_starts_again_has_every_case_again(world: World) -> None:
    world.say(range(RESPONSES))
    before = world.settled()
    world.engine.kill()
    world.server.kill()
    shutil.rmtree(world.data)
    world.data.mkdir()
    world.server.start()
    world.server.wait_until_ready()
    world.engine.start()
    world.wait_until_rewritten()
    assert world.kept() == before


def test_an_older_copy_of_the_store_is_brought_up_to_date(world: World, tmp_path: Path) -> None:
    world.say(range(RESPONSES // 2))
    until(lambda: len(world.kept()["open"]) == RESPONSES // 10)
    world.wait_until_on_disk()
    world.server.kill()
    shutil.copytree(world.data, tmp_path / "older")
    world.server.start()
    world.server.wait_until_ready()
    world.say(range(RESPONSES // 2, RESPONSES))
    before = world.settled()
    world.server.kill()
    shutil.rmtree(world.data)
    shutil.copytree(tmp_path / "older", world.data)
    world.server.start()
    world.server.wait_until_ready()
    until(lambda: "older copy" in world.reasons().get("records", ""))
    world.wait_until_rewritten()
    assert world.kept() == before


def test_a_rewriting_that_was_killed_begins_again(world: World) -> None:
    world.say(range(RESPONSES))
    before = world.settled()
    with client(world.server.url) as redis:
        redis.flushall()
    until(lambda: "records" in world.reasons())
    world.engine.kill()
    world.engine.start()
    until(lambda: world.engine.log.read_text().count("events go to") == 2)
    world.wait_until_rewritten()
    assert world.kept() == before
    assert world.types().count("tocsin.store.lost") == world.types().count("tocsin.store.rewritten") == 1


def test_a_store_that_came_back_whole_is_not_written_again(world: World) -> None:
    world.say(range(RESPONSES))
    before = world.settled()
    world.server.kill()
    world.server.start()
    world.server.wait_until_ready()
    world.engine.kill()
    world.engine.start()
    world.say(range(RESPONSES, RESPONSES + 10))
    until(lambda: len(world.kept()["open"]) == len(before["open"]) + 2)
    assert world.rewritten() == 0
    assert not {"tocsin.store.lost", "tocsin.store.rewritten"} & set(world.types())
