"""The books of the storm balance for a sound build, and not for one made wrong on purpose: a check that can fail."""

import random
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from cases.events import Event
from connectors import redis_script, redis_store
from connectors.keyspace import Keys
from connectors.redis_store import RedisStore
from feedback.instants import Instant
from tests.builders import START, book, engine, envelope
from tests.storm import broken, house
from tests.storm.__main__ import ON_KAFKA, STRIKES, plan, stored
from tests.storm.accounting import Account, Said, Sent, said, settle, still_owed

COUNT = 20
ACTED = ("act-s15",)


def sent() -> list[Sent]:
    return [Sent(f"s{n}", house.kind_of(n)) for n in range(COUNT)]


def events() -> list[Event]:
    """What a sound engine says of `COUNT` responses, to the last rung of their ladders."""
    world = engine(book({"default": house.RULES}))
    records = [envelope(msgspec.json.encode(house.record(n)), START, str(n)) for n in range(COUNT)]
    said_ = list(world.hear(records))
    opened = [event for event in said_ if event.type == "case.opened"]
    for number, event in enumerate(opened, COUNT):
        if do := house.deed(str(event.data["response"]["id"])):
            told = house.action(f"act-{event.data['response']['id']}", str(event.case), do, str(event.data["owner"]))
            said_ += world.hear([envelope(told, Instant(START + 1), str(number))])
    return [*said_, *world.advance(Instant(START + 2 * house.SPOKEN_S))]


def written(url: str, redis: Any, batches: Sequence[Sequence[Event]]) -> tuple[list[Said], Account]:
    """*batches* through the store into Redis; the stream and the account of it."""
    store = RedisStore(url, ["default"])
    for batch in batches:
        store.write(batch)
    store.close()
    stream = [said(fields) for _, fields in redis.xrange(Keys("default").events)]
    return stream, settle(sent(), stream, stored(url), house.expected(), acted=ACTED)


def broken_promises(account: Account) -> set[str]:
    names = ("lost", "doubled", "unmarked_late", "unfounded", "disordered", "broken")
    return {name for name in names if getattr(account, name)}


def test_a_sound_build_balances_though_everything_is_written_twice(store_url: str, redis: Any) -> None:
    stream, account = written(store_url, redis, [events(), events()])
    assert account.balanced, account
    assert (account.opened, account.breached, still_owed(sent(), stream)) == (4, 2, 0)


def test_a_build_without_dedupe_is_found_out(store_url: str, redis: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redis_store, "SCRIPT", redis_script.SCRIPT)
    monkeypatch.setattr(redis_script, "_SHA", redis_script._SHA)
    broken.without_dedupe()
    _, account = written(store_url, redis, [events(), events()])
    assert broken_promises(account) == {"doubled", "disordered"}
    assert len([found for found in account.doubled if "times in the stream" in found]) == len(events())


def test_a_build_that_drops_events_is_found_out(store_url: str, redis: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RedisStore, "write", RedisStore.write)
    monkeypatch.setattr(broken, "EVERY", 15)
    broken.dropping()
    _, account = written(store_url, redis, [events()])
    assert "lost" in broken_promises(account)


@pytest.mark.parametrize("which", range(len(events())))
def test_any_single_event_that_is_dropped_is_missed(store_url: str, redis: Any, which: int) -> None:
    whole = events()
    _, account = written(store_url, redis, [whole[:which], whole[which + 1 :]])
    assert "lost" in broken_promises(account)


def test_a_case_that_lost_its_record_is_missed(store_url: str, redis: Any) -> None:
    whole = events()
    written(store_url, redis, [whole])
    redis.delete(Keys("default").case(str(whole[0].case)))
    _, account = written(store_url, redis, [])
    assert broken_promises(account) == {"lost"}


def test_a_late_breach_without_its_mark_is_found_out(store_url: str, redis: Any) -> None:
    stream, _ = written(store_url, redis, [events()])
    breach = next(event for event in stream if event.due)
    long_after = msgspec.structs.replace(breach, detected_at=Instant(breach.at + 60))
    changed = [long_after if event is breach else event for event in stream]
    assert broken_promises(settle(sent(), changed, stored(store_url), house.expected(), acted=ACTED)) == {
        "unmarked_late"
    }


def test_a_breach_that_fell_due_in_the_dark_cannot_have_been_in_time(store_url: str, redis: Any) -> None:
    stream, _ = written(store_url, redis, [events()])
    due = next(event.at for event in stream if event.due)
    account = settle(sent(), stream, stored(store_url), house.expected(), [(due - 2, due + 10)], acted=ACTED)
    assert broken_promises(account) == {"unmarked_late"}


def test_an_event_that_was_altered_breaks_its_trail(store_url: str, redis: Any) -> None:
    stream, _ = written(store_url, redis, [events()])
    event = next(event for event in stream if event.due)
    log = Keys("default").log(event.case)
    redis.hset(log, event.id, redis.hget(log, event.id).replace(b'"level":0', b'"level":7'))
    account = settle(sent(), stream, stored(store_url), house.expected(), acted=ACTED)
    assert broken_promises(account) == {"broken"}
    assert f"event {event.sequence}: it is not what was written" in account.broken[0]


def test_what_nobody_sent_is_unfounded(store_url: str, redis: Any) -> None:
    stream, _ = written(store_url, redis, [events()])
    account = settle(sent()[1:], stream, stored(store_url), house.expected(), acted=ACTED)
    assert broken_promises(account) == {"unfounded"}


def test_every_strike_comes_as_often_as_the_others_and_a_seed_repeats_the_plan() -> None:
    first, again = list(plan(2 * len(STRIKES), random.Random(3))), list(plan(2 * len(STRIKES), random.Random(3)))
    assert first == again
    assert first[0].strike == "both+cut"
    deck = len(STRIKES)
    assert sorted(r.strike for r in first[:deck]) == sorted(r.strike for r in first[deck:]) == sorted(STRIKES)


def test_a_storm_on_kafka_has_every_strike_and_the_brokers_own() -> None:
    struck = [round_.strike for round_ in plan(len(STRIKES) + len(ON_KAFKA), random.Random(3), kafka=True)]
    assert sorted(struck) == sorted([*STRIKES, *ON_KAFKA])
    assert struck[0] == "broker and everything"
