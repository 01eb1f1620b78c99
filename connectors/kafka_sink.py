"""Events to a Kafka topic, keyed by case: an idempotent producer, and nothing counts as sent before Kafka says so.

`write` hands events over and returns; what Kafka has not acknowledged waits in a backlog, which is the sink's state in
every snapshot and is sent again after a resume (the event's id tells a reader what it has). A full backlog
holds the engine: that is the backpressure. An event that Kafka refuses for good (too large for the topic) is a line
in the log and a count, and the others go on; any other failure is tried again, in order.
"""

import threading
import time
from collections.abc import Callable, Sequence

import msgspec
import structlog
from bytewax.outputs import FixedPartitionedSink, StatefulSinkPartition
from confluent_kafka import KafkaError, KafkaException, Message, Producer

from cases.events import Event
from connectors.kafka_link import QUIET, KafkaTopic, Setting, client_settings
from connectors.stdout import as_json

log = structlog.get_logger()

BACKLOG = 5000
"""Events that may wait for Kafka before the engine waits for them."""
LATE_S = 5.0
"""An event that waits this long is trouble."""
RETRY_S = 1.0
SETTLE_S = 0.25

OURS: dict[str, Setting] = {"enable.idempotence": True, "acks": "all", "message.timeout.ms": 0}
DEFAULTS: dict[str, Setting] = {"linger.ms": 2, "reconnect.backoff.max.ms": 1000}
FINAL = {KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.INVALID_MSG, KafkaError.INVALID_RECORD}
"""What no further try would change."""

Waiting = list[bytes]


class Record(msgspec.Struct, frozen=True, array_like=True):
    """One event as it goes out."""

    id: str
    key: str
    value: str


def record_of(event: Event) -> Record:
    return Record(event.id, event.case or event.programme, as_json(event))


