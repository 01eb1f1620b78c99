"""A stream is trimmed behind the snapshots only: kill -9 right after a trim loses nothing, and is no gap."""

import shutil
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from connectors.redis_link import client
from tests.flows.test_restore import Streaming, opened
from tests.flows.test_store_lost import KEYS, World, until
from tests.storm import house

BATCH = 200
KILLS = 3


@pytest.fixture
def streaming(tmp_path: Path) -> Iterator[World]:
    found = World(tmp_path)
    found.engine.kill()
    shutil.rmtree(tmp_path / "state")
    settings = tmp_path / "tocsin.yaml"
    settings.write_text(settings.read_text() + "retention: {streams: 1h}\n")
    found.engine = Streaming(tmp_path, settings, found.server.url)
    yield found
    found.engine.kill()
    found.server.kill()


def test_kill_9_right_after_a_trim_loses_nothing_and_is_no_gap(streaming: World) -> None:
    two_hours_ago_ms = int((time.time() - 7200) * 1000)
    with client(streaming.server.url) as redis:
        for round_ in range(KILLS + 1):
            first = round_ * BATCH
            for number in range(first, first + BATCH):
                record = msgspec.json.encode(house.record(number))
                redis.xadd(KEYS.inbox, {"record": record}, id=f"{two_hours_ago_ms + number}-0")
            before = redis.xlen(KEYS.inbox)
            streaming.engine.start()
            until(lambda before=before: redis.xlen(KEYS.inbox) < before)
            if round_ < KILLS:
                streaming.engine.kill()
        expected = {f"s{n}": 1 for n in range((KILLS + 1) * BATCH) if house.kind_of(n) != house.CALM}
        until(lambda: len(opened(streaming)) == len(expected))
        assert opened(streaming) == Counter(expected)
        assert redis.xlen(KEYS.inbox) < BATCH
    assert "stream.gap" not in streaming.engine.log.read_text()
    assert not streaming.engine.crashes
