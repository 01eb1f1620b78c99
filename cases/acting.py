"""What people do to a case: each verb, checked against the lifecycle table and taken as of its own time.

A refusal is an answer with a named reason, and changes nothing. An action recorded late counts from `action.at`:
a breach that it disproves stays in the record, and `clock.corrected` carries both times and the author.
"""

from collections.abc import Callable
from typing import Any

from cases import clocks, moments
from cases.case import FiredRule
from cases.clocks import State
from cases.deeds import activity, reach, restart_takeover, say, stop
from cases.erasing import erase
from cases.lifecycle import ENDINGS, NEEDS_REASON, TABLE, Ending, Status
from cases.opening import starting_later
from cases.refusal import Refusal
from cases.reporting import milestone, note
from cases.telling import Telling
from cases.timing import extend, pause, resume
from cases.waking import escalate
from feedback.instants import Instant, rfc3339
from feedback.records import Action, Verb
from rules.model import OUTCOME_FIELDS, ClockStart, Priority
from rules.ruleset import Rule


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
    if action.do is not Verb.ERASE:  # no work on the case
        activity(telling, action)


# -- the verbs -------------------------------------------------------------------------------------------------


def _acknowledge(telling: Telling, action: Action) -> None:
    case = telling.case
    if action.by != case.owner:
        raise Refusal("not_the_owner", f"the owner is {case.owner or 'nobody yet'}; assign it to {action.by} first")
    _acknowledged(telling, action)


def _acknowledged(telling: Telling, action: Action) -> None:
    say(telling, "case.acknowledged", action)
    reach(telling, action, Verb.ACKNOWLEDGE)
    moments.begin(telling, ClockStart.ACKNOWLEDGED, action.at)


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
                stop(telling, index, action, f"{action.by} took it up")


def _assign(telling: Telling, action: Action) -> None:
    case = telling.case
    to = str(action.data.get("to", ""))
    person = telling.moment.rules.roster.person(to)
    if person is None:
        raise Refusal("unknown_person", f"{to or 'nobody'} is not on the roster; say data.to = a person's id")
    if to == case.owner:
        raise Refusal("already_the_owner", f"{to} has it already")
    if to in case.barred:
        raise Refusal("not_independent", f"{to} owned it at an earlier stage; this one needs somebody else")
    before, case.owner = case.owner, to
    telling.owned()
    case.tried = [person_id for person_id in case.tried if person_id != to]
    say(telling, "case.assigned", action, role=case.role, before=before)
    telling.tell_owner(action.at, (action.id,), f"assigned by {action.by}")
    target = TABLE[case.status, Verb.ASSIGN]
    if target is Status.NEW:
        restart_takeover(telling, action)


def _start(telling: Telling, action: Action) -> None:
    say(telling, "case.updated", action, change="started")


def _wait(telling: Telling, action: Action) -> None:
    say(telling, "case.updated", action, change="waiting")


def _contact(telling: Telling, action: Action) -> None:
    say(telling, "customer.contacted", action, channel=str(action.data.get("channel", "")), data=action.data)
    reach(telling, action, Verb.CONTACT)


def _resolve(telling: Telling, action: Action) -> None:
    _merge_outcome(telling, action)
    telling.case.resolved_at = action.at
    say(telling, "case.resolved", action, outcome=telling.case.outcome)
    reach(telling, action, Verb.RESOLVE)
    _end_clocks(telling, action, Ending.RESOLVED)
    moments.begin(telling, ClockStart.RESOLVED, action.at, again=True)


def _confirm(telling: Telling, action: Action) -> None:
    _after_resolution(telling, action)
    _merge_outcome(telling, action)
    say(telling, "case.updated", action, change="confirmed", outcome=telling.case.outcome)
    reach(telling, action, Verb.CONFIRM)


def _close(telling: Telling, action: Action) -> None:
    case = telling.case
    _after_resolution(telling, action)
    _merge_outcome(telling, action)
    missing = [name for name in case.closing or OUTCOME_FIELDS if case.outcome.get(name) in (None, "")]
    if missing:
        raise Refusal("outcome_incomplete", f"say data.outcome with {', '.join(missing)}")
    reach(telling, action, Verb.CLOSE)
    if owed := sorted({c.name for c in case.clocks if c.is_live and c.spec.law}):
        raise Refusal("law_unmet", f"the law still asks for: {', '.join(owed)}; report the milestone that meets it")
    _end(telling, action, Ending.CLOSED)
    say(telling, "case.closed", action, outcome=case.outcome)


