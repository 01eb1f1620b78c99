"""A real server for whoever asks: Valkey in a wheel, with an append-only file, empty at each test."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from connectors.embedded import Embedded
from connectors.redis_link import client
from tests.kafka.broker import Broker
from tests.kafka.topics import MockKafka
from tests.leftovers import running_in

# A slow machine is not a wrong result: no test fails for the time that it took.
settings.register_profile("tocsin", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("tocsin")


@pytest.fixture(scope="session", autouse=True)
def nothing_is_left_running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No process that a test started outlives the tests."""
    yield
    assert running_in(tmp_path_factory.getbasetemp()) == []


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Embedded]:
    embedded = Embedded(tmp_path_factory.mktemp("server"))
    yield embedded
    embedded.close()


@pytest.fixture
def store_url(server: Embedded) -> str:
    """URL of the server, emptied."""
    with client(server.url) as connection:
        connection.flushall()
    return server.url


@pytest.fixture
def redis(store_url: str) -> Iterator[Any]:
    connection = client(store_url)
    yield connection
    connection.close()


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[Embedded]:
    """A server for a test that kills it."""
    embedded = Embedded(tmp_path / "own")
    yield embedded
    embedded.close()


@pytest.fixture(scope="session")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """Apache Kafka itself. A test that stops it starts it again."""
    node = Broker(tmp_path_factory.mktemp("kafka"))
    yield node
    node.stop()


@pytest.fixture
def mock_kafka() -> MockKafka:
    """The client library's own stand-in for a cluster."""
    return MockKafka()
