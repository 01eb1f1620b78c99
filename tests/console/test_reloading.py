"""Rules edited under a running engine, as its operator sees it."""

import json
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from connectors.keyspace import Keys
from connectors.redis_link import client
from tests.console.test_cli import command, environment, until
from tests.leftovers import shut_down

SET = """
set: mine
roster: mine
rules:
  - id: low
    when: {all: ['scores.nps <= LIMIT']}
    case: {type: detractor, owner: lead, clocks: {first_response: {within: WITHIN}}}
"""


class House:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in ("sets", "rosters"):
            (folder / "rules" / name).mkdir(parents=True)
        (folder / "rules" / "rosters" / "mine.yaml").write_text(
            "roster: mine\npeople: {ann: {name: Ann}}\nroles: {lead: {default: [ann]}}\n"
        )
        (folder / "tocsin.yaml").write_text("programmes: {default: {rules: mine}}\nrules: rules\n")
        self.edit("3", "4h")

    def edit(self, limit: str, within: str) -> None:
        (self.folder / "rules" / "sets" / "mine.yaml").write_text(SET.replace("LIMIT", limit).replace("WITHIN", within))

    @contextmanager
    def running(self) -> "Iterator[subprocess.Popen[bytes]]":
        with (self.folder / "log").open("ab") as log:
            process = subprocess.Popen(command("run"), cwd=self.folder, env=environment(), stderr=log)
        try:
            until(lambda: (self.folder / ".tocsin" / "redis.json").exists())
            yield process
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
            process.wait(60)

    def hear(self, id_: str, nps: int, **attributes: str) -> None:
        more = {"attributes": attributes} if attributes else {}
        self.give({"id": id_, "customer": f"c{id_}", "scores": {"nps": nps}, "language": "en", **more})

    def give(self, record: dict[str, Any]) -> None:
        with client(self._url) as redis:
            redis.xadd(Keys("default").inbox, {"record": json.dumps(record)})

    @property
    def _url(self) -> str:
        return str(json.loads((self.folder / ".tocsin" / "redis.json").read_text())["url"])

    def events(self, type_: str) -> list[dict[str, Any]]:
        with client(self._url) as redis:
            entries: Any = redis.xrange(Keys("default").events)
        found = [json.loads(fields[b"event"]) for _, fields in entries]
        return [event["data"] for event in found if event["type"] == f"tocsin.{type_}"]


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    yield House(tmp_path)
    shut_down(tmp_path / ".tocsin")


def test_an_edit_is_in_force_within_seconds_and_a_bad_one_is_not(house: House) -> None:
    with house.running() as process:
        house.hear("1", 2)
        until(lambda: len(house.events("case.opened")) == 1)
        house.edit("6", "1h")
        until(lambda: house.events("rules.changed"))
        (changed,) = house.events("rules.changed")
        assert (changed["by"], changed["rules"]) == ("engine", {"changed": ["low"]})
        house.hear("2", 5)
        until(lambda: len(house.events("case.opened")) == 2)
        house.edit("6", "soon")
        until(lambda: house.events("rules.refused"))
        (refused,) = house.events("rules.refused")
        assert refused["book"] == changed["after"]
        assert "soon" in refused["problems"][0]
        house.hear("3", 5)
        until(lambda: len(house.events("case.opened")) == 3)
        assert [clock["length"] for clock in house.events("clock.armed")] == ["4h", "1h", "1h"]
        versions = [opened["rules"][0]["version"] for opened in house.events("case.opened")]
        assert versions[0] != versions[1] == versions[2]
        process.kill()  # in the night, with the bad edit still there
        process.wait(60)
    with house.running():
        house.hear("4", 5)
        until(lambda: len(house.events("case.opened")) == 4)
        house.edit("0", "2h")
        until(lambda: len(house.events("rules.changed")) == 2)
        assert len(house.events("rules.refused")) == 1
        assert house.events("rules.changed")[1]["before"] == changed["after"]


def test_without_state_a_bad_file_is_an_error_at_once(house: House) -> None:
    house.edit("6", "soon")
    with (house.folder / "log").open("ab") as log:
        done = subprocess.run(command("run"), cwd=house.folder, env=environment(), stderr=log, timeout=60, check=False)
    assert done.returncode == 1
    assert "soon" in (house.folder / "log").read_text()
