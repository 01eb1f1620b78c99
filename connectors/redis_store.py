"""The store: events into Redis, idempotently, and written again when Redis turns out to have lost them.

`write` returns when Redis has accepted everything; while Redis is away it waits and tries again, which holds
the engine's worker and, through it, the sources: that is the backpressure. What Redis accepted it may still
lose (its append-only file is flushed once a second), so batches stay in a backlog until a second connection has
seen the file on disk past them (`WAITAOF`). When another server process answers, the backlog is written again, at
once: the same thread sees to it, so that what was lost is readable before the engine next has something to say.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence

import structlog

from cases.events import Event
from connectors.keyspace import PROGRAMMES, Keys
from connectors.redis_link import Link, ScriptMissing, StoreAway, StoreError, StoreRefusing
from connectors.redis_script import SCRIPT, Batch, call, pack, read
from connectors.store_mark import StoreMark
from feedback.layout import Layout, LayoutError, conflict, read_layout

log = structlog.get_logger()

RETRY_S = (0.01, 0.05, 0.2, 0.5, 1.0)
"""Pauses between tries while Redis is away; the last one for as long as it lasts."""
CONFIRM_EVERY_S = 0.25
LOOK_EVERY_S = 1.0
"""How often a store to which nothing is written is looked at: it may have been wiped."""
UNCONFIRMABLE_AGE_S = 2.0
"""Where `WAITAOF` is not to be had (before Redis 7.2), everysec has flushed what is older than this."""
MARKS_BY_AGE = 16
"""A marker this many counts old was written `UNCONFIRMABLE_AGE_S` ago at least, at `CONFIRM_EVERY_S`."""
PIPELINE = 4
"""Batches sent before the first reply is read: packing goes on while Redis works."""


class StoreStopped(Exception):
    """A stop was asked for while Redis was away; what was not accepted waits in the snapshot."""


class RedisStore:
    """Writes events to one Redis. `write` and `restore` belong to one thread; the rest may be asked by any."""

    def __init__(
        self,
        url: str,
        programmes: Iterable[str],
        *,
        timeout_s: float = 5.0,
        written: Callable[[list[Event]], None] = lambda _: None,
        stopping: Callable[[], bool] = lambda: False,
        mark: StoreMark | None = None,
        lost: Callable[[int, int], None] = lambda *_: None,
        layout: Layout | None = None,
    ) -> None:
        """*written* is told of events once they are readable. Connects at the first write or `restore`.

        *lost* is told (known, found) when this is not the store that *mark* knows, by whichever thread notices.
        *layout* is told to the store, so that whoever writes actions finds their lanes.
        """
        self._link = Link(url, timeout_s=timeout_s)
        self._programmes = sorted(programmes)
        self._written, self._stopping = written, stopping
        self._lock = threading.Lock()
        """Held for a moment, by whoever looks at or changes what waits."""
        self._turn = threading.Lock()
        """Held by whoever uses the writing connection."""
        self._backlog: deque[tuple[int, float, Batch]] = deque()
        """(number, when accepted, batch), oldest first: accepted, and not known to be on disk."""
        self._pending: deque[Batch] = deque()
        """Out of a snapshot, or not accepted when a stop came."""
        self._number = 0
        self._run_id = ""
        self.trouble = ""
        """Why nothing can be written just now; empty when all is well."""
        self.trouble_since = 0.0
        self.durability = "unknown"
        """`aof` (asked of Redis), `aof-by-age`, or `none`: this Redis keeps nothing on disk."""
        self._mark, self._lost, self._layout = mark or StoreMark(), lost, layout
        self._marker = Keys(self._programmes[0]).marker_of(self._mark.id)
        self._confirmer = _Confirmer(url, self, self._marker, self._mark)

    # -- writing ------------------------------------------------------------------------------------------

    def write(self, events: Sequence[Event]) -> None:
        """Have *events* accepted, in order, after anything that waits. Raises StoreStopped, StoreError."""
        with self._turn:
            self._send([*self._drain(), *pack(events)])
        self._written(list(events))

    def restore(self, packed: Iterable[bytes]) -> None:
        """Batches out of a snapshot: they are written again before anything else. Raises ValueError."""
        self._pending.extend(read(batch) for batch in packed)
        self._confirmer.start()

    def unconfirmed(self) -> list[bytes]:
        """What Redis may not have on disk yet, for a snapshot: accepted batches, and waiting ones."""
        with self._lock:
            return [batch.packed for _, _, batch in self._backlog] + [batch.packed for batch in self._pending]

    def look_after(self) -> None:
        """What waits is written though nothing new is said. Raises StoreAway, StoreRefusing, StoreError.

        Called a few times a second by the confirming thread; does nothing while somebody writes.
        """
        if (self._run_id and not (self._backlog or self._pending)) or not self._turn.acquire(blocking=False):
            return
        try:
            if not (self._link.is_open and self._run_id):
                self._open()
            elif not self._pending:
                self._link.call("PING")  # a server that has gone is noticed, and its successor greeted the next time
            while self._pending:
                self._send_some(self._pending)
        except ScriptMissing:
            self._load()
        finally:
            self._turn.release()

    def _drain(self) -> list[Batch]:
        batches = list(self._pending)
        self._pending.clear()
        return batches

    def _send(self, batches: list[Batch]) -> None:
        attempt = 0
        left = deque(batches)
        while left:
            try:
                if not (self._link.is_open and self._run_id):
                    self._open()
                self._send_some(left)
                self._well()
                attempt = 0
            except ScriptMissing:
                self._load()
            except (StoreAway, StoreRefusing) as error:
                self._wait(error, attempt, left)
                attempt += 1

    def _send_some(self, left: deque[Batch]) -> None:
        """Send up to `PIPELINE` batches and read their replies; what was accepted leaves *left*."""
        sent = [left[i] for i in range(min(PIPELINE, len(left)))]
        for batch in sent:
            self._link.send(call(batch))
        failed: Exception | None = None
        for batch in sent:
            try:
                self._link.receive()
            except (ScriptMissing, StoreRefusing) as error:
                failed = failed or error
                continue
            if failed is None:
                self._keep(batch, left)
        if failed is not None:
            raise failed  # the later ones are sent again too: the script is idempotent, and order is kept

    def _keep(self, batch: Batch, left: deque[Batch]) -> None:
        """*batch* is accepted: it goes from *left* to the backlog, and no snapshot finds it in neither."""
        with self._lock:
            left.popleft()
            if self.durability != "none":
                self._number += 1
                self._backlog.append((self._number, time.monotonic(), batch))

    def _open(self) -> None:
        self._link.open()
        if self._link.run_id != self._run_id:
            try:
                self._greet()
            except BaseException:
                self._link.close()  # so that the next try greets it from the beginning
                raise
            self._run_id = self._link.run_id  # not before: from here on what it has on disk is confirmed
        self._confirmer.start()

    def _greet(self) -> None:
        """Another server process answers: prepare it, and write again what may be lost."""
        if not self._link.has_aof:
            self.durability = "none"
            log.warning("store.not_durable", reason="this Redis has no append-only file (appendonly no)")
        elif self.durability in ("unknown", "none"):
            self.durability = "aof"
        self._load()
        self._link.call("SADD", PROGRAMMES, *self._programmes)
        self._lay_out()
        self._recognise(int(self._link.call("GET", self._marker) or 0))
        self._write_again()

    def _lay_out(self) -> None:
        """Say how the store is cut, where it is not said yet, was said of an earlier cut, or was wiped."""
        layout = self._layout
        if layout is None:
            return
        for programme in self._programmes:
            key = Keys(programme).layout
            found = self._link.call("GET", key)
            try:
                why = conflict(layout, read_layout(found)) if found else ""
            except LayoutError as error:
                why = str(error)
            if why:
                raise StoreError(f"programme {programme}: {why}")
            self._link.call("SET", key, layout.text())

    def _recognise(self, found: int) -> bool:
        """Whether the store is the one that was known; a loss is told once."""
        known = self._mark.number
        if found < known:
            self._lost(known, found)
            self._mark.note(found)  # not before: from here on it is not noticed again
        return found >= known

    def met_again(self, found: int) -> None:
        """The marker stands at *found*. A store that was wiped under us is greeted like another server."""
        if not self._recognise(found):
            self.greet_anew()

    def greet_anew(self) -> None:
        """Whoever uses the writing connection next connects again and sees to what may be lost."""
        self._run_id = ""

    def _load(self) -> None:
        self._link.call("SCRIPT", "LOAD", SCRIPT)

    def _write_again(self) -> None:
        """The backlog, oldest first; empty at the first opening."""
        with self._lock:
            backlog = [batch for _, _, batch in self._backlog]
        if not backlog:
            return
        log.warning("store.writing_again", batches=len(backlog))
        for batch in backlog:
            self._link.send(call(batch))
            self._link.receive()
        with self._lock:
            self._backlog = deque((number, time.monotonic(), batch) for number, _, batch in self._backlog)

    def _wait(self, error: Exception, attempt: int, left: Iterable[Batch]) -> None:
        if not self.trouble:
            self.trouble_since = time.time()
            log.error("store.away", error=str(error)[:200])
        self.trouble = f"Redis is away: {str(error)[:200]}"
        if self._stopping():
            self._pending.extend(left)
            raise StoreStopped(self.trouble)
        time.sleep(RETRY_S[min(attempt, len(RETRY_S) - 1)])

    def _well(self) -> None:
        if self.trouble:
            log.info("store.back", away_s=round(time.time() - self.trouble_since, 1))
            self.trouble = ""

    # -- confirming ---------------------------------------------------------------------------------------

    def newest(self) -> int:
        """Number of the newest accepted batch."""
        return self._number

    def confirm(self, number: int) -> None:
        """Everything up to *number* is on disk."""
        with self._lock:
            while self._backlog and self._backlog[0][0] <= number:
                self._backlog.popleft()

    def confirm_by_age(self) -> None:
        """Everything old enough is taken to be on disk."""
        self.durability = "aof-by-age"
        limit = time.monotonic() - UNCONFIRMABLE_AGE_S
        with self._lock:
            while self._backlog and self._backlog[0][1] <= limit:
                self._backlog.popleft()

    def close(self) -> None:
        """Let go of the connections."""
        self._confirmer.stop()
        self._link.close()

    @property
    def run_id(self) -> str:
        """The server process that accepted the backlog."""
        return self._run_id


class _Confirmer:
    """A thread that asks Redis how far its append-only file is on disk, and sees to what waits.

    The file is written in order, so when a marker written after a batch is on disk the batch is too.
    """

    def __init__(self, url: str, store: RedisStore, marker: str, mark: StoreMark) -> None:
        self._link = Link(url, timeout_s=5.0)
        self._store, self._marker, self._mark = store, marker, mark
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="confirm-aof", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join(timeout=6)
        self._link.close()

    def _run(self) -> None:
        confirmed = 0
        looked_at = time.monotonic()
        while not self._stop.wait(CONFIRM_EVERY_S):
            try:
                self._store.look_after()
            except (StoreAway, StoreRefusing, StoreError):
                continue  # the writing connection tells of it when there is something new to write
            number = self._store.newest()
            quiet = number == confirmed and self._store.durability != "aof-by-age"
            if quiet and time.monotonic() < looked_at + LOOK_EVERY_S:
                continue
            looked_at = time.monotonic()
            try:
                if fresh := not self._link.is_open:
                    self._link.open()
                if self._link.run_id != self._store.run_id:
                    self._link.close()  # one of the two connections is to a server that is gone
                    if fresh:
                        self._store.greet_anew()
                    continue
                if quiet and self._store.durability == "aof":
                    self._store.met_again(int(self._link.call("GET", self._marker) or 0))
                elif self._on_disk():
                    self._store.confirm(number)
                    confirmed = number
            except (StoreAway, StoreRefusing):
                continue  # the writing connection tells of it
            except StoreError:
                self._store.confirm_by_age()  # no WAITAOF here

    def _on_disk(self) -> bool:
        number = int(self._link.call("INCR", self._marker))
        self._store.met_again(number - 1)
        if self._store.durability == "none":
            self._mark.note(number)
            return True
        self._mark.note(max(self._mark.number, number - MARKS_BY_AGE))
        reply = self._link.call("WAITAOF", 1, 0, 2000)
        if reply[0]:
            self._mark.note(number)
        return bool(reply[0])
