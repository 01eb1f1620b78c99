"""Feedback in files: JSON lines or CSV, read to their end or followed as they grow, and standard input.

Every record goes through a journal before the engine sees it (`journal.py`): a file may be changed or removed
after it was read, and the journal holds the received time. The journal's newest entry says where to read on, so
a crash between reading and journalling loses nothing and doubles nothing. A last line without its newline is
not yet a record.
"""

import os
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from threading import Condition, Thread
from typing import BinaryIO, Protocol

import structlog

from connectors.journal import Journal, envelope_of
from connectors.reading import Theirs
from feedback.records import Envelope

log = structlog.get_logger()

CHUNK = 1 << 20
MAX_LINE = 1 << 20
"""A longer line is cut here: the decoder refuses it as too large, and the rest of it is skipped."""


class Rows(Protocol):
    """Turns a file's bytes into records: a line each, or a CSV row each."""

    def records(self, data: bytes, *, end: bool) -> tuple[list[tuple[bytes, int]], int]:
        """Whole records of *data*, each with the bytes used up to its end, and the bytes used in all.

        *end* says that no more bytes will follow just now.
        """

    def reset(self) -> None:
        """The next bytes are the beginning of a file."""


class Lines:
    """JSON lines: a record a line. Empty lines are no records."""

    def records(self, data: bytes, *, end: bool) -> tuple[list[tuple[bytes, int]], int]:
        found: list[tuple[bytes, int]] = []
        used = 0
        while (stop := data.find(b"\n", used)) >= 0:
            line = data[used:stop].rstrip(b"\r")
            used = stop + 1
            if line.strip():
                found.append((line[:MAX_LINE], used))
        return found, used

    def reset(self) -> None:
        """A line knows nothing of the lines before it."""


class FileReader:
    """One file through a journal in *journal*. Raises FileNotFoundError, with what to do, when it is not there."""

    def __init__(
        self,
        name: str,
        path: Path,
        journal: Journal,
        resume: str | None,
        *,
        programme: str,
        follow: bool,
        rows: Rows,
    ) -> None:
        self.name, self._path, self._journal, self._rows = name, path, journal, rows
        self._programme, self._follow = programme, follow
        self._offset = int(resume or 0)
        self._ready: deque[Envelope] = deque()
        self._data = b""
        self._done = False
        self._unread_tail = False
        self.trouble = ""
        try:
            self._file: BinaryIO = path.open("rb")
        except FileNotFoundError:
            raise FileNotFoundError(f"{path} does not exist; check the path after --input") from None
        self._identity = _identity(self._file)
        self._at = self._resume_at()
        """Bytes of the file that are journalled."""
        self._rows.reset()
        self._file.seek(0)
        if self._at:
            self._skip()

    def _resume_at(self) -> int:
        last = self._journal.last
        if last is None:
            return 0
        identity, _, at = last.origin.rpartition("@")
        size = os.fstat(self._file.fileno()).st_size
        return int(at) if identity == f"{self._path}#{self._identity}" and int(at) <= size else 0

    def _skip(self) -> None:
        """Go past what is journalled; a CSV's header has to be seen again on the way."""
        if isinstance(self._rows, Lines):
            self._file.seek(self._at)
            return
        data = self._file.read(self._at)
        self._rows.records(data, end=False)

    @property
    def finished(self) -> bool:
        return self._done and not self._ready and self._offset >= self._journal.end

    @property
    def caught_up(self) -> bool:
        return not self._ready and not self._data

    @property
    def lag(self) -> int:
        return len(self._ready)

    @property
    def unread_tail(self) -> bool:
        """Whether the file ends in a line without its newline, which was left for a later run."""
        return self._unread_tail

    def poll(self, limit: int) -> Sequence[Envelope]:
        if self._offset < self._journal.end and not self._ready:
            for at, entry in self._journal.read(self._offset, limit):
                self._offset = at
                self._ready.append(envelope_of(self.name, at, entry))
        if not self._ready and not self._done:
            self._take_in(limit)
        return [self._ready.popleft() for _ in range(min(limit, len(self._ready)))]

    def _take_in(self, limit: int) -> None:
        chunk = self._file.read(CHUNK) if len(self._data) < CHUNK else b""
        self._data += chunk
        end = not chunk and len(self._data) < CHUNK
        if not chunk and not self._data and self._follow:
            self._look_for_rotation()
            return
        found, used = self._rows.records(self._data, end=end and not self._follow)
        overlong = not found and len(self._data) >= MAX_LINE
        if overlong:
            found, used = [(self._data[:MAX_LINE], len(self._data))], len(self._data)
        if len(found) > limit:
            found = found[:limit]
            used = found[-1][1]
        if found and not self._store(found):
            return
        self._at += used
        self._data = self._data[used:]
        if overlong:
            self._drop_rest_of_line()
        if end and not found:
            if self._follow:
                self._look_for_rotation()
            else:
                self._done = True
                self._unread_tail = bool(self._data.strip())

    def _store(self, found: list[tuple[bytes, int]]) -> bool:
        """Journal *found*; False when the disk refused, and the same bytes are to be tried at the next poll."""
        origin = f"{self._path}#{self._identity}@"
        try:
            stored = self._journal.append(
                (raw, self.name, self._programme, f"{origin}{self._at + upto}", "") for raw, upto in found
            )
        except OSError as error:
            self.trouble = f"the journal cannot be written: {error.strerror}"
            log.error("journal.write_failed", error=error.strerror)
            return False
        self.trouble = ""
        for at, entry in stored:
            self._offset = at
            self._ready.append(envelope_of(self.name, at, entry))
        return True

    def _drop_rest_of_line(self) -> None:
        while True:
            chunk = self._file.read(CHUNK)
            stop = chunk.find(b"\n")
            if stop >= 0 or not chunk:
                cut = stop + 1 if chunk else 0
                self._at += cut
                self._file.seek(self._at)
                return
            self._at += len(chunk)

    def _look_for_rotation(self) -> None:
        """A followed file that was cut short or replaced is read from its new beginning."""
        try:
            now = self._path.stat()
        except FileNotFoundError:
            return  # between a rename and the new file
        here = os.fstat(self._file.fileno())
        if (now.st_ino, now.st_dev) == (here.st_ino, here.st_dev) and now.st_size >= self._at:
            return
        log.info("file.rotated", file=str(self._path))
        self._file.close()
        self._file = self._path.open("rb")
        self._identity = _identity(self._file)
        self._at, self._data = 0, b""
        self._rows.reset()

    def release(self, position: str) -> None:
        self._journal.release(int(position))

    def forget(self, is_theirs: Theirs) -> int:
        return self._journal.forget(is_theirs)

    def close(self) -> None:
        self._file.close()
        self._journal.close()


