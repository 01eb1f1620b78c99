"""What is looked at every so often beside the stream: in a thread that no mistake of ours ends in silence."""

import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event, Thread

import structlog

log = structlog.get_logger()

JOIN_S = 10.0
"""How long the end waits for a round under way; one that hangs in Redis is left to its time-out."""


class Rounds:
    """Goes its round every *every_s* seconds while `going` is entered."""

    def __init__(self, look: Callable[[], None], every_s: float, *, name: str) -> None:
        self._look, self._every_s, self._name = look, every_s, name
        self.trouble = ""
        """Why the last round did not come to its end; empty when it did."""

    @contextmanager
    def going(self) -> Iterator[None]:
        over = Event()

        def go() -> None:
            while not over.wait(self._every_s):
                try:
                    self._look()
                except Exception as error:
                    if over.is_set():
                        return  # what it asks was closed while it asked
                    self._failed(error)
                else:
                    self.trouble = ""

        thread = Thread(target=go, name=self._name, daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join(timeout=JOIN_S)

    def _failed(self, error: Exception) -> None:
        frame = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{frame.filename.rsplit('/', 2)[-1]}:{frame.lineno} {frame.name}"
        if not self.trouble:  # file, line and function only: a message may quote a customer
            log.error("rounds.failed", rounds=self._name, error=type(error).__name__, where=where)
        self.trouble = f"{type(error).__name__} at {where}: gauges and the auditor are not up to date"
