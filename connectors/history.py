"""History to be replayed: a file of JSON lines or CSV rows, or a journal, as records in the order of their time.

A record of a file was received when it occurred (an action: when it was done), for a replay has no other clock;
a journal's entries keep the received time that they had. Sorting is bounded: what is further out of order than
the bound is heard at the time that was reached, and counted. One pass, memory bounded, nothing is written.
"""

import heapq
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from connectors.files import CHUNK, MAX_LINE, Rows
from connectors.journal import envelope_of, recorded
from feedback.instants import Instant, parse_instant
from feedback.records import Envelope

WINDOW = 20_000
"""Records that wait to be put in order."""


class _When(msgspec.Struct):
    kind: str | None = None
    occurred_at: str | None = None
    at: str | None = None


_when = msgspec.json.Decoder(_When)


class History:
    """One pass over a history. The counts are of what has been handed out so far."""

    def __init__(
        self,
        path: Path,
        rows: Rows | None,
        *,
        source: str,
        programme: str,
        since: Instant | None = None,
        until: Instant | None = None,
        window: int = WINDOW,
        read: Callable[[int], None] = lambda _: None,
    ) -> None:
        """*rows* reads the file; None for a journal, a folder. [since, until) leaves out what lies outside.

        *read* is told of bytes read, as they are.
        """
        self._path, self._rows, self._source, self._programme = path, rows, source, programme
        self._since, self._until, self._window, self._read = since, until, window, read
        self.records = 0
        self.outside = 0
        """Records before `since` or at or after `until`."""
        self.controls = 0
        """Changes of the engine's own mind: a replay is judged by the rules that it was given."""
        self.untimed = 0
        """Records that say no time that can be read: they are heard at the time that was reached."""
        self.sorted = 0
        """Records that stood after a later one and were put in their place."""
        self.late = 0
        """Records further out of order than the window reaches."""

    def __iter__(self) -> Iterator[Envelope]:
        if self._rows is None:
            yield from self._journal()
            return
        waiting: list[tuple[Instant, int, bytes]] = []
        newest = reached = Instant(0)
        for number, raw in enumerate(self._raw(), 1):
            at = self._time(raw)
            if at is None:
                if self._is_control(raw):
                    self.controls += 1
                    continue
                self.untimed += 1
                at = newest or self._since or Instant(0)
            if not self._is_inside(at):
                self.outside += 1
                continue
            if at < newest:
                self.sorted += 1
            newest = max(newest, at)
            if at < reached:
                self.late += 1
                self.sorted -= 1
                at = reached
            heapq.heappush(waiting, (at, number, raw))
            if len(waiting) > self._window:
                first = heapq.heappop(waiting)
                reached = first[0]
                yield self._envelope(*first)
        while waiting:
            yield self._envelope(*heapq.heappop(waiting))

    def _is_inside(self, at: float) -> bool:
        return (self._since is None or at >= self._since) and (self._until is None or at < self._until)

    def _envelope(self, at: Instant, number: int, raw: bytes) -> Envelope:
        self.records += 1
        return Envelope(
            raw=raw, source=self._source, position=str(number), received_at=float(at), programme=self._programme
        )

    def _time(self, raw: bytes) -> Instant | None:
        """When the record was received, by its own word; None when it says no time."""
        try:
            when = _when.decode(raw)
            if when.kind == "control":
                return None
            return parse_instant((when.at if when.kind == "action" else when.occurred_at) or "")
        except (msgspec.DecodeError, UnicodeDecodeError, ValueError, OverflowError):
            return None

    @staticmethod
    def _is_control(raw: bytes) -> bool:
        try:
            return _when.decode(raw).kind == "control"
        except (msgspec.DecodeError, UnicodeDecodeError):
            return False

    def _raw(self) -> Iterator[bytes]:
        """Records as they stand in the file; a last line without its newline is one too: a history has ended."""
        assert self._rows is not None
        data = b""
        with self._path.open("rb") as file:
            while True:
                chunk = file.read(CHUNK)
                self._read(len(chunk))
                data += chunk
                if not chunk and data and not data.endswith(b"\n"):
                    data += b"\n"
                while True:
                    found, used = self._rows.records(data, end=not chunk)
                    if not found and len(data) >= MAX_LINE and not used:
                        found, used = [(data[:MAX_LINE], len(data))], len(data)
                    yield from (raw for raw, _ in found)
                    data = data[used:]
                    if not used or not found:
                        break
                if not chunk:
                    return

    def _journal(self) -> Iterator[Envelope]:
        for offset, entry in recorded(self._path):
            self._read(len(entry.raw))
            if self._is_control(entry.raw):
                self.controls += 1
            elif not self._is_inside(entry.received_at):
                self.outside += 1
            else:
                self.records += 1
                yield envelope_of(self._source, offset, entry)
