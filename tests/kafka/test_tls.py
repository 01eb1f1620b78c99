"""Apache Kafka over TLS with a certificate and a password: read and written; who lacks one of them stays outside."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from cases.events import Event
from connectors.kafka_link import KafkaTopic
from connectors.kafka_sink import KafkaOutlet
from feedback.ids import EventId
from feedback.instants import Instant
from tests.kafka.broker import Broker, Tls
from tests.kafka.test_reader import in_trouble, reading, take, until
from tests.kafka.topics import contents, fill, fresh
from tests.tls import Authority

pytestmark = [pytest.mark.kafka, pytest.mark.core]
PASSWORD = "s3cret-of-the-broker"
RECORDS = [b'{"id": "r-%d"}' % n for n in range(9)]


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("pki"))


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory, authority: Authority) -> Iterator[Broker]:
    cert, key = authority.certificate("kafka")
    made = Broker(tmp_path_factory.mktemp("guarded"), Tls(cert, key, authority.ca, "tocsin", PASSWORD))
    yield made
    made.stop()


@pytest.fixture
def settings(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What an operator writes under `settings:`."""
    cert, key = authority.certificate("engine")
    monkeypatch.setenv("TOCSIN_TEST_PASSWORD", PASSWORD)
    return {
        "security.protocol": "SASL_SSL",
        "sasl.mechanism": "PLAIN",
        "sasl.username": "tocsin",
        "sasl.password": "env:TOCSIN_TEST_PASSWORD",
        "ssl.ca.location": str(authority.ca),
        "ssl.certificate.location": str(cert),
        "ssl.key.location": str(key),
    }


def test_records_are_read_and_events_written_by_tls(guarded: Broker, settings: dict[str, Any]) -> None:
    topic, out = fresh(guarded), fresh(guarded, 1)
    fill(guarded.servers, topic, RECORDS)
    with reading(guarded.secure, topic, settings=settings) as reader:
        assert sorted(e.raw for e in take(reader, len(RECORDS))) == RECORDS

    outlet = KafkaOutlet(KafkaTopic(servers=guarded.secure, topic=out, settings=settings))
    said = Event(id=EventId("e-1"), type="rules.changed", programme="default", time=Instant(1), data={})
    outlet.write([said])
    until(lambda: not outlet.waiting)
    assert [msgspec.json.decode(value)["id"] for value in contents(guarded.servers, out)] == ["e-1"]


def test_who_lacks_the_password_the_certificate_or_the_authority_reads_nothing(
    guarded: Broker, settings: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    topic, stranger = fresh(guarded), Authority(tmp_path / "else")
    fill(guarded.servers, topic, RECORDS)
    cert, key = stranger.certificate("engine")
    monkeypatch.setenv("TOCSIN_TEST_OTHER", "wrong")

    for change in (
        {"sasl.password": "env:TOCSIN_TEST_OTHER"},
        {"ssl.certificate.location": str(cert), "ssl.key.location": str(key)},
        {"ssl.ca.location": str(stranger.ca)},
        {"security.protocol": "PLAINTEXT"},
    ):
        with reading(guarded.secure, topic, settings=settings | change) as reader:
            until(in_trouble(reader, "Kafka is away"))
            assert PASSWORD not in reader.trouble
