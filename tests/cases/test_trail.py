"""The hash chain of a case: whole as written, and every way of tampering with it found at its place."""

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import msgspec
import pytest

from cases import trail
from cases.events import encode
from tests.cases.test_second_thoughts import World

Log = list[dict[str, Any]]


@pytest.fixture(scope="module")
def log() -> Log:
    world = World()
    world.says("0", "damp, and it costs 1e-7 of 12.50, ünïcode\u2028")
    world.does("1h", "acknowledge")
    world.until("10h")
    world.does("11h", "resolve", outcome={"problem": "p", "satisfied": True, "cost": 12.5})
    return [msgspec.json.decode(encode(event)) for event in world.said]


def test_a_trail_as_written_is_whole(log: Log) -> None:
    assert len(log) > 10
    assert trail.verify(log, length=len(log)) is None


def test_what_a_replay_may_say_differently_is_not_part_of_it(log: Log) -> None:
    again = deepcopy(log)
    again[3]["data"]["detected_at"] = "2030-01-01T00:00:00Z"
    again[3]["data"]["late"] = True
    assert trail.verify(again) is None


def _set(at: int, *path: str, to: Any) -> Callable[[Log], None]:
    def change(log: Log) -> None:
        inside: Any = log[at]
        for name in path[:-1]:
            inside = inside[name]
        assert path[-1] in inside
        inside[path[-1]] = to

    return change


@pytest.mark.parametrize(
    ("change", "sequence", "what"),
    [
        (_set(0, "data", "response", "text", to="lovely"), 1, "not what was written"),
        (_set(2, "time", to="2026-11-02T09:00:01Z"), 3, "not what was written"),
        (_set(2, "data", "due_at", to="2027-01-01T00:00:00Z"), 3, "not what was written"),
        (_set(4, "data", "case", "owner", to="bob"), 5, "not what was written"),
        (_set(5, "type", to="tocsin.case.closed"), 6, "not what was written"),
        (_set(5, "data", "previous", to="0" * 64), 6, "does not follow"),
        (lambda log: log.pop(4), 5, "event 5 is missing"),
        (lambda log: log.pop(), 0, "is missing"),
        (lambda log: log.insert(4, deepcopy(log[3])), 4, "a second event 4"),
        (lambda log: log[6]["data"].__setitem__("added", 1), 7, "not what was written"),
    ],
)
def test_the_first_flaw_is_pointed_at(log: Log, change: Callable[[Log], Any], sequence: int, what: str) -> None:
    altered = deepcopy(log)
    change(altered)
    flaw = trail.verify(altered, length=len(log))
    assert flaw is not None
    assert flaw.sequence == (sequence or len(log))
    assert what in flaw.what


def test_an_event_altered_with_its_own_hash_made_anew_betrays_itself_in_the_next(log: Log) -> None:
    altered = deepcopy(log)
    altered[3]["data"]["owner"] = "somebody else"
    altered[3]["data"]["hash"] = trail.link(altered[3])
    flaw = trail.verify(altered)
    assert flaw is not None
    assert (flaw.sequence, "does not follow" in flaw.what) == (5, True)
