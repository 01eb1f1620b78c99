"""What a Kafka reader and a Kafka sink have in common: which topic, and the settings of the client."""

import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import msgspec

QUIET = logging.getLogger("tocsin.kafka")
"""The client's own log lines: what matters of them is told in ours."""
QUIET.setLevel(logging.CRITICAL + 1)

Setting = str | int | float | bool


class KafkaTopic(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A topic and how it is reached."""

    servers: str
    """`host:port`, several with commas."""
    topic: str
    settings: dict[str, Setting] = {}
    """Of librdkafka (`security.protocol`, `sasl.username`, ...); a value may be `env:NAME` or `file:/path`."""


class KafkaInput(KafkaTopic, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A topic that is read."""

    programme: str = ""
    """Of records that name none; empty takes that of the command."""
    partitions: tuple[int, ...] = ()
    """Those that this process reads; none means all."""
    start: Literal["earliest", "latest"] = "earliest"
    """Where a topic that was never read is begun."""
    on_gap: Literal["refuse", "skip"] = "refuse"
    """What becomes of a partition whose next offset Kafka no longer has."""
    metadata_timeout_s: float = 5.0


def client_settings(
    topic: KafkaTopic, defaults: Mapping[str, Setting], ours: Mapping[str, Setting]
) -> dict[str, Setting]:
    """The client's settings: ours above the house's above *defaults*. Raises ValueError, with what to do."""
    if taken := sorted({*ours, "bootstrap.servers"} & set(topic.settings)):
        raise ValueError(f"Kafka settings: {', '.join(taken)} cannot be set: the engine rests on its own value")
    house = {name: _fetched(name, value) for name, value in topic.settings.items()}
    return {**defaults, **house, **ours, "bootstrap.servers": topic.servers}


def _fetched(name: str, value: Setting) -> Setting:
    """*value*, or what the environment variable or the file that it names holds."""
    if not isinstance(value, str):
        return value
    if value.startswith("env:"):
        if (found := os.environ.get(value[4:])) is None:
            raise ValueError(f"Kafka settings: {name} is {value}, and there is no such environment variable")
        return found
    if value.startswith("file:"):
        try:
            return Path(value[5:]).read_text(encoding="utf-8").strip()
        except OSError as error:
            raise ValueError(f"Kafka settings: {name} is {value}, which cannot be read: {error.strerror}") from None
    return value
