"""What the engine's one input step asks of a source: a reader that never blocks and can go on where it was."""

from collections.abc import Callable, Sequence
from typing import Protocol

import msgspec

from feedback.records import Envelope

Theirs = Callable[[bytes, str], bool]
"""Whether a record (its bytes, its programme) is about somebody who was erased."""


class Forgetful(Protocol):
    """Where records lie as they came in."""

    def forget(self, is_theirs: Theirs) -> int:
        """Remove records that were released and are *theirs*, where the source is ours; how many those were.

        Called from a thread of its own while the source is read. What it cannot reach it raises.
        """


class Reader(Forgetful, Protocol):
    """Reads one source in order. Built with the place (`Place`) behind the last record already taken, or None.

    The same record read twice has the same position, received time and bytes. `poll` is called every
    millisecond or so and returns at once, whatever the source is doing.
    """

    name: str
    """Stable: the position is stored under it."""

    @property
    def finished(self) -> bool:
        """No record will ever come again (the end of a file that is not followed)."""

    @property
    def caught_up(self) -> bool:
        """Nothing was waiting in the source at the last look; False until there was one."""

    @property
    def trouble(self) -> str:
        """Why the source cannot be read just now, for `/ready`; empty when it can."""

    @property
    def lag(self) -> int:
        """Records known to wait in the source; 0 when it cannot tell."""

    def poll(self, limit: int) -> Sequence[Envelope]:
        """At most *limit* further records; empty when nothing waits."""

    def release(self, place: str) -> None:
        """Everything before *place* is in a durable snapshot and will not be asked for again."""

    def close(self) -> None:
        """Let go of files, threads and connections."""


class History:
    """Records of *reader* as they were given long ago: heard to learn from, and nobody is told of them."""

    def __init__(self, reader: Reader) -> None:
        self._reader, self.name = reader, reader.name

    def poll(self, limit: int) -> Sequence[Envelope]:
        return [msgspec.structs.replace(envelope, history=True) for envelope in self._reader.poll(limit)]

    @property
    def finished(self) -> bool:
        return self._reader.finished

    @property
    def caught_up(self) -> bool:
        return self._reader.caught_up

    @property
    def trouble(self) -> str:
        return self._reader.trouble

    @property
    def lag(self) -> int:
        return self._reader.lag

    def release(self, place: str) -> None:
        self._reader.release(place)

    def forget(self, is_theirs: Theirs) -> int:
        return self._reader.forget(is_theirs)

    def close(self) -> None:
        self._reader.close()


class Place:
    """Where a reader is to go on: the position of the last record taken, of each part of its source.

    A position is `WHERE`, or `PART:WHERE` in a source of several parts (the partitions of a topic), each of which
    has an order of its own. As text: the last position of each part, joined by commas.
    """

    def __init__(self, stored: str | None) -> None:
        self._parts: dict[str, str] = {}
        for position in (stored or "").split(","):
            self.take(position)

    def take(self, position: str) -> None:
        """The record at *position* has been taken."""
        part, found, _ = position.partition(":")
        self._parts[part if found else ""] = position

    def of(self, part: str) -> str | None:
        """Where the last record taken of *part* stands in it; the part of a source without parts is empty."""
        position = self._parts.get(part)
        return None if position is None else position.rpartition(":")[2]

    @property
    def parts(self) -> set[str]:
        return set(self._parts) - {""}

    def __str__(self) -> str:
        return ",".join(position for position in self._parts.values() if position)


def part_of(position: str) -> int | None:
    """The part (a topic's partition) that a record's position names; None for a source without parts."""
    part, found, _ = position.partition(":")
    return int(part) if found and part.isdecimal() else None
