"""What the verbs share: saying who did it, what it meets, ends and starts, and what a late record disproves.

`acting.py` has the verbs of the lifecycle, `reporting.py` milestones and facts, `timing.py` pauses and extensions.
"""

from typing import Any

from cases import clocks, moments
from cases.clocks import Clock, State
from cases.lifecycle import Status
from cases.moments import MILESTONE
from cases.telling import Telling
from feedback.instants import rfc3339
from feedback.records import Action


def say(telling: Telling, type_: str, action: Action, /, **data: Any) -> None:
    data["by"] = action.by
    if action.principal:
        data["principal"] = action.principal
    if action.reason:
        data.setdefault("reason", action.reason)
    if action.received_at != action.at:
        data["recorded_at"] = rfc3339(action.received_at)
    telling.say(type_, action.at, (action.id,), action=action.id, **data)


def say_clock(telling: Telling, type_: str, clock: Clock, action: Action, /, **data: Any) -> None:
    telling.say_clock(type_, clock, action.at, action.id, by=action.by, reason=action.reason, **data)


def reach(telling: Telling, action: Action, *reached: str, issue: str = "") -> None:
    """What moments that came as one do: they end, then meet, then start clocks, of *issue* where it is the law's."""
    beside = moments.live(telling, issue)
    for moment in reached:
        for clock in telling.case.clocks:
            if clock.is_live and clock.issue == issue and any(what == moment for what, _ in clock.spec.ended_by):
                correct_breach(telling, clock, action)
        moments.end(telling, moment, action.at, issue=issue, by=action.by)
        _meet(telling, action, moment, issue)
    for moment in reached:
        if moment.startswith(MILESTONE):
            moments.begin(telling, moment, action.at, issue=issue, beside=beside)


def _meet(telling: Telling, action: Action, by: str, issue: str) -> None:
    """Every live clock that *by* meets is met as of `action.at`; a breach that this disproves is corrected."""
    case = telling.case
    for index, clock in enumerate(case.clocks):
        if by.startswith(MILESTONE) and clock.issue != issue:
            continue
        if clock.is_live and by in clock.spec.meets and not clock.spec.restarts:
            if clock.spec.needs_all and not _all_reached(telling, clock):
                continue
            if not (clock.spec.recurring and moments.newest(case.clocks, clock.name, clock.issue) is clock):
                _meet_one(telling, index, action)
                continue
            if action.at < clock.started_at:  # it kept the period before, and was recorded in this one
                stop(telling, index, action, f"{action.do} took place before this period began")
            else:
                _meet_one(telling, index, action)
            again = telling.make(clock.spec, action.at)
            if again is not None:
                telling.arm(again, action.at, instead_of=index)


def _all_reached(telling: Telling, clock: Clock) -> bool:
    """Whether everything that meets it has happened since it started."""
    reached = [telling.case.reached_at(m.removeprefix(MILESTONE), clock.issue) for m in clock.spec.meets]
    return all(at is not None and at >= clock.started_at for at in reached)


def _meet_one(telling: Telling, index: int, action: Action) -> None:
    clock = telling.case.clocks[index]
    correct_breach(telling, clock, action)
    kept = clocks.met(clock, action.at, telling.calendar(clock.spec))
    telling.case.clocks[index] = kept
    data: dict[str, Any] = {"by": action.by}
    if kept.breached:
        data["late_by_s"] = kept.stopped_at - kept.due_at
    telling.say_clock("clock.met", kept, kept.stopped_at, **data)


def correct_breach(telling: Telling, clock: Clock, action: Action) -> None:
    """The breach event stays; this one says that the record, made late, shows it did not happen."""
    if clock.state is State.BREACHED and action.at < clock.due_at:
        telling.say_clock(
            "clock.corrected",
            clock,
            action.received_at,
            action.id,
            by=action.by,
            took_place_at=rfc3339(action.at),
            recorded_at=rfc3339(action.received_at),
            reason=action.reason or f"{action.do} took place before the deadline and was recorded after it",
        )


def activity(telling: Telling, action: Action) -> None:
    """Whatever a person does starts the idle clocks over, while the case is open."""
    case = telling.case
    if not case.is_open or case.status is Status.RESOLVED:
        return
    for index, clock in enumerate(case.clocks):
        if not (clock.is_live and clock.spec.restarts and "activity" in clock.spec.meets):
            continue
        if action.at < clock.started_at or clock.state is State.PAUSED:
            continue
        if clock.state is State.BREACHED:
            _meet_one(telling, index, action)
        again = telling.make(clock.spec, action.at)
        if again is not None:
            case.clocks[index] = again


def stop(telling: Telling, index: int, action: Action, why: str) -> None:
    correct_breach(telling, telling.case.clocks[index], action)
    telling.stop(index, action.at, why, by=action.by)


def restart_takeover(telling: Telling, action: Action) -> None:
    """A new owner has the full time to acknowledge."""
    case = telling.case
    specs = {c.name: c for c in case.clocks if c.spec.takeover}  # the last of each name
    for name, last in specs.items():
        for index, clock in enumerate(case.clocks):
            if clock.name == name and clock.is_live:
                stop(telling, index, action, "assigned to somebody else")
        newest = moments.newest(case.clocks, name, "")
        # From when they are told, which for an assignment recorded late is later than `action.at`.
        again = telling.make(last.spec, action.received_at)
        if again is not None:
            telling.arm(again, action.received_at, instead_of=case.clocks.index(newest))
