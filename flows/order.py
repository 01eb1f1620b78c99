"""The order in which the lane gave things out, written down before it does, so that a crash cannot change it.

What several readers hold is merged by received time, and clocks tick in between; but a record that was on its way may
come after one that was received later, or after a tick. Read again after a crash, everything is there at once and
would be merged otherwise: events would be said that contradict those already told. So each batch is a line here, and a
resume gives out what follows its snapshot in the order that is written, before it merges again. Positions and times
only; never what a record holds.

Written without waiting for the disk: it outlives the process, whatever kills it. After a power cut its last lines may
be missing, and what they stood for is merged anew.
"""

import re
from collections import deque
from io import FileIO
from pathlib import Path

import msgspec
import structlog

from feedback.instants import Instant

log = structlog.get_logger()

_NAME = re.compile(r"(\d{12})\.order")
_DIGITS = re.compile(r"\d+")


class Ticked(msgspec.Struct, frozen=True, array_like=True, tag="t"):
    """These shards were told that time has passed until *at*."""

    at: Instant
    shards: list[int]


class Taken(msgspec.Struct, frozen=True, array_like=True, tag="r"):
    """The records of *reader*, in one part of its source, as far as *position*."""

    reader: str
    position: str


Entry = Ticked | Taken

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(list[Entry]).decode


def is_behind(position: str, other: str) -> bool:
    """Whether *position* comes before *other* in the same part of a source; its numbers tell, from left to right."""
    return _place(position) < _place(other)


def _place(position: str) -> tuple[int, ...]:
    return tuple(int(digits) for digits in _DIGITS.findall(position.rpartition(":")[2]))


def _part(position: str) -> str:
    return position.rpartition(":")[0]


class OrderLog:
    """The log in *folder*, made if there is none; without one (None) nothing is written. One writer.

    A segment for each snapshot, named by a number that the snapshot holds.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._number = 1
        self._file: FileIO | None = None
        self._line: list[Entry] = []
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
            self._number = max(self._there(), default=0) + 1

    def since(self, number: int) -> deque[Entry]:
        """What was given out since the snapshot that holds *number* (0: since the beginning), in its order."""
        found: deque[Entry] = deque()
        for segment in self._there():
            if segment < number:
                continue
            for line in self._path(segment).read_bytes().splitlines():
                try:
                    found += _decode(line)
                except msgspec.DecodeError:
                    log.warning("order.torn", segment=segment)  # by a power cut; what follows is merged anew
                    return found
        return found

    def ticked(self, at: Instant, shards: list[int]) -> None:
        """Ticks are part of the batch that is being made."""
        if shards:
            self._line.append(Ticked(at, shards))

    def taken(self, reader: str, position: str) -> None:
        """A record is part of the batch that is being made."""
        last = self._line[-1] if self._line else None
        if isinstance(last, Taken) and last.reader == reader and _part(last.position) == _part(position):
            self._line.pop()
        self._line.append(Taken(reader, position))

    def write(self) -> None:
        """The batch is about to be given out. Raises OSError when the disk has no room."""
        line, self._line = self._line, []
        if not line or self._folder is None:
            return
        if self._file is None:
            self._file = self._path(self._number).open("ab", buffering=0)
        self._file.write(_encode(line) + b"\n")

    def snapshotted(self) -> int:
        """A snapshot is taken of all that was given out so far; what comes next is *since* this number."""
        if self._file is not None:
            self.close()
            self._number += 1
        return self._number

    def release(self, number: int) -> None:
        """Nobody will ask again for what came before the snapshot that holds *number*."""
        for segment in self._there():
            if segment < number:
                self._path(segment).unlink()

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def _there(self) -> list[int]:
        if self._folder is None:
            return []
        return sorted(int(m[1]) for path in self._folder.iterdir() if (m := _NAME.fullmatch(path.name)))

    def _path(self, number: int) -> Path:
        assert self._folder is not None
        return self._folder / f"{number:012d}.order"
