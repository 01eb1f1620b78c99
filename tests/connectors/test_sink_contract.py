"""What the engine expects of every sink, against the real thing: each event readable, in order, nothing lost.

What a repeat comes to differs, and is each sink's promise (`copies`): the store writes an event once, a webhook
is posted once for each time it stands in the log (and again, same id and bytes, when an answer was lost), and
standard output says the same line again.
"""

import asyncio
import io
import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator, Sequence
from functools import cache
from typing import Any, NamedTuple, Protocol, TypeVar

import msgspec
import pytest
from aiohttp import web

from cases.events import Event, Standing, encode
from connectors.embedded import Embedded
from connectors.kafka_link import KafkaTopic
from connectors.kafka_sink import KafkaOutlet, KafkaSink
from connectors.keyspace import Keys
from connectors.redis_link import client
from connectors.redis_sink import RedisSink
from connectors.redis_store import RedisStore
from connectors.signing import Secret, verify
from connectors.stdout import StdoutSink, as_line
from connectors.webhooks import Format
from feedback.ids import CaseId, EventId
from feedback.instants import Instant, rfc3339
from tests.builders import START, engine, envelope
from tests.connectors.outage import Outage
from tests.flows.delivery_world import SECRETS, Receiver, World, endpoint
from tests.flows.story import book
from tests.kafka.broker import Broker
from tests.kafka.topics import MockKafka, contents, fresh

T = TypeVar("T")
KEYS = Keys("default")
WAIT_S = 20.0


class Got(NamedTuple):
    """One event as a reader has it."""

    type: str
    case: str
    time: str
    whole: str


class Sink(Protocol):
    """A sink and its reader. Made open."""

    copies: int
    """How often a reader has an event that was given twice."""

    def open(self) -> None: ...
    def close(self) -> None: ...

    def give(self, events: Sequence[Event]) -> None:
        """Hand over a batch; may wait for a peer that is away."""

    def read(self) -> list[Got]:
        """Everything that the reader has, in the order in which it came, once nothing is under way."""

    def shown(self, event: Event) -> Got:
        """What the reader should have of *event*."""

    def end(self) -> None: ...


class Peered(Sink, Protocol):
    """A sink whose other end may go away."""

    def down(self) -> None: ...
    def up(self) -> None: ...
    def in_trouble(self) -> bool: ...


def wire(event: Event) -> dict[str, Any]:
    """The CloudEvent of *event*; what was unreadable is for the dead letters."""
    data = {name: value for name, value in event.data.items() if name != "original"}
    parsed: dict[str, Any] = json.loads(encode(msgspec.structs.replace(event, data=data)))
    return parsed


def cloudevent(parsed: dict[str, Any]) -> Got:
    return Got(parsed["type"], parsed.get("subject", ""), parsed["time"], json.dumps(parsed, sort_keys=True))


def standard(parsed: dict[str, Any]) -> Got:
    case = parsed["data"].get("case", {}).get("id", "")
    return Got(parsed["type"], case, parsed["timestamp"], json.dumps(parsed, sort_keys=True))


# -- the sinks ----------------------------------------------------------------------------------------------


class Store:
    """The Redis store under the sink that Bytewax drives; its reader follows the stream."""

    copies = 1

    def __init__(self, url: str, outage: Outage | None = None) -> None:
        self._url, self._outage = url, outage
        self._kept: list[bytes] | None = None
        self._stopping = threading.Event()
        self._writing = threading.Lock()
        self.open()

    def _make(self) -> RedisStore:
        self._store = RedisStore(self._url, ["default"], stopping=self._stopping.is_set)
        return self._store

    def open(self) -> None:
        self._stopping.clear()
        self._part = RedisSink(self._make).build_part("sink", "redis", self._kept)

    def close(self) -> None:
        self._stopping.set()
        with self._writing:
            self._kept = self._part.snapshot()
            self._part.close()

    def give(self, events: Sequence[Event]) -> None:
        with self._writing:
            self._part.write_batch(list(events))

    def read(self) -> list[Got]:
        with client(self._url) as redis:
            return [cloudevent(json.loads(fields[b"event"])) for _, fields in redis.xrange(KEYS.events)]

    def shown(self, event: Event) -> Got:
        return cloudevent(wire(event))

    def end(self) -> None:
        self._part.close()

    def down(self) -> None:
        assert self._outage is not None
        self._outage.begin()

    def up(self) -> None:
        assert self._outage is not None
        self._outage.end()

    def in_trouble(self) -> bool:
        return bool(self._store.trouble)


