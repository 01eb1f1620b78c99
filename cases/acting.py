"""What people do to a case: each verb, checked against the lifecycle table and taken as of its own time.

A refusal is an answer with a named reason, and changes nothing. An action recorded late counts from `action.at`:
a breach that it disproves stays in the record, and `clock.corrected` carries both times and the author.
"""

from collections.abc import Callable
from typing import Any

from cases import clocks
from cases.clocks import Clock, State
from cases.lifecycle import ENDINGS, NEEDS_REASON, OUTCOME_FIELDS, TABLE, Ending, Status
from cases.telling import Telling
from cases.waking import escalate
from feedback.instants import Instant, parse_span, rfc3339
from feedback.records import Action, Verb
from rules.model import ClockStart, Priority


class Refusal(Exception):
    """The state does not allow it. `reason` is a stable name, `detail` is for the person who asked."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


def act(telling: Telling, action: Action) -> None:
    """Apply *action* to the case and say what it did. Raises Refusal, in which case nothing is to be kept."""
    case = telling.case
    target = TABLE.get((case.status, action.do))
    if target is None:
        raise Refusal("not_allowed", f"{action.do} is not possible on a case that is {case.status}")
    if action.at < case.opened_at:
        raise Refusal("before_the_case", f"the case opened at {rfc3339(case.opened_at)}")
    if action.do in NEEDS_REASON and not action.reason:
        raise Refusal("reason_missing", f"{action.do} needs a reason")
    before = case.status
    _DO[action.do](telling, action)
    if case.status is before and target is not before:
        case.status = target
    if case.status is not before:
        case.status_at = action.at
    if before is Status.NEW and case.status is not Status.NEW:
        _taken_up(telling, action)
    _activity(telling, action)


# -- the verbs -------------------------------------------------------------------------------------------------


def _acknowledge(telling: Telling, action: Action) -> None:
    case = telling.case
    if action.by != case.owner:
        raise Refusal("not_the_owner", f"the owner is {case.owner or 'nobody yet'}; assign it to {action.by} first")
    _acknowledged(telling, action)


def _acknowledged(telling: Telling, action: Action) -> None:
    _say(telling, "case.acknowledged", action)
    _meet(telling, action, Verb.ACKNOWLEDGE)
    _arm_started(telling, ClockStart.ACKNOWLEDGED, action.at)


def _taken_up(telling: Telling, action: Action) -> None:
    """Work on a new case acknowledges it when its owner does it; by anybody else it ends that clock."""
    case = telling.case
    if action.do not in (Verb.START, Verb.CONTACT):
        return  # acknowledging says so itself; a case that ends has no more need of it
    if action.by == case.owner:
        _acknowledged(telling, action)
    else:
        for index, clock in enumerate(case.clocks):
            if clock.is_live and clock.spec.takeover:
                _stop(telling, index, action, f"{action.by} took it up")


def _assign(telling: Telling, action: Action) -> None:
    case = telling.case
    to = str(action.data.get("to", ""))
    person = telling.moment.rules.roster.person(to)
    if person is None:
        raise Refusal("unknown_person", f"{to or 'nobody'} is not on the roster; say data.to = a person's id")
    if to == case.owner:
        raise Refusal("already_the_owner", f"{to} has it already")
    before, case.owner = case.owner, to
    case.tried = [person_id for person_id in case.tried if person_id != to]
    _say(telling, "case.assigned", action, role=case.role, before=before)
    telling.tell_owner(action.at, (action.id,), f"assigned by {action.by}")
    target = TABLE[case.status, Verb.ASSIGN]
    if target is Status.NEW:
        _restart_takeover(telling, action)


def _restart_takeover(telling: Telling, action: Action) -> None:
    """A new owner has the full time to acknowledge."""
    case = telling.case
    specs = {c.name: c for c in case.clocks if c.spec.takeover}  # the last of each name
    for name, last in specs.items():
        for index, clock in enumerate(case.clocks):
            if clock.name == name and clock.is_live:
                _stop(telling, index, action, "assigned to somebody else")
        newest = _newest(case.clocks, name)
        # From when they are told, which for an assignment recorded late is later than `action.at`.
        again = clocks.arm(last.spec, action.received_at, newest.occurrence + 1)
        telling.arm(again, action.received_at, instead_of=case.clocks.index(newest))


def _note(telling: Telling, action: Action) -> None:
    _say(telling, "case.updated", action, change="noted", note=str(action.data.get("note", action.reason)))


def _start(telling: Telling, action: Action) -> None:
    _say(telling, "case.updated", action, change="started")


def _wait(telling: Telling, action: Action) -> None:
    _say(telling, "case.updated", action, change="waiting")


def _contact(telling: Telling, action: Action) -> None:
    _say(telling, "customer.contacted", action, channel=str(action.data.get("channel", "")), data=action.data)
    _meet(telling, action, Verb.CONTACT)


def _milestone(telling: Telling, action: Action) -> None:
    name = str(action.data.get("name", ""))
    if not name:
        raise Refusal("milestone_missing", "say data.name = the milestone that was reached")
    _say(telling, "milestone.reached", action, name=name)
    _meet(telling, action, f"milestone:{name}")


def _pause(telling: Telling, action: Action) -> None:
    for index in _named(telling, action, lambda c: c.is_live and c.state is not State.PAUSED):
        clock = telling.case.clocks[index]
        if not clock.spec.pausable:
            raise Refusal("not_pausable", f"{clock.name} may not be paused; the attempt is on the record")
        if action.at >= clock.due_at:
            raise Refusal("already_late", f"{clock.name} was due at {rfc3339(clock.due_at)}")
        if action.at < clock.started_at:
            raise Refusal("before_the_clock", f"{clock.name} started at {rfc3339(clock.started_at)}")
        _correct_breach(telling, clock, action)
        telling.case.clocks[index] = clocks.paused(clock, action.at)
        _say_clock(telling, "clock.paused", telling.case.clocks[index], action)


def _resume(telling: Telling, action: Action) -> None:
    for index in _named(telling, action, lambda c: c.state is State.PAUSED):
        clock = telling.case.clocks[index]
        if action.at < clock.stopped_at:
            raise Refusal("before_the_pause", f"{clock.name} was paused at {rfc3339(clock.stopped_at)}")
        telling.case.clocks[index] = clocks.resumed(clock, action.at)
        _say_clock(telling, "clock.resumed", telling.case.clocks[index], action)


def _extend(telling: Telling, action: Action) -> None:
    try:
        by_s = parse_span(str(action.data.get("by", "")))
    except ValueError as error:
        raise Refusal("bad_span", f"say data.by = how long: {error}") from None
    if not action.data.get("clock"):
        raise Refusal("clock_missing", "say data.clock = which clock")
    for index in _named(telling, action, lambda c: c.is_live):
        clock = telling.case.clocks[index]
        if clock.extended_s + by_s > clock.spec.extendable_s:
            most = clock.spec.extendable_s - clock.extended_s
            raise Refusal("not_extendable", f"{clock.name} may be extended by {most} s more, not {by_s}")
        if action.at >= clock.due_at and clock.state is not State.PAUSED:
            raise Refusal("already_late", f"{clock.name} was due at {rfc3339(clock.due_at)}")
        _correct_breach(telling, clock, action)
        telling.case.clocks[index] = clocks.extended(clock, by_s, action.received_at)
        _say_clock(telling, "clock.extended", telling.case.clocks[index], action, was_due_at=rfc3339(clock.due_at))


def _resolve(telling: Telling, action: Action) -> None:
    _merge_outcome(telling, action)
    telling.case.resolved_at = action.at
    _say(telling, "case.resolved", action, outcome=telling.case.outcome)
    _meet(telling, action, Verb.RESOLVE)
    _end_clocks(telling, action, Ending.RESOLVED)
    _arm_started(telling, ClockStart.RESOLVED, action.at)


def _confirm(telling: Telling, action: Action) -> None:
    _after_resolution(telling, action)
    _merge_outcome(telling, action)
    _say(telling, "case.updated", action, change="confirmed", outcome=telling.case.outcome)
    _meet(telling, action, Verb.CONFIRM)


def _close(telling: Telling, action: Action) -> None:
    case = telling.case
    _after_resolution(telling, action)
    _merge_outcome(telling, action)
    missing = [name for name in OUTCOME_FIELDS if case.outcome.get(name) in (None, "")]
    if missing:
        raise Refusal("outcome_incomplete", f"say data.outcome with {', '.join(missing)}")
    _meet(telling, action, Verb.CLOSE)
    _end(telling, action, Ending.CLOSED)
    _say(telling, "case.closed", action, outcome=case.outcome)


def _invalidate(telling: Telling, action: Action) -> None:
    _end(telling, action, Ending.INVALIDATED)
    _say(telling, "case.invalidated", action)


def _after_resolution(telling: Telling, action: Action) -> None:
    case = telling.case
    since = case.resolved_at or case.closed_at
    if action.at < since:
        raise Refusal("before_the_resolution", f"{case.id} was {case.ending or case.status} at {rfc3339(since)}")


def _reopen(telling: Telling, action: Action) -> None:
    case = telling.case
    _after_resolution(telling, action)
    if case.is_open is False and action.at >= case.closed_at + case.reopen_for_s:
        raise Refusal("reopened_too_late", "send it again: it opens a linked case")
    case.reopened += 1
    since = case.resolved_at or case.closed_at
    case.resolved_at = Instant(0)
    case.ending, case.closed_at = "", Instant(0)
    _say(telling, "case.reopened", action, reopened=case.reopened)
    newest = {c.name: c.occurrence for c in sorted(case.clocks, key=lambda c: c.occurrence)}
    for index, clock in enumerate(case.clocks):
        restorable = clock.state in (State.MET, State.ENDED) and clock.stopped_at >= since
        if clock.occurrence != newest[clock.name]:
            continue
        if clock.spec.starts is ClockStart.RESOLVED:
            if clock.is_live:
                _stop(telling, index, action, "reopened")
        elif restorable and not clock.spec.takeover:
            # What recurs or restarts begins afresh; what ran once goes on with the time it had left.
            afresh = clock.spec.recurring or clock.spec.restarts
            again = clocks.arm(clock.spec, action.at, clock.occurrence + 1)
            telling.arm(again if afresh else clocks.restored(clock, action.at), action.at, instead_of=index)


def _correct(telling: Telling, action: Action) -> None:
    case = telling.case
    field, to = str(action.data.get("field", "")), action.data.get("to")
    if not field or to is None:
        raise Refusal("correction_incomplete", "say data.field and data.to")
    was: Any = action.data.get("from")
    if field == "priority":
        try:
            case.priority, was = Priority[str(to).upper()], case.priority.name.lower()
        except KeyError:
            raise Refusal("unknown_priority", f"{to!r} is none of low, normal, high, urgent") from None
    _say(
        telling,
        "case.updated",
        action,
        change="corrected",
        correction={"field": field, "from": was, "to": to},
    )


def _escalate(telling: Telling, action: Action) -> None:
    case = telling.case
    role = str(action.data.get("to", "")) or _next_role(telling)
    if not role:
        raise Refusal("no_ladder", "no clock of this case has a ladder; say data.to = the role")
    if role not in telling.moment.rules.roster.roles:
        raise Refusal("unknown_role", f"{role} is not a role of the roster")
    escalate(telling, role, action.at, (action.id,), f"{action.by}: {action.reason}")
    _say(telling, "case.updated", action, change="escalated", level=case.level)


def _next_role(telling: Telling) -> str:
    rungs = [rung for c in telling.case.clocks if c.is_live for rung in c.spec.ladder]
    rungs.sort(key=lambda rung: rung.after_s)
    return rungs[min(telling.case.level, len(rungs) - 1)].role if rungs else ""


_DO: dict[Verb, Callable[[Telling, Action], None]] = {
    Verb.ACKNOWLEDGE: _acknowledge,
    Verb.ASSIGN: _assign,
    Verb.NOTE: _note,
    Verb.START: _start,
    Verb.WAIT: _wait,
    Verb.CONTACT: _contact,
    Verb.MILESTONE: _milestone,
    Verb.PAUSE: _pause,
    Verb.RESUME: _resume,
    Verb.EXTEND: _extend,
    Verb.RESOLVE: _resolve,
    Verb.CONFIRM: _confirm,
    Verb.CLOSE: _close,
    Verb.INVALIDATE: _invalidate,
    Verb.REOPEN: _reopen,
    Verb.CORRECT: _correct,
    Verb.ESCALATE: _escalate,
}


# -- what the verbs share ----------------------------------------------------------------------------------------


def _say(telling: Telling, type_: str, action: Action, /, **data: Any) -> None:
    data["by"] = action.by
    if action.principal:
        data["principal"] = action.principal
    if action.reason:
        data.setdefault("reason", action.reason)
    if action.received_at != action.at:
        data["recorded_at"] = rfc3339(action.received_at)
    telling.say(type_, action.at, (action.id,), action=action.id, **data)


def _say_clock(telling: Telling, type_: str, clock: Clock, action: Action, /, **data: Any) -> None:
    telling.say_clock(type_, clock, action.at, action.id, by=action.by, reason=action.reason, **data)


def _named(telling: Telling, action: Action, which: Callable[[Clock], bool]) -> list[int]:
    """Indexes of the clocks that `data.clock` names (all that may, when it names none) and *which* allows."""
    name = action.data.get("clock")
    held = telling.case.clocks
    found = [
        index
        for index, clock in enumerate(held)
        if which(clock)
        and (clock.name == name or (name is None and clock.spec.pausable))
        and clock is _newest(held, clock.name)  # an earlier period of a recurring clock is past
    ]
    if not found:
        names = ", ".join(sorted({c.name for c in telling.case.clocks})) or "none"
        raise Refusal("no_such_clock", f"no clock {name or 'that may'} can {action.do}; the case has: {names}")
    return found


def _meet(telling: Telling, action: Action, by: str) -> None:
    """Every live clock that *by* meets is met as of `action.at`; a breach that this disproves is corrected."""
    case = telling.case
    for index, clock in enumerate(case.clocks):
        if clock.is_live and by in clock.spec.meets and not clock.spec.restarts:
            if not (clock.spec.recurring and _newest(case.clocks, clock.name) is clock):
                _meet_one(telling, index, action)
                continue
            if action.at < clock.started_at:  # it kept the period before, and was recorded in this one
                _stop(telling, index, action, f"{action.do} took place before this period began")
            else:
                _meet_one(telling, index, action)
            telling.arm(clocks.arm(clock.spec, action.at, clock.occurrence + 1), action.at, instead_of=index)


def _meet_one(telling: Telling, index: int, action: Action) -> None:
    clock = telling.case.clocks[index]
    _correct_breach(telling, clock, action)
    kept = clocks.met(clock, action.at)
    telling.case.clocks[index] = kept
    data: dict[str, Any] = {"by": action.by}
    if kept.breached:
        data["late_by_s"] = kept.stopped_at - kept.due_at
    telling.say_clock("clock.met", kept, kept.stopped_at, **data)


def _correct_breach(telling: Telling, clock: Clock, action: Action) -> None:
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


def _activity(telling: Telling, action: Action) -> None:
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
        case.clocks[index] = clocks.arm(clock.spec, action.at, clock.occurrence + 1)


def _stop(telling: Telling, index: int, action: Action, why: str) -> None:
    _correct_breach(telling, telling.case.clocks[index], action)
    clock = clocks.ended(telling.case.clocks[index], action.at)
    telling.case.clocks[index] = clock
    telling.say_clock("clock.ended", clock, clock.stopped_at, reason=why, by=action.by)


def _end_clocks(telling: Telling, action: Action, ending: Ending) -> None:
    for index, clock in enumerate(telling.case.clocks):
        if clock.is_live and clock.spec.starts.value in ENDINGS[ending]:
            _stop(telling, index, action, ending.value)


def _end(telling: Telling, action: Action, ending: Ending) -> None:
    _end_clocks(telling, action, ending)
    case = telling.case
    case.ending = ending.value
    case.closed_at = action.at
    case.status = Status.CLOSED


def _arm_started(telling: Telling, start: ClockStart, at: Instant) -> None:
    """Clocks that begin at a later moment of the case's life wait, with it, in `later`."""
    case = telling.case
    for spec in [s for s in case.later if s.starts is start]:
        # A new owner acknowledges anew; the promise that the first acknowledgement began is the same one.
        if any(c.name == spec.name and (c.is_live or start is ClockStart.ACKNOWLEDGED) for c in case.clocks):
            continue
        occurrence = max((c.occurrence for c in case.clocks if c.name == spec.name), default=0) + 1
        telling.arm(clocks.arm(spec, at, occurrence), at)


def _merge_outcome(telling: Telling, action: Action) -> None:
    given = action.data.get("outcome", {})
    if not isinstance(given, dict):
        raise Refusal("outcome_unreadable", "data.outcome is a map of " + ", ".join(OUTCOME_FIELDS))
    telling.case.outcome = {**telling.case.outcome, **given}


def _newest(held: list[Clock], name: str) -> Clock:
    return max((c for c in held if c.name == name), key=lambda c: c.occurrence)


def reason_of(action: Action, refusal: Refusal) -> dict[str, Any]:
    """What `action.refused` says."""
    return {
        "action": action.id,
        "do": action.do,
        "by": action.by,
        "at": rfc3339(action.at),
        "case_id": action.case,
        "reason": refusal.reason,
        "detail": refusal.detail,
    }
