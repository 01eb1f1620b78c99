"""How versions of the models enter the stream: a journal of their own, as an input of the lane."""

import uuid
from collections import deque
from collections.abc import Sequence

import msgspec

from connectors.journal import Journal, JournalReader
from connectors.reading import Theirs
from feedback.records import Envelope
from flows.learning import Announced
from flows.timetable import LEARNING


class ModelFeed:
    """The reader of the lane by which versions enter the stream: a journal that it alone appends to."""

    name = "models"

    def __init__(self, journal: Journal, resume: str | None, announced: deque[Announced], programme: str) -> None:
        self._journal, self._announced, self._programme = journal, announced, programme
        self._reader = JournalReader(self.name, journal, resume)

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

    def poll(self, limit: int) -> Sequence[Envelope]:
        self.announce()
        return self._reader.poll(limit)

    def announce(self) -> None:
        """Put what was published into the journal, for this run or the next."""
        while self._announced:
            control = {
                "kind": "control", "id": uuid.uuid4().hex, "do": "model", "by": LEARNING,
                "data": {"model": self._announced[0].version, "base": self._announced[0].base},
            }  # fmt: skip
            self._journal.append([(msgspec.json.encode(control), "models", self._programme, "", LEARNING)])
            self._announced.popleft()

    def release(self, position: str) -> None:
        self._reader.release(position)

    def forget(self, is_theirs: Theirs) -> int:
        return self._reader.forget(is_theirs)

    def close(self) -> None:
        self._reader.close()
