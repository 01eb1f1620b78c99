"""After an outage the engine hears what waited; when it has, it says so, once, in its own stream.

Between the two, people see cases that are late for no fault of theirs; `outage.over` in the log of events explains
them.
"""

from collections.abc import Callable, Iterable
from typing import Any, Protocol

from feedback.instants import Instant, rfc3339
from flows.outages import Outages
from flows.reloading import control_of

BEHIND_S = 5
"""A record that waits no longer than this is of the present."""


class Heard(Protocol):
    """An input of the lane, as far as this asks (`lane.Input`)."""

    def is_behind(self, before: float) -> bool: ...


class CatchUp:
    """Of one engine process; looked at every second or so, by the thread that keeps the gauges."""

    def __init__(self, outages: Outages, lane: int, put: Callable[[dict[str, Any]], None]) -> None:
        """*put* takes a control record on its way into the stream."""
        self._outages, self._lane, self._put = outages, lane, put

    def look(self, inputs: Iterable[Heard], now: Instant) -> None:
        """Tell of the outages that are over, as soon as nothing older than a moment waits in *inputs*."""
        untold = self._outages.untold
        if not untold or any(source.is_behind(now - BEHIND_S) for source in inputs):
            return
        for stretch in untold:
            began, ended = stretch
            data = {
                "lane": self._lane, "from": rfc3339(began), "until": rfc3339(ended), "length_s": ended - began,
                "caught_up_at": rfc3339(now),
            }  # fmt: skip
            self._put(control_of("outage.over", data, by="engine"))
            self._outages.tell(stretch)
