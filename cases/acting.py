"""What people do to a case: each verb, checked against the lifecycle table and taken as of its own time.

A refusal is an answer with a named reason, and changes nothing. An action recorded late counts from `action.at`:
a breach that it disproves stays in the record, and `clock.corrected` carries both times and the author.
"""

from collections.abc import Callable
from datetime import date
from typing import Any

import msgspec

from cases import clocks, counting, moments
from cases.case import FiredRule
from cases.clocks import Clock, State
from cases.lifecycle import ENDINGS, NEEDS_REASON, TABLE, Ending, Status
from cases.moments import MILESTONE
from cases.opening import starting_later
from cases.telling import Telling
from cases.waking import escalate
from feedback.instants import Instant, parse_instant, parse_span, rfc3339
from feedback.records import Action, Verb
from rules.calendar import Calendar
from rules.length import Unit, parse_length
from rules.model import OUTCOME_FIELDS, ClockStart, MilestoneSpec, Priority
from rules.ruleset import Rule

ABOUT = ("property", "household", "parties", "attachments")
"""What a note may say of the case; attachments by reference, never by content."""
ABOUT_BYTES = 4096


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
    _reach(telling, action, Verb.ACKNOWLEDGE)
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
                _stop(telling, index, action, f"{action.by} took it up")


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
        newest = moments.newest(case.clocks, name, "")
        # From when they are told, which for an assignment recorded late is later than `action.at`.
        again = telling.make(last.spec, action.received_at)
        if again is not None:
            telling.arm(again, action.received_at, instead_of=case.clocks.index(newest))


def _note(telling: Telling, action: Action) -> None:
    data: dict[str, Any] = {}
    if about := _about(telling, action):
        data["about"] = about
    _say(telling, "case.updated", action, change="noted", note=str(action.data.get("note", action.reason)), **data)


def _start(telling: Telling, action: Action) -> None:
    _say(telling, "case.updated", action, change="started")


def _wait(telling: Telling, action: Action) -> None:
    _say(telling, "case.updated", action, change="waiting")


def _contact(telling: Telling, action: Action) -> None:
    _say(telling, "customer.contacted", action, channel=str(action.data.get("channel", "")), data=action.data)
    _reach(telling, action, Verb.CONTACT)


def _milestone(telling: Telling, action: Action) -> None:
    case = telling.case
    name = str(action.data.get("name", ""))
    if not name:
        raise Refusal("milestone_missing", "say data.name = the milestone that was reached")
    issue = _issue(telling, action)
    spec = next((m for m in case.milestones if m.name == name), None)
    finding = str(action.data.get("finding", ""))
    if spec is not None:
        _in_order(telling, action, spec, issue)
        if spec.finding and finding not in spec.finding:
            raise Refusal("finding_missing", f"say data.finding = {' or '.join(spec.finding)}")
    if issue not in case.hazards and (hazard := _hazard(telling, action)):
        case.hazards = {**case.hazards, issue: hazard}
    data = {k: v for k, v in (("issue", issue), ("finding", finding)) if v}
    _say(telling, "milestone.reached", action, name=name, data=action.data, **data)
    moments.remember(telling, MILESTONE + name, action.at, issue)
    found = (f"{MILESTONE}{name}:{finding}",) if finding else ()
    _reach(telling, action, MILESTONE + name, *found, issue=issue)
    if spec is not None and spec.new_owner:
        _independent_owner(telling, action, name)


def _in_order(telling: Telling, action: Action, spec: MilestoneSpec, issue: str) -> None:
    """Refuse a milestone that came before what it can only follow."""
    if not spec.after:
        return
    before = [at for name in spec.after if (at := telling.case.reached_at(name, issue)) is not None]
    if not before:
        raise Refusal("out_of_order", f"{spec.name} comes after {' or '.join(spec.after)}, which was not reached")
    if action.at < min(before):
        raise Refusal("out_of_order", f"{' or '.join(spec.after)} was reached at {rfc3339(min(before))}")


def _issue(telling: Telling, action: Action) -> str:
    """What the action is about: `data.issue`; may be left out while the case has only one."""
    issues = telling.case.issues
    if "issue" in action.data:
        return str(action.data["issue"])
    if len(issues) > 1:
        raise Refusal("which_issue", f"say data.issue = one of {', '.join(issue or 'the case' for issue in issues)}")
    return issues[0] if issues else ""


def _hazard(telling: Telling, action: Action) -> str:
    """The hazard of a new issue: `data.hazard`, or the only one of the case."""
    known = {spec.hazard for spec in telling.case.later}
    hazard = str(action.data.get("hazard", ""))
    if hazard and hazard not in known:
        raise Refusal("unknown_hazard", f"say data.hazard = one of {', '.join(sorted(known - {''}))}")
    return hazard or (next(iter(known)) if len(known) == 1 else "")


