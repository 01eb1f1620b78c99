"""A durable journal of records that came from where nothing is kept: a pipe, a file that will change, HTTP.

Appending stamps the received time and waits for the disk (one fsync a batch), so a record has its time, and is
safe, before the engine sees it; a record read again has the same one. Segments are files of length-prefixed,
checksummed entries named by their first byte's offset; a tail torn by a crash is cut off when it is opened, and
damage anywhere else is an error that names the place. One writer at a time.
"""

import os
import re
import struct
import time
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import msgspec
import structlog

from connectors.reading import Theirs
from feedback.records import Envelope

log = structlog.get_logger()

SEGMENT_BYTES = 16 * 1024 * 1024
RETAIN_S = 7 * 86_400
"""Released segments are kept this long: history to replay and to explain by."""
_HEAD = struct.Struct("<II")
_NAME = re.compile(r"(\d{20})\.journal")


class JournalError(Exception):
    """The journal is damaged. Whose turn: the operator's, to restore it from a backup; says where."""


class Entry(msgspec.Struct, array_like=True, frozen=True):
    """One record as it was received."""

    raw: bytes
    received_at: float
    source: str
    programme: str
    origin: str
    """Where the record stood in what it was read from; the last one says where to go on."""
    principal: str = ""


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Entry).decode


class Journal:
    """The journal in *folder*, made if there is none. Raises JournalError when it is damaged."""

    def __init__(self, folder: Path, *, now: Callable[[], float] = time.time, retain_s: float = RETAIN_S) -> None:
        self._folder, self._now, self._retain_s = folder, now, retain_s
        folder.mkdir(parents=True, exist_ok=True)
        self._starts = sorted(int(m[1]) for p in folder.iterdir() if (m := _NAME.fullmatch(p.name)))
        self._stamp = 0.0
        self.last: Entry | None = None
        """The newest entry."""
        self._end = 0
        self._released = 0
        if self._starts:
            self._recover()
        self._file = self._open_segment()

    @property
    def end(self) -> int:
        """Offset at which the next record will stand."""
        return self._end

    def _path(self, start: int) -> Path:
        return self._folder / f"{start:020d}.journal"

    def _recover(self) -> None:
        newest = self._starts[-1]
        data = self._path(newest).read_bytes()
        good = 0
        for at, entry in _entries(data, 0, self._path(newest), tail=True):
            good, self.last = at, entry
        if good < len(data):
            log.warning("journal.tail_cut", file=self._path(newest).name, bytes=len(data) - good)
            os.truncate(self._path(newest), good)
        self._end = newest + good
        if self.last is None and len(self._starts) > 1:
            before = self._starts[-2]
            for _, entry in _entries(self._path(before).read_bytes(), 0, self._path(before), tail=False):
                self.last = entry
        if self.last is not None:
            self._stamp = self.last.received_at

    def _open_segment(self) -> int:
        if not self._starts or self._end - self._starts[-1] >= SEGMENT_BYTES:
            self._starts.append(self._end)
        path = self._path(self._starts[-1])
        file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        folder = os.open(self._folder, os.O_RDONLY)
        try:
            os.fsync(folder)  # or the new name may not outlive a crash
        finally:
            os.close(folder)
        return file

    def append(self, records: Iterable[tuple[bytes, str, str, str, str]]) -> list[tuple[int, Entry]]:
        """Store (raw, source, programme, origin, principal) and wait for the disk; (offset after it, entry) each.

        Raises OSError when the disk is full: nothing of the batch counts then, and it may be tried again.
        """
        self._stamp = max(self._stamp, self._now())
        stored: list[tuple[int, Entry]] = []
        blob = bytearray()
        for raw, source, programme, origin, principal in records:
            entry = Entry(raw, self._stamp, source, programme, origin, principal)
            packed = _encode(entry)
            blob += _HEAD.pack(len(packed), zlib.crc32(packed)) + packed
            stored.append((self._end + len(blob), entry))
        if not stored:
            return []
        try:
            self._write(blob)
        except OSError:
            os.ftruncate(self._file, self._end - self._starts[-1])
            raise
        self._end += len(blob)
        self.last = stored[-1][1]
        if self._end - self._starts[-1] >= SEGMENT_BYTES:
            os.close(self._file)
            self._file = self._open_segment()
        return stored

    def _write(self, blob: bytearray) -> None:
        view = memoryview(blob)
        while view:
            view = view[os.write(self._file, view) :]
        os.fdatasync(self._file)

    def read(self, offset: int, limit: int) -> list[tuple[int, Entry]]:
        """At most *limit* entries from *offset* on, each with the offset after it."""
        found: list[tuple[int, Entry]] = []
        while offset < self._end and len(found) < limit:
            start = max((s for s in self._starts if s <= offset), default=None)
            if start is None:
                raise JournalError(f"{self._folder}: offset {offset} has been deleted; the journal begins later")
            path = self._path(start)
            before = offset
            for at, entry in _entries(path.read_bytes(), offset - start, path, tail=False):
                offset = start + at
                found.append((offset, entry))
                if len(found) >= limit:
                    break
            if offset == before:
                break
        return found

    def release(self, offset: int) -> None:
        """Delete segments that lie wholly before *offset* and are older than the retention."""
        self._released = offset
        while len(self._starts) > 1 and self._starts[1] <= offset:
            path = self._path(self._starts[0])
            if self._now() - path.stat().st_mtime < self._retain_s:
                return
            path.unlink()
            del self._starts[0]

    def forget(self, is_theirs: Theirs) -> int:
        """Blank the entries that were released and are *theirs*; how many those were."""
        return Shelved(self._folder, self._released).forget(is_theirs)

    def close(self) -> None:
        os.close(self._file)


