"""The node that the tests start is Apache Kafka itself, and keeps what it acknowledged."""

import pytest
from confluent_kafka import Consumer, TopicPartition

from tests.kafka.broker import Broker
from tests.kafka.topics import fill, fresh

pytestmark = pytest.mark.kafka


def test_a_killed_broker_comes_back_at_its_address_with_what_it_had(broker: Broker) -> None:
    topic = fresh(broker, 1)
    fill(broker.servers, topic, [b"kept"], 1)
    broker.kill()
    broker.start()
    consumer = Consumer({"bootstrap.servers": broker.servers, "group.id": "t"})
    consumer.assign([TopicPartition(topic, 0, 0)])
    message = consumer.poll(20)
    consumer.close()
    assert message is not None
    assert message.value() == b"kept"
