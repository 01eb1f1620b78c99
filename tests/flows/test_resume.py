"""A run that is cut anywhere and resumed later says, by event id, what an uninterrupted run says."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
from bytewax.errors import BytewaxRuntimeError

from cases import trail
from cases.events import encode
from feedback.ids import case_id, shard_of
from feedback.records import Envelope
from tests.flows.story import SHARDS, START, Store, World, action, response, run, said


def case(customer: str, number: int, type_: str = "detractor") -> str:
    shard = shard_of("default", customer, SHARDS)
    return case_id(shard, "default", customer, type_, "", "story", str(number))


def story() -> list[Envelope]:
    first, second = case("c1", 1), case("c2", 2)
    return [
        response(1, 10, nps=2, text="nobody rang"),
        response(2, 30, nps=3, text="late again"),
        response(3, 40, nps=9),
        action(4, 70, first, "acknowledge", "ann"),
        response(5, 100, nps=4, customer="c1", text="still nobody"),
        action(6, 130, first, "contact", "ann"),
        action(7, 140, first, "close", "ann"),
        response(2, 200, nps=8, text="late again, but mended"),
        action(8, 300, first, "pause", "ann", reason="customer away", data={"clock": "resolve"}),
        action(9, 420, first, "resume", "ann"),
        response(10, 500, nps=0, customer=None),
        action(11, 600, second, "start", "bob"),
        action(12, 700, first, "resolve", "ann", data={"outcome": {"problem": "p", "action_taken": "a"}}),
        action(13, 720, "c-1-000000000000", "note", "ann"),
        action(14, 800, first, "reopen", "ann", reason="not mended"),
        response(15, 900, nps=1, text="late"),
    ]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Store:
    store = Store()
    run(store, story(), tmp_path_factory.mktemp("whole") / "r")
    return store


def test_the_story_is_worth_cutting(whole: Store) -> None:
    types = {event.type for event in whole.events.values()}
    assert {
        "case.opened", "case.assigned", "notice.sent", "clock.armed", "clock.warned", "clock.breached", "clock.met",
        "clock.paused", "clock.resumed", "clock.ended", "case.updated", "case.acknowledged", "case.escalated",
        "case.resolved", "case.reopened", "customer.contacted", "action.refused",
    } <= types  # fmt: skip


def test_two_workers_say_what_one_says(whole: Store, tmp_path: Path) -> None:
    store = Store()
    run(store, story(), tmp_path / "r", workers=2)
    assert {i: said(e) for i, e in store.events.items()} == {i: said(e) for i, e in whole.events.items()}


@pytest.mark.parametrize("cut", range(1, len(story()) + 1))
@pytest.mark.parametrize("workers", [1, 2])
def test_a_run_cut_and_resumed_later_says_the_same(whole: Store, tmp_path: Path, cut: int, workers: int) -> None:
    """Forty-five seconds pass between the death and the resume; clocks fall due meanwhile."""
    store = _cut_and_resume(story(), tmp_path / "r", cut, workers, gap_s=45)
    assert sorted(store.events) == sorted(whole.events)
    assert {i: said(e) for i, e in store.events.items()} == {i: said(e) for i, e in whole.events.items()}


@pytest.mark.parametrize("cut", [1, 3, 6, 11])
def test_after_a_long_outage_only_folded_warnings_and_missed_periods_differ(
    whole: Store, tmp_path: Path, cut: int
) -> None:
    """Twenty minutes pass: every breach is still said once, late; a recurring clock says how many it missed."""
    store = _cut_and_resume(story(), tmp_path / "r", cut, 1, gap_s=1200)
    lost = [whole.events[i] for i in whole.events if i not in store.events]
    recurring = {"update"}
    assert all(e.type == "clock.warned" or e.data.get("clock") in recurring or _of_takeover(e) for e in lost)


@pytest.mark.parametrize("cut", [1, 3, 6, 11])
def test_a_second_death_while_catching_up_after_an_outage_changes_nothing(tmp_path: Path, cut: int) -> None:
    """What was said of the outage before the second death is said again, word for word, and in the same places."""
    once = _cut_and_resume(story(), tmp_path / "one" / "r", cut, 1, gap_s=1200)
    store, world, folder = Store(), World(), tmp_path / "two" / "r"
    for again, gap_s in ((cut, 0), (cut + 1, 1200)):
        world.at += gap_s
        with pytest.raises(BytewaxRuntimeError):
            run(store, story(), folder, world=world, cut=again)
    world.at += 30
    run(store, story(), folder, world=world)
    assert {i: said(e) for i, e in store.events.items()} == {i: said(e) for i, e in once.events.items()}
    assert {i: e.sequence for i, e in store.events.items()} == {i: e.sequence for i, e in once.events.items()}


def _of_takeover(event: object) -> bool:
    """A new owner gets the whole time to acknowledge from when they are told, so these move with the outage."""
    data = getattr(event, "data", {})
    return (
        data.get("clock") == "acknowledge"
        or "acknowledge" in str(data.get("reason", ""))
        or (getattr(event, "type", "") in ("owner.missing", "case.assigned", "notice.sent"))
    )


def _cut_and_resume(envelopes: Sequence[Envelope], folder: Path, cut: int, workers: int, *, gap_s: int) -> Store:
    store, world = Store(), World()
    with pytest.raises(BytewaxRuntimeError):
        run(store, envelopes, folder, world=world, cut=cut, workers=workers)
    world.at += gap_s
    run(store, envelopes, folder, world=world, workers=workers)
    return store


def test_every_trail_is_whole(whole: Store) -> None:
    logs: dict[str, list[Any]] = {}
    for event in sorted(whole.events.values(), key=lambda e: e.sequence):
        logs.setdefault(str(event.case), []).append(msgspec.json.decode(encode(event)))
    logs.pop("None")
    assert len(logs) >= 3
    assert [trail.verify(log) for log in logs.values()] == [None] * len(logs)


def test_no_event_is_said_twice_in_one_run(whole: Store) -> None:
    assert len(whole.order) == len(whole.events)


def test_history_begins_after_the_first_record(whole: Store) -> None:
    assert min(event.time for event in whole.events.values()) == START + 10
