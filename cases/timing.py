"""Pauses, resumptions and extensions: what people may do to a clock, within what its rule or its law allows."""

from collections.abc import Callable
from datetime import date

from cases import clocks, counting, moments
from cases.clocks import Clock, State
from cases.deeds import correct_breach, say_clock
from cases.refusal import Refusal
from cases.telling import Telling
from feedback.instants import Instant, parse_instant, parse_span, rfc3339
from feedback.records import Action
from rules.calendar import Calendar
from rules.length import Unit, parse_length


def pause(telling: Telling, action: Action) -> None:
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
        correct_breach(telling, clock, action)
        telling.case.clocks[index] = clocks.paused(clock, action.at)
        say_clock(telling, "clock.paused", telling.case.clocks[index], action)


def resume(telling: Telling, action: Action) -> None:
    for index in _named(telling, action, lambda c: c.state is State.PAUSED):
        clock = telling.case.clocks[index]
        if action.at < clock.stopped_at:
            raise Refusal("before_the_pause", f"{clock.name} was paused at {rfc3339(clock.stopped_at)}")
        telling.case.clocks[index] = clocks.resumed(clock, action.at, telling.calendar(clock.spec))
        say_clock(telling, "clock.resumed", telling.case.clocks[index], action)


def extend(telling: Telling, action: Action) -> None:
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
        correct_breach(telling, clock, action)
        telling.case.clocks[index] = clocks.extended(clock, due, action.received_at, calendar)
        say_clock(telling, "clock.extended", telling.case.clocks[index], action, was_due_at=rfc3339(clock.due_at))
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
