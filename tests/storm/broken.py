"""Engines made wrong on purpose, so that the accounting can be seen to fail. Nothing of this is in the product."""

from collections.abc import Callable, Sequence
from hashlib import sha1

from cases.events import Event
from connectors import redis_script, redis_store
from connectors.delivery_queue import Head
from connectors.kafka_reader import KafkaReader
from connectors.redis_store import RedisStore
from connectors.webhooks import Delivered
from feedback.records import Envelope
from flows.carriers import Carried, WebhookCarrier

EVERY = 500
"""One event in so many is dropped."""
RECORD = 101
"""One record of a topic in so many is passed over. Prime to ten: of ten responses, two open a case."""


def without_dedupe() -> None:
    """The script writes an event that it has written before."""
    known = "call('HSETNX', log, id, json) == 1"
    assert known in redis_script.SCRIPT
    script = redis_script.SCRIPT.replace(known, "call('HSET', log, id, json) >= 0")
    vars(redis_store)["SCRIPT"] = script
    redis_script._SHA = sha1(script.encode()).hexdigest().encode()


def dropping() -> None:
    """The store leaves out one event in `EVERY`, and says nothing."""
    write, count = RedisStore.write, 0

    def write_most(self: RedisStore, events: Sequence[Event]) -> None:
        nonlocal count
        kept = []
        for event in events:
            count += 1
            if count % EVERY:
                kept.append(event)
        write(self, kept)

    RedisStore.write = write_most  # type: ignore[method-assign]


def forgetting() -> None:
    """Deliveries take one webhook in `EVERY` for delivered that was never sent."""
    carry, count = WebhookCarrier.carry, 0

    async def carry_most(
        self: WebhookCarrier, programme: str, head: Head, event: bytes, now: Callable[[], float]
    ) -> Carried:
        nonlocal count
        count += 1
        return await carry(self, programme, head, event, now) if count % EVERY else Carried(Delivered(), 200)

    WebhookCarrier.carry = carry_most  # type: ignore[method-assign]


def passing_over() -> None:
    """The reader of Kafka counts a record in `RECORD` as read that it gave to nobody: a jump of offsets in silence."""
    poll, count = KafkaReader.poll, 0

    def poll_most(self: KafkaReader, limit: int) -> Sequence[Envelope]:
        nonlocal count
        kept = []
        for envelope in poll(self, limit):
            count += 1
            if count % RECORD:
                kept.append(envelope)
        return kept

    KafkaReader.poll = poll_most  # type: ignore[method-assign]


BUILDS: dict[str, Callable[[], None]] = {
    "dedupe": without_dedupe, "drop": dropping, "webhook": forgetting, "record": passing_over
}  # fmt: skip


def program(name: str) -> str:
    """Python that runs the command line of a broken build."""
    return f"from tests.storm import broken; broken.BUILDS[{name!r}](); from console.cli import main; main()"
