"""Two engine processes over disjoint partitions of one topic, and kill -9 of one of them while it reads."""

import json
import os
import signal
import time
from pathlib import Path

import pytest

from connectors.records import Records
from tests.console.test_lanes import Run, opened, systemic, until
from tests.kafka.broker import Broker
from tests.kafka.test_run import responses
from tests.kafka.topics import fill, fresh

pytestmark = pytest.mark.kafka

PARTITIONS = 4


def test_two_lanes_share_the_partitions_and_a_kill_of_one_loses_nothing(
    broker: Broker, tmp_path: Path, store_url: str
) -> None:
    topic = fresh(broker, PARTITIONS)
    now_ms = int(time.time() * 1000)
    fill(broker.servers, topic, responses(0, 200), PARTITIONS, at_ms=now_ms)
    run = Run(tmp_path, "--processes", "2", "--kafka", f"{broker.servers}/{topic}", "--redis", store_url)
    try:
        records = Records(store_url)
        until(lambda: len(opened(records)) == 200)
        notes = [tmp_path / ".tocsin" / "lanes-0" / str(lane) / "engine.json" for lane in (0, 1)]
        killed, other = (json.loads(note.read_text())["pid"] for note in notes)
        fill(broker.servers, topic, responses(200, 200), PARTITIONS, first=200, at_ms=now_ms)
        until(lambda: len(opened(records)) > 200)
        os.kill(killed, signal.SIGKILL)
        until(lambda: len(opened(records)) == 400)
        until(lambda: run.ready() == {})
        assert json.loads(notes[0].read_text())["pid"] != killed
        assert json.loads(notes[1].read_text())["pid"] == other
        until(lambda: run.metric("tocsin_open_cases") == 400 + systemic(records))
        layout = records.layout("default")
        assert layout is not None
        assert (layout.lanes, layout.slots) == (2, PARTITIONS)
        cases = opened(records)
        lanes = {f"r{n}": n % 200 // 3 % PARTITIONS % 2 for n in range(400)}  # as `fill` deals them out
        assert {id_: layout.lane_of_case(case) for id_, case in cases.items()} == lanes
        assert not records.dead("default")
        told = [event for _, event in records.events("default", limit=10_000)]
        assert len({event["id"] for event in told}) == len(told)
        until(lambda: run.metric("tocsin_kafka_lag_records") == 0)
    finally:
        code = run.stop()
    assert code == 0
