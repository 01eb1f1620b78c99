"""`tocsin run --processes 2` as its operator sees it: every case has its lane, through a kill -9 and a clean stop."""

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from connectors.records import Records
from console import lanes
from feedback.encode import encode_action
from feedback.instants import Instant
from feedback.records import Action, Verb
from flows.run import StateError
from flows.settings import SettingsError, load
from tests.console.test_cli import ROOT, tocsin

COMMAND = [sys.executable, "-c", "from console.cli import main; main()", "run"]


def until(claim: Callable[[], Any]) -> None:
    deadline = time.monotonic() + 60
    while not claim():
        assert time.monotonic() < deadline
        time.sleep(0.05)


class Run:
    """`tocsin run` on *folder*, with its page."""

    def __init__(self, folder: Path, *words: str) -> None:
        env = {**os.environ, "PYTHONPATH": str(ROOT), "TOCSIN_METRICS_PORT": "0"}
        self.log = folder / "log"
        with self.log.open("ab") as log:
            self.process = subprocess.Popen([*COMMAND, *words], cwd=folder, env=env, stderr=log)
        until(lambda: "/metrics" in self.said())
        self.url = re.findall(r"together at (http://127\.0\.0\.1:\d+)/metrics", self.said())[-1]

    def said(self) -> str:
        return self.log.read_text()

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

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)


def opened(records: Records) -> dict[str, str]:
    """Response to case, of all that a customer's response opened."""
    told = [event for _, event in records.events("default", limit=10_000) if event["type"] == "tocsin.case.opened"]
    return {e["data"]["response"]["id"]: e["subject"] for e in told if "response" in e["data"]}


def systemic(records: Records) -> int:
    """How many cases are open that no customer's are."""
    told = [event for _, event in records.events("default", limit=10_000) if event["type"] == "tocsin.case.opened"]
    return sum("response" not in e["data"] for e in told)


def respond(records: Records, first: int, count: int) -> None:
    for number in range(first, first + count):
        record = {"id": f"r{number}", "customer": f"c{number}", "scores": {"nps": 1}, "text": "Nobody rang."}
        records.respond("default", msgspec.json.encode(record))


def note(records: Records, case: str) -> None:
    now = Instant(int(time.time()))
    action = Action(
        id=f"note-{case}", programme="default", case=case, do=Verb.NOTE, by="ann", at=now, received_at=now,
        arrived=float(now), reason="rang twice",
    )  # fmt: skip
    records.act("default", action.id, encode_action(action), "test")


def test_two_lanes_hear_every_customer_and_every_action_through_a_kill(tmp_path: Path) -> None:
    run = Run(tmp_path, "--processes", "2")
    try:
        until(lambda: run.ready() == {})
        records = Records(json.loads((tmp_path / ".tocsin" / "redis.json").read_text())["url"])
        layout = records.layout("default")
        assert layout is not None
        assert (layout.lanes, layout.slots) == (2, 0)
        respond(records, 0, 40)
        until(lambda: len(opened(records)) == 40)
        folder = tmp_path / ".tocsin" / "lanes-0"
        notes = [json.loads((folder / str(lane) / "engine.json").read_text()) for lane in (0, 1)]
        os.kill(notes[1]["pid"], signal.SIGKILL)
        respond(records, 40, 40)
        cases = opened(records)
        for case in cases.values():
            note(records, case)
        until(lambda: len(opened(records)) == 80)
        until(lambda: run.ready() == {})

        def noted() -> set[str]:
            events = [event for _, event in records.events("default", limit=10_000)]
            refused = [e["data"] for e in events if e["type"] == "tocsin.action.refused"]
            assert not refused, str(refused[0])
            return {e["subject"] for e in events if e["data"].get("action") == f"note-{e.get('subject')}"}

        until(lambda: noted() == set(cases.values()))
        assert run.metric("tocsin_lane_restarts_total") == 1
        until(lambda: run.metric("tocsin_open_cases") == 80 + systemic(records))
        assert {layout.lane_of_case(case) for case in cases.values()} == {0, 1}
        assert not records.dead("default")
    finally:
        code = run.stop()
    assert code == 0
    assert run.said().count("stopped: ") == 2


def gathered(records: Records, key: str) -> list[dict[str, Any]]:
    """What was said of systemic cases about *key*, in order."""
    told = [event for _, event in records.events("default", limit=10_000)]
    alerts = {event["subject"] for event in told if event["data"].get("alert", {}).get("key") == key}
    return [event for event in told if event.get("subject") in alerts]


def test_a_window_counts_what_all_lanes_hear_and_names_the_cases_of_all(tmp_path: Path) -> None:
    run = Run(tmp_path, "--processes", "2")
    try:
        until(lambda: run.ready() == {})
        records = Records(json.loads((tmp_path / ".tocsin" / "redis.json").read_text())["url"])
        layout = records.layout("default")
        assert layout is not None
        people = {
            lane: [f"c{n}" for n in range(99) if layout.lane_of_customer("default", f"c{n}") == lane] for lane in (0, 1)
        }
        mixed = [*people[0][:3], *people[1][:3], *people[0][3:9], *people[1][3:9]]  # three a lane would raise nothing
        for number, customer in enumerate(mixed):
            record = {
                "id": f"r{number}", "customer": customer, "scores": {"nps": 1}, "text": "Nobody rang.",
                "attributes": {"site": "Hull"},
            }  # fmt: skip
            records.respond("default", msgspec.json.encode(record))
            if number == 5:  # by now the alert is due, from three of each
                until(lambda: gathered(records, "Hull"))
        until(lambda: any(e["data"].get("count") == len(mixed) for e in gathered(records, "Hull")))
        told = gathered(records, "Hull")
        assert len({event["subject"] for event in told}) == 1
        cases = opened(records)
        named = {case for event in told for case in event["data"].get("cases", ())}
        assert named <= set(cases.values())
        assert {layout.lane_of_case(case) for case in named} == {0, 1}
        assert len(named) >= len(mixed) - 1  # that which raised it has its case a moment later
        assert not records.dead("default")
        explained = json.loads(tocsin(tmp_path, "explain", "r7", "--json").stdout)
        assert {rule["rule"]: rule["outcome"] for rule in explained["windows"]}["detractors-at-a-site"] == "counts"
        assert told[0]["subject"] in {case["id"] for case in explained["alerts"] if case["counted"]["count"] >= 8}
        assert [case["id"] for case in explained["cases"]] == [cases["r7"]]
    finally:
        code = run.stop()
    assert code == 0


@pytest.fixture
def base(tmp_path: Path) -> Path:
    (tmp_path / "store.json").write_text('{"flow":"tocsin","shards":4096,"form":1,"lanes":2}')
    return tmp_path


def test_another_number_of_processes_is_refused_before_anything_is_started(base: Path) -> None:
    settings = msgspec.structs.replace(load(environ={}), state=base)
    asked = lanes.with_lanes(settings, processes=3, lane=-1, lanes=0)
    with pytest.raises(StateError, match="tocsin reshard --from 2 --to 3"):
        lanes.supervise(asked, "", [], lanes.Stop(), print)


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"processes": 2, "lane": 0, "lanes": 0}, "leave out --lane"),
        ({"processes": 0, "lane": -1, "lanes": 2}, "--processes 2"),
        ({"processes": 5000, "lane": -1, "lanes": 0}, "needs a shard"),
    ],
)
def test_lanes_asked_for_in_two_ways_are_refused(asked: dict[str, int], words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        lanes.with_lanes(load(environ={}), **asked)
