"""A wall clock that jumps by an hour, either way: no clock fires twice, none is lost, and it is said in words."""

from collections.abc import Callable
from pathlib import Path

import pytest

from feedback.instants import parse_instant
from feedback.records import Envelope
from flows.engine_time import EngineClock
from tests.flows.story import START, Store, World, response, run, said

HOUR_S = 3600.0


def story() -> list[Envelope]:
    return [
        response(1, 10, nps=2, text="nobody rang"),
        response(2, 30, nps=3, text="late again"),
        response(3, 330, nps=1, text="late"),
    ]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Store:
    store = Store()
    run(store, story(), tmp_path_factory.mktemp("whole") / "r")
    return store


@pytest.mark.parametrize("by_s", [HOUR_S, -HOUR_S])
@pytest.mark.parametrize(("since_s", "until_s"), [(100, 400), (305, 320), (0, 900)])
def test_clocks_fire_once_each_though_the_wall_clock_was_an_hour_wrong_for_a_while(
    whole: Store, tmp_path: Path, by_s: float, since_s: float, until_s: float
) -> None:
    store = Store()
    run(store, story(), tmp_path / "r", jumped_s=_between(since_s, until_s, by_s))
    assert {i: said(e) for i, e in store.events.items()} == {i: said(e) for i, e in whole.events.items()}
    assert len(store.order) == len(store.events)


def _between(since_s: float, until_s: float, by_s: float) -> Callable[[float], float]:
    return lambda at: by_s if START + since_s < at <= START + until_s else 0.0


def test_no_breach_is_said_while_the_wall_clock_is_an_hour_ahead(tmp_path: Path) -> None:
    store = Store()
    world = World(until=START + 900.0)
    run(store, story()[:1], tmp_path / "r", world=world, jumped_s=_between(100, 700, HOUR_S))
    breaches = [event for event in store.order if event.type == "clock.breached"]
    assert breaches
    assert all(
        parse_instant(str(e.data["detected_at"])) > START + 700 for e in breaches if START + 100 < e.time < START + 700
    )


@pytest.mark.parametrize(("by_s", "words"), [(HOUR_S, "3600 s ahead and deadlines are held"), (-HOUR_S, "3600 s back")])
def test_what_is_wrong_with_the_wall_clock_is_told_until_it_is_right_again(by_s: float, words: str) -> None:
    boot, wrong = [100.0], [0.0]
    clock = EngineClock(wall=lambda: boot[0] + wrong[0], boot=lambda: boot[0])
    told = []
    for wrong_s in (0.0, by_s, 0.0):
        boot[0] += 1
        wrong[0] = wrong_s
        assert clock.now() == pytest.approx(boot[0])
        told.append(clock.trouble)
    assert (told[0], told[2]) == ("", "")
    assert words in told[1]


def test_an_accepted_jump_moves_engine_time_on_and_never_back() -> None:
    boot, wrong = [100.0], [HOUR_S]
    clock = EngineClock(wall=lambda: boot[0] + wrong[0] - HOUR_S, boot=lambda: boot[0])
    wrong[0] = 2 * HOUR_S
    clock.now()
    assert clock.is_held
    clock.accept()
    assert clock.now() == pytest.approx(boot[0] + HOUR_S)
    wrong[0] = HOUR_S
    assert clock.now() == pytest.approx(boot[0] + HOUR_S)
