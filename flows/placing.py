"""Placing: what the shape of a new store is to be, and whether the inputs of a run go with that of an old one.

A store that is fed by Kafka alone places a customer by the partition that they are in, so that partitions, and with
them shards, can be shared out among lanes; any other store places them by the hash of who they are. A customer must be
placed in one way only: in two, they would have two cases for one matter.
"""

import os
from collections.abc import Collection, Mapping, Sequence

import msgspec
import structlog

from connectors.kafka_link import KafkaInput
from connectors.kafka_reader import KafkaAway, count_partitions
from connectors.records import Records, RedisError
from feedback.layout import Layout, LayoutError, conflict
from flows.run import StateError, Stop
from flows.stores import Store

log = structlog.get_logger()

ASK_EVERY_S = 1.0
"""How often Kafka is asked again how many partitions there are, before a new store is made."""
RUNNING_FILE = "engine.json"
"""In a lane's folder: process id and port of the engine that runs, or ran, on it."""


class Topics:
    """The inputs that are topics of Kafka, and which of their partitions this engine's lane reads."""

    def __init__(self, topics: Mapping[str, KafkaInput] | None = None) -> None:
        self.topics = dict(topics or {})
        """By the name of the input."""
        self.layout: Layout | None = None
        self.lane = 0

    def mine(self, partition: int) -> bool:
        """Whether this lane reads *partition*. Asked once the shape of the store is settled."""
        layout = self.layout
        return layout is None or layout.lanes == 1 or layout.lane_of_partition(partition) == self.lane


class Placing:
    """Settles the shape of a store before its first run."""

    def __init__(self, placed_by: str, stop: Stop) -> None:
        """*placed_by*: "customer" places by the hash, whatever the inputs are."""
        self._placed_by, self._stop = placed_by, stop
        self.waits = ""
        """What has to be known before a new store can be made; for `/ready`."""

    def settle(self, store: Store, topics: Topics, inputs: Collection[str]) -> bool:
        """Fix the shape of *store* and share out *topics*; False when a stop came first. Raises StateError."""
        if store.is_new:
            slots = self._slots(store, topics, inputs)
            if slots is None:
                return False
            store.settle(slots)
            check_inputs(store, inputs, topics)
        topics.layout, topics.lane = store.layout, store.lane
        return True

    def _slots(self, store: Store, topics: Topics, inputs: Collection[str]) -> int | None:
        """Partitions that say where a customer belongs, 0 if none do; None when a stop came before Kafka's answer."""
        if not topics.topics or set(topics.topics) != set(inputs) or self._placed_by == "customer":
            return 0
        while not self._stop():
            try:
                counts = {name: count_partitions(topic) for name, topic in topics.topics.items()}
            except KafkaAway as error:
                if not self.waits:
                    log.error("kafka.away", why=str(error))
                self.waits = f"{error}; a new store waits to learn how many partitions there are"
                self._stop.event.wait(ASK_EVERY_S)
                continue
            self.waits = ""
            most = max(counts.values())
            if len(set(counts.values())) == 1 and most <= store.layout.shards:
                return most
            if store.layout.lanes == 1:
                return 0
            said = ", ".join(f"{name} has {count}" for name, count in counts.items())
            raise StateError(
                f"the topics have different numbers of partitions, or more than there are shards ({said}), so a "
                "customer would be in two lanes; make them alike, or run one process"
            )
        return None


def agree(store: Store, records: Records, programmes: Sequence[str]) -> None:
    """See that Redis holds the same store, and tell whoever writes how it is cut. Raises StateError.

    Does nothing while Redis is away: the sink does the same when it first answers.
    """
    try:
        for programme in programmes:
            found = records.layout(programme)
            if found is not None and (why := conflict(store.layout, found)):
                raise StateError(f"programme {programme}: {why}")
        records.lay_out(programmes, store.layout)
    except RedisError:
        return  # `/ready` tells of it
    except LayoutError as error:
        raise StateError(f"what Redis says of the lanes of this store cannot be read: {error}") from None


def check_inputs(store: Store, inputs: Collection[str], topics: Topics) -> None:
    """Refuse inputs whose customers this store would place in two ways, or in a lane that does not read them."""
    layout, others = store.layout, sorted(set(inputs) - set(topics.topics))
    if layout.lanes > 1 and others:
        raise StateError(
            f"{', '.join(others)}: a file belongs to no lane, and this store has {layout.lanes}; put its records "
            "into a topic of Kafka, or hand them in by tocsin serve"
        )
    if store.is_new:
        return
    if layout.slots and (others or not inputs):
        raise StateError(
            f"the store in {store.base} places customers by the partition of their topic, so all its responses come "
            f"from Kafka; {', '.join(others) or 'the Redis streams'} would open second cases for them. Put the records "
            "into the topic, or use another --state (engine.placed_by: customer, if it is to take both)"
        )
    if layout.lanes > 1 and topics.topics and not layout.slots:
        raise StateError(
            f"the store in {store.base} places customers by their hash, so no partition belongs to one of its "
            f"{layout.lanes} lanes; read the Redis streams (tocsin serve writes them), or use another --state"
        )


def tell_where(store: Store, port: int) -> None:
    """Leave a note of the process for whoever looks after the lanes."""
    note = {"pid": os.getpid(), "port": port, "lane": store.lane}
    draft = store.folder / "engine.draft"
    draft.write_bytes(msgspec.json.encode(note))
    draft.replace(store.folder / RUNNING_FILE)
