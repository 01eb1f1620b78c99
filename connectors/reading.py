"""What the engine's one input step asks of a source: a reader that never blocks and can go on where it was."""

from collections.abc import Sequence
from typing import Protocol

from feedback.records import Envelope


class Reader(Protocol):
    """Reads one source in order. Built with the position of the last record already taken, or None.

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

    def release(self, position: str) -> None:
        """Everything up to *position* is in a durable snapshot and will not be asked for again."""

    def close(self) -> None:
        """Let go of files, threads and connections."""
