"""A clock: time counted against a case. Pure arithmetic on instants; says nothing about owners or events.

Counted time is half-open: `due_at` is the first instant that is late. A running clock asks to be looked at
at its next warning, then at `due_at`; a breached one at each rung of its ladder; a stopped one never.
`case.py` decides when to start, meet and stop them and says so in events.
"""

from enum import StrEnum

import msgspec
from msgspec.structs import replace

from feedback.instants import Instant
from rules.model import ClockSpec


class State(StrEnum):
    RUNNING = "running"
    PAUSED = "paused"
    BREACHED = "breached"
    """Past `due_at` and still not met."""
    MET = "met"
    ENDED = "ended"
    """Stopped by something other than being met: the case ended, or the promise no longer applies."""


class Clock(msgspec.Struct, frozen=True, array_like=True):
    """One clock of one case. Stored inside the case's snapshot: the order of fields is a schema."""

    spec: ClockSpec
    started_at: Instant
    due_at: Instant
    state: State = State.RUNNING
    occurrence: int = 1
    """Counts armings of this name on this case; part of its events' ids."""
    warned: int = 0
    """How many of `spec.warn_s` are behind us."""
    rung: int = 0
    """How many rungs of `spec.ladder` are behind us."""
    stopped_at: Instant = Instant(0)
    """When it was met, ended or paused; 0 while it runs."""
    extended_s: int = 0
    breached: bool = False
    """Whether this occurrence ever passed `due_at` unmet; stays true after a late meeting."""

    @property
    def name(self) -> str:
        return self.spec.name

    @property
    def is_live(self) -> bool:
        """Whether it still has a promise to keep (running, paused, or breached and unmet)."""
        return self.state in (State.RUNNING, State.PAUSED, State.BREACHED)


def arm(spec: ClockSpec, at: Instant, occurrence: int = 1) -> Clock:
    """A clock that starts at *at*; warnings that lie at or before the start are behind it already."""
    due = Instant(at + spec.length_s)
    return Clock(spec=spec, started_at=at, due_at=due, occurrence=occurrence, warned=_passed(spec, due, at))


def _passed(spec: ClockSpec, due: Instant, at: Instant) -> int:
    return sum(1 for before in spec.warn_s if due - before <= at)


def wake_at(clock: Clock) -> Instant | None:
    """The next instant at which this clock has something to say; None when never."""
    if clock.state is State.RUNNING:
        if clock.warned < len(clock.spec.warn_s):
            return Instant(clock.due_at - clock.spec.warn_s[clock.warned])
        return clock.due_at
    if clock.state is State.BREACHED and clock.rung < len(clock.spec.ladder):
        return Instant(clock.due_at + clock.spec.ladder[clock.rung].after_s)
    return None


def met(clock: Clock, at: Instant) -> Clock:
    """Kept, at *at*; late when that is `due_at` or after."""
    return _stopped(clock, State.MET, at)


def ended(clock: Clock, at: Instant) -> Clock:
    """Stopped without being kept; late only when it was so by *at*."""
    return _stopped(clock, State.ENDED, at)


def _stopped(clock: Clock, state: State, at: Instant) -> Clock:
    at = Instant(max(at, clock.started_at))
    due = clock.due_at
    if clock.state is State.PAUSED and at > clock.stopped_at:
        due = Instant(at + left_s(clock))  # what it had left when it was paused, it has still
    return replace(clock, state=state, due_at=due, stopped_at=at, breached=at >= due)


def paused(clock: Clock, at: Instant) -> Clock:
    """Stands still from *at*, which must lie before `due_at`; a breach that this disproves has no ladder."""
    return replace(clock, state=State.PAUSED, stopped_at=at, breached=False, rung=0)


def left_s(clock: Clock) -> int:
    """Seconds it had left when it was stopped; negative when it was late."""
    return clock.due_at - clock.stopped_at


def resumed(clock: Clock, at: Instant) -> Clock:
    """Runs on from *at* with the time that it had left when it was stopped."""
    due = Instant(at + left_s(clock))
    return replace(
        clock,
        state=State.RUNNING,
        due_at=due,
        stopped_at=Instant(0),
        warned=max(clock.warned, _passed(clock.spec, due, at)),
    )


def restored(clock: Clock, at: Instant) -> Clock:
    """As `resumed`, as a new occurrence; one that was late stays late, its ladder already climbed."""
    again = replace(clock, occurrence=clock.occurrence + 1)
    if left_s(clock) > 0 and not clock.breached:
        return resumed(again, at)
    return replace(again, state=State.BREACHED, stopped_at=Instant(0), rung=len(clock.spec.ladder), breached=True)


def extended(clock: Clock, by_s: int, at: Instant) -> Clock:
    """Given *by_s* seconds more; warnings that now lie ahead of *at* are given again. A paused one stays paused."""
    due = Instant(clock.due_at + by_s)
    return replace(
        clock,
        state=State.PAUSED if clock.state is State.PAUSED else State.RUNNING,
        due_at=due,
        extended_s=clock.extended_s + by_s,
        warned=_passed(clock.spec, due, at),
        rung=0,
        breached=False,
    )


def missed_periods(clock: Clock, at: Instant) -> int:
    """How many whole further periods of a recurring clock have passed at *at* since `due_at`."""
    return max(0, (at - clock.due_at) // clock.spec.length_s)


def earliest(first: Clock, second: Clock) -> Clock:
    """Of two clocks of one name the one that is due first; the first when they agree."""
    return second if second.due_at < first.due_at else first