def _independent_owner(telling: Telling, action: Action, name: str) -> None:
    """The next stage is looked at by somebody who has not owned the case."""
    case = telling.case
    case.barred = list(dict.fromkeys([*case.barred, *case.owners]))
    before = case.owner
    telling.appoint(case.role, action.at, (action.id,), f"{name}: somebody who has not owned it")
    if case.owner:
        telling.tell_owner(action.at, (action.id,), f"{name}, taken over from {before or 'nobody'}")
        if case.status is Status.ACKNOWLEDGED:
            case.status = Status.NEW
        if case.status is Status.NEW:
            _restart_takeover(telling, action)
    else:
        case.owner = before  # the alarm is out; a name that is wrong for the stage is better than none


def _about(telling: Telling, action: Action) -> dict[str, Any]:
    """Keep what a note says of property, household, parties, attachments; a vulnerable person raises the priority."""
    case = telling.case
    about = {name: action.data[name] for name in ABOUT if name in action.data}
    if not about:
        return {}
    whole = {**case.about, **about}
    if len(msgspec.json.encode(whole)) > ABOUT_BYTES:
        raise Refusal("too_much", f"property, household, parties and attachments hold {ABOUT_BYTES} bytes in all")
    case.about = whole
    household = about.get("household")
    people = household if isinstance(household, list) else [household]
    if case.priority < Priority.URGENT and any(isinstance(p, dict) and p.get("vulnerable") for p in people):
        was, case.priority = case.priority, Priority.URGENT
        telling.say(
            "case.updated",
            action.at,
            (action.id, "priority"),
            change="priority_raised",
            priority={"from": was.name.lower(), "to": "urgent"},
            reason="somebody in the household is vulnerable",
            by=action.by,
        )
    return about


def _pause(telling: Telling, action: Action) -> None:
    for index in _named(telling, action, lambda c: c.is_live and c.state is not State.PAUSED):
        clock = telling.case.clocks[index]
        if not clock.spec.pausable:
            raise Refusal("not_pausable", f"{clock.name} may not be paused; the attempt is on the record")
        if action.at >= clock.due_at:
            raise Refusal("already_late", f"{clock.name} was due at {rfc3339(clock.due_at)}")
        if action.at < clock.started_at:
            raise Refusal("before_the_clock", f"{clock.name} started at {rfc3339(clock.started_at)}")
        if action.at < clock.resumed_at:
            raise Refusal("before_the_resumption", f"{clock.name} was resumed at {rfc3339(clock.resumed_at)}")
        _correct_breach(telling, clock, action)
        telling.case.clocks[index] = clocks.paused(clock, action.at)
        _say_clock(telling, "clock.paused", telling.case.clocks[index], action)


def _resume(telling: Telling, action: Action) -> None:
    for index in _named(telling, action, lambda c: c.state is State.PAUSED):
        clock = telling.case.clocks[index]
        if action.at < clock.stopped_at:
            raise Refusal("before_the_pause", f"{clock.name} was paused at {rfc3339(clock.stopped_at)}")
        telling.case.clocks[index] = clocks.resumed(clock, action.at, telling.calendar(clock.spec))
        _say_clock(telling, "clock.resumed", telling.case.clocks[index], action)


def _extend(telling: Telling, action: Action) -> None:
    if not action.data.get("clock"):
        raise Refusal("clock_missing", "say data.clock = which clock")
    for index in _named(telling, action, lambda c: c.is_live):
        clock = telling.case.clocks[index]
        if clock.spec.extend_by and not _holds(telling, action.by, clock.spec.extend_by):
            raise Refusal("not_yours_to_extend", f"{clock.name} is put off by {' or '.join(clock.spec.extend_by)}")
        calendar = telling.calendar(clock.spec)
        due, limit = _put_off(clock, action, calendar), clocks.furthest(clock, calendar)
        if due > limit:
            most = "not be extended" if limit == clock.due_at else f"be extended to {rfc3339(limit)} at most"
            raise Refusal("not_extendable", f"{clock.name} may {most}; that would be {rfc3339(due)}")
        if due <= clock.due_at:
            raise Refusal("not_later", f"{clock.name} is due at {rfc3339(clock.due_at)} already")
        if action.at >= clock.due_at and clock.state is not State.PAUSED:
            raise Refusal("already_late", f"{clock.name} was due at {rfc3339(clock.due_at)}")
        _correct_breach(telling, clock, action)
        telling.case.clocks[index] = clocks.extended(clock, due, action.received_at, calendar)
        _say_clock(telling, "clock.extended", telling.case.clocks[index], action, was_due_at=rfc3339(clock.due_at))
        # What limits the extension counts from the last moment of the original period.
        first = Instant((clock.first_due_at or clock.due_at) - 1)
        moments.begin(telling, f"extended:{clock.name}", first, issue=clock.issue)


def _holds(telling: Telling, person: str, roles: tuple[str, ...]) -> bool:
    """Whether *person* is named by one of *roles*, for any site or segment."""
    known = telling.moment.rules.roster.roles
    held = [known[role] for role in roles if role in known]
    lists = [ids for role in held for ids in (role.default, *role.by_site.values(), *role.by_segment.values())]
    return any(person in ids for ids in lists)


