"""A backup put back as docs/operating.md says, with a Redis of one's own: nothing is lost, nothing stands twice."""

import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from connectors.records import Records
from connectors.redis_link import client
from console.export import verify_store
from tests.flows.test_store_lost import KEYS, RESPONSES, World, until
from tests.storm import house
from tests.storm.accounting import Said, said
from tests.storm.processes import Engine, Program


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    found = World(tmp_path)
    yield found
    found.engine.kill()
    found.server.kill()


class Streaming(Engine):
    """`tocsin run` without an input: it reads the Redis streams."""

    def __init__(self, folder: Path, settings: Path, url: str) -> None:
        Program.__init__(self, folder, ["run", "--no-deliver"], settings, url)


@pytest.fixture
def streaming(world: World, tmp_path: Path) -> World:
    world.engine.kill()
    shutil.rmtree(tmp_path / "state")
    world.engine = Streaming(tmp_path, tmp_path / "tocsin.yaml", world.server.url)
    world.engine.start()
    return world


def events(world: World) -> list[Said]:
    with client(world.server.url) as redis:
        return [said(fields) for _, fields in redis.xrange(KEYS.events)]


def stop(world: World) -> None:
    """As an operator would: the engine first, and Redis with its file on disk."""
    world.engine.stop()
    with client(world.server.url) as redis:
        redis.shutdown()
    world.server.kill()


def start(world: World) -> None:
    world.server.start()
    world.server.wait_until_ready()
    world.engine.start()


def back_up(world: World, folder: Path) -> None:
    stop(world)
    for name in ("state", "redis"):
        shutil.copytree(folder / name, folder / "backup" / name)
    start(world)


def put_back(world: World, folder: Path, *names: str) -> None:
    stop(world)
    for name in names:
        shutil.rmtree(folder / name)
        shutil.copytree(folder / "backup" / name, folder / name)
    start(world)


def escalated(world: World, responses: int) -> bool:
    return world.types().count("tocsin.case.escalated") == responses // 10 * 2


def opened(world: World) -> Counter[str]:
    return Counter(event.response for event in events(world) if event.response)


def assert_whole(world: World) -> None:
    """No event twice, every trail as it was written, no store lost."""
    ids = [event.id for event in events(world)]
    assert len(ids) == len({*ids})
    assert not {"tocsin.store.lost", "tocsin.store.rewritten"} & set(world.types())
    records = Records(world.server.url)
    assert [case for case, _, flaw in verify_store(records, []) if flaw is not None] == []
    records.close()
    assert not world.engine.crashes


def test_state_and_redis_put_back_together_hear_the_rest_of_the_file_once(world: World, tmp_path: Path) -> None:
    world.say(range(RESPONSES // 2))
    until(lambda: escalated(world, RESPONSES // 2))
    back_up(world, tmp_path)
    world.say(range(RESPONSES // 2, RESPONSES))
    until(lambda: escalated(world, RESPONSES))
    before = opened(world)
    put_back(world, tmp_path, "state", "redis")
    until(lambda: escalated(world, RESPONSES))
    assert opened(world) == before == {f"s{n}": 1 for n in range(RESPONSES) if house.kind_of(n) != house.CALM}
    assert_whole(world)


def test_the_state_alone_put_back_says_the_same_of_a_stream_again(streaming: World, tmp_path: Path) -> None:
    hear(streaming, range(RESPONSES // 2))
    until(lambda: escalated(streaming, RESPONSES // 2))
    back_up(streaming, tmp_path)
    hear(streaming, range(RESPONSES // 2, RESPONSES))
    until(lambda: escalated(streaming, RESPONSES))
    before = [event.id for event in events(streaming)]
    put_back(streaming, tmp_path, "state")
    hear(streaming, range(RESPONSES, RESPONSES + 10))  # read behind all that is read again
    until(lambda: escalated(streaming, RESPONSES + 10))
    assert [event.id for event in events(streaming)][: len(before)] == before
    assert set(opened(streaming).values()) == {1}
    assert_whole(streaming)


def hear(world: World, numbers: range) -> None:
    with client(world.server.url) as redis:
        for number in numbers:
            redis.xadd(KEYS.inbox, {"record": msgspec.json.encode(house.record(number))})