def _entries(data: bytes, offset: int, path: Path, *, tail: bool) -> Iterable[tuple[int, Entry]]:
    """(offset after it, entry) from *offset* on. With *tail* an entry that is not whole ends the file quietly."""
    size = len(data)
    while offset < size:
        whole = offset + _HEAD.size <= size
        length, check = _HEAD.unpack_from(data, offset) if whole else (0, 0)
        end = offset + _HEAD.size + length
        packed = data[offset + _HEAD.size : end]
        if not whole or end > size or zlib.crc32(packed) != check:
            if tail and (not whole or end >= size):
                return
            raise JournalError(f"{path} is damaged at byte {offset}; restore it from a backup")
        yield end, _decode(packed)
        offset = end


def recorded(folder: Path) -> Iterator[tuple[int, Entry]]:
    """Every entry of the journal in *folder* with the offset after it, oldest first; nothing is changed.

    May be read beside whoever writes it.
    Raises JournalError when it is damaged anywhere but at its end, OSError when it cannot be read.
    """
    paths = sorted(path for path in folder.iterdir() if _NAME.fullmatch(path.name))
    for path in paths:
        start = int(path.stem)
        for at, entry in _entries(path.read_bytes(), 0, path, tail=path is paths[-1]):
            yield start + at, entry


class Shelved:
    """A journal that nobody reads this time, as far as it was read before."""

    def __init__(self, folder: Path, read_to: int) -> None:
        self._folder, self._read_to = folder, read_to

    def forget(self, is_theirs: Theirs) -> int:
        """Blank the entries that were read and are *theirs*; how many those were.

        In place, since places are offsets: what was said is overwritten with spaces, and its checksum with it.
        """
        blanked = 0
        for path in sorted(p for p in self._folder.iterdir() if _NAME.fullmatch(p.name)):
            start, offset = int(path.stem), 0
            if start >= self._read_to:
                break
            with path.open("r+b") as file:
                data = file.read(self._read_to - start)
                for at, entry in _entries(data, 0, path, tail=True):
                    if is_theirs(entry.raw, entry.programme):
                        packed = _encode(msgspec.structs.replace(entry, raw=b" " * len(entry.raw)))
                        file.seek(offset)
                        file.write(_HEAD.pack(len(packed), zlib.crc32(packed)) + packed)
                        blanked += 1
                    offset = at
                file.flush()
                os.fsync(file.fileno())
        return blanked


class JournalReader:
    """Reads a journal that something else in this process appends to (controls), by offset."""

    def __init__(self, name: str, journal: Journal, resume: str | None) -> None:
        self.name = name
        self._journal = journal
        self._offset = int(resume or 0)

    finished = False
    trouble = ""
    lag = 0

    @property
    def caught_up(self) -> bool:
        return self._offset >= self._journal.end

    def poll(self, limit: int) -> Sequence[Envelope]:
        if self._offset >= self._journal.end:
            return ()
        found = self._journal.read(self._offset, limit)
        if found:
            self._offset = found[-1][0]
        return [envelope_of(self.name, at, entry) for at, entry in found]

    def release(self, position: str) -> None:
        self._journal.release(int(position))

    def forget(self, is_theirs: Theirs) -> int:
        return 0  # controls are about nobody

    def close(self) -> None:
        self._journal.close()


def envelope_of(name: str, offset: int, entry: Entry) -> Envelope:
    """A journal's entry as the lane takes it."""
    return Envelope(
        raw=entry.raw,
        source=entry.source or name,
        position=str(offset),
        received_at=entry.received_at,
        programme=entry.programme,
        principal=entry.principal,
    )
