"""The storm's feed by Apache Kafka: what the broker has acknowledged was accepted, whatever is killed after it."""

import threading
import time
from pathlib import Path
from typing import Any

import msgspec
from confluent_kafka import Producer

from tests.kafka.broker import Broker
from tests.storm import house
from tests.storm.accounting import Sent

TOPIC, PARTITIONS = "feed", 4
SECONDS_MS = 120_000
"""How long the producer tries to have one record acknowledged; the longest darkness is a tenth of it."""


class TopicFeed:
    """Produces responses at a steady rate, each keyed by its customer; one counts as sent once it is acknowledged."""

    def __init__(self, folder: Path, rate: int, batches_s: int) -> None:
        self.broker = Broker(folder / "kafka")
        self.broker.create(TOPIC, PARTITIONS, message_timestamp_type="LogAppendTime")
        self.sent: list[Sent] = []
        self.refused: list[str] = []
        """What the producer gave up: never accepted, and so nobody's loss, but not what a storm should show."""
        self._rate, self._batches_s = rate, batches_s
        self._done = threading.Event()
        self._producer = Producer(
            {
                "bootstrap.servers": self.broker.servers, "enable.idempotence": True, "linger.ms": 5,
                "message.timeout.ms": SECONDS_MS, "log_level": 0,
            }
        )  # fmt: skip
        self._thread = threading.Thread(target=self._run, daemon=True)

    @property
    def settings(self) -> str:
        """Of an engine that reads it."""
        return f"inputs: {{kafka: {{feed: {{servers: '{self.broker.servers}', topic: {TOPIC}}}}}}}\n"

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """No more is produced; what was is acknowledged, or given up."""
        self._done.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        number = 0
        while not self._done.wait(1 / self._batches_s):
            for _ in range(self._rate // self._batches_s):
                self._produce(number)
                number += 1
            self._producer.poll(0)
        limit = time.monotonic() + SECONDS_MS / 1000
        while self._producer.flush(1.0) and time.monotonic() < limit:
            continue

    def _produce(self, number: int) -> None:
        record = house.record(number)

        def told(error: Any, _: Any) -> None:
            if error is None:
                self.sent.append(Sent(f"s{number}", house.kind_of(number)))
            else:
                self.refused.append(f"s{number}: {error.str()}")

        self._producer.produce(TOPIC, msgspec.json.encode(record), key=str(record["customer"]), on_delivery=told)
