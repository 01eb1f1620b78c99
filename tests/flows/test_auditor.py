"""The auditor finds a deadline that was not called, whoever forgot it, and nothing else."""

from typing import Any

from connectors.records import Records
from connectors.redis_store import RedisStore
from feedback.instants import Instant
from flows import auditor
from flows.auditor import GRACE_S, Auditor
from tests.builders import START
from tests.cases.test_second_thoughts import World


def test_a_clock_that_was_never_called_is_found_and_one_that_was_is_not(store_url: str) -> None:
    """The engine of the second case forgets its ticks: what the store shows is all that the auditor has."""
    store, records = RedisStore(store_url, ["default"]), Records(store_url)
    world = World()
    called = world.says("0", "quick")
    store.write(called)
    look = Auditor(records.due_before, ["default"])
    breach = Instant(START + 600)
    assert look.look(Instant(breach + GRACE_S - 1)) == 0
    assert look.look(Instant(breach + GRACE_S)) == 1
    store.write(world.until("10m"))
    assert look.look(Instant(breach + GRACE_S)) == 0
    store.close()
    records.close()


def test_what_is_met_paused_or_breached_is_no_finding() -> None:
    def record(state: str) -> dict[str, Any]:
        clock = {"name": "a", "occurrence": 1, "state": state, "due_at": "2026-11-02T09:00:00Z"}
        return {"id": "c-1-0", "clocks": [clock]}

    found = {state: auditor.findings("p", record(state), START) for state in
             ("running", "paused", "breached", "met", "ended")}  # fmt: skip
    assert [state for state, findings in found.items() if findings] == ["running"]


def test_more_cases_than_a_page_are_looked_at_in_turn() -> None:
    cases = [{"id": f"c-1-{n}", "clocks": []} for n in range(auditor.PAGE + 10)]
    cases[-1]["clocks"] = [{"name": "a", "occurrence": 1, "state": "running", "due_at": "2026-11-02T09:00:00Z"}]
    look = Auditor(lambda _p, _before, offset, limit: cases[offset : offset + limit], ["p"])
    at = Instant(START + 3600)
    assert [look.look(at), look.look(at), look.look(at)] == [0, 1, 1]
    cases[-1]["clocks"] = []
    assert [look.look(at), look.look(at)] == [0, 0]


def test_an_engine_without_cases_has_nothing_to_answer_for(store_url: str) -> None:
    assert Auditor(Records(store_url).due_before, ["default"]).look(START) == 0
