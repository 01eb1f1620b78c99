"""The heartbeat: the engine puts it into its own stream as long as it is ready, for a watchdog outside."""

import time
from collections.abc import Callable, Mapping
from typing import Any

from flows.reloading import control_of


class Heart:
    """Of one engine process; looked at every second or so."""

    def __init__(self, every_s: int, lane: int, put: Callable[[dict[str, Any]], None]) -> None:
        """*every_s*: 0 for never. *put* takes a control record on its way into the stream."""
        self._every_s, self._lane, self._put = every_s, lane, put
        self._next = 0.0

    def look(self, reasons: Callable[[], Mapping[str, str]]) -> None:
        """Beat, if it is time and there are no *reasons* why a promise may go unkept."""
        now = time.monotonic()
        if not self._every_s or now < self._next or reasons():
            return
        self._next = now + self._every_s
        self._put(control_of("heartbeat", {"every_s": self._every_s, "lane": self._lane}, by="engine"))
