"""Topics for tests: a fresh one on a real broker, or on the client library's mock cluster."""

import itertools
import uuid
from collections.abc import Sequence

from confluent_kafka import Consumer, KafkaError, Producer, TopicPartition

from tests.kafka.broker import Broker

AT_MS = 1_790_000_000_000
"""Timestamp of the first record."""


class MockKafka:
    """A cluster in this process. It makes a topic of four partitions when it is first asked for one."""

    def __init__(self) -> None:
        self._host = Producer({"test.mock.num.brokers": 1, "bootstrap.servers": "none:1", "log_level": 0})
        metadata = self._host.list_topics(timeout=5)
        self.servers = ",".join(f"{node.host}:{node.port}" for node in metadata.brokers.values())

    def create(self, topic: str, partitions: int = 4) -> None:
        assert partitions == 4, "the mock's topics have four partitions"
        self._host.list_topics(topic, timeout=5)


def fresh(kafka: Broker | MockKafka, partitions: int = 4) -> str:
    """The name of a topic that nobody used."""
    topic = f"t-{uuid.uuid4().hex[:12]}"
    kafka.create(topic, partitions)
    return topic


def fill(
    servers: str, topic: str, records: Sequence[bytes], partitions: int = 4, first: int = 0, at_ms: int = AT_MS
) -> None:
    """Write *records*, a millisecond apart from *at_ms* + *first* on, to the partitions in turn, by threes."""
    producer = Producer({"bootstrap.servers": servers, "linger.ms": 5})
    turns = itertools.cycle(p for p in range(partitions) for _ in range(3))
    for number, record in enumerate(records, first):
        producer.produce(topic, record, partition=next(turns), timestamp=at_ms + number)
    assert producer.flush(20) == 0


def contents(servers: str, topic: str) -> list[bytes]:
    """The values of every record of *topic*, each partition in order."""
    consumer = Consumer({"bootstrap.servers": servers, "group.id": "t", "enable.partition.eof": True})
    left = set(consumer.list_topics(topic, timeout=20).topics[topic].partitions)
    consumer.assign([TopicPartition(topic, number, 0) for number in left])
    found: list[bytes] = []
    while left:
        message = consumer.poll(20)
        assert message is not None
        if message.error() is None:
            found.append(message.value() or b"")
        elif message.error().code() == KafkaError._PARTITION_EOF:
            left.discard(message.partition())
    consumer.close()
    return found
