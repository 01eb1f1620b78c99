"""The Kafka sink where a topic says no: the one event is told of, the others arrive, nothing goes missing unseen."""

import threading
import time
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from cases.events import Event
from connectors.kafka_link import KafkaTopic
from connectors.kafka_sink import BACKLOG, KafkaOutlet
from feedback.ids import EventId
from feedback.instants import Instant
from tests.kafka.broker import Broker
from tests.kafka.topics import MockKafka, contents, fresh


def event(number: int, **data: Any) -> Event:
    return Event(id=EventId(f"e-{number}"), type="rules.changed", programme="default", time=Instant(number), data=data)


def until(claim: Callable[[], Any]) -> None:
    deadline = time.monotonic() + 30
    while not claim():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def ids(servers: str, topic: str) -> list[str]:
    return [msgspec.json.decode(value)["id"] for value in contents(servers, topic)]


def test_an_event_too_large_is_counted_and_the_others_arrive(mock_kafka: MockKafka) -> None:
    topic = KafkaTopic(servers=mock_kafka.servers, topic=fresh(mock_kafka))
    outlet = KafkaOutlet(topic)
    outlet.write([event(1), event(2, text="x" * 2_000_000), event(3)])
    until(lambda: not outlet.waiting)
    assert (outlet.sent, outlet.refused, outlet.trouble) == (2, 1, "")
    outlet.close()
    assert ids(topic.servers, topic.topic) == ["e-1", "e-3"]


def test_more_than_the_clients_queue_takes_is_sent_in_order(mock_kafka: MockKafka) -> None:
    settings: dict[str, str | int | float | bool] = {"queue.buffering.max.messages": 10}
    topic = KafkaTopic(servers=mock_kafka.servers, topic=fresh(mock_kafka), settings=settings)
    outlet = KafkaOutlet(topic)
    outlet.write([event(number) for number in range(100)])
    until(lambda: not outlet.waiting)
    outlet.close()
    assert ids(topic.servers, topic.topic) == [f"e-{number}" for number in range(100)]


def test_what_was_never_acknowledged_is_in_the_snapshot_and_sent_by_the_next(mock_kafka: MockKafka) -> None:
    nowhere = KafkaOutlet(KafkaTopic(servers="127.0.0.1:9", topic="t"))
    nowhere.write([event(1), event(2)])
    until(lambda: "Kafka is away" in nowhere.trouble)
    kept = nowhere.unacknowledged()
    nowhere.close()
    topic = KafkaTopic(servers=mock_kafka.servers, topic=fresh(mock_kafka))
    outlet = KafkaOutlet(topic, restored=kept)
    until(lambda: not outlet.waiting)
    outlet.close()
    assert ids(topic.servers, topic.topic) == ["e-1", "e-2"]


def test_a_full_backlog_holds_the_engine_until_a_stop() -> None:
    stop = threading.Event()
    outlet = KafkaOutlet(KafkaTopic(servers="127.0.0.1:9", topic="t"), stopping=stop.is_set)
    outlet.write([event(number) for number in range(BACKLOG)])
    held = threading.Thread(target=outlet.write, args=([event(BACKLOG)],))
    held.start()
    held.join(0.2)
    assert held.is_alive()
    stop.set()
    held.join(5)
    assert len(outlet.unacknowledged()) == outlet.waiting == BACKLOG + 1
    outlet.close()


@pytest.mark.kafka
def test_a_topic_that_is_not_there_is_told_and_waited_for(broker: Broker) -> None:
    topic = fresh(broker) + "-later"
    # By default the client waits half a minute for a topic to appear before it says so.
    settings: dict[str, str | int | float | bool] = {"topic.metadata.propagation.max.ms": 500}
    outlet = KafkaOutlet(KafkaTopic(servers=broker.servers, topic=topic, settings=settings))
    outlet.write([event(1), event(2)])
    until(lambda: f"topic {topic} cannot be written" in outlet.trouble)
    broker.create(topic, 1)
    until(lambda: not outlet.waiting)
    assert outlet.trouble == ""
    outlet.close()
    assert ids(broker.servers, topic) == ["e-1", "e-2"]
