"""Outages are told of once, when what waited has been heard."""

import struct
from pathlib import Path
from typing import Any

from feedback.instants import Instant
from flows.catching_up import CatchUp
from flows.outages import Outages, merge


class Waiting:
    def __init__(self, since: float | None = None) -> None:
        self.since = since

    def is_behind(self, before: float) -> bool:
        return self.since is not None and self.since < before


def away(folder: Path, *looks: int) -> Outages:
    outages = Outages(folder)
    for at in looks:
        outages.look(Instant(at))
    return outages


def test_an_outage_is_told_of_when_nothing_old_waits_any_more(tmp_path: Path) -> None:
    put = list[dict[str, Any]]()
    catch_up, slow = CatchUp(away(tmp_path, 1_000, 1_100), 2, put.append), Waiting(1_040)
    catch_up.look([Waiting(), slow], Instant(1_110))
    assert put == []
    slow.since = 1_119
    catch_up.look([Waiting(), slow], Instant(1_120))
    catch_up.look([Waiting()], Instant(1_121))
    assert [control["do"] for control in put] == ["outage.over"]
    assert put[0]["data"] == {
        "lane": 2,
        "from": "1970-01-01T00:16:40Z",
        "until": "1970-01-01T00:18:20Z",
        "length_s": 100,
        "caught_up_at": "1970-01-01T00:18:40Z",
    }


def test_who_dies_before_it_is_told_tells_it_in_the_next_life_and_who_has_told_it_does_not(tmp_path: Path) -> None:
    away(tmp_path, 1_000, 1_100)
    again = Outages(tmp_path)
    assert again.untold == ((1_000, 1_100),)
    again.tell(again.untold[0])
    assert Outages(tmp_path).untold == ()
    assert away(tmp_path, 1_200).untold == ((1_100, 1_200),)


def test_outages_from_before_this_was_told_of_are_no_news(tmp_path: Path) -> None:
    away(tmp_path, 1_000, 1_100)
    (tmp_path / "seen").write_bytes(struct.pack("<q", 1_100))
    later = away(tmp_path, 1_101, 1_300)
    assert later.untold == ((1_101, 1_300),)


def test_a_store_that_was_cut_anew_tells_what_one_of_its_lanes_did_not(tmp_path: Path) -> None:
    first, second = away(tmp_path / "a", 1_000, 1_100), away(tmp_path / "b", 1_000, 1_150)
    first.tell(first.untold[0])
    del second
    merge([tmp_path / "a", tmp_path / "b"], tmp_path / "c")
    assert Outages(tmp_path / "c").untold == ((1_000, 1_100), (1_000, 1_150))
