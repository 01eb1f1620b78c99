"""Noise control and `tocsin silence` on a running engine that is killed meanwhile, as its operator sees it."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.console.test_cli import tocsin, until
from tests.console.test_reloading import House
from tests.leftovers import shut_down

SET = """
set: mine
roster: mine
attributes: {site: text}
rules:
  - id: low
    when: {all: ['scores.nps <= 6']}
    case: {type: detractor, owner: lead}
notices:
  group: {by: [rule, site], interval: 1h}
"""


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    made = House(tmp_path)
    (tmp_path / "rules" / "sets" / "mine.yaml").write_text(SET)
    yield made
    shut_down(tmp_path / ".tocsin")


def ids(events: list[dict[str, Any]]) -> list[str]:
    return sorted(str(data["asked"]) for data in events)


def test_what_waits_survives_a_kill_and_nobody_is_told_twice(house: House) -> None:
    with house.running() as process:
        for number in range(20):
            house.hear(f"a{number}", 2)
        until(lambda: len(house.events("notice.held")) == 19)
        for number in range(20):
            house.hear(f"b{number}", 2)
        until(lambda: len(house.events("notice.asked")) == 40)
        process.kill()  # some of the second twenty are not decided on
        process.wait(60)
    with house.running():
        until(lambda: len(house.events("notice.sent")) + len(house.events("notice.held")) == 40)
        (sent,) = house.events("notice.sent")
        held = house.events("notice.held")
        assert len(set(ids([sent, *held]))) == 40
        assert sorted(data["number"] for data in held) == list(range(1, 40))
        case = sent["case"]["id"]
        shown = json.loads(tocsin(house.folder, "cases", case, "--json").stdout)
        assert [event["type"] for event in shown["notices"]] == ["tocsin.notice.sent"]
        verified = tocsin(house.folder, "verify")
        assert verified.returncode == 0, verified.stdout
        explained = json.loads(tocsin(house.folder, "explain", "a7", "--json").stdout)
        told = {one["type"]: one for one in explained["cases"][0]["told"]}
        assert told["notice.asked"]["to"] == "ann"
        assert told.get("notice.held", told.get("notice.sent"))["decided"]


def test_a_silence_is_asked_for_listed_and_ended_and_is_on_the_record(house: House) -> None:
    with house.running():
        house.hear("a", 2)
        until(lambda: len(house.events("notice.sent")) == 1)
        words = ["silence", "add", "--for", "2h", "--rule", "low", "--by", "eve", "--reason", "a drill"]
        asked = tocsin(house.folder, *words, "--json")
        assert asked.returncode == 0, asked.stderr
        begun = json.loads(asked.stdout)
        assert (begun["type"], begun["data"]["by"], begun["data"]["of"]) == (
            "tocsin.silence.started",
            "cli:eve",
            {"rule": "low"},
        )
        name = begun["data"]["silence"]
        assert name in tocsin(house.folder, "silence", "list").stdout
        house.hear("b", 2, site="hull")
        until(lambda: len(house.events("notice.held")) == 1)
        assert house.events("notice.held")[0]["decided"].startswith("cli:eve asked for silence until ")
        ended = tocsin(house.folder, "silence", "end", name, "--by", "ann", "--reason", "it is over")
        assert (ended.returncode, ended.stderr.startswith(f"{name} ended by cli:ann")) == (0, True), ended.stderr
        assert tocsin(house.folder, "silence", "list").stdout == ""
        until(lambda: len(house.events("notice.digest")) == 1)
        explained = json.loads(tocsin(house.folder, "explain", "b", "--json").stdout)
        (held,) = (one for one in explained["cases"][0]["told"] if one["type"] == "notice.held")
        assert held["digest"]["count"] == 1  # told after all, and when
        again = tocsin(house.folder, "silence", "end", name, "--by", "ann", "--reason", "it is over")
        assert (again.returncode, "no such silence holds" in again.stderr) == (1, True)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["add", "--for", "2h"], "say --by and --reason"),
        (["add", "--for", "90d", "--by", "eve", "--reason", "x"], "at most 30d"),
        (["end", "--by", "eve", "--reason", "x"], "say which"),
        (["hush"], "expected add, end or list"),
    ],
)
def test_what_cannot_be_meant_is_refused_at_once(tmp_path: Path, words: list[str], expected: str) -> None:
    done = tocsin(tmp_path, "silence", *words)
    assert (done.returncode, expected in done.stderr) == (2, True), done.stderr
