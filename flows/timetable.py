"""Which version of the models scores what: by the time at which a record was received, not by when it is heard.

A version that is announced counts for what is received `HANDOVER_S` later and after, so that the same response has
the same score however the inputs were interleaved, in this run or in one that resumes. Pure.
"""

from bisect import bisect_right

import msgspec

from feedback.instants import Instant
from feedback.records import Control

HANDOVER_S = 5
"""Longer than the clocks of two machines differ, and than a record is on its way from its stamp to the lane."""
KEPT = 40
"""Changes remembered, for responses that come late."""
LEARNING = "learning"
"""Who announces a version that was learned; anybody else goes back to one."""


class Timetable(msgspec.Struct, frozen=True):
    """The changes of version, in order. The empty version is none: VADER alone."""

    changes: tuple[tuple[Instant, str], ...] = ((Instant(0), ""),)
    """From which received time on, and which."""

    @property
    def newest(self) -> str:
        return self.changes[-1][1]

    def at(self, received_at: Instant) -> str:
        """The version for what was received then; for what is older than all that is known, the oldest."""
        return self.changes[max(0, bisect_right(self.changes, received_at, key=_when) - 1)][1]

    def obey(self, control: Control) -> "Timetable | None":
        """As it is after *control*, which names a model; None where it may not follow.

        What was learned must have been learned on from the newest version: else somebody has gone back meanwhile.
        """
        if control.by == LEARNING and str(control.data.get("base", "")) != self.newest:
            return None
        since = max(Instant(control.received_at + HANDOVER_S), self.changes[-1][0])
        return Timetable((*self.changes, (since, str(control.data.get("model", ""))))[-KEPT:])


class InForce(msgspec.Struct, frozen=True):
    """What responses are judged by: the hash of the rules, and the versions of the models."""

    book: str
    models: Timetable = Timetable()


def _when(change: tuple[Instant, str]) -> Instant:
    return change[0]