class StdinReader:
    """Standard input through a journal, by a thread, because reading a pipe blocks."""

    def __init__(
        self, name: str, stream: BinaryIO, journal: Journal, resume: str | None, *, programme: str, rows: Rows
    ) -> None:
        self.name, self._stream, self._journal, self._rows = name, stream, journal, rows
        self._programme = programme
        self._offset = int(resume or 0)
        self._chunks: deque[bytes] = deque()
        self._room = Condition()
        self._ended = False
        self._data = b""
        self.trouble = ""
        self._thread = Thread(target=self._read, name=f"read-{name}", daemon=True)
        self._thread.start()

    def _read(self) -> None:
        for chunk in iter(lambda: os.read(self._stream.fileno(), 65_536), b""):
            with self._room:
                while len(self._chunks) >= 16:  # the pipe fills, and its writer waits
                    self._room.wait()
                self._chunks.append(chunk)
        self._ended = True

    @property
    def finished(self) -> bool:
        return self._ended and not self._chunks and not self._whole() and self._offset >= self._journal.end

    @property
    def caught_up(self) -> bool:
        return not self._chunks and not self._whole()

    @property
    def lag(self) -> int:
        return len(self._chunks)

    def _whole(self) -> bool:
        return b"\n" in self._data

    def poll(self, limit: int) -> Sequence[Envelope]:
        if self._offset < self._journal.end:
            found = self._journal.read(self._offset, limit)
            self._offset = found[-1][0]
            return [envelope_of(self.name, at, entry) for at, entry in found]
        with self._room:
            while self._chunks and len(self._data) < CHUNK:
                self._data += self._chunks.popleft()
            self._room.notify()
        records, used = self._rows.records(self._data, end=self._ended and not self._chunks)
        if not records and len(self._data) >= MAX_LINE:
            records, used = [(self._data[:MAX_LINE], len(self._data))], len(self._data)
        if len(records) > limit:
            records, used = records[:limit], records[limit - 1][1]
        if not records:
            return ()
        try:
            stored = self._journal.append((raw, self.name, self._programme, "", "") for raw, _ in records)
        except OSError as error:
            self.trouble = f"the journal cannot be written: {error.strerror}"
            return ()
        self.trouble = ""
        self._data = self._data[used:]
        self._offset = stored[-1][0]
        return [envelope_of(self.name, at, entry) for at, entry in stored]

    def release(self, position: str) -> None:
        self._journal.release(int(position))

    def forget(self, is_theirs: Theirs) -> int:
        return self._journal.forget(is_theirs)

    def close(self) -> None:
        self._journal.close()


def _identity(file: BinaryIO) -> str:
    status = os.fstat(file.fileno())
    return f"{status.st_dev}:{status.st_ino}"
