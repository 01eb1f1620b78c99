"""What falls due: warnings, breaches, the rungs of a ladder, a case taken over, a closed one forgotten.

Due things fire in the order of their own instants, whenever they are looked at, so that the result does not
hang on when the look came. Only an outage (`flows/outages.py`) changes what is said: warnings whose deadline passed
unseen fold into the breach, and a recurring clock fires once and says how many periods it missed.
"""

from msgspec.structs import replace

from cases import clocks, moments
from cases.clocks import State
from cases.lifecycle import Status
from cases.systemic import Names, tell_gathered
from cases.telling import Telling
from feedback.instants import Instant, span_text

_ALARM = -1
"""In place of a clock's index: the alert of a systemic case."""


def fire_due(telling: Telling, at: Instant, names: Names | None = None) -> None:
    """Fire all that was due at or before *at*, oldest first. The closed case is the shard's business.

    *names* tells which case a response has, for a systemic case that names those it is about.
    """
    case = telling.case
    last: Instant | None = None
    while case.status is not Status.CLOSED:
        due = [(when, i) for i, c in enumerate(case.clocks) if (when := clocks.wake_at(c)) is not None]
        if case.alarm is not None and case.alarm.told_at:
            due.append((case.alarm.told_at, _ALARM))
        if not due:
            return
        when, index = min(due)
        if when > at:
            return
        if when != last:
            # Each instant's events carry the case as of that instant, however many instants one look covers.
            telling.seal()
            last = when
        if index == _ALARM:
            tell_gathered(telling, when, names)
            continue
        clock = case.clocks[index]
        if clock.state is State.BREACHED:
            _climb(telling, index, when)
        elif when < clock.due_at:
            _warn(telling, index, when)
        else:
            _breach(telling, index)


def _warn(telling: Telling, index: int, when: Instant) -> None:
    clock = telling.case.clocks[index]
    point = clock.warned
    telling.case.clocks[index] = replace(clock, warned=point + 1)
    looked_again = telling.moment.looked_again(when)
    if looked_again is not None:
        following = clock.due_at
        if point + 1 < len(clock.spec.warn_s):
            following = Instant(clock.due_at - clock.spec.warn_s[point + 1])
        if following <= looked_again:
            return  # the next thing this clock says was due by then too, and says more
    telling.say_clock(
        "clock.warned",
        clock,
        when,
        str(point + 1),
        str(clock.due_at),  # an extension gives the same point again, before another deadline
        point=point + 1,
        of=len(clock.spec.warn_s),
        remaining_s=clock.due_at - when,
    )


def _breach(telling: Telling, index: int) -> None:
    case = telling.case
    clock = case.clocks[index]
    due = clock.due_at
    looked_again = telling.moment.looked_again(due)
    missed, ended_at = 0, due
    if clock.spec.recurring and looked_again is not None:
        missed, ended_at = clocks.missed_periods(clock, looked_again, telling.calendar(clock.spec))
    data = {"missed": missed} if missed else {}
    case.clocks[index] = replace(clock, state=State.BREACHED, breached=True)
    # The deadline is part of what is said: a breach that a late record disproved may be followed by another.
    telling.say_clock("clock.breached", clock, due, str(due), level=case.level, **data)
    while (rung := clocks.wake_at(case.clocks[index])) is not None and rung <= due:
        _climb(telling, index, rung)
    if clock.spec.takeover:
        _take_over(telling, index, due if looked_again is None else looked_again)
    elif clock.spec.recurring:
        _arm_next(telling, index, ended_at)
    # What waited for the promise begins with the last moment at which it could have been kept.
    moments.begin(telling, f"breach:{clock.name}", Instant(due - 1), issue=clock.issue)


def _climb(telling: Telling, index: int, when: Instant) -> None:
    case = telling.case
    clock = case.clocks[index]
    rung = clock.spec.ladder[clock.rung]
    case.clocks[index] = replace(clock, rung=clock.rung + 1)
    occurrence = (clock.name, str(clock.occurrence), str(clock.rung + 1), str(clock.due_at))
    why = f"{clock.name} breached" + (f", still unmet after {span_text(rung.after_s)}" if rung.after_s else "")
    escalate(telling, rung.role, when, occurrence, why)


def escalate(telling: Telling, role: str, at: Instant, occurrence: tuple[str, ...], why: str, *, by: str = "") -> None:
    """Take the case one level up: somebody of *role* is told. The owner stays the owner.

    *by* is the person who asked for it, whose own words *why* are then.
    """
    case = telling.case
    case.level += 1
    roster = telling.moment.rules.roster
    person = roster.resolve(role, attributes=case.routing, at=at, seed=case.id)
    tried = role
    if person is None and case.fallback_role:
        tried = case.fallback_role
        person = roster.resolve(tried, attributes=case.routing, at=at, seed=case.id)
    whose = {"by": by} if by else {}
    if person is None or tried != role:
        fallback = case.fallback_role
        telling.say("owner.missing", at, (role, *occurrence), role=role, reason=why, fallback=fallback, **whose)
    to = person.id if person is not None else ""
    telling.say("case.escalated", at, occurrence, level=case.level, role=tried, to=to, reason=why, **whose)
    if to:
        reason, told = (f"escalated by {by}", f"{by}: {why}") if by else (why, why)
        telling.notice(to, tried, at, occurrence, reason, told=told)


def _take_over(telling: Telling, index: int, at: Instant) -> None:
    """The owner did not acknowledge in time: the next on the roster has it, with the full time to do so."""
    case = telling.case
    clock = case.clocks[index]
    if case.owner and case.owner not in case.tried:
        case.tried.append(case.owner)
    before = case.owner
    occurrence = (clock.name, str(clock.occurrence))
    telling.appoint(case.role, at, occurrence, f"not acknowledged within {clocks.length_text(clock.spec)}")
    if not case.owner:
        case.owner = before  # nobody left: the alarm is out, its ladder goes on, and the case keeps its name
        return
    again = clocks.arm(clock.spec, at, clock.occurrence + 1, calendar=telling.calendar(clock.spec))
    telling.arm(again, at, instead_of=index)
    telling.tell_owner(at, occurrence, f"taken over from {before or 'nobody'}, who did not acknowledge")


def _arm_next(telling: Telling, index: int, at: Instant) -> None:
    """The next period of a recurring clock; of the breached ones only the newest keeps its ladder."""
    case = telling.case
    clock = case.clocks[index]
    case.clocks[:] = [c for c in case.clocks if c is clock or c.name != clock.name or c.state is not State.BREACHED]
    calendar = telling.calendar(clock.spec)
    telling.arm(clocks.next_period(clock.spec, at, calendar, clock.occurrence + 1), at)
