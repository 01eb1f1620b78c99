"""A clock: time counted against a case. Pure arithmetic on instants; says nothing about owners or events.

Elapsed clocks need no calendar. The others take theirs as a parameter, and keep in their state only its key.

Counted time is half-open: `due_at` is the first instant that is late. A running clock asks to be looked at
at its next warning, then at `due_at`; a breached one at each rung of its ladder; a stopped one never.
`case.py` decides when to start, meet and stop them and says so in events.
"""

from enum import StrEnum

import msgspec
from msgspec.structs import replace

from cases import counting
from feedback.instants import Instant, span_text
from rules.calendar import Calendar
from rules.length import Unit
from rules.model import ClockSpec
from rules.warnings import check_warning


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
    issue: str = ""
    """What it is about, when a case has several issues that run clocks of one name."""
    first_due_at: Instant = Instant(0)
    """`due_at` before the first extension; 0 while there was none."""
    resumed_at: Instant = Instant(0)
    """When it last began to run again; what stood still before that is settled."""

    @property
    def name(self) -> str:
        return self.spec.name

    @property
    def is_live(self) -> bool:
        """Whether it still has a promise to keep (running, paused, or breached and unmet)."""
        return self.state in (State.RUNNING, State.PAUSED, State.BREACHED)


def arm(
    spec: ClockSpec, at: Instant, occurrence: int = 1, *, calendar: Calendar | None = None, issue: str = ""
) -> Clock:
    """A clock that counts from *at*; warnings that lie at or before the start are behind it already.

    Raises CalendarEnded when the deadline lies past the last year that its calendar knows.
    """
    due = Instant(at + spec.length_s) if spec.length is None else counting.due(spec.length, at, calendar).at
    spec = _with_warnings(spec, at, due, calendar)
    return Clock(
        spec=spec, started_at=at, due_at=due, occurrence=occurrence, warned=_passed(spec, due, at), issue=issue
    )


WARN_AT_S = 9 * 3600
"""Local time of a warning that is given some days before: when somebody is there to read it."""


def _with_warnings(spec: ClockSpec, start: Instant, due: Instant, calendar: Calendar | None) -> ClockSpec:
    """*spec* with its warnings as seconds before *due*, the earliest first; those before the start are left out."""
    if not spec.warnings:
        return spec
    before = {due - at for w in spec.warnings if start < (at := _warn_at(spec, w, start, due, calendar)) < due}
    return replace(spec, warn_s=tuple(sorted(before, reverse=True)))


def _warn_at(spec: ClockSpec, written: str, start: Instant, due: Instant, calendar: Calendar | None) -> Instant:
    how = check_warning(written)
    if isinstance(how, float):
        return Instant(start + int((due - start) * how))
    if how.unit is Unit.SECONDS or calendar is None:
        return Instant(due - how.n)
    return counting.before(how, due, calendar, WARN_AT_S)


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


def met(clock: Clock, at: Instant, calendar: Calendar | None = None) -> Clock:
    """Kept, at *at*; late when that is `due_at` or after."""
    return _stopped(clock, State.MET, at, calendar)


def ended(clock: Clock, at: Instant, calendar: Calendar | None = None) -> Clock:
    """Stopped without being kept; late only when it was so by *at*."""
    return _stopped(clock, State.ENDED, at, calendar)


def _stopped(clock: Clock, state: State, at: Instant, calendar: Calendar | None) -> Clock:
    at = Instant(max(at, clock.started_at))
    due = clock.due_at
    if clock.state is State.PAUSED and at > clock.stopped_at:  # what it had left when it was paused, it has still
        due = resumed(clock, at, calendar).due_at
    return replace(clock, state=state, due_at=due, stopped_at=at, breached=at >= due)


def paused(clock: Clock, at: Instant) -> Clock:
    """Stands still from *at*, which must lie before `due_at`; a breach that this disproves has no ladder."""
    return replace(clock, state=State.PAUSED, stopped_at=at, breached=False, rung=0)


def left_s(clock: Clock) -> int:
    """Seconds it had left when it was stopped; negative when it was late."""
    return clock.due_at - clock.stopped_at