def _invalidate(telling: Telling, action: Action) -> None:
    _end(telling, action, Ending.INVALIDATED)
    say(telling, "case.invalidated", action)


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
    say(telling, "case.reopened", action, reopened=case.reopened)
    newest = {(c.name, c.issue): c.occurrence for c in sorted(case.clocks, key=lambda c: c.occurrence)}
    for index, clock in enumerate(case.clocks):
        restorable = clock.state in (State.MET, State.ENDED) and clock.stopped_at >= since
        if clock.occurrence != newest[clock.name, clock.issue]:
            continue
        if clock.spec.law and clock.state is State.MET:
            continue  # what the law asked for was done, and is done
        if ClockStart.RESOLVED in clock.spec.moments:
            if clock.is_live:
                stop(telling, index, action, "reopened")
        elif restorable and not clock.spec.takeover:
            # What recurs or restarts begins afresh; what ran once goes on with the time it had left.
            afresh = clock.spec.recurring or clock.spec.restarts
            again = telling.make(clock.spec, action.at) if afresh else None
            calendar = telling.calendar(clock.spec)
            if again is not None:
                telling.arm(again, action.at, instead_of=index)
            else:
                restored = clocks.restored(clock, action.at, calendar)
                telling.arm(restored, action.at, instead_of=index, restored_from=clock.occurrence)


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
    say(
        telling,
        "case.updated",
        action,
        change="corrected",
        correction={"field": field, "from": was, "to": to},
    )


def _rebase(telling: Telling, action: Action) -> None:
    """The case goes over to the rules in force: their clocks, from the same starts; each change is on the record."""
    case = telling.case
    fired = {rule.id for rule in case.rules}
    rules = [rule for rule in telling.moment.rules.rules if rule.id in fired]
    if not rules:
        raise Refusal("unknown_rule", f"none of {', '.join(sorted(fired))} is in force")
    was = {rule.id: rule.version for rule in case.rules}
    case.rules = [
        FiredRule(r.id, r.version, r.title) if (r := _by_id(rules, held.id)) is not None else held
        for held in case.rules
    ]
    say(
        telling,
        "case.updated",
        action,
        change="rebased",
        rules=[{"id": r.id, "from": was[r.id], "to": r.version} for r in rules],
    )
    specs = [rule.case for rule in rules]
    wanted = {(s.name, s.begins, s.hazard): s for spec in specs for s in spec.clocks}
    for index, clock in enumerate(list(case.clocks)):
        spec = wanted.get((clock.spec.name, clock.spec.begins, clock.spec.hazard))
        if not clock.is_live or spec is None or clocks.same_promise(spec, clock.spec):
            continue
        stop(telling, index, action, "re-based on the rules in force")
        telling.start(spec, clock.started_at, issue=clock.issue, said_at=action.at)
    case.later = starting_later(specs)
    case.milestones = list({m.name: m for spec in specs for m in spec.milestones}.values())
    case.closing = list(dict.fromkeys(name for spec in specs for name in spec.closing))


def _by_id(rules: list[Rule], id_: str) -> Rule | None:
    return next((rule for rule in rules if rule.id == id_), None)


def _escalate(telling: Telling, action: Action) -> None:
    case = telling.case
    role = str(action.data.get("to", "")) or _next_role(telling)
    if not role:
        raise Refusal("no_ladder", "no clock of this case has a ladder; say data.to = the role")
    if role not in telling.moment.rules.roster.roles:
        raise Refusal("unknown_role", f"{role} is not a role of the roster")
    escalate(telling, role, action.at, (action.id,), action.reason, by=action.by)
    say(telling, "case.updated", action, change="escalated", level=case.level)


def _next_role(telling: Telling) -> str:
    rungs = [rung for c in telling.case.clocks if c.is_live for rung in c.spec.ladder]
    rungs.sort(key=lambda rung: rung.after_s)
    return rungs[min(telling.case.level, len(rungs) - 1)].role if rungs else ""


_DO: dict[Verb, Callable[[Telling, Action], None]] = {
    Verb.ACKNOWLEDGE: _acknowledge,
    Verb.ASSIGN: _assign,
    Verb.NOTE: note,
    Verb.START: _start,
    Verb.WAIT: _wait,
    Verb.CONTACT: _contact,
    Verb.MILESTONE: milestone,
    Verb.PAUSE: pause,
    Verb.RESUME: resume,
    Verb.EXTEND: extend,
    Verb.RESOLVE: _resolve,
    Verb.CONFIRM: _confirm,
    Verb.CLOSE: _close,
    Verb.INVALIDATE: _invalidate,
    Verb.REOPEN: _reopen,
    Verb.CORRECT: _correct,
    Verb.ESCALATE: _escalate,
    Verb.REBASE: _rebase,
    Verb.ERASE: erase,
}


# -- what the verbs share ----------------------------------------------------------------------------------------


def _end_clocks(telling: Telling, action: Action, ending: Ending) -> None:
    for index, clock in enumerate(telling.case.clocks):
        if clock.spec.law and ending is not Ending.INVALIDATED:
            continue
        if clock.is_live and (clock.spec.law or clock.spec.starts.value in ENDINGS[ending]):
            stop(telling, index, action, ending.value)


def _end(telling: Telling, action: Action, ending: Ending) -> None:
    _end_clocks(telling, action, ending)
    case = telling.case
    case.ending = ending.value
    case.closed_at = action.at
    case.status = Status.CLOSED


def _merge_outcome(telling: Telling, action: Action) -> None:
    given = action.data.get("outcome", {})
    if not isinstance(given, dict):
        raise Refusal("outcome_unreadable", "data.outcome is a map of " + ", ".join(OUTCOME_FIELDS))
    telling.case.outcome = {**telling.case.outcome, **given}
