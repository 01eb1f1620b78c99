"""A rule file was edited: the engine takes it up while it runs, whole or not at all.

Once a second the dates of the rule files are looked at. When they have changed, and then held still for a second (an
editor, a checkout and a deployment write one file after the other), the whole book is read and stored; then the
stream is told, by a control record of the engine's own journal, so that a resume changes over between the same two
responses. What cannot be read is told in the same way and changes nothing: the book before goes on. The same holds at
the start, once there is state: an engine that was killed in the night must not stay down because of an edit.
"""

import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from hashlib import blake2b
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Event, Thread
from typing import Any, Protocol

import msgspec
import structlog

from connectors.journal import Journal, JournalReader
from feedback.records import Envelope
from flows.books import BookShelf
from rules.problems import RuleFileErrors

log = structlog.get_logger()

EVERY_S = 1.0
_READ = frozenset({".yaml", ".txt"})
TOLD_PROBLEMS = 20
"""Problems that an event lists; its count has all of them."""

Stamp = dict[str, tuple[int, int, int]]


class Meter(Protocol):
    def rules_refused(self, refused: bool) -> None:
        """Whether the rule files now say something that cannot be used."""

    def windows(self, rules: Iterable[str]) -> None:
        """The ids of the rules with memory that the files now have."""


def stamp_of(directory: Path) -> Stamp:
    """What an edit of any file under *directory* changes: which file each name leads to, its size and its date."""
    found: Stamp = {}
    for path in sorted(directory.glob("*/*")):
        try:
            if path.suffix in _READ and path.is_file():
                status = path.stat()
                found[str(path)] = (status.st_ino, status.st_size, status.st_mtime_ns)
        except OSError:
            continue  # it went away meanwhile; the next look finds that
    return found


class Controls(JournalReader):
    """A journal of controls as the lane reads it. What other threads want written is written by the lane's."""

    def __init__(self, name: str, journal: Journal, resume: str | None, programme: str) -> None:
        super().__init__(name, journal, resume)
        self._controls, self._programme = journal, programme
        self._waiting: SimpleQueue[dict[str, Any]] = SimpleQueue()

    def put(self, control: dict[str, Any]) -> None:
        """*control* is to become a record; any thread."""
        self._waiting.put(control)

    def poll(self, limit: int) -> Sequence[Envelope]:
        while True:
            try:
                control = self._waiting.get_nowait()
            except Empty:
                return super().poll(limit)
            self._controls.append([(msgspec.json.encode(control), "control", self._programme, "", "engine")])


class RuleWatch:
    """Looks after the rule files of one engine, in a thread of its own while it is entered."""

    def __init__(self, shelf: BookShelf, directory: Path, sets: Mapping[str, str], meter: Meter) -> None:
        """*sets*: programme to the name of its set in *directory*."""
        self._shelf, self._directory, self._sets, self._meter = shelf, directory, sets, meter
        self._seen: Stamp | None = None
        """As they were when they were read last."""
        self._moving: Stamp | None = None
        self._book, self._refused = "", ""
        self._announce: Callable[[dict[str, Any]], None] = lambda _: None
        self._done = Event()
        self._thread: Thread | None = None

    def begin(self, announced: Mapping[str, Any], announce: Callable[[dict[str, Any]], None]) -> None:
        """*announced*: `book` and `refused` of what the stream was told last. *announce* writes a control record.

        Looks at once, and from then on every second.
        """
        self._book, self._refused = str(announced["book"]), str(announced.get("refused", ""))
        self._announce = announce
        self.look()
        self.look()
        self._thread = Thread(target=self._watch, name="rules", daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._done.set()
        if self._thread is not None:
            self._thread.join(timeout=10)

    def _watch(self) -> None:
        while not self._done.wait(EVERY_S):
            self.look()

    def look(self) -> None:
        """Take up what has changed and held still since the look before."""
        stamp = stamp_of(self._directory)
        if stamp == self._seen:
            self._moving = None
            return
        if stamp != self._moving:
            self._moving = stamp
            return
        self._seen, self._moving = stamp, None
        try:
            book = self._shelf.put(self._directory, self._sets, keep=self._book)
        except RuleFileErrors as errors:
            self._refuse(errors)
            return
        except OSError as error:
            log.error("rules.unread", error=str(error))
            self._seen = None  # the disk, not the rules: try again
            return
        self._meter.rules_refused(False)
        self._meter.windows({rule.window.rule for rules in book.sets.values() for rule in rules.windows})
        if book.hash != self._book or self._refused:  # a refusal may end with what is in force, and that is news too
            self._book, self._refused = book.hash, ""
            self._announce(control_of("rules", {"book": book.hash}))

    def _refuse(self, errors: RuleFileErrors) -> None:
        self._meter.rules_refused(True)
        digest = blake2b(str(errors).encode(), digest_size=8).hexdigest()
        if digest == self._refused:
            return
        self._refused = digest
        log.error("rules.refused", kept=self._book, problems=str(errors))
        listed = [str(problem) for problem in errors.problems[:TOLD_PROBLEMS]]
        data = {"book": self._book, "refused": digest, "problems": listed, "count": len(errors.problems)}
        self._announce(control_of("rules.refused", data))


def control_of(do: str, data: dict[str, Any], by: str = "files") -> dict[str, Any]:
    """A control record of the engine's own."""
    return {"kind": "control", "id": uuid.uuid4().hex, "do": do, "by": by, "data": data}
