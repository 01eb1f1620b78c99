"""The auditor: reads what people see, and asks whether every deadline in it that has passed was called.

It knows nothing of the due index, the shards or the ticks; it looks only at the case records in the store, so that a
mistake in those does not hide itself. A clock that a record shows as running long after its deadline is a finding:
a metric that must be 0, a line in the log, a reason in `/ready`.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import msgspec
import structlog

from feedback.instants import Instant, parse_instant, rfc3339

log = structlog.get_logger()

GRACE_S = 30
"""What is later than this was not called: far above any lateness of a healthy engine."""
PAGE = 500
"""Cases looked at in one look; a look after a look goes through all that are due."""

Page = Callable[[str, Instant, int, int], Sequence[Mapping[str, Any]]]
"""(programme, due before, offset, limit) to records of open cases, the one due first in front."""


class Finding(msgspec.Struct, frozen=True):
    """A deadline that passed and was not called."""

    programme: str
    case: str
    clock: str
    occurrence: int
    due_at: Instant


class Auditor:
    """Belongs to one thread. `look` goes on where it stopped."""

    def __init__(self, page: Page, programmes: Iterable[str], mine: Callable[[str], bool] = lambda _: True) -> None:
        """*mine*: which cases (by id) are this lane's to answer for."""
        self._page, self.mine = page, mine
        self._offsets = dict.fromkeys(programmes, 0)
        self._known: dict[str, set[Finding]] = {programme: set() for programme in self._offsets}
        self._fresh: dict[str, set[Finding]] = {programme: set() for programme in self._offsets}

    def look(self, now: Instant) -> int:
        """Look at the next cases that are due, and answer how many findings there are in all."""
        for programme, offset in self._offsets.items():
            limit = Instant(now - GRACE_S)
            records = self._page(programme, limit, offset, PAGE)
            mine = [record for record in records if self.mine(str(record["id"]))]
            self._fresh[programme].update(f for record in mine for f in findings(programme, record, limit))
            if len(records) < PAGE:  # a round is complete: what was found before and not again is settled
                for finding in self._fresh[programme] - self._known[programme]:
                    log.error(
                        "audit.not_called", case=finding.case, clock=finding.clock, due_at=rfc3339(finding.due_at)
                    )
                self._known[programme], self._fresh[programme] = self._fresh[programme], set()
                self._offsets[programme] = 0
            else:
                self._offsets[programme] = offset + PAGE
        return sum(len(found | self._fresh[p]) for p, found in self._known.items())


def findings(programme: str, record: Mapping[str, Any], limit: Instant) -> list[Finding]:
    """The clocks of *record* that run on although they were due before *limit*."""
    return [
        Finding(programme, str(record["id"]), str(clock["name"]), int(clock["occurrence"]), due_at)
        for clock in record["clocks"]
        if clock["state"] == "running" and (due_at := parse_instant(clock["due_at"])) <= limit
    ]
