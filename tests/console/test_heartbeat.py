"""A heartbeat goes by the way that alerts take, and stops with what would stop them."""

import json
from pathlib import Path
from typing import Any

import pytest

from connectors.keyspace import Keys
from connectors.redis_link import client
from connectors.signing import Secret
from connectors.webhooks import Endpoint
from flows.heart import Heart
from tests.console.test_cli import serving, until


def beats(folder: Path) -> list[dict[str, object]]:
    with client(json.loads((folder / ".tocsin" / "redis.json").read_text())["url"]) as redis:
        entries = redis.xrange(Keys("default").events)
    events = [json.loads(fields[b"event"]) for _, fields in entries]
    return [event["data"] for event in events if event["type"] == "tocsin.heartbeat"]


def test_it_beats_while_the_engine_is_ready(tmp_path: Path) -> None:
    (tmp_path / "tocsin.yaml").write_text("engine: {heartbeat_s: 5}\n")
    with serving(tmp_path):
        until(lambda: (tmp_path / ".tocsin" / "redis.json").exists())
        until(lambda: len(beats(tmp_path)) == 2)
        assert [(beat["every_s"], beat["lane"]) for beat in beats(tmp_path)] == [(5, 0), (5, 0)]


def test_it_beats_in_its_time_and_not_while_a_promise_may_go_unkept(monkeypatch: pytest.MonkeyPatch) -> None:
    seconds, put = [100.0], list[dict[str, Any]]()
    monkeypatch.setattr("flows.heart.time.monotonic", lambda: seconds[0])
    heart = Heart(60, 3, put.append)
    reasons = [{}, {}, {"source in": "away"}, {}, {}]
    for after, why in zip((0, 59, 60, 70, 129), reasons, strict=True):
        seconds[0] = 100.0 + after
        heart.look(lambda why=why: why)
    assert [control["data"] for control in put] == [{"every_s": 60, "lane": 3}] * 2
    Heart(0, 0, put.append).look(dict)
    assert len(put) == 2


@pytest.mark.parametrize(
    ("globs", "wanted"),
    [(("*",), False), (("heartbeat",), True), (("tocsin.heartbeat", "case.*"), True), (("h*",), False)],
)
def test_only_who_names_it_gets_it(globs: tuple[str, ...], wanted: bool) -> None:
    endpoint = Endpoint(name="w", url="https://example.org", secrets=(Secret("whsec_" + "QUFB" * 8),), events=globs)
    assert endpoint.wants("default", "tocsin.heartbeat") is wanted
