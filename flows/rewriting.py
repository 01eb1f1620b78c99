"""Writing again: when the store turns out not to be the one that was known, every case goes into it once more.

The engine's own state has each case as it stands; texts and history were only in the store and are gone, which the
record says. Like a tick, the asking is an item: the lane gives each shard a `Restate`, a few at a time and resting as
long as they took, so that what is new is not held up. What is under way is kept in a file until two snapshots have
followed the last shard, so that a crash in between begins it again; writing a case twice changes nothing.
"""

import json
import os
import threading
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import structlog

from feedback.instants import Instant
from feedback.records import Restate

log = structlog.get_logger()

SHARDS_A_POLL = 4
SNAPSHOTS = 2
"""An epoch starts when the one before it is durable: after two, what the last shard said is in a snapshot."""

Announce = Callable[[str, str, dict[str, Any]], None]
"""Puts a control record into the stream: its id, the event type that it leads to, the event's data."""


class Rewriting:
    """At most one at a time. `begin` and the questions are any thread's, the rest the worker's."""

    def __init__(self, file: Path | None, shards: int, announce: Announce = lambda *_: None) -> None:
        """*file* keeps what is under way over a restart."""
        self._file, self._shards, self._announce = file, shards, announce
        self._lock = threading.Lock()
        self._loss: dict[str, Any] | None = None
        self._next = self._snapshots = self._cases = 0
        self._given_at = self._rest_until = 0.0
        if file is not None and file.exists():
            self._loss = json.loads(file.read_text(encoding="utf-8"))

    @property
    def is_active(self) -> bool:
        return self._loss is not None

    @property
    def trouble(self) -> str:
        """Why what people read is not complete; empty when it is."""
        loss = self._loss
        if loss is None:
            return ""
        return f"the store was {loss['reason']}; shard {self._next} of {self._shards} is written again"

    def begin(self, known: int, found: int) -> None:
        """The store has *found* where *known* was on its disk. Durable when this returns; raises OSError."""
        reason = "wiped" if not found else "replaced by an older copy"
        with self._lock:
            self._loss = {"id": uuid.uuid4().hex, "reason": reason, "known": known, "found": found, "told": False}
            self._keep()
            self._next = self._snapshots = self._cases = 0
        log.error("store.lost", reason=reason, known=known, found=found)

    def written(self, cases: int) -> None:
        """*cases* more are in the store again."""
        self._cases += cases

    def take(self, seen_at: Instant) -> list[tuple[Restate, Instant]]:
        """The shards that are next; none while the last ones are rested from."""
        if self._loss is None:
            return []
        with self._lock:
            if not self._loss["told"]:
                self._tell("lost", "store.lost", reason=self._loss["reason"], known=self._loss["known"])
                self._loss["told"] = True
                self._keep()
            now = time.monotonic()
            if self._given_at:
                self._rest_until, self._given_at = now + (now - self._given_at), 0.0
            if now < self._rest_until or self._next >= self._shards:
                return []
            until = min(self._shards, self._next + SHARDS_A_POLL)
            given = [(Restate(shard=shard, at=seen_at), seen_at) for shard in range(self._next, until)]
            self._next, self._given_at = until, now
            return given

    def snapshotted(self) -> None:
        """An epoch closes. The second one after the last shard ends it."""
        if self._loss is None or self._next < self._shards:
            return
        with self._lock:
            self._snapshots += 1
            if self._snapshots <= SNAPSHOTS:
                return
            self._tell("rewritten", "store.rewritten", reason=self._loss["reason"], cases=self._cases)
            log.warning("store.rewritten", reason=self._loss["reason"], cases=self._cases)
            self._loss = None
            if self._file is not None:
                self._file.unlink()

    def _tell(self, what: str, type_: str, **data: Any) -> None:
        assert self._loss is not None
        self._announce(f"store-{what}-{self._loss['id']}", type_, data)

    def _keep(self) -> None:
        if self._file is None:
            return
        draft = self._file.with_suffix(".draft")
        with draft.open("w", encoding="utf-8") as file:
            json.dump(self._loss, file)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(self._file)