class KafkaOutlet:
    """Sends to one topic. `write` belongs to one thread; the rest may be asked by any."""

    @staticmethod
    def check(topic: KafkaTopic) -> None:
        """Raises ValueError for a setting that the client does not take."""
        try:
            Producer({**client_settings(topic, DEFAULTS, OURS), "logger": QUIET})
        except KafkaException as error:
            raise ValueError(f"Kafka settings: {error.args[0].str()}") from None

    def __init__(
        self, topic: KafkaTopic, *, stopping: Callable[[], bool] = lambda: False, restored: Sequence[bytes] = ()
    ) -> None:
        """*restored*: what a snapshot holds, sent before anything else. Raises ValueError for a wrong setting."""
        self._topic, self._stopping = topic, stopping
        settings = client_settings(topic, DEFAULTS, OURS)
        try:
            self._producer = Producer({**settings, "error_cb": self._told, "logger": QUIET})
        except KafkaException as error:
            raise ValueError(f"Kafka settings: {error.args[0].str()}") from None
        self._lock = threading.Lock()
        self._backlog: dict[int, tuple[float, Record]] = {}
        """What is not acknowledged, oldest first, by the number under which it was handed over."""
        self._number = self._flying = 0
        self._failed = False
        """Something came back: no more is handed over until all is back, and then all of it again, in order."""
        self._away = ""
        self.sent = self.refused = 0
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._serve, name="kafka-sink", daemon=True)
        self._thread.start()
        self._hand_over([msgspec.msgpack.decode(packed, type=Record) for packed in restored])

    @property
    def waiting(self) -> int:
        return len(self._backlog)

    @property
    def trouble(self) -> str:
        """Why events do not reach Kafka just now; empty when they do."""
        with self._lock:
            if not self._backlog:
                return ""
            age = time.monotonic() - next(iter(self._backlog.values()))[0]
        if self._away:
            return f"{self._away}; {self.waiting} events wait"
        return f"{self.waiting} events wait, the oldest for {age:.0f} s" if age > LATE_S else ""

    def write(self, events: Sequence[Event]) -> None:
        """Hand *events* over, in order; waits while the backlog is full, unless a stop is asked for."""
        while len(self._backlog) >= BACKLOG and not self._stopping() and not self._end.is_set():
            time.sleep(0.01)
        self._hand_over([record_of(event) for event in events])

    def unacknowledged(self) -> Waiting:
        """What Kafka may not have, for a snapshot; what is under way is given a moment first.

        So a stop while all is well leaves nothing behind that would be sent again.
        """
        deadline = time.monotonic() + SETTLE_S
        while self._backlog and not self._away and time.monotonic() < deadline:
            time.sleep(0.001)
        with self._lock:
            return [msgspec.msgpack.encode(record) for _, record in self._backlog.values()]

    def close(self) -> None:
        """Send no more: what was not acknowledged is the snapshot's."""
        self._end.set()
        self._thread.join()
        self._producer.purge()
        self._producer.poll(0)

    # -- handing over -------------------------------------------------------------------------------------

    def _hand_over(self, records: Sequence[Record]) -> None:
        with self._lock:
            now = time.monotonic()
            for record in records:
                self._number += 1
                self._backlog[self._number] = (now, record)
                if not self._failed:
                    self._produce(self._number, record)

    def _produce(self, number: int, record: Record) -> None:
        def reported(error: KafkaError | None, message: Message) -> None:
            self._reported(number, record, error)

        headers: list[tuple[str, str | bytes | None]] = [
            ("content-type", "application/cloudevents+json; charset=UTF-8"),
            ("ce_id", record.id),
        ]
        try:
            self._producer.produce(
                self._topic.topic, record.value.encode(), record.key.encode(), on_delivery=reported, headers=headers
            )
        except BufferError:
            self._failed = True  # the client's own queue is full: what is under way first, then the rest
        except KafkaException as error:
            self._settle(number, record, error.args[0])
        else:
            self._flying += 1

    def _reported(self, number: int, record: Record, error: KafkaError | None) -> None:
        with self._lock:
            self._flying -= 1
            self._settle(number, record, error)

    def _settle(self, number: int, record: Record, error: KafkaError | None) -> None:
        if error is None:
            self._away = ""
            self.sent += 1
        elif error.code() in FINAL:
            self.refused += 1
            log.error("kafka.event_refused", topic=self._topic.topic, event_id=record.id, error=error.str()[:200])
        else:
            if not self._failed and not self._end.is_set():
                log.error("kafka.not_delivered", topic=self._topic.topic, event_id=record.id, error=error.str()[:200])
            self._failed, self._away = True, f"topic {self._topic.topic} cannot be written: {error.str()[:200]}"
            return
        self._backlog.pop(number, None)

    # -- the thread ---------------------------------------------------------------------------------------

    def _told(self, error: KafkaError) -> None:
        if error.code() in (KafkaError._ALL_BROKERS_DOWN, KafkaError._AUTHENTICATION):
            if not self._away:
                log.error("kafka.away", topic=self._topic.topic, servers=self._topic.servers, why=error.str()[:200])
            self._away = f"Kafka is away: {error.str()[:200]}"

    def _serve(self) -> None:
        """Hear what became of what was handed over; when something came back, hand everything over again."""
        while not self._end.is_set():
            self._producer.poll(0.1)
            if not self._failed or self._flying:
                continue
            self._end.wait(RETRY_S if self._away else 0)
            with self._lock:
                self._failed = False
                for number, (_, record) in list(self._backlog.items()):
                    if self._failed:
                        break
                    self._produce(number, record)


class _Partition(StatefulSinkPartition[Event, Waiting]):
    def __init__(self, outlet: KafkaOutlet) -> None:
        self._outlet = outlet

    def write_batch(self, values: list[Event]) -> None:
        self._outlet.write([event for event in values if event.is_told])

    def snapshot(self) -> Waiting:
        return self._outlet.unacknowledged()

    def close(self) -> None:
        self._outlet.close()


class KafkaSink(FixedPartitionedSink[Event, Waiting]):
    """Writes events through the outlet that *open_outlet* makes of what a snapshot held."""

    def __init__(self, open_outlet: Callable[[Waiting], KafkaOutlet]) -> None:
        self._open_outlet = open_outlet

    def list_parts(self) -> list[str]:
        return ["kafka"]

    def build_part(self, step_id: str, for_part: str, resume_state: Waiting | None) -> _Partition:
        return _Partition(self._open_outlet(resume_state or []))
