"""Responses from a Kafka topic: one consumer for all the partitions that this process reads, assigned by us.

There is no consumer group: offsets are part of the engine's snapshot, and a record's position is `PARTITION:OFFSET`.
Records come by received time (the Kafka timestamp) across partitions, each partition in its own order. What is asked
of Kafka is asked by a thread, so `poll` returns at once. An offset that Kafka no longer has is refused: the partition
stands still, and `trouble` says so, until somebody restores it or accepts the gap (`on_gap: skip`).
"""

import heapq
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence

import structlog
from confluent_kafka import (
    OFFSET_BEGINNING,
    OFFSET_END,
    TIMESTAMP_NOT_AVAILABLE,
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    TopicPartition,
)

from connectors.kafka_link import QUIET, KafkaInput, Setting, client_settings
from connectors.reading import Place, Theirs
from feedback.records import Envelope

log = structlog.get_logger()

BUFFERED_RECORDS, BUFFERED_BYTES = 20_000, 64 << 20
"""Read ahead while a partition that is behind has not shown its next record; past it the others go on."""
MERGE_HOLD_S = 2.0
"""How long the others wait for the next record of a partition that does not answer."""
LOOK_EVERY_S, RETRY_S = 2.0, 0.5

OURS: dict[str, Setting] = {
    "auto.offset.reset": "error",
    "enable.auto.commit": False,
    "enable.auto.offset.store": False,
    "enable.partition.eof": True,
}
"""Settings on which the reader rests; nobody else's to change."""
DEFAULTS: dict[str, Setting] = {
    "group.id": "tocsin",  # the client wants one; nothing is ever committed under it
    "fetch.wait.max.ms": 10,
    "fetch.queue.backoff.ms": 10,
    "queued.max.messages.kbytes": 65_536,
    "reconnect.backoff.max.ms": 1000,
}


class KafkaAway(Exception):
    """Kafka, or the topic, does not answer now."""


class _Part:
    """One partition: what was read ahead of it, and where it stands."""

    def __init__(self, number: int, following: int | None) -> None:
        self.number = number
        self.following = following
        """Offset of the next record; None until Kafka has said where the partition begins."""
        self.ahead: deque[Envelope] = deque()
        self.end_seen: int | None = None
        """The offset at which Kafka last said that nothing follows."""
        self.silent_since: float | None = None
        self.trouble = ""
        self.skipping = False


