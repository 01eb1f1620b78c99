"""An engine that was away says so when it has caught up."""

import struct
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.console.test_cli import until
from tests.console.test_reloading import House
from tests.leftovers import shut_down

AWAY_S = 600


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    yield House(tmp_path)
    shut_down(tmp_path / ".tocsin")


def test_after_an_outage_what_waited_is_heard_and_then_it_is_over(house: House) -> None:
    with house.running():
        house.hear("1", 2)
        until(lambda: house.events("case.opened"))
        assert house.events("outage.over") == []
    mark = house.folder / ".tocsin" / "time" / "seen"
    mark.write_bytes(struct.pack("<qq", int(time.time()) - AWAY_S, 0))
    with house.running():
        until(lambda: house.events("outage.over"))
        (told,) = house.events("outage.over")
        assert AWAY_S <= told["length_s"] < AWAY_S + 60
        assert told["from"] < told["until"] <= told["caught_up_at"]
    with house.running():
        house.hear("2", 2)
        until(lambda: len(house.events("case.opened")) == 2)
        assert len(house.events("outage.over")) == 1
