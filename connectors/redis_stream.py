"""Responses and actions from a Redis stream, resumed by our own last id.

A thread does the waiting on the network, so that `poll` returns at once even while Redis hangs. An entry's id
is its position, and the id's milliseconds are its received time. The record is the entry's field `record`
(a JSON object), or else all its fields as one flat object; `principal` is taken from a field of that name when
the stream is the actions', whose only writers are doors that know who is acting.
"""

import json
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import msgspec
import redis
import structlog

from connectors.reading import Theirs
from connectors.redis_link import client
from feedback.records import Envelope

log = structlog.get_logger()

BLOCK_MS = 200
"""A blocking read must end well before the socket's time-out, and soon after a stop was asked for."""
AWAY = "Redis is away: "
READ_AHEAD = 2048
BACKOFF_S = (0.05, 0.2, 1.0, 2.0)
TRIM_EVERY_S = 30.0
KEPT_AT_MOST = 100_000
"""Entries that were read are kept for their time only up to so many: memory is the server's dearest."""


class RedisStreamReader:
    """Reads one stream, and removes from it what no resume will ask for and is older than *keep_s* (None: nothing)."""

    def __init__(
        self,
        name: str,
        url: str,
        key: str,
        resume: str | None,
        *,
        programme: str,
        keep_s: float | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.name, self._key, self._programme, self._keep_s, self._now = name, key, programme, keep_s, now
        self._url = url
        self._last = resume or "0-0"
        self._resumed = resume is not None
        self._client = client(url, timeout_s=BLOCK_MS / 1000 + 4)
        self._ready: deque[Envelope] = deque()
        self._room = threading.Condition()
        self._stop = threading.Event()
        self._durable: str | None = None
        """As far as `release` ever went."""
        self._trim_at = 0.0
        self.removed = 0
        """Entries removed because of their age."""
        self.gaps = 0
        """How often what was to be read next was found to be gone."""
        self._at_end = False
        self.trouble = "not connected yet"
        self.lag = 0
        self._thread = threading.Thread(target=self._run, name=f"read-{name}", daemon=True)
        self._thread.start()

    finished = False

    @property
    def caught_up(self) -> bool:
        return self._at_end and not self._ready

    def poll(self, limit: int) -> Sequence[Envelope]:
        ready = self._ready
        if not ready:
            return ()
        taken = [ready.popleft() for _ in range(min(limit, len(ready)))]
        with self._room:
            self._room.notify()
        return taken

    def release(self, position: str) -> None:
        self._durable = position

    def forget(self, is_theirs: Theirs) -> int:
        """Delete entries that were released and are *theirs*; the server rewrites its file, which holds them too."""
        if self._durable is None:
            return 0
        after, gone = "-", 0
        own = client(self._url, timeout_s=30.0)
        try:
            while page := own.xrange(self._key, min=after, max=self._durable, count=1000):
                theirs = [id_ for id_, fields in page if is_theirs(_said(fields), self._programme)]
                gone += own.xdel(self._key, *theirs) if theirs else 0
                after = f"({page[-1][0].decode()}"
            if gone:
                try:
                    own.bgrewriteaof()
                except redis.ResponseError as error:
                    log.warning("stream.not_rewritten", stream=self.name, error=str(error)[:200])
        finally:
            own.close()
        return gone

    def close(self) -> None:
        self._stop.set()
        with self._room:
            self._room.notify()
        self._thread.join(timeout=BLOCK_MS / 1000 + 5)
        self._client.close()

    # -- the thread ---------------------------------------------------------------------------------------

    def _run(self) -> None:
        failures = 0
        while not self._stop.is_set():
            try:
                if self.trouble:
                    self._check_gap()
                self._read_some()
                self.trouble = ""  # not before it has answered: one that hangs takes a connection, too
                self._trim_behind()
                failures = 0
            except (redis.RedisError, OSError) as error:
                if not self.trouble.startswith(AWAY):
                    log.error("stream.away", stream=self.name, error=str(error)[:200])
                self._at_end = False
                self.trouble = AWAY + str(error)[:200]
                self._stop.wait(BACKOFF_S[min(failures, len(BACKOFF_S) - 1)])
                failures += 1

    def _read_some(self) -> None:
        with self._room:
            while len(self._ready) >= READ_AHEAD and not self._stop.is_set():
                self._room.wait(1.0)
        block = BLOCK_MS if self._at_end else 1
        reply = self._client.xread({self._key: self._last}, count=512, block=block)
        if not reply:
            self._at_end, self.lag = True, 0
            return
        streams = reply.items() if isinstance(reply, dict) else reply
        for _, entries in streams:
            for id_, fields in entries:
                self._last = id_.decode()
                self._ready.append(self._envelope(self._last, fields))
            self._at_end = len(entries) < 512
            self.lag = len(self._ready)

    def _envelope(self, id_: str, fields: dict[bytes, bytes] | None) -> Envelope:
        return _envelope(self.name, id_, fields or {}, self._programme)

    def _check_gap(self) -> None:
        """Say so when what we should read next has been trimmed away: nothing is skipped in silence."""
        if not self._resumed:
            return
        try:
            about = self._client.xinfo_stream(self._key)
        except redis.ResponseError:
            return  # no such stream yet
        last, deleted = _id(self._last), _id(about.get("max-deleted-entry-id", b"0-0").decode())
        newest, first = _id(about["last-generated-id"].decode()), about["first-entry"]
        if newest <= last:
            return
        # What we took last is still there, for trimming begins behind it, unless an erasure deleted it.
        trimmed = deleted < last and (not first or _id(first[0].decode()) > last)
        if deleted > last or trimmed:
            self.gaps += 1
            begins = first[0].decode() if first else ""
            log.error("stream.gap", stream=self.name, resume=self._last, first=begins, why="somebody trimmed it")

    def _trim_behind(self) -> None:
        """Remove what is old and behind the snapshots; the entry that they stand on stays, to tell a gap by."""
        if self._keep_s is None or self._durable is None or self._now() < self._trim_at:
            return
        self._trim_at = self._now() + TRIM_EVERY_S
        behind = _id(self._durable)
        if self._client.xlen(self._key) <= KEPT_AT_MOST:
            behind = min((max(0, int((self._now() - self._keep_s) * 1000)), 0), behind)
        self.removed += self._client.xtrim(self._key, minid=f"{behind[0]}-{behind[1]}", approximate=False)


def entries(connection: Any, key: str, after: str, name: str, programme: str) -> Iterator[Envelope]:
    """What the stream *key* holds after an entry, as its reader *name* would give it out."""
    while page := connection.xrange(key, min=f"({after}", count=1000):
        for id_, fields in page:
            after = id_.decode()
            yield _envelope(name, after, fields, programme)


def _envelope(name: str, id_: str, fields: dict[bytes, bytes], programme: str) -> Envelope:
    return Envelope(
        raw=_said(fields),
        source=name,
        position=id_,
        received_at=int(id_.partition("-")[0]) / 1000,
        programme=programme,
        principal=fields.get(b"principal", b"").decode("utf-8", "replace")[:256],
    )


def _id(text: str) -> tuple[int, int]:
    ms, _, seq = text.partition("-")
    return int(ms), int(seq or 0)


def _said(fields: dict[bytes, bytes]) -> bytes:
    """The record of an entry."""
    raw = fields.get(b"record")
    if raw is None:
        flat = {k.decode("utf-8", "replace"): v.decode("utf-8", "replace") for k, v in fields.items()}
        raw = msgspec.json.encode(_numbers(flat))
    return raw


def _numbers(flat: dict[str, str]) -> dict[str, object]:
    """Fields named `scores`, `attributes` and `data` hold JSON; the rest is text."""
    plain: dict[str, object] = dict(flat)
    for name in ("scores", "attributes", "data"):
        if name in flat:
            try:
                plain[name] = json.loads(flat[name])
            except ValueError:
                continue  # the decoder says what is wrong with it
    return plain