class KafkaReader:
    """Reads the partitions of one topic, all or those in `topic.partitions`."""

    finished = False

    @staticmethod
    def check(topic: KafkaInput) -> None:
        """Raises ValueError for a setting that the client does not take."""
        try:
            Consumer({**client_settings(topic, DEFAULTS, OURS), "logger": QUIET}).close()
        except KafkaException as error:
            raise ValueError(f"Kafka settings: {error.args[0].str()}") from None

    def __init__(
        self,
        name: str,
        topic: KafkaInput,
        resume: str | None,
        *,
        programme: str,
        mine: Callable[[int], bool] = lambda _: True,
    ) -> None:
        """Connects by itself, and goes on trying. Raises ValueError for a wrong setting.

        *mine* says which partitions this lane reads; the others are other lanes'.
        """
        self._mine = mine
        self.name, self._topic, self._programme = name, topic, programme
        self._place, self._fresh = Place(resume), resume is None
        settings = client_settings(topic, DEFAULTS, OURS)
        self._look = threading.Event()
        try:
            self._consumer = Consumer({**settings, "error_cb": self._told, "logger": QUIET})
        except KafkaException as error:
            raise ValueError(f"Kafka settings: {error.args[0].str()}") from None
        self._parts: dict[int, _Part] = {}
        self._heads: list[tuple[float, int]] = []
        """A heap of (received, partition): the next record of each partition that has one."""
        self._buffered = self._bytes = 0
        self._away = "not connected yet"
        self._told_unread = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name=f"look-{name}", daemon=True)
        self._thread.start()

    # -- what the lane asks -------------------------------------------------------------------------------

    @property
    def trouble(self) -> str:
        if self._away:
            return self._away
        return "; ".join(part.trouble for part in list(self._parts.values()) if part.trouble)

    @property
    def caught_up(self) -> bool:
        return not self.trouble and not self._buffered and all(self._at_end(p) for p in list(self._parts.values()))

    @property
    def lag(self) -> int:
        return sum(self.lags().values())

    def lags(self) -> dict[int, int]:
        """Records known to wait, by partition."""
        return {part.number: len(part.ahead) + self._beyond(part) for part in list(self._parts.values())}

    def poll(self, limit: int) -> Sequence[Envelope]:
        if not self._parts:
            return ()
        if self._buffered < limit or not self._whole():
            self._take_in(max(limit, 512))
        if not self._heads or not (self._whole() or self._overdue()):
            return ()
        found: list[Envelope] = []
        parts = self._parts
        while self._heads and len(found) < limit:
            part = parts[self._heads[0][1]]
            envelope = part.ahead.popleft()
            found.append(envelope)
            self._bytes -= len(envelope.raw)
            if part.ahead:
                heapq.heapreplace(self._heads, (part.ahead[0].received_at, part.number))
                continue
            heapq.heappop(self._heads)
            if not self._at_end(part) and not self._overdue():
                break
        self._buffered -= len(found)
        return found

    def forget(self, is_theirs: Theirs) -> int:
        return 0  # the topic is not ours: its owner erases there

    def release(self, place: str) -> None:
        """Nothing to let go of: how long a topic keeps its records is the topic's own setting."""

    def close(self) -> None:
        self._stop.set()
        self._look.set()
        self._thread.join(timeout=self._topic.metadata_timeout_s + 5)
        self._consumer.close()

    # -- records ------------------------------------------------------------------------------------------

    def _take_in(self, count: int) -> None:
        if self._buffered >= BUFFERED_RECORDS or self._bytes >= BUFFERED_BYTES:
            return
        for message in self._consumer.consume(count, 0):
            error = message.error()
            if error is None:
                self._keep(message)
            elif (part := self._parts.get(_partition(message))) is None:
                self._told(error)
            elif error.code() == KafkaError._PARTITION_EOF:
                part.end_seen = part.following = message.offset()
                part.trouble = ""
            else:
                self._stumble(part, error)

    def _keep(self, message: Message) -> None:
        part, offset = self._parts[_partition(message)], message.offset()
        assert offset is not None
        if part.skipping and part.following is not None:
            log.error("kafka.gap_skipped", topic=self._topic.topic, partition=part.number, of=part.following, to=offset)
            part.skipping = False
        part.following, part.silent_since, part.trouble = offset + 1, None, ""
        kind, stamp = message.timestamp()
        raw = message.value() or b""
        known = kind != TIMESTAMP_NOT_AVAILABLE and stamp >= 0
        envelope = Envelope(
            raw=raw,
            source=self.name,
            position=f"{part.number}:{offset}",
            received_at=stamp / 1000 if known else 0.0,
            programme=self._programme,
            fault="" if known else "no_received_time: the Kafka record has no timestamp",
        )
        if not part.ahead:
            heapq.heappush(self._heads, (envelope.received_at, part.number))
        part.ahead.append(envelope)
        self._buffered += 1
        self._bytes += len(raw)

    def _stumble(self, part: _Part, error: KafkaError) -> None:
        topic = self._topic.topic
        if error.code() not in (KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE):
            trouble = f"{topic}/{part.number}: {error.str()[:200]}"
            if not part.trouble:
                log.error("kafka.partition_failed", topic=topic, partition=part.number, error=error.str()[:200])
            part.trouble = trouble
            return
        if self._topic.on_gap == "skip":
            part.skipping = True
            again = [TopicPartition(topic, part.number, OFFSET_BEGINNING)]
            self._consumer.incremental_unassign(again)
            self._consumer.incremental_assign(again)
            return
        if part.following is None:
            part.trouble = f"{topic}/{part.number}: {error.str()[:200]}"
            return
        part.trouble = (
            f"{topic}/{part.number}: offset {part.following} is not there any more, and nothing is skipped in silence; "
            "bring the records back, or accept the gap with on_gap: skip"
        )
        log.error("kafka.offset_gone", topic=topic, partition=part.number, offset=part.following)

    # -- the merge ----------------------------------------------------------------------------------------

    def _whole(self) -> bool:
        """Whether the next record of every partition is known, or that there is none."""
        if len(self._heads) == len(self._parts):
            return True
        whole = True
        for part in self._parts.values():
            if part.ahead or self._at_end(part):
                part.silent_since = None
            else:
                whole = False
                part.silent_since = part.silent_since or time.monotonic()
        return whole

    def _overdue(self) -> bool:
        """Whether the partitions that have something have waited long enough for those that are silent."""
        if self._buffered >= BUFFERED_RECORDS or self._bytes >= BUFFERED_BYTES:
            return True
        by = time.monotonic() - MERGE_HOLD_S
        return all(
            part.ahead or self._at_end(part) or part.trouble or (part.silent_since or by + 1) <= by
            for part in self._parts.values()
        )

    def _at_end(self, part: _Part) -> bool:
        if part.following is None:
            return False
        return part.end_seen == part.following or self._high(part) == part.following

    def _beyond(self, part: _Part) -> int:
        return max(0, self._high(part) - part.following) if part.following is not None else 0

    def _high(self, part: _Part) -> int:
        """The end of the partition as the last fetch told it; below zero before the first."""
        partition = TopicPartition(self._topic.topic, part.number)
        return int(self._consumer.get_watermark_offsets(partition, cached=True)[1])

    # -- the thread ---------------------------------------------------------------------------------------

    def _told(self, error: KafkaError) -> None:
        if error.code() in (KafkaError._ALL_BROKERS_DOWN, KafkaError._AUTHENTICATION):
            self._fail(f"Kafka is away: {error.str()[:200]}")
            self._look.set()

    def _fail(self, why: str) -> None:
        if not self._away or not self._parts:
            log.error("kafka.away", topic=self._topic.topic, servers=self._topic.servers, why=why)
        self._away = why

    def _watch(self) -> None:
        """Look at the topic now and then: whether Kafka answers, and how many partitions there are."""
        while not self._stop.is_set():
            self._look.clear()
            try:
                self._look_once()
            except KafkaException as error:
                self._fail(f"Kafka is away: {error.args[0].str()[:200]}")
            self._look.wait(RETRY_S if self._away else LOOK_EVERY_S)
            if self._away:
                self._stop.wait(RETRY_S)

    def _look_once(self) -> None:
        topic = self._topic
        found = self._consumer.list_topics(topic.topic, timeout=topic.metadata_timeout_s).topics[topic.topic]
        if found.error is not None:
            self._fail(f"topic {topic.topic} cannot be read: {found.error.str()[:200]}")
            return
        there = set(found.partitions)
        wanted = {number for number in set(topic.partitions) or there if self._mine(number)}
        if missing := wanted - there | {int(part) for part in self._place.parts} - there:
            self._fail(f"topic {topic.topic} has no partition {', '.join(map(str, sorted(missing)))}")
            return
        if new := sorted(wanted - set(self._parts)):
            self._begin(new, first=not self._parts)
        unread = {number for number in there - wanted if self._mine(number)}
        if topic.partitions and len(unread) != self._told_unread:
            log.warning("kafka.partitions_unread", topic=topic.topic, partitions=sorted(unread))
            self._told_unread = len(unread)
        if self._away:
            log.info("kafka.reading", topic=topic.topic, partitions=sorted(self._parts))
        self._away = ""

    def _begin(self, numbers: list[int], *, first: bool) -> None:
        """Read *numbers*, too. A partition that came later is read from its beginning, whatever `start` says."""
        parts = dict(self._parts)
        assigned = []
        for number in numbers:
            after = self._place.of(str(number))
            begin = OFFSET_END if self._fresh and first and self._topic.start == "latest" else OFFSET_BEGINNING
            offset = begin if after is None else int(after) + 1
            parts[number] = _Part(number, None if after is None else offset)
            assigned.append(TopicPartition(self._topic.topic, number, offset))
            if not first:
                log.warning("kafka.partition_found", topic=self._topic.topic, partition=number)
        self._parts = parts
        if first:
            self._consumer.assign(assigned)
        else:
            self._consumer.incremental_assign(assigned)


def count_partitions(topic: KafkaInput) -> int:
    """How many partitions the topic has. Raises ValueError for a wrong setting, KafkaAway."""
    consumer = Consumer({**client_settings(topic, DEFAULTS, OURS), "logger": QUIET})
    try:
        found = consumer.list_topics(topic.topic, timeout=topic.metadata_timeout_s).topics[topic.topic]
    except KafkaException as error:
        raise KafkaAway(f"Kafka is away: {error.args[0].str()[:200]}") from None
    finally:
        consumer.close()
    if found.error is not None:
        raise KafkaAway(f"topic {topic.topic} cannot be read: {found.error.str()[:200]}")
    return len(found.partitions)


def _partition(message: Message) -> int:
    number = message.partition()
    return -1 if number is None else number
