"""What goes because of its age, and what may not, against a real server."""

import time
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from connectors import redis_stream
from connectors.keyspace import Keys
from connectors.redis_stream import RedisStreamReader
from connectors.retaining import PAGE, Kept, Retention
from feedback.instants import Instant, rfc3339

KEYS = Keys("default")
NOW = 1_800_000_000
DAY = 86_400


def put(redis: Any, key: str, *days_ago: float) -> None:
    for number, ago in enumerate(days_ago):
        redis.xadd(key, {"record": "{}"}, id=f"{int((NOW - ago * DAY) * 1000)}-{number + 1}")


def ages(redis: Any, key: str) -> list[int]:
    return [round((NOW - int(id_.split(b"-")[0]) / 1000) / DAY) for id_, _ in redis.xrange(key)]


def retention(url: str, **kept_days: float) -> Retention:
    seconds = {name: int(days * DAY) for name, days in kept_days.items()}
    return Retention(url, Kept(**{"events": None, "dead_letters": None, "closed_cases": None, **seconds}))


@pytest.fixture
def url(store_url: str) -> str:
    return store_url


@pytest.fixture(autouse=True)
def exact(redis: Any) -> Iterator[None]:
    """Nodes of one entry, so that trimming by whole nodes is exact."""
    before = redis.config_get("stream-node-max-entries")
    redis.config_set("stream-node-max-entries", 1)
    yield
    redis.config_set("stream-node-max-entries", before["stream-node-max-entries"])


def test_events_go_after_their_time_and_dead_letters_after_theirs(redis: Any, url: str) -> None:
    put(redis, KEYS.events, 40, 31, 29, 1)
    put(redis, KEYS.dead, 100, 89)
    removed = retention(url, events=30, dead_letters=90).look("default", Instant(NOW))
    assert (removed.events, removed.dead_letters) == (2, 1)
    assert ages(redis, KEYS.events) == [29, 1]
    assert ages(redis, KEYS.dead) == [89]


def test_the_streams_of_every_lane_are_counted(redis: Any, url: str) -> None:
    for lane, entries in enumerate((1, 2, 3)):
        put(redis, KEYS.of_lane(KEYS.inbox, lane), *range(entries, 0, -1))
    put(redis, KEYS.of_lane(KEYS.actions, 1), 1)
    put(redis, KEYS.of_lane(KEYS.facts, 1), 2, 1)
    forever = Kept(events=None, dead_letters=None, closed_cases=None)
    assert Retention(url, forever, 2).lengths("default") == {
        "in": 3, "actions": 1, "facts": 2, "events": 0, "dead": 0, "cases": 0,
    }  # fmt: skip


def test_for_ever_is_for_ever(redis: Any, url: str) -> None:
    put(redis, KEYS.events, 4000)
    assert retention(url).look("default", Instant(NOW)).events == 0
    assert ages(redis, KEYS.events) == [4000]


def test_what_a_consumer_group_has_not_read_or_not_acknowledged_stays(redis: Any, url: str) -> None:
    put(redis, KEYS.events, 40, 38, 36, 34, 2)
    redis.xgroup_create(KEYS.events, "reads", id="0")
    ((_, entries),) = redis.xreadgroup("reads", "one", {KEYS.events: ">"}, count=3)
    redis.xack(KEYS.events, "reads", entries[0][0], entries[2][0])
    keeper = retention(url, events=30)
    keeper.look("default", Instant(NOW))
    assert ages(redis, KEYS.events) == [38, 36, 34, 2]
    redis.xack(KEYS.events, "reads", entries[1][0])
    keeper.look("default", Instant(NOW))
    assert ages(redis, KEYS.events) == [36, 34, 2], "what was read last stays, and what is unread"


def case(redis: Any, name: str, opened: float, closed: float | None) -> None:
    record: dict[str, Any] = {"id": name, "status_at": rfc3339(Instant(int(NOW - opened * DAY)))}
    if closed is not None:
        record["closed_at"] = rfc3339(Instant(int(NOW - closed * DAY)))
    else:
        redis.zadd(KEYS.open, {name: NOW - opened * DAY})
    redis.zadd(KEYS.cases, {name: NOW - opened * DAY})
    redis.hset(KEYS.case(name), mapping={"id": name, "record": msgspec.json.encode(record)})
    redis.hset(KEYS.log(name), "e-1", "{}")


def names(redis: Any) -> list[str]:
    return [name.decode() for name in redis.zrange(KEYS.cases, 0, -1)]


