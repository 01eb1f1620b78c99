"""A response that fired: a case opens, or the one that is open for the same identity is joined or updated.

Identity is (programme, customer, case type, subject). Several rules on one identity make one case with the
highest priority, all the rule ids, and of each clock name the one that is due first.
"""

from typing import Any

from cases import clocks, moments
from cases.case import Case, fired_rules, routing_of
from cases.clocks import Clock
from cases.lifecycle import Status
from cases.telling import Moment, Telling
from feedback.ids import CaseId
from feedback.instants import Instant, rfc3339
from feedback.records import Response
from rules.model import CaseSpec, ClockSpec, ClockStart, MilestoneSpec, Trigger
from scoring.reading import Reading


def open_case(
    id_: CaseId,
    response: Response,
    reading: Reading,
    triggers: list[Trigger],
    *,
    earlier: list[str],
    moment: Moment,
    leaf: int = 0,
) -> Telling:
    """The four things that one firing does, each its own event: open, assign, acknowledge, notify. Clocks run."""
    at = response.received_at
    triggers = sorted(triggers, key=lambda t: -t.case.priority)  # stable: the first rule leads among equals
    lead = triggers[0].case
    case = Case(
        id=id_,
        programme=response.programme,
        customer=response.customer,
        type=lead.type,
        subject=triggers[0].subject,
        priority=lead.priority,
        role=lead.role,
        fallback_role=lead.fallback_role,
        opened_at=at,
        rules=fired_rules(triggers),
        routing=routing_of(response.attributes),
        clocks=[],
        notice=lead.notice,
        next_best_action=lead.next_best_action,
        channel=response.channel,
        touchpoint=response.touchpoint,
        statutory=any(t.case.statutory for t in triggers),
        reopen_for_s=max(t.case.reopen_for_s for t in triggers),
        status_at=at,
        earlier=earlier,
        later=starting_later([t.case for t in triggers]),
        milestones=_milestones([t.case for t in triggers]),
        closing=_closing([t.case for t in triggers]),
        leaf=leaf,
    )
    case.theme = next((found.path for found in reading.themes), "")
    telling = Telling(case, moment)
    begin(
        telling,
        [t.case for t in triggers],
        at,
        _why(triggers),
        rules=_rules(triggers),
        response=shown(response),
        **how_read(reading),
    )
    for trigger in triggers:
        new_issue(telling, trigger.case, trigger.issue, at)
    return telling


def new_issue(telling: Telling, spec: CaseSpec, issue: str, at: Instant) -> bool:
    """An issue of concern that the case did not know runs its own clocks of the law; whether it was one."""
    case = telling.case
    if spec.hazard and issue not in case.hazards:
        case.hazards = {**case.hazards, issue: spec.hazard}
    fresh = [m for m in spec.reaches if case.reached_at(m.removeprefix(moments.MILESTONE), issue) is None]
    for moment in fresh:
        moments.remember(telling, moment, at, issue)
        moments.end(telling, moment, at, issue=issue)
        moments.begin(telling, moment, at, issue=issue)
    return bool(fresh)


def _milestones(specs: list[CaseSpec]) -> list[MilestoneSpec]:
    return list({m.name: m for spec in specs for m in spec.milestones}.values())


def _closing(specs: list[CaseSpec]) -> list[str]:
    return list(dict.fromkeys(name for spec in specs for name in spec.closing))


def begin(telling: Telling, specs: list[CaseSpec], at: Instant, why: str, /, **data: Any) -> None:
    """Open the telling's case: the opening, the owner, the clocks, the customer's acknowledgement, the notice."""
    case = telling.case
    telling.say(
        "case.opened",
        at,
        (),
        type=case.type,
        subject=case.subject,
        priority=case.priority.name.lower(),
        reason=why,
        next_best_action=case.next_best_action,
        earlier=case.earlier,
        **data,
    )
    telling.appoint(case.role, at, ("opened",), "opened")
    for clock in first_due(telling, specs, at):
        telling.arm(clock, at)
    _acknowledge_customer(telling, specs[0], why, at)
    telling.tell_owner(at, ("opened",), why)


def first_due(telling: Telling, specs: list[CaseSpec], at: Instant) -> list[Clock]:
    """The clocks that opening arms, of each name the one due first, in the order the rules name them."""
    armed: dict[str, Clock] = {}
    for spec in specs:
        for clock_spec in spec.clocks:
            if ClockStart.OPENED in clock_spec.moments:
                clock = telling.make(clock_spec, at)
                if clock is None:
                    continue
                armed[clock.name] = clocks.earliest(armed.get(clock.name, clock), clock)
    return list(armed.values())


def starting_later(specs: list[CaseSpec]) -> list[ClockSpec]:
    """The clocks that wait for a later moment of the case, of each name the shortest."""
    return _shortest([c for spec in specs for c in spec.clocks if ClockStart.OPENED not in c.moments])


def _shortest(found: list[ClockSpec]) -> list[ClockSpec]:
    kept: dict[tuple[str, tuple[str, ...], str], ClockSpec] = {}
    for spec in found:
        key = (spec.name, spec.begins, spec.hazard)  # the law's clocks of one name may differ by what was found
        kept[key] = moments.shorter(kept.get(key, spec), spec)
    return list(kept.values())


def _acknowledge_customer(telling: Telling, spec: CaseSpec, why: str, at: Instant) -> None:
    case = telling.case
    if not spec.acknowledgement or not case.customer or telling.moment.history:
        return  # an anonymous customer cannot be written to, and one of long ago need not be
    subject, body = telling.words(spec.acknowledgement, why, at)
    telling.say(
        "customer.acknowledged",
        at,
        (),
        to=case.customer,
        channel=case.channel,
        template=spec.acknowledgement,
        subject=subject,
        body=body,
    )


