"""In which order the lane gives out what its readers hold: by received time, whichever of them answers first."""

from collections.abc import Sequence

import pytest

from connectors.reading import Theirs
from feedback.instants import Instant
from feedback.records import Envelope, Tick
from flows.engine_time import EngineClock
from flows.indexes import DueIndex
from flows.lane import AWAIT_S, Input, Lane
from flows.outages import Outages
from flows.timetable import InForce
from tests.flows.test_ticking import Unmetered


class Held:
    """A reader that says nothing until it is told to."""

    finished = False
    lag = 0
    trouble = ""

    def __init__(self, name: str) -> None:
        self.name = name
        self.caught_up = False
        self._ready: list[Envelope] = []

    def answer(self, *received: float) -> None:
        """From here on it has been looked at, and this was there."""
        self.caught_up = True
        self._ready += [
            Envelope(raw=b"", source=self.name, position=str(at), received_at=at, programme="p") for at in received
        ]

    def poll(self, limit: int) -> Sequence[Envelope]:
        found, self._ready = self._ready[:limit], self._ready[limit:]
        return found

    def release(self, place: str) -> None:
        """Nothing is kept."""

    def forget(self, is_theirs: Theirs) -> int:
        return 0

    def close(self) -> None:
        """Nothing is open."""


class World:
    """A lane of responses and actions at 1000 s, a clock due at 990."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.at = 0.0
        monkeypatch.setattr("flows.lane.time.monotonic", lambda: self.at)
        self.responses, self.actions = Held("responses"), Held("actions")
        due = DueIndex()
        due.register(3, Instant(990))
        self._lane = Lane(
            [Input(self.actions, None, binding=True), Input(self.responses, None, binding=False)],
            in_force=InForce("b"),
            due=due,
            clock=EngineClock(wall=lambda: 1000.0, boot=lambda: 1000.0),
            stopping=lambda: False,
            ends=False,
            meter=Unmetered(),
            outages=Outages(None),
        )

    def batch(self) -> list[str]:
        """Where each item of the next batch came from."""
        return [
            f"{what.source} {what.received_at:.0f}" if isinstance(what, Envelope) else f"tick {what.at}"
            for what, _ in self._lane.next_batch()
            if isinstance(what, Envelope | Tick)
        ]


def test_an_action_waits_for_the_responses_that_were_received_before_it(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(monkeypatch)
    world.actions.answer(980.0)
    assert world.batch() == []
    world.responses.answer(970.0, 985.0)
    assert world.batch() == ["responses 970", "actions 980", "responses 985"]
    assert world.batch() == ["tick 999"]


def test_what_does_not_answer_is_waited_for_a_while_and_no_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(monkeypatch)
    world.actions.answer(980.0)
    assert world.batch() == []
    world.at = AWAIT_S
    assert world.batch() == ["actions 980"]
    world.actions.answer(999.0)
    assert world.batch() == ["tick 999", "actions 999"]


def test_one_that_answered_and_went_away_is_waited_for_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(monkeypatch)
    world.actions.answer()
    world.responses.answer()
    assert world.batch() == ["tick 999"]
    world.responses.caught_up = False
    world.actions.answer(1000.0)
    assert world.batch() == []
    world.at = AWAIT_S
    assert world.batch() == ["actions 1000"]
