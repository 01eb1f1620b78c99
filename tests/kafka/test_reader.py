"""The Kafka reader through what happens to brokers and topics: clear trouble, nothing lost, nothing skipped."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient, NewPartitions

from connectors.kafka_link import KafkaInput, client_settings
from connectors.kafka_reader import KafkaReader
from connectors.reading import Place
from feedback.records import Envelope
from tests.kafka.broker import Broker
from tests.kafka.topics import MockKafka, fill, fresh

WAIT_S = 30.0
RECORDS = [f'{{"id":"r{n}"}}'.encode() for n in range(60)]


@contextmanager
def reading(servers: str, topic: str, resume: str | None = None, **options: Any) -> Iterator[KafkaReader]:
    options = {"metadata_timeout_s": 2.0, **options}
    reader = KafkaReader("in", KafkaInput(servers=servers, topic=topic, **options), resume, programme="default")
    try:
        yield reader
    finally:
        reader.close()


def take(reader: KafkaReader, count: int) -> list[Envelope]:
    found: list[Envelope] = []
    until(lambda: found.extend(reader.poll(16)) or len(found) >= count)
    return found


def until(claim: Callable[[], Any]) -> None:
    deadline = time.monotonic() + WAIT_S
    while not claim():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def in_trouble(reader: KafkaReader, words: str) -> Callable[[], bool]:
    """Whether polling *reader* yields nothing but a trouble with *words* in it."""

    def claim() -> bool:
        assert not reader.poll(16)
        return words in reader.trouble

    return claim


# -- on the mock cluster ------------------------------------------------------------------------------------


def test_a_position_is_the_records_own_and_a_place_that_of_every_partition(mock_kafka: MockKafka) -> None:
    topic = fresh(mock_kafka)
    fill(mock_kafka.servers, topic, RECORDS)
    with reading(mock_kafka.servers, topic) as reader:
        found = take(reader, 60)
    assert [e.position for e in found[:4]] == ["0:0", "0:1", "0:2", "1:0"]
    place = Place("0:2,7:5")
    for envelope in found:
        place.take(envelope.position)
    assert str(place) == "0:14,7:5,1:14,2:14,3:14"


def test_lag_counts_what_kafka_holds_and_what_is_read_ahead(mock_kafka: MockKafka) -> None:
    topic = fresh(mock_kafka)
    fill(mock_kafka.servers, topic, RECORDS)
    with reading(mock_kafka.servers, topic) as reader:
        assert not reader.caught_up
        found = list(take(reader, 1))
        until(lambda: reader.lag == 60 - len(found) or found.extend(reader.poll(0)))
        take(reader, 60 - len(found))
        until(lambda: not reader.poll(16) and reader.caught_up)
        assert (reader.lag, reader.trouble) == (0, "")


def test_only_the_partitions_asked_for_are_read(mock_kafka: MockKafka) -> None:
    topic = fresh(mock_kafka)
    fill(mock_kafka.servers, topic, RECORDS)
    with reading(mock_kafka.servers, topic, partitions=(1, 3)) as reader:
        found = take(reader, 30)
        until(lambda: reader.caught_up)
        assert not reader.poll(16)
    assert {e.position.split(":")[0] for e in found} == {"1", "3"}


def test_latest_begins_with_what_comes_from_now_on(mock_kafka: MockKafka) -> None:
    topic = fresh(mock_kafka)
    fill(mock_kafka.servers, topic, RECORDS)
    with reading(mock_kafka.servers, topic, start="latest") as reader:
        until(lambda: not reader.poll(16) and reader.caught_up)
        fill(mock_kafka.servers, topic, [b'{"id":"new"}'], first=100)
        assert [e.raw for e in take(reader, 1)] == [b'{"id":"new"}']


def test_a_poll_returns_at_once_though_no_broker_answers() -> None:
    with reading("127.0.0.1:9", "nothing", metadata_timeout_s=0.5) as reader:
        began = time.monotonic()
        assert not reader.poll(16)
        assert time.monotonic() - began < 0.05
        until(in_trouble(reader, "Kafka is away"))
        assert not reader.caught_up


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"no.such.setting": 1}, "No such configuration property"),
        ({"auto.offset.reset": "latest"}, "auto.offset.reset cannot be set"),
        ({"sasl.password": "env:TOCSIN_NO_SUCH"}, "no such environment variable"),
        ({"sasl.password": "file:/no/such"}, "cannot be read"),
    ],
)
def test_a_wrong_setting_is_told_before_anything_is_read(settings: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        KafkaReader("in", KafkaInput(servers="x:1", topic="t", settings=settings), None, programme="default")


def test_settings_of_tls_and_sasl_go_to_the_client_with_their_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOCSIN_TEST_PASSWORD", "s3cret")
    house = {"security.protocol": "SASL_SSL", "sasl.password": "env:TOCSIN_TEST_PASSWORD", "fetch.wait.max.ms": 50}
    topic = KafkaInput(servers="a:1,b:2", topic="t", settings=house)
    assert client_settings(topic, {"fetch.wait.max.ms": 10}, {"enable.auto.commit": False}) == {
        "bootstrap.servers": "a:1,b:2",
        "security.protocol": "SASL_SSL",
        "sasl.password": "s3cret",
        "fetch.wait.max.ms": 50,
        "enable.auto.commit": False,
    }


# -- on Apache Kafka ----------------------------------------------------------------------------------------


@pytest.mark.kafka
def test_a_broker_that_is_down_at_the_start_is_waited_for(broker: Broker) -> None:
    topic = fresh(broker)
    fill(broker.servers, topic, RECORDS)
    broker.stop()
    try:
        with reading(broker.servers, topic) as reader:
            until(in_trouble(reader, "Kafka is away"))
            broker.start()
            assert [e.raw for e in take(reader, 60)] == RECORDS
            until(lambda: not reader.trouble)
    finally:
        if not broker.is_running:
            broker.start()


@pytest.mark.kafka
@pytest.mark.core
def test_a_broker_killed_under_way_loses_and_doubles_nothing(broker: Broker) -> None:
    topic = fresh(broker)
    fill(broker.servers, topic, RECORDS)
    with reading(broker.servers, topic) as reader:
        found = take(reader, 60)
        broker.kill()
        try:
            until(in_trouble(reader, "Kafka is away"))
        finally:
            broker.start()
        fill(broker.servers, topic, RECORDS, first=60)
        found += take(reader, 60)
        until(lambda: not reader.poll(16) and reader.caught_up)
    found.sort(key=lambda envelope: envelope.received_at)  # as they come in, partitions take turns as they like
    assert [e.raw for e in found] == [*RECORDS, *RECORDS]
    assert len({e.position for e in found}) == 120


@pytest.mark.kafka
@pytest.mark.core
def test_an_offset_that_is_gone_is_refused_until_the_gap_is_accepted(broker: Broker) -> None:
    topic = fresh(broker)
    fill(broker.servers, topic, RECORDS)
    admin = AdminClient({"bootstrap.servers": broker.servers})
    deleted = admin.delete_records([TopicPartition(topic, 2, 10)])
    [future.result(20) for future in deleted.values()]
    place = "0:14,1:14,2:3,3:14"
    with reading(broker.servers, topic, place) as reader:
        until(in_trouble(reader, f"{topic}/2: offset 4 is not there any more"))
        assert not reader.caught_up
    with reading(broker.servers, topic, place, on_gap="skip") as reader:
        assert [e.position for e in take(reader, 5)] == [f"2:{n}" for n in range(10, 15)]
        until(lambda: not reader.trouble)


@pytest.mark.kafka
def test_an_offset_past_the_end_is_refused(broker: Broker) -> None:
    topic = fresh(broker, 1)
    fill(broker.servers, topic, RECORDS, 1)
    with reading(broker.servers, topic, "0:4711") as reader:
        until(in_trouble(reader, "offset 4712 is not there any more"))


@pytest.mark.kafka
def test_a_topic_that_is_not_there_is_named_and_waited_for(broker: Broker) -> None:
    topic = fresh(broker) + "-later"
    with reading(broker.servers, topic) as reader:
        until(in_trouble(reader, f"topic {topic} cannot be read"))
        broker.create(topic, 4)
        fill(broker.servers, topic, RECORDS)
        assert [e.raw for e in take(reader, 60)] == RECORDS


@pytest.mark.kafka
def test_a_partition_that_is_added_is_read_without_a_restart(broker: Broker) -> None:
    topic = fresh(broker, 1)
    fill(broker.servers, topic, RECORDS[:3], 1)
    with reading(broker.servers, topic, start="latest") as reader:
        until(lambda: not reader.poll(16) and reader.caught_up)
        admin = AdminClient({"bootstrap.servers": broker.servers})
        [future.result(20) for future in admin.create_partitions([NewPartitions(topic, 2)]).values()]
        fill(broker.servers, topic, RECORDS[:6], 2, first=100)
        assert [e.raw for e in take(reader, 6)] == RECORDS[:6]


@pytest.mark.kafka
def test_a_partition_that_went_missing_is_told(broker: Broker) -> None:
    topic = fresh(broker, 1)
    with reading(broker.servers, topic, "0:4,3:9") as reader:
        until(in_trouble(reader, f"topic {topic} has no partition 3"))
