"""Retention: what is done with goes after its time, and how much is kept is a metric (`docs/operating.md`).

The streams that the engine reads are trimmed by their readers, behind its snapshots; journals by themselves. Here are
the rest of the store (lane 0 of it) and the sizes on the disk (each lane of its own). Called from the thread that
keeps the gauges fresh, a little at a time.
"""

import os
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge

from connectors.redis_stream import RedisStreamReader
from connectors.retaining import Kept, Retention
from feedback.instants import Instant
from flows.settings import Retention as Settings

log = structlog.get_logger()

EVERY_S = 30.0
PARTS = ("recovery", "journals", "books", "order", "redis", "vault")
"""Folders of a state directory whose sizes are told; the rest is `other`."""


def kept(settings: Settings) -> Kept:
    """What the settings say, in seconds."""
    return Kept(
        events=settings.seconds("events"),
        dead_letters=settings.seconds("dead_letters"),
        closed_cases=settings.seconds("closed_cases"),
    )


class Keeping:
    """Of one engine process."""

    def __init__(
        self,
        registry: CollectorRegistry,
        retention: Retention | None,
        folder: Path,
        programmes: Iterable[str],
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """*retention*: None in a lane that is not the first, which leaves the store's upkeep to it."""
        self._retention, self._folder, self._programmes, self._now = retention, folder, tuple(programmes), now
        self._next = 0.0
        self._streams: dict[str, int] = {}
        self._removed = Counter(
            "tocsin_retention_removed",
            "Entries and closed cases removed because of their age.",
            ["programme", "what"],
            registry=registry,
        )
        self._kept = Gauge(
            "tocsin_kept_entries",
            "Entries of each stream of the store, and cases of any standing.",
            ["programme", "what"],
            registry=registry,
        )
        self._bytes = Gauge(
            "tocsin_state_bytes", "Bytes on the disk under the state directory, by part.", ["part"], registry=registry
        )
        self._gaps = Gauge(
            "tocsin_source_gaps", "How often what was to be read next was gone from its stream.", ["source"],
            registry=registry,
        )  # fmt: skip

    def read(self, name: str, programme: str, reader: RedisStreamReader) -> None:
        """What *reader* has removed and missed so far."""
        before = self._streams.get(name, 0)
        if reader.removed > before:
            self._removed.labels(programme, name.removeprefix(f"{programme}:")).inc(reader.removed - before)
            self._streams[name] = reader.removed
        self._gaps.labels(name).set(reader.gaps)

    def look(self, now: Instant) -> None:
        """Every half minute: remove what is past its time, and measure. Raises redis.RedisError."""
        if self._now() < self._next:
            return
        self._next = self._now() + EVERY_S
        for part, size in sizes(self._folder).items():
            self._bytes.labels(part).set(size)
        if self._retention is None:
            return
        for programme in self._programmes:
            removed = self._retention.look(programme, now)
            for what in removed.__struct_fields__:
                if count := getattr(removed, what):
                    self._removed.labels(programme, what).inc(count)
                    log.info("retention.removed", programme=programme, what=what, count=count)
            for what, length in self._retention.lengths(programme).items():
                self._kept.labels(programme, what).set(length)

    def close(self) -> None:
        if self._retention is not None:
            self._retention.close()


def sizes(folder: Path) -> dict[str, int]:
    """Bytes of the files under *folder*, by part. What vanishes while it is measured counts for nothing."""
    found = dict.fromkeys((*PARTS, "other"), 0)
    for where, _, names in os.walk(folder):
        part = Path(where).relative_to(folder).parts[:1]
        name = part[0] if part and part[0] in PARTS else "other"
        for each in names:
            try:
                found[name] += os.lstat(os.path.join(where, each)).st_size
            except OSError:
                continue
    return found