def _put_off(clock: Clock, action: Action, calendar: Calendar | None) -> Instant:
    """The deadline that an extension asks for: `data.by` a length, or `data.to` a time or a last day."""
    by, to = str(action.data.get("by", "")), str(action.data.get("to", ""))
    try:
        if to and calendar is not None and len(to) == len("2026-12-24"):
            return counting.end_of_day(date.fromisoformat(to), calendar)
        if to:
            return parse_instant(to)
        try:
            return Instant(clock.due_at + parse_span(by))
        except ValueError:
            length = parse_length(by)
            if length.unit is Unit.SECONDS:
                return Instant(clock.due_at + length.n)
            if clock.spec.length is None:
                raise
            return counting.furthest(clock.spec.length, clock.due_at, length, calendar)
    except ValueError as error:
        raise Refusal("bad_span", f"say data.by = how long, or data.to = until when: {error}") from None


def _resolve(telling: Telling, action: Action) -> None:
    _merge_outcome(telling, action)
    telling.case.resolved_at = action.at
    _say(telling, "case.resolved", action, outcome=telling.case.outcome)
    _reach(telling, action, Verb.RESOLVE)
    _end_clocks(telling, action, Ending.RESOLVED)
    moments.begin(telling, ClockStart.RESOLVED, action.at, again=True)


def _confirm(telling: Telling, action: Action) -> None:
    _after_resolution(telling, action)
    _merge_outcome(telling, action)
    _say(telling, "case.updated", action, change="confirmed", outcome=telling.case.outcome)
    _reach(telling, action, Verb.CONFIRM)


def _close(telling: Telling, action: Action) -> None:
    case = telling.case
    _after_resolution(telling, action)
    _merge_outcome(telling, action)
    missing = [name for name in case.closing or OUTCOME_FIELDS if case.outcome.get(name) in (None, "")]
    if missing:
        raise Refusal("outcome_incomplete", f"say data.outcome with {', '.join(missing)}")
    _reach(telling, action, Verb.CLOSE)
    if owed := sorted({c.name for c in case.clocks if c.is_live and c.spec.law}):
        raise Refusal("law_unmet", f"the law still asks for: {', '.join(owed)}; report the milestone that meets it")
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
    newest = {(c.name, c.issue): c.occurrence for c in sorted(case.clocks, key=lambda c: c.occurrence)}
    for index, clock in enumerate(case.clocks):
        restorable = clock.state in (State.MET, State.ENDED) and clock.stopped_at >= since
        if clock.occurrence != newest[clock.name, clock.issue]:
            continue
        if clock.spec.law and clock.state is State.MET:
            continue  # what the law asked for was done, and is done
        if ClockStart.RESOLVED in clock.spec.moments:
            if clock.is_live:
                _stop(telling, index, action, "reopened")
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
    _say(
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
    _say(
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
        _stop(telling, index, action, "re-based on the rules in force")
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
    Verb.REBASE: _rebase,
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
    issue = action.data.get("issue")
    found = [
        index
        for index, clock in enumerate(held)
        if which(clock)
        and (clock.name == name or (name is None and clock.spec.pausable))
        and (issue is None or clock.issue == issue)
        and clock is moments.newest(held, clock.name, clock.issue)  # an earlier period of a recurring clock is past
    ]
    if not found:
        names = ", ".join(sorted({c.name for c in telling.case.clocks})) or "none"
        raise Refusal("no_such_clock", f"no clock {name or 'that may'} can {action.do}; the case has: {names}")
    return found


def _reach(telling: Telling, action: Action, *reached: str, issue: str = "") -> None:
    """What moments that came as one do: they end, then meet, then start clocks, of *issue* where it is the law's."""
    beside = moments.live(telling, issue)
    for moment in reached:
        for clock in telling.case.clocks:
            if clock.is_live and clock.issue == issue and any(what == moment for what, _ in clock.spec.ended_by):
                _correct_breach(telling, clock, action)
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
                _stop(telling, index, action, f"{action.do} took place before this period began")
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
    _correct_breach(telling, clock, action)
    kept = clocks.met(clock, action.at, telling.calendar(clock.spec))
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
        again = telling.make(clock.spec, action.at)
        if again is not None:
            case.clocks[index] = again


def _stop(telling: Telling, index: int, action: Action, why: str) -> None:
    _correct_breach(telling, telling.case.clocks[index], action)
    telling.stop(index, action.at, why, by=action.by)


def _end_clocks(telling: Telling, action: Action, ending: Ending) -> None:
    for index, clock in enumerate(telling.case.clocks):
        if clock.spec.law and ending is not Ending.INVALIDATED:
            continue
        if clock.is_live and (clock.spec.law or clock.spec.starts.value in ENDINGS[ending]):
            _stop(telling, index, action, ending.value)


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
        # What was attempted, and why: evidence, whatever the answer was.
        "said": action.reason,
        "data": action.data,
    }