def resumed(clock: Clock, at: Instant, calendar: Calendar | None = None) -> Clock:
    """Runs on from *at* with the time that it had left when it was stopped."""
    length = clock.spec.length
    if length is None:
        due = Instant(at + left_s(clock))
    else:
        due = counting.resumed(length, clock.due_at, clock.stopped_at, at, calendar)
    first = clock.first_due_at
    return replace(
        clock,
        spec=_with_warnings(clock.spec, clock.started_at, due, calendar),
        state=State.RUNNING,
        due_at=due,
        stopped_at=Instant(0),
        resumed_at=at,
        warned=max(clock.warned, _passed(clock.spec, due, at)),
        first_due_at=Instant(first + due - clock.due_at) if first else first,
    )


def restored(clock: Clock, at: Instant, calendar: Calendar | None = None) -> Clock:
    """As `resumed`, as a new occurrence; one that was late stays late, its ladder already climbed.

    The law gives no time back for a case that was ended by mistake: its clocks keep their deadline.
    """
    again = replace(clock, occurrence=clock.occurrence + 1)
    if left_s(clock) > 0 and not clock.breached:
        if clock.spec.law:
            return replace(again, state=State.RUNNING, stopped_at=Instant(0))
        return resumed(again, at, calendar)
    return replace(again, state=State.BREACHED, stopped_at=Instant(0), rung=len(clock.spec.ladder), breached=True)


def furthest(clock: Clock, calendar: Calendar | None = None) -> Instant:
    """The last deadline to which it may be extended; its present one when it may not."""
    spec, first = clock.spec, clock.first_due_at or clock.due_at
    if spec.length is None:
        return Instant(first + spec.extendable_s)
    return first if spec.extend is None else counting.furthest(spec.length, first, spec.extend, calendar)


def extended(clock: Clock, due: Instant, at: Instant, calendar: Calendar | None = None) -> Clock:
    """Put off to *due*; warnings that now lie ahead of *at* are given again. A paused one stays paused."""
    spec = _with_warnings(clock.spec, clock.started_at, due, calendar)
    return replace(
        clock,
        spec=spec,
        state=State.PAUSED if clock.state is State.PAUSED else State.RUNNING,
        due_at=due,
        first_due_at=clock.first_due_at or clock.due_at,
        extended_s=clock.extended_s + due - clock.due_at,
        warned=_passed(spec, due, at),
        rung=0,
        breached=False,
    )


def missed_periods(clock: Clock, at: Instant, calendar: Calendar | None = None) -> tuple[int, Instant]:
    """How many whole further periods of a recurring clock have passed at *at* since `due_at`, and when they ended."""
    if clock.spec.length is None:
        missed = max(0, (at - clock.due_at) // clock.spec.length_s)
        return missed, Instant(clock.due_at + missed * clock.spec.length_s)
    missed, ended_at = 0, clock.due_at
    while (following := next_period(clock.spec, ended_at, calendar).due_at) <= at:
        missed, ended_at = missed + 1, following
    return missed, ended_at


def next_period(spec: ClockSpec, due: Instant, calendar: Calendar | None, occurrence: int = 1) -> Clock:
    """The period that follows one which ended at *due*; after one of whole days, day one is the next that counts."""
    whole_days = spec.length is not None and spec.length.unit is not Unit.WORKING_SECONDS
    return arm(spec, Instant(due - 1) if whole_days else due, occurrence, calendar=calendar)


def earliest(first: Clock, second: Clock) -> Clock:
    """Of two clocks of one name the one that is due first; the first when they agree."""
    return second if second.due_at < first.due_at else first


def length_text(spec: ClockSpec) -> str:
    """How long the promise is, in words."""
    return span_text(spec.length_s) if spec.length is None else spec.length.in_words


def same_promise(one: ClockSpec, other: ClockSpec) -> bool:
    """Whether two specs promise the same, how far off their warnings are once armed left aside."""
    return replace(one, warn_s=()) == replace(other, warn_s=()) if one.warnings else one == other
