"""`tocsin run --kafka` as its operator sees it: topic in, topic out, and kill -9 of engine and broker on the way."""

import json
import os
import re
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.kafka.broker import Broker
from tests.kafka.topics import contents, fill, fresh
from tests.leftovers import shut_down

pytestmark = pytest.mark.kafka

ROOT = Path(__file__).resolve().parent.parent.parent
WAIT_S = 60.0


class Engine:
    """`tocsin run` in a process; its metrics and readiness."""

    def __init__(self, folder: Path, servers: str, topic: str) -> None:
        env = {**os.environ, "PYTHONPATH": str(ROOT), "TOCSIN_METRICS_PORT": "0"}
        words = ["run", "--no-deliver", "--settings", "tocsin.yaml", "--kafka", f"{servers}/{topic}"]
        command = [sys.executable, "-c", "from console.cli import main; main()", *words]
        self.process = subprocess.Popen(command, cwd=folder, env=env, stderr=subprocess.PIPE, text=True)
        assert self.process.stderr is not None
        found = None
        while found is None:
            line = self.process.stderr.readline()
            assert line, "the engine ended"
            found = re.search(r"(http://127\.0\.0\.1:\d+)/metrics", line)
        self.url = found[1]

    def ready(self) -> dict[str, str]:
        try:
            with urllib.request.urlopen(f"{self.url}/ready", timeout=5) as answer:
                return dict(json.load(answer)["reasons"])
        except urllib.error.HTTPError as answer:
            return dict(json.load(answer)["reasons"])

    def metric(self, name: str) -> float:
        with urllib.request.urlopen(f"{self.url}/metrics", timeout=5) as answer:
            text = answer.read().decode()
        return sum(float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if line.startswith(name))


@contextmanager
def running(folder: Path, servers: str, topic: str) -> Iterator[Engine]:
    engine = Engine(folder, servers, topic)
    try:
        yield engine
    finally:
        engine.process.kill()
        engine.process.communicate()


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """Where an engine runs that is killed and started again; the embedded server outlives it until the end."""
    yield tmp_path
    shut_down(tmp_path / ".tocsin")


def until(claim: Callable[[], Any]) -> None:
    deadline = time.monotonic() + WAIT_S
    while not claim():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def responses(first: int, count: int) -> list[bytes]:
    return [
        json.dumps({"id": f"r{n}", "customer": f"c{n}", "scores": {"nps": 1}, "text": "Nobody rang back."}).encode()
        for n in range(first, first + count)
    ]


def openings(servers: str, topic: str) -> list[dict[str, Any]]:
    """The data of every case that was opened, each event once."""
    once = {event["id"]: event for event in map(json.loads, contents(servers, topic))}
    return [event["data"] for event in once.values() if event["type"] == "tocsin.case.opened"]


def opened(servers: str, topic: str) -> Counter[str]:
    """How often each response opened a case. A systemic case is opened by what a window found, not by a response."""
    return Counter(data["response"]["id"] for data in openings(servers, topic) if "response" in data)


@pytest.mark.core
def test_kills_of_engine_and_broker_lose_nothing_and_open_nothing_twice(broker: Broker, folder: Path) -> None:
    source, events = fresh(broker), fresh(broker, 2)
    (folder / "tocsin.yaml").write_text(
        f"outputs:\n  kafka: {{servers: '{broker.servers}', topic: {events}}}\nengine: {{epoch_ms: 200}}\n"
    )
    now_ms = int(time.time() * 1000)
    fill(broker.servers, source, [*responses(0, 300), b"\xff poison"], at_ms=now_ms)
    with running(folder, broker.servers, source) as engine:
        until(lambda: engine.metric("tocsin_events_total") > 100)
    fill(broker.servers, source, responses(300, 300), first=400, at_ms=now_ms)
    with running(folder, broker.servers, source) as engine:
        until(lambda: engine.metric("tocsin_events_total") > 100)
        broker.kill()
        try:
            until(lambda: "Kafka is away" in engine.ready().get(f"source {source}", ""))
        finally:
            broker.start()
        fill(broker.servers, source, responses(600, 100), first=800, at_ms=now_ms)
        expected = {f"r{n}": 1 for n in range(700)}
        until(lambda: opened(broker.servers, events) == expected)
        until(lambda: engine.ready() == {})
        cases = len(openings(broker.servers, events))
        until(lambda: engine.metric("tocsin_open_cases") == cases)  # looked up every few seconds
        until(lambda: engine.metric("tocsin_kafka_lag_records") == 0)
        until(lambda: engine.metric("tocsin_kafka_unacknowledged_events") == 0)