def test_a_closed_case_goes_with_its_log_and_an_open_one_never(redis: Any, url: str) -> None:
    case(redis, "old-open", 5000, None)
    case(redis, "old-closed", 4000, 3000)
    case(redis, "closed-late", 4000, 10)
    case(redis, "young", 5, 4)
    assert retention(url, closed_cases=2192).look("default", Instant(NOW)).closed_cases == 1
    assert names(redis) == ["old-open", "closed-late", "young"]
    assert redis.exists(KEYS.case("old-closed"), KEYS.log("old-closed")) == 0


def test_every_case_is_looked_at_a_page_at_a_time_however_many_opened_in_one_second(redis: Any, url: str) -> None:
    for number in range(PAGE + 20):
        case(redis, f"open-{number:04d}", 50, None)
    for number in range(PAGE + 20):
        case(redis, f"shut-{number:04d}", 50, 40)
    keeper = retention(url, closed_cases=30)
    gone = [keeper.look("default", Instant(NOW)).closed_cases for _ in range(4)]
    assert sum(gone) == PAGE + 20
    assert max(gone) <= PAGE
    assert set(names(redis)) == {f"open-{number:04d}" for number in range(PAGE + 20)}


class Now:
    def __init__(self) -> None:
        self.at = float(NOW)

    def __call__(self) -> float:
        return self.at


def read(url: str, resume: str | None = None, now: Now | None = None, keep_s: float | None = DAY) -> RedisStreamReader:
    return RedisStreamReader("in", url, KEYS.inbox, resume, programme="default", keep_s=keep_s, now=now or Now())


def until(claim: Any) -> None:
    limit = time.monotonic() + 20
    while not claim():
        assert time.monotonic() < limit
        time.sleep(0.01)


def taken(reader: RedisStreamReader, count: int) -> list[str]:
    found: list[str] = []
    until(lambda: found.extend(e.position for e in reader.poll(100)) or len(found) >= count)
    return found


def test_a_reader_removes_what_is_old_behind_the_snapshots_and_nothing_else(redis: Any, url: str) -> None:
    put(redis, KEYS.inbox, 9, 8, 7, 6, 0.1)
    reader = read(url)
    positions = taken(reader, 5)
    reader.release(positions[2])
    until(lambda: reader.removed == 2)
    reader.close()
    assert ages(redis, KEYS.inbox) == [7, 6, 0], "a crash may ask for the last two again, the third tells a gap"


def test_a_stream_that_grows_too_long_keeps_only_what_may_be_asked_for(
    redis: Any, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_stream, "KEPT_AT_MOST", 4)
    put(redis, KEYS.inbox, 0.5, 0.4, 0.3, 0.2, 0.1)
    reader = read(url)
    positions = taken(reader, 5)
    reader.release(positions[3])
    until(lambda: reader.removed == 3)
    reader.close()


@pytest.mark.parametrize(
    ("trimmed_to", "gaps"), [(None, 0), (1, 0), (2, 0), (3, 1), (4, 1)], ids=["not", "before", "to it", "one", "two"]
)
def test_what_somebody_trimmed_before_it_was_read_is_told(
    redis: Any, url: str, trimmed_to: int | None, gaps: int
) -> None:
    put(redis, KEYS.inbox, 9, 8, 7, 6, 5)
    ids = [id_.decode() for id_, _ in redis.xrange(KEYS.inbox)]
    if trimmed_to is not None:
        redis.xtrim(KEYS.inbox, minid=ids[trimmed_to], approximate=False)
    reader = read(url, ids[2], keep_s=None)
    taken(reader, len(ids) - max(3, trimmed_to or 0))
    reader.close()
    assert reader.gaps == gaps


def test_an_erased_record_at_the_place_of_the_resume_is_no_gap(redis: Any, url: str) -> None:
    put(redis, KEYS.inbox, 9, 8, 7)
    ids = [id_.decode() for id_, _ in redis.xrange(KEYS.inbox)]
    redis.xdel(KEYS.inbox, ids[0], ids[1])
    reader = read(url, ids[1])
    assert taken(reader, 1) == [ids[2]]
    reader.close()
    assert reader.gaps == 0


def test_one_who_reads_all_of_a_stream_that_was_emptied_hears_of_it(redis: Any, url: str) -> None:
    put(redis, KEYS.inbox, 9, 8, 7)
    ids = [id_.decode() for id_, _ in redis.xrange(KEYS.inbox)]
    redis.xtrim(KEYS.inbox, maxlen=0, approximate=False)
    for resume, gaps in ((ids[1], 1), (ids[2], 0)):
        reader = read(url, resume)
        until(lambda reader=reader: reader.caught_up)
        reader.close()
        assert reader.gaps == gaps
