"""What the intake says is kept is kept, though Redis is killed at any moment; and nothing is kept twice."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from connectors.embedded import Embedded
from connectors.intake import Ask, Changed, Clash, Entry, Intake, mark_of
from connectors.keyspace import Keys
from connectors.redis_link import StoreAway, StoreError, client
from tests.connectors.outage import Outage

KEYS = Keys("default")


def ask(*ids: str, **more: Any) -> Ask:
    entries = tuple(Entry(KEYS.inbox, KEYS.seen(mark_of(id_)), json.dumps({"id": id_}).encode()) for id_ in ids)
    return Ask(programme="default", entries=entries, remember_s=600, **more)


def within(url: str, do: Callable[[Intake], Awaitable[Any]], *, wait_for_disk: bool = True) -> Any:
    async def run() -> Any:
        async with Intake(url, marker=KEYS.marker, wait_for_disk=wait_for_disk) as intake:
            return await do(intake)

    return asyncio.run(run())


def ids_of(url: str) -> list[str]:
    with client(url) as redis:
        return [json.loads(fields[b"record"])["id"] for _, fields in redis.xrange(KEYS.inbox)]


def test_many_requests_share_a_wait_and_each_gets_its_own_answer(store_url: str) -> None:
    async def do(intake: Intake) -> Any:
        return await asyncio.gather(*(intake.hand_in(ask(f"a{n % 150}", f"b{n}")) for n in range(300)))

    answers = within(store_url, do)
    assert sum(first.is_new for first, _ in answers) == 150
    assert all(second.is_new for _, second in answers)
    entries = {id_: n for n, id_ in enumerate(ids_of(store_url))}
    assert len(entries) == 450
    with client(store_url) as redis:
        by_entry = {id_.decode(): json.loads(f[b"record"])["id"] for id_, f in redis.xrange(KEYS.inbox)}
        assert int(redis.get(KEYS.marker)) < 100
    assert [(by_entry[a.id], by_entry[b.id]) for a, b in answers] == [(f"a{n % 150}", f"b{n}") for n in range(300)]


def test_an_idempotency_key_and_a_changed_partial_take_nothing_in(store_url: str) -> None:
    async def do(intake: Intake) -> None:
        await intake.hand_in(ask("1", asked="k", digest="d1"))
        with pytest.raises(Clash):
            await intake.hand_in(ask("2", asked="k", digest="d2"))
        await intake.hand_in(ask("3", partial="p", before=b"", after=b"x"))
        with pytest.raises(Changed):
            await intake.hand_in(ask("4", partial="p", before=b"", after=b"y"))

    within(store_url, do)
    assert ids_of(store_url) == ["1", "3"]


def test_what_was_answered_outlives_a_kill_of_redis_and_what_was_not_can_be_sent_again(own_server: Embedded) -> None:
    outage = Outage(own_server)
    told: list[str] = []
    failed: list[str] = []

    async def do(intake: Intake) -> None:
        async def one(id_: str) -> None:
            try:
                await intake.hand_in(ask(id_))
                told.append(id_)
            except StoreAway:
                failed.append(id_)

        async def stream(start: int) -> None:
            for number in range(start, start + 60):
                await asyncio.sleep(0.004)
                await one(f"r{number}")

        sending = [asyncio.create_task(stream(1000 * worker)) for worker in range(8)]
        for _ in range(3):
            await asyncio.sleep(0.35)
            await asyncio.to_thread(outage.begin)
            await asyncio.sleep(0.05)
            await asyncio.to_thread(outage.end)
        await asyncio.gather(*sending)
        assert failed
        for _ in range(100):  # as a sender does that was asked to come again
            again, failed[:] = failed[:], []
            await asyncio.gather(*(one(id_) for id_ in again))
            if not failed:
                break
            await asyncio.sleep(0.1)

    within(own_server.url, do)
    kept = ids_of(own_server.url)
    assert not failed
    assert len(told) == 480
    assert sorted(kept) == sorted(told)


def test_a_record_that_another_server_process_does_not_have_is_not_said_to_be_kept(
    own_server: Embedded, tmp_path: Path
) -> None:
    """Killed after the write and before the disk had it, with the end of its file lost."""
    outage = Outage(own_server)

    async def do(intake: Intake) -> None:
        await intake.hand_in(ask("1"))

        async def cut() -> None:
            while True:  # the moment after the record was written
                await asyncio.sleep(0)
                if intake.in_hand and intake._written:
                    break
            outage.begin()
            outage.lose(tmp_path)
            outage.end()

        cutting = asyncio.create_task(cut())
        with pytest.raises(StoreAway):
            await intake.hand_in(ask("2"))
        await cutting
        for _ in range(100):
            try:
                (taken,) = await intake.hand_in(ask("2"))
                break
            except StoreAway:
                await asyncio.sleep(0.1)
        assert taken.is_new

    within(own_server.url, do)
    assert ids_of(own_server.url)[-1] == "2"


def test_a_redis_that_keeps_nothing_on_disk_is_refused_unless_that_was_asked_for(store_url: str) -> None:
    async def do(intake: Intake) -> Any:
        return await intake.hand_in(ask("1"))

    with client(store_url) as redis:
        redis.config_set("appendonly", "no")
        try:
            with pytest.raises(StoreError, match="keeps nothing on disk"):
                within(store_url, do)
            (taken,) = within(store_url, do, wait_for_disk=False)
        finally:
            redis.config_set("appendonly", "yes")
    assert taken.is_new