class Webhooks:
    """The second flow over the store's log, posting to a receiver on loopback, both in a thread with a loop."""

    copies = 1

    def __init__(self, url: str, format_: Format = "cloudevents", concurrency: int = 8) -> None:
        self._format: Format = format_
        self._unanswered = 0
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._store = RedisStore(url, ["default"])
        self._given = 0
        self.receiver = Receiver(self._answer)
        self._do(self.receiver.start())
        self._port = int(self.receiver.url.rsplit(":", 1)[1].split("/")[0])
        self._endpoint = endpoint(
            self.receiver.url, format=format_, concurrency=concurrency, schedule_s=(0.0, *[0.02] * 500)
        )
        self._world = self._do(self._made(url))
        self.open()

    async def _made(self, url: str) -> World:
        return World(url)

    async def _answer(self, receiver: Receiver, request: web.Request) -> web.StreamResponse:
        if self._unanswered > 0:
            self._unanswered -= 1
            assert request.transport is not None
            request.transport.abort()
        return web.Response()

    def _do(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(WAIT_S)

    def open(self) -> None:
        async def start() -> tuple[asyncio.Task[None], asyncio.Event]:
            return self._world.start(self._endpoint)

        self._flow = self._do(start())

    def close(self) -> None:
        async def stop() -> None:
            task, stopping = self._flow
            stopping.set()
            await task

        self._do(stop())

    def give(self, events: Sequence[Event]) -> None:
        self._store.write(events)
        self._given += len(events)

    def lose_answers(self, count: int) -> None:
        """Break the connection after reading each of the next *count* requests."""
        self._unanswered = count

    def read(self) -> list[Got]:
        if self._given:
            self._do(self._world.settled("crm"))
        found = []
        for headers, body in self.receiver.requests:
            assert verify([Secret(SECRETS[0])], headers, body, time.time()) == ""
            parsed = json.loads(body)
            found.append(cloudevent(parsed) if self._format == "cloudevents" else standard(parsed))
        return found

    def shown(self, event: Event) -> Got:
        whole = wire(event)
        if self._format == "cloudevents":
            return cloudevent(whole)
        return standard({"type": whole["type"], "timestamp": whole["time"], "data": whole["data"]})

    def end(self) -> None:
        if not self._flow[0].done():
            self.close()
        self._store.close()
        self._do(self._world.client.aclose())
        self._do(self.receiver.stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def down(self) -> None:
        self._do(self.receiver.stop())

    def up(self) -> None:
        self._do(self.receiver.start(self._port))

    def in_trouble(self) -> bool:
        return self._world.value("tocsin_delivery_attempts_total", endpoint="crm", code_class="none") > 0


class Stdout:
    """Standard output; its reader has the text."""

    copies = 2

    def __init__(self, *, json: bool) -> None:
        self._stream = io.StringIO()
        self._json = json
        self.open()

    def open(self) -> None:
        self._part = StdoutSink(json=self._json, stream=self._stream).build("sink", 0, 1)

    def close(self) -> None:
        self._part.close()

    def give(self, events: Sequence[Event]) -> None:
        self._part.write_batch([("key", event) for event in events])

    def read(self) -> list[Got]:
        said = self._stream.getvalue()
        if self._json:
            return [cloudevent(json.loads(line)) for line in said.removesuffix("\n").split("\n") if said]
        return [self._line(line) for line in said.splitlines()]

    def _line(self, line: str) -> Got:
        day, hour, type_, case, *_ = line.split()
        return Got("tocsin." + type_, case.strip("-") and case, f"{day}T{hour}", line)

    def shown(self, event: Event) -> Got:
        if self._json:
            return cloudevent(wire(event))
        return Got("tocsin." + event.type, event.case or "", rfc3339(event.time), as_line(event))

    def end(self) -> None:
        self._part.close()


class Topic:
    """A topic of Kafka; its reader reads every partition from the beginning."""

    copies = 2

    def __init__(self, kafka: Broker | MockKafka) -> None:
        self._kafka = kafka
        self._topic = KafkaTopic(servers=kafka.servers, topic=fresh(kafka))
        self._kept: list[bytes] | None = None
        self._open = False
        self.open()

    def _make(self, restored: list[bytes]) -> KafkaOutlet:
        self._outlet = KafkaOutlet(self._topic, restored=restored)
        return self._outlet

    def open(self) -> None:
        self._part = KafkaSink(self._make).build_part("sink", "kafka", self._kept)
        self._open = True

    def close(self) -> None:
        self._kept = self._part.snapshot()
        self._part.close()
        self._open = False

    def give(self, events: Sequence[Event]) -> None:
        self._part.write_batch(list(events))

    def read(self) -> list[Got]:
        until(lambda: not self._outlet.waiting)
        return [cloudevent(json.loads(value)) for value in contents(self._topic.servers, self._topic.topic)]

    def shown(self, event: Event) -> Got:
        return cloudevent(wire(event))

    def end(self) -> None:
        if self._open:
            self._part.close()

    def down(self) -> None:
        assert isinstance(self._kafka, Broker)
        self._kafka.kill()

    def up(self) -> None:
        assert isinstance(self._kafka, Broker)
        self._kafka.start()

    def in_trouble(self) -> bool:
        return bool(self._outlet.trouble)


KINDS: dict[str, Callable[[str], Sink]] = {
    "store": Store,
    "webhooks": Webhooks,
    "standard-webhooks": lambda url: Webhooks(url, "standard"),
    "json-lines": lambda _: Stdout(json=True),
    "lines": lambda _: Stdout(json=False),
}


REAL = pytest.param("broker", marks=pytest.mark.kafka)


@pytest.fixture(params=[*KINDS, "mock_kafka", REAL])
def sink(request: pytest.FixtureRequest) -> Iterator[Sink]:
    made: Sink
    if request.param in KINDS:
        made = KINDS[request.param](request.getfixturevalue("store_url"))
    else:
        made = Topic(request.getfixturevalue(request.param))
    yield made
    made.end()


@pytest.fixture(params=["store", "webhooks", REAL])
def peered(request: pytest.FixtureRequest) -> Iterator[Peered]:
    made: Peered
    if request.param == "broker":
        made = Topic(request.getfixturevalue("broker"))
        yield made
        made.end()
        return
    own_server: Embedded = request.getfixturevalue("own_server")
    if request.param == "store":
        made = Store(own_server.url, Outage(own_server))
    else:
        made = Webhooks(own_server.url, concurrency=1)  # eight failures at once would pause it for 15 s
    yield made
    made.end()


@pytest.fixture(params=["cloudevents", "standard"])
def webhooks(request: pytest.FixtureRequest, store_url: str) -> Iterator[Webhooks]:
    made = Webhooks(store_url, request.param)
    yield made
    made.end()


# -- what is said -------------------------------------------------------------------------------------------


@cache
def said() -> tuple[Event, ...]:
    """What the engine says of some detractors and something unreadable; their cases take turns."""
    world = engine(book())
    records = [
        envelope({"id": f"r{n}", "customer": f"c{n}", "scores": {"nps": 1}, "text": "schlecht ✗"}, START, str(n))
        for n in range(12)
    ]
    events = world.hear([*records, envelope(b"\xff not json", START, "bad")])
    return (*events, *world.advance(Instant(START + 400)))


AWKWARD = 'Zoë 🛎 \u202eright-to-left\u202c e\u0301 \x00 \x1b[31m \u2028 \r\n\t"quoted" \\u0000 </script> \U0010ffff'


def awkward() -> list[Event]:
    """Three events with everything that a text may hold; the second with 200 kB of it."""
    events = []
    for number, text in enumerate([AWKWARD, AWKWARD + "ü\x00" * 25_000, AWKWARD], 1):
        shown = {"source": AWKWARD, "id": AWKWARD, "text": text, "attributes": {AWKWARD: AWKWARD}}
        record = {"id": "c-1-000000000001", "type": "delay", "customer": AWKWARD, "subject": AWKWARD, "text": text}
        event = Event(
            id=EventId(f"e-{number}"),
            type="case.updated",
            programme="default",
            time=Instant(START + number),
            case=CaseId("c-1-000000000001"),
            sequence=number,
            data={"reason": AWKWARD, "response": shown},
            record=msgspec.Raw(msgspec.json.encode(record)),
            standing=Standing(status="new", open=True, owner="ann", opened_at=START, due_at=None),
        )
        events.append(event)
    return events


def arrived(sink: Sink, events: Sequence[Event], copies: int = 1) -> bool:
    """Whether the reader has just *events*, each *copies* times, and those of each case in order."""
    got, expected = sink.read(), [sink.shown(event) for event in events]
    assert Counter(got) == Counter(expected * copies)
    for case in {shown.case for shown in expected if shown.case}:
        assert [g for g in got if g.case == case][: len(expected)] == [e for e in expected if e.case == case] * copies
    return True


def until(claim: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT_S
    while not claim():
        assert time.monotonic() < deadline
        time.sleep(0.005)


# -- the contract -------------------------------------------------------------------------------------------


def test_every_event_arrives_once_and_each_cases_in_order(sink: Sink) -> None:
    sink.give(said())
    assert arrived(sink, said())


def test_where_a_batch_ends_changes_nothing(sink: Sink) -> None:
    for start in range(0, len(said()), 7):
        sink.give(said()[start : start + 7])
    assert arrived(sink, said())


def test_the_same_batch_again_is_no_new_fact(sink: Sink) -> None:
    sink.give(said())
    once = set(sink.read())
    sink.give(said())
    assert set(sink.read()) == once
    assert arrived(sink, said(), copies=sink.copies)


def test_an_empty_batch_does_nothing(sink: Sink) -> None:
    sink.give([])
    assert sink.read() == []
    sink.give(said()[:3])
    sink.give([])
    assert arrived(sink, said()[:3])


def test_a_sink_closed_and_opened_again_goes_on_where_it_was(sink: Sink) -> None:
    sink.give(said()[:50])
    sink.close()
    sink.open()
    sink.give(said()[50:])
    assert arrived(sink, said())


def test_awkward_texts_arrive_as_they_are(sink: Sink) -> None:
    sink.give(awkward())
    sink.give(said()[:3])
    assert arrived(sink, [*awkward(), *said()[:3]])


def test_a_peer_that_was_away_has_everything_when_it_is_back(peered: Peered) -> None:
    peered.give(said()[:50])
    assert arrived(peered, said()[:50])
    peered.down()
    giving = threading.Thread(target=peered.give, args=(said()[50:],))
    giving.start()
    until(peered.in_trouble)
    peered.up()
    giving.join(WAIT_S)
    assert arrived(peered, said())


def test_a_sink_closed_while_its_peer_is_away_hands_on_what_it_was_given(peered: Peered) -> None:
    peered.give(said()[:50])
    assert arrived(peered, said()[:50])
    peered.down()
    giving = threading.Thread(target=peered.give, args=(said()[50:],))
    giving.start()
    until(peered.in_trouble)
    peered.close()
    giving.join(WAIT_S)
    peered.up()
    peered.open()
    peered.give([])
    assert arrived(peered, said())


# -- what a repeat comes to ---------------------------------------------------------------------------------


def test_a_repeat_leaves_every_key_of_the_store_as_it_was(store_url: str, redis: Any) -> None:
    def everything() -> dict[bytes, bytes]:
        return {key: redis.dump(key) for key in redis.scan_iter() if key != KEYS.marker.encode()}

    store = Store(store_url)
    store.give(said())
    before = everything()
    store.give(said())
    store.give(list(reversed(said())))
    store.end()
    assert everything() == before


def test_a_delivery_whose_answer_was_lost_comes_again_with_the_same_id_and_bytes(webhooks: Webhooks) -> None:
    webhooks.lose_answers(2)
    webhooks.give(said()[:3])
    webhooks.read()
    posted = [(headers["webhook-id"], body) for headers, body in webhooks.receiver.requests]
    assert len(posted) == 5
    assert {id_ for id_, _ in posted} == {event.id for event in said()[:3]}
    assert len(set(posted)) == 3
