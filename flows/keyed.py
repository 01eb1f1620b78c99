"""The one adapter from our pure steps to Bytewax's keyed state.

A shard is a key; its state is the bytes of its drawer. There is no `notify_at` anywhere: after every batch the
shard tells the process's due index when it next has something to say, and the source sends a tick then; and it
tells which keys an erasure gave up, as often as it likes.
The stored form is `(version, shard, bytes, checksum)`: plain data, so that no class path gets into a snapshot, and none
of it is believed that a disk has altered.
"""

from collections.abc import Callable, Iterable
from zlib import crc32

from bytewax.operators import StatefulBatchLogic

from cases import shard as shards
from cases.events import Event
from cases.shard import Item
from flows.erasures import Erasures
from flows.indexes import DueIndex, KnownResponses
from flows.run import StateError

Stored = tuple[int, int, bytes | None, int] | tuple[int, int, bytes | None]
"""The shorter one is from before there were checksums."""


class SnapshotError(StateError):
    """A snapshot that cannot be read. Whose turn: the operator's; the text says what to do."""


def checksum(*parts: bytes | None) -> int:
    """Of what is stored."""
    found = 0
    for part in parts:
        found = crc32(part or b"", found)
    return found


def check(what: str, expected: int, *parts: bytes | None) -> None:
    """Raises SnapshotError when *parts* are not what was stored."""
    if checksum(*parts) != expected:
        raise SnapshotError(
            f"the snapshot of {what} is not what was written: the disk under the recovery store has altered it. "
            "Restore the state directory from a backup, on another disk"
        )


class ShardLogic(StatefulBatchLogic[Item, Event, Stored]):
    """One shard under Bytewax, which does not tell a new logic its key: the first item does."""

    def __init__(self, stored: Stored | None, due: DueIndex, known: KnownResponses, erasures: Erasures) -> None:
        self._due, self._known, self._erasures = due, known, erasures
        self._shard, self._body = upgrade(stored)
        wake, self._knows, erased = shards.summary(self._body)
        self._erasures.ask(erased)
        due.register(self._shard, wake)
        known.load(self._knows)

    def on_batch(self, values: list[Item]) -> tuple[Iterable[Event], bool]:
        self._shard = values[0].shard
        stepped = shards.step(self._shard, self._body, values)
        self._body = stepped.body
        self._due.register(self._shard, stepped.wake_at)
        if stepped.knows != self._knows:
            self._known.change(self._shard, self._knows, stepped.knows)
            self._knows = stepped.knows
        self._erasures.ask(stepped.erased)
        return stepped.events, self._body is None

    def on_notify(self) -> tuple[Iterable[Event], bool]:
        return (), False

    def on_eof(self) -> tuple[Iterable[Event], bool]:
        return (), False  # the end of the input is no event of a case: its clocks go on in the next run

    def notify_at(self) -> None:
        return None

    def snapshot(self) -> Stored:
        return (shards.VERSION, self._shard, self._body, checksum(self._body))


def upgrade(stored: Stored | None) -> tuple[int, bytes | None]:
    """The shard and its drawer in the present form, from any form ever stored; shard -1 is a new one."""
    if stored is None:
        return -1, None
    version, shard, body, *crc = stored
    if crc:
        check(f"shard {shard}", crc[0], body)
    try:
        return shard, shards.upgrade(version, body)
    except ValueError:
        raise SnapshotError(
            f"a shard is stored in form {version} and this release reads {shards.VERSION}; "
            "run the release that wrote it, or a later one"
        ) from None


def shard_builder(due: DueIndex, known: KnownResponses, erasures: Erasures) -> Callable[[Stored | None], ShardLogic]:
    """What builds a shard's logic from what was stored under its key."""

    def build(stored: Stored | None) -> ShardLogic:
        return ShardLogic(stored, due, known, erasures)

    return build
