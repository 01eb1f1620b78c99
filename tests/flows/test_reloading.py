"""Edits of the rule files while the engine runs: taken up whole, or refused out loud."""

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from connectors.journal import Journal
from feedback.instants import Instant
from feedback.metrics import STANDARD
from flows.books import BookShelf
from flows.reloading import Controls, RuleWatch
from rules.problems import RuleFileErrors
from tests.builders import START, book, engine, envelope
from tests.flows.test_windows import ROSTER, RULES, SET

SMALL = """
set: small
roster: small
rules:
  - {id: low, when: {all: ['scores.nps <= 3']}, case: {type: detractor, owner: lead}}
"""
SMALL_ROSTER = "roster: small\npeople: {ann: {name: Ann}}\nroles: {lead: {default: [ann]}}\n"


class House:
    """A directory of rules, the watch over it, and what it tells the stream."""

    def __init__(self, folder: Path) -> None:
        self.rules = folder / "rules"
        self._date = 0
        for name in ("sets", "rosters"):
            (self.rules / name).mkdir(parents=True)
        self.write("sets/small.yaml", SMALL)
        self.write("rosters/small.yaml", SMALL_ROSTER)
        self.shelf = BookShelf(folder / "books", STANDARD)
        self.first = self.shelf.put(self.rules, {"p": "small"})
        self.told: list[dict[str, Any]] = []
        self.refused: list[bool] = []
        self.watch = RuleWatch(self.shelf, self.rules, {"p": "small"}, self)

    def begin(self, **announced: str) -> None:
        self.watch.begin({"book": self.first.hash, **announced}, self.told.append)
        self.watch.close()  # the tests look themselves

    def windows(self, rules: Iterable[str]) -> None:
        """Told by its own test."""

    def rules_refused(self, refused: bool) -> None:
        self.refused.append(refused)

    def write(self, path: str, text: str) -> None:
        file = self.rules / path
        file.write_text(text)
        self._date += 1
        os.utime(file, ns=(self._date * 10**9, self._date * 10**9))

    def look(self, times: int = 2) -> list[dict[str, Any]]:
        before = len(self.told)
        for _ in range(times):
            self.watch.look()
        return self.told[before:]


@pytest.fixture
def house(tmp_path: Path) -> House:
    made = House(tmp_path)
    made.begin()
    return made


def test_an_edit_becomes_a_control_record_that_names_a_stored_book(house: House) -> None:
    assert house.told == []
    house.write("sets/small.yaml", SMALL.replace("<= 3", "<= 6"))
    (control,) = house.look()
    assert (control["do"], control["by"]) == ("rules", "files")
    assert house.shelf.open(control["data"]["book"]).hash != house.first.hash
    assert house.look() == []


def test_files_that_still_change_are_not_read(house: House) -> None:
    for limit in (4, 5, 6):
        house.write("sets/small.yaml", SMALL.replace("<= 3", f"<= {limit}"))
        assert house.look(1) == []
    assert len(house.look(1)) == 1


@pytest.mark.parametrize(
    ("path", "text", "place"),
    [
        ("sets/small.yaml", SMALL.replace("scores.nps", "scores.npz"), "scores.npz"),
        ("sets/small.yaml", SMALL + "  - {id: low, when: {all: ['scores.nps <= 3']}}\n", "sets/small.yaml"),
        ("rosters/small.yaml", "roster: [", "rosters/small.yaml"),
        ("sets/small.yaml", "", "sets/small.yaml"),
    ],
)
def test_a_bad_edit_is_refused_once_with_its_place_and_a_good_one_ends_that(
    house: House, path: str, text: str, place: str
) -> None:
    before = (house.rules / path).read_text()
    house.write(path, text)
    (control,) = house.look()
    assert (control["do"], control["data"]["book"]) == ("rules.refused", house.first.hash)
    assert place in control["data"]["problems"][0]
    assert control["data"]["count"] == len(control["data"]["problems"])
    house.write(path, text)
    assert house.look() == []
    assert house.refused[-1] is True
    house.write(path, before)
    (mended,) = house.look()
    assert (mended["do"], mended["data"]) == ("rules", {"book": house.first.hash})
    assert house.refused[-1] is False


def test_a_refusal_that_was_told_before_the_restart_is_not_told_again(tmp_path: Path) -> None:
    house = House(tmp_path)
    house.write("sets/small.yaml", "set: small")
    house.begin()
    (first,) = house.told
    again = RuleWatch(house.shelf, house.rules, {"p": "small"}, house)
    again.begin(first["data"], house.told.append)
    again.close()
    assert len(house.told) == 1


def test_a_directory_that_is_swapped_by_a_link_is_an_edit(tmp_path: Path) -> None:
    """As Kubernetes does it with a ConfigMap."""
    house = House(tmp_path)
    other = tmp_path / "other"
    house.rules.rename(tmp_path / "one")
    house.rules.symlink_to(tmp_path / "one")
    for name in ("sets", "rosters"):
        (other / name).mkdir(parents=True)
    (other / "sets" / "small.yaml").write_text(SMALL.replace("<= 3", "<= 4"))
    (other / "rosters" / "small.yaml").write_text(SMALL_ROSTER)
    house.begin()
    (tmp_path / "link").symlink_to(other)
    (tmp_path / "link").rename(house.rules)
    assert [control["do"] for control in house.look()] == ["rules"]


def test_what_other_threads_put_is_written_when_the_lane_looks(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    controls = Controls("control", journal, None, "p")
    controls.put({"kind": "control", "id": "1", "do": "rules", "data": {"book": "b"}})
    assert journal.last is None
    (envelope_,) = controls.poll(10)
    assert msgspec.json.decode(envelope_.raw)["id"] == "1"
    assert controls.caught_up


def _edited(edit: Callable[[str], str]) -> str:
    changed = edit(SET)
    assert changed != SET
    return changed


def test_windows_go_on_through_an_edit_of_thresholds_and_begin_anew_when_what_they_watch_changes() -> None:
    def with_(edit: Callable[[str], str]) -> Any:
        texts = {
            "sets/windows.yaml": _edited(edit),
            "rosters/windows.yaml": ROSTER,
            "templates/alert.txt": "Subject: {{ rule }}\n\n{{ why }}\n",
        }
        return book({"default": texts})

    def told(edit: Callable[[str], str]) -> int:
        lane = engine(RULES)
        said = []
        for number in range(3):
            if number == 2:
                lane.judge_by(with_(edit))
            record = {"id": str(number), "customer": f"c{number}", "language": "en", "scores": {"nps": 2}}
            record["attributes"] = {"site": "leeds"}
            said += lane.hear([envelope(record, Instant(START + 60 * number), str(number))])
        return sum(event.type == "case.opened" and event.data["type"] == "systemic" for event in said)

    assert told(lambda text: text.replace("title: Detractors at one site", "title: Unhappy at one site")) == 1
    assert told(lambda text: text.replace("count: 3, within: 1h", "count: 2, within: 1h")) == 1
    assert told(lambda text: text.replace("kind: count, by: site", "kind: count, by: theme")) == 0


def test_the_first_rules_must_be_right(tmp_path: Path) -> None:
    house = House(tmp_path)
    house.write("sets/small.yaml", "set: small")
    empty = BookShelf(tmp_path / "none", STANDARD)
    assert empty.is_empty
    assert not house.shelf.is_empty
    with pytest.raises(RuleFileErrors):
        empty.put(house.rules, {"p": "small"})