def join(telling: Telling, response: Response, reading: Reading, triggers: list[Trigger], digest: str) -> None:
    """A further response on an open case's identity: no second case; new rules and earlier deadlines count."""
    at = response.received_at
    data: dict[str, Any] = {"change": "joined", "rules": _rules(triggers), "reason": _why(triggers)}
    _merge(telling, triggers, at, data)
    if issues := [t.issue for t in triggers if new_issue(telling, t.case, t.issue, at)]:
        data["issues"] = issues
    telling.say(
        "case.updated",
        at,
        _which(response, digest),
        **data,
        response=shown(response),
        **how_read(reading),
    )


def update(telling: Telling, response: Response, reading: Reading, triggers: list[Trigger], digest: str) -> None:
    """The same response again with other words or scores. A case is never closed by it, and never opened twice."""
    case, at = telling.case, response.received_at
    data: dict[str, Any] = {"change": "response_updated", "rules": _rules(triggers)}
    data["reason"] = _why(triggers) if triggers else "no rule fires on it any more"
    if case.is_open:
        _merge(telling, triggers, at, data)
    telling.say(
        "case.updated",
        at,
        _which(response, digest),
        **data,
        response=shown(response),
        **how_read(reading),
    )


def _merge(telling: Telling, triggers: list[Trigger], at: Instant, data: dict[str, Any]) -> None:
    case = telling.case
    known = {rule.id for rule in case.rules}
    fresh = [t for t in triggers if t.rule not in known]
    if not fresh:
        return
    case.rules += fired_rules(fresh)
    top = max(t.case.priority for t in fresh)
    if top > case.priority:
        data["priority"] = {"from": case.priority.name.lower(), "to": top.name.lower()}
        case.priority = top
    case.statutory = case.statutory or any(t.case.statutory for t in fresh)
    case.reopen_for_s = max(case.reopen_for_s, *(t.case.reopen_for_s for t in fresh))
    specs = [t.case for t in fresh]
    brought = starting_later(specs)
    case.later = _shortest([*case.later, *brought])
    known_milestones = {m.name: m for m in case.milestones}
    case.milestones = list({**{m.name: m for m in _milestones(specs)}, **known_milestones}.values())
    case.closing = list(dict.fromkeys([*case.closing, *_closing(specs)]))
    if case.status is Status.RESOLVED:
        return  # what a resolved case still owes is to be confirmed and closed
    for clock in first_due(telling, specs, at):
        _shorten(telling, clock, at)
    if case.status is not Status.NEW:  # acknowledged before this rule joined: its promise begins now
        for spec in brought:
            if ClockStart.ACKNOWLEDGED in spec.moments:
                promised = telling.make(spec, at)
                if promised is not None:
                    _shorten(telling, promised, at)


def _shorten(telling: Telling, clock: Clock, at: Instant) -> None:
    """Arm *clock* unless one of its name is already due no later; a longer one of its name gives way."""
    case = telling.case
    same = [c for c in case.clocks if c.name == clock.name]
    live = [c for c in same if c.is_live]
    if any(c.due_at <= clock.due_at for c in live) or (same and not live):
        return  # a promise that was kept stays kept
    for old in live:
        telling.stop(case.clocks.index(old), at, "a rule with an earlier deadline joined")
    telling.arm(clock, at)


def shown(response: Response) -> dict[str, Any]:
    """A response as events carry it: everything the customer gave, times as text."""
    whole: dict[str, Any] = {
        "source": response.source,
        "id": response.id,
        "occurred_at": rfc3339(response.occurred_at),
        "received_at": rfc3339(response.received_at),
    }
    for name in ("customer", "channel", "touchpoint", "language", "text", "scores", "attributes"):
        value = getattr(response, name)
        if value:
            whole[name] = value
    return whole


def how_read(reading: Reading) -> dict[str, Any]:
    """`reading`, and `risk_words` apart from it: they are the customer's own, and are sealed."""
    words = {"risk_words": reading.risk_words} if reading.risk_words else {}
    return {"reading": read(reading), **words}


def read(reading: Reading) -> dict[str, Any]:
    """A reading as events carry it."""
    found: dict[str, Any] = {"language": reading.language}
    if reading.sentiment is None:
        found["unscored"] = reading.unscored
    else:
        found["sentiment"] = {"compound": reading.sentiment.compound, "label": reading.sentiment.label}
    if reading.themes:
        found["themes"] = reading.themes
    if reading.intents:
        found["intents"] = reading.intents
    if reading.bands:
        found["bands"] = reading.bands
    if reading.risk is not None:
        found["risk"] = reading.risk
    if reading.suggested:
        found["suggested"] = reading.suggested
    if reading.scored_by:
        found["scored_by"] = reading.scored_by
    return found


def _rules(triggers: list[Trigger]) -> list[dict[str, Any]]:
    return [{"id": t.rule, "version": t.version, "title": t.title, "why": t.why} for t in triggers]


def _why(triggers: list[Trigger]) -> str:
    return "; ".join(f"{t.rule}: {', '.join(t.why)}" for t in triggers)


def _which(response: Response, reading_of: str) -> tuple[str, ...]:
    """Which reading of which response: *reading_of* tells it from earlier ones, and from a later return to one."""
    return (response.source, response.id, reading_of)
