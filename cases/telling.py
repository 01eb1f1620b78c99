"""One step of one case: the case being changed, and what there is to say about it.

A `Telling` collects events while `opening.py`, `acting.py` and `waking.py` change the case; `finish` numbers
them and gives each the case as it stands afterwards. Appointing people and sending notices are here because
all three need them.
"""

from typing import Any

import msgspec

from cases import case as cases
from cases import clocks, counting, sealing, trail
from cases.case import Case
from cases.clocks import Clock, State
from cases.events import Event, wire
from cases.noise import Heed, Notice
from cases.sealing import Keys
from feedback.ids import EventId, event_id
from feedback.instants import Instant, rfc3339
from rules.calendar import Calendar, CalendarEnded
from rules.length import Length, Unit
from rules.model import ClockSpec
from rules.roster import Person
from rules.ruleset import RuleSet
from rules.templates import render

_FOLLOWED = frozenset(
    {"notice.asked", "case.opened", "case.reopened", "case.resolved", "case.closed", "case.invalidated"}
)
_BEGINNING = frozenset({"case.opened", "case.reopened"})
_ALERTS = frozenset({"alert_ended", "raised_again"})
"""What noise control follows: notices, and whether what a case is about still goes on."""
LATE_AFTER_S = 5
"""An event said this long after it became true is marked `late`."""


class Moment(msgspec.Struct, frozen=True, kw_only=True):
    """What a step knows of the world."""

    rules: RuleSet
    """The set in force: its roster and templates. A case's own clocks come with the case."""
    seen_at: Instant
    """Engine time at which the item was taken up: becomes `detected_at`."""
    received_at: Instant = Instant(0)
    """When the causing record was received; 0 for ticks."""
    arrived: float = 0.0
    """The same with its fraction, Unix seconds."""
    history: bool = False
    """The causing response was given long ago (`tocsin backfill`): it is said, and nobody is told."""
    outages: tuple[tuple[Instant, Instant], ...] = ()
    """[from, until) in which nobody looked at the clocks."""
    keys: Keys | None = None
    """The vault; without one nothing is sealed."""

    def looked_again(self, when: Instant) -> Instant | None:
        """When somebody looked again after an outage in which *when* lies; None when it lies in none."""
        return next((until for begun, until in self.outages if begun <= when < until), None)


class Telling:
    """Says what happens to *case*. Raise anywhere, and both the case and the words are thrown away."""

    def __init__(self, case: Case, moment: Moment) -> None:
        self.case = case
        self.moment = moment
        self._said: list[tuple[str, Instant, tuple[str, ...], dict[str, Any]]] = []
        self._sealed: list[Event] = []

    def say(self, type_: str, at: Instant, occurrence: tuple[str, ...], /, **data: Any) -> None:
        """Note that *type_* became true at *at*. *occurrence* tells it from others of its type on this case."""
        self._said.append((type_, at, occurrence, data))

    def finish(self) -> list[Event]:
        """The events, in order, each with the case as it stood when it was sealed."""
        self.seal()
        return self._sealed

    def seal(self) -> None:
        """Number and chain what was said so far, with the case as it now stands."""
        if not self._said:
            return
        case, moment = self.case, self.moment
        first = case.sequence
        case.sequence += len(self._said)
        view, private_case = cases.sealed_view(case, moment.keys)
        record, standing = cases.record(view), cases.standing(case)
        lead = case.rules[0]
        detected_at = rfc3339(moment.seen_at)
        for number, (type_, at, occurrence, data) in enumerate(self._said, first + 1):
            data["owner"] = data.get("owner", case.owner)
            data["rule"], data["rule_version"] = lead.id, lead.version
            data["previous"] = case.chain.hex()
            if moment.history:
                data["history"] = True
            id_ = event_id(case.id, type_, *occurrence)
            data, private = self._sealed_data(id_, type_, data)
            if private_case:
                private["case"] = private_case
            event = Event(
                id=id_,
                type=type_,
                programme=case.programme,
                time=at,
                case=case.id,
                sequence=number,
                data=data,
                private=private,
                record=record,
                standing=standing,
                arrived=moment.arrived,
                heed=self._heed(id_, type_, at, data) if moment.rules.noise is not None else None,
            )
            case.chain = trail.digest(wire(event))
            data["hash"] = case.chain.hex()
            # The rest tells of the telling, and is no part of the trail.
            data["detected_at"] = detected_at
            if moment.seen_at - at >= LATE_AFTER_S and "by" not in data:
                data["late"] = True  # what a person did is not late for being recorded late
            self._sealed.append(event)
        self._said = []

    def _sealed_data(
        self, id_: EventId, type_: str, data: dict[str, Any]
    ) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
        """(*data* with what is personal sealed, what that was)."""
        keys, case = self.moment.keys, self.case
        if keys is None or not case.leaf:
            return data, {}
        private: dict[str, dict[str, Any]] = {}
        if "response" in data:
            response = data["response"] = dict(data["response"])
            private["response"] = {name: response.pop(name) for name in sealing.PRIVATE_RESPONSE if name in response}
            response |= sealing.seal(keys, case.leaf, (case.id, "response"), private["response"])
        if names := sealing.private_names(type_, data):
            private["data"] = {name: data.pop(name) for name in names}
            data |= sealing.seal(keys, case.leaf, (case.id, id_), private["data"])
        return data, private

    def _heed(self, id_: EventId, type_: str, at: Instant, data: dict[str, Any]) -> Heed | None:
        """What noise control is to know of an event; None when it is not its business."""
        policy, case = self.moment.rules.noise, self.case
        if policy is None or not (type_ in _FOLLOWED or data.get("change") in _ALERTS):
            return None
        at = Instant(max(at, self.moment.received_at))
        rule, site = case.rules[0].id, str(case.routing.get("site", ""))
        if type_ in _BEGINNING and not any(rule == inhibition.rule for inhibition in policy.inhibitions):
            return None
        notice = None
        if type_ == "notice.asked":
            notice = Notice(
                id=id_, at=at, to=data["to"], case=case.id, rule=rule, site=site, theme=case.theme, type=case.type
            )
        return Heed(at=at, rule=rule, site=site, notice=notice)

    # -- clocks ---------------------------------------------------------------------------------------------

    def say_clock(self, type_: str, clock: Clock, at: Instant, /, *occurrence: str, **data: Any) -> None:
        """A clock's event: its name, occurrence and deadline go with it."""
        self.say(
            type_,
            at,
            (clock.name, str(clock.occurrence), *occurrence),
            clock=clock.name,
            occurrence=clock.occurrence,
            started_at=rfc3339(clock.started_at),
            due_at=rfc3339(clock.due_at),
            **({"issue": clock.issue} if clock.issue else {}),
            **data,
        )

    def arm(self, clock: Clock, at: Instant, *, instead_of: int | None = None, restored_from: int = 0) -> None:
        """Put a clock that is already running on the case, and say so.

        *instead_of* is the index of a past occurrence that need not be remembered; without it a clock that
        recurs would make the case grow with every period. *restored_from* is the occurrence that it goes on with.
        """
        if instead_of is None:
            self.case.clocks.append(clock)
        else:
            self.case.clocks[instead_of] = clock
        spec = clock.spec
        counted = spec.length or Length(spec.length_s, Unit.SECONDS)
        data: dict[str, Any] = {
            "length": clocks.length_text(spec),
            "counting": msgspec.structs.asdict(counted),
        }
        if restored_from:
            data["restored_from"] = restored_from
        if spec.law:
            data["law"] = spec.law
        if spec.length is not None:
            calendar = self.calendar(spec)
            data["calendar"] = spec.length.calendar
            if calendar is not None:
                data["last_moment"] = counting.last_moment(spec.length, clock.due_at, calendar)
        self.say_clock("clock.armed", clock, at, **data)

    def calendar(self, spec: ClockSpec) -> Calendar | None:
        """The calendar that a clock counts on, at the version that it began with; None for elapsed time."""
        if spec.length is None:
            return None
        calendar = self.moment.rules.calendars.get(spec.length.calendar)
        if calendar is None:
            raise LookupError(f"the calendar {spec.length.calendar} that clock {spec.name} began with is gone")
        return calendar

    def start(self, spec: ClockSpec, at: Instant, *, issue: str = "", said_at: Instant | None = None) -> None:
        """Arm a clock of *spec* that counts from *at*."""
        clock = self.make(spec, at, issue=issue)
        if clock is not None:
            self.arm(clock, at if said_at is None else said_at)

    def make(self, spec: ClockSpec, at: Instant, *, issue: str = "") -> Clock | None:
        """The next occurrence of a clock of *spec*. A year that its calendar lacks is an event, not the end."""
        occurrence = 1 + max((c.occurrence for c in self.case.clocks if c.name == spec.name), default=0)
        try:
            return clocks.arm(spec, at, occurrence, calendar=self.calendar(spec), issue=issue)
        except CalendarEnded as error:
            self.say("rule.failed", at, ("clock", spec.name, issue, str(at)), clock=spec.name, error=str(error))
            return None

    def stop(self, index: int, at: Instant, why: str, **data: Any) -> None:
        """End the clock at *index* without its being met, and say why."""
        held = self.case.clocks[index]
        clock = clocks.ended(held, at, self.calendar(held.spec))
        self.case.clocks[index] = clock
        self.say_clock("clock.ended", clock, clock.stopped_at, reason=why, **data)

    def say_not_armed(self, spec: ClockSpec, at: Instant, issue: str) -> None:
        """Say that a clock of the law does not run, because the law did not apply then."""
        when = f"from {rfc3339(spec.from_at)}" if at < spec.from_at else f"until {rfc3339(spec.to_at)}"
        self.say(
            "case.updated",
            at,
            ("not in force", spec.name, issue, str(at)),
            change="out_of_scope",
            clock=spec.name,
            law=spec.law,
            issue=issue,
            reason=f"{spec.name} applies {when}",
        )

    # -- people ---------------------------------------------------------------------------------------------

    def appoint(self, role: str, at: Instant, occurrence: tuple[str, ...], why: str) -> None:
        """Give the case to somebody of *role*, else of the fallback role; nobody at all is an alarm."""
        case = self.case
        person = self._somebody(role, at)
        if person is None:
            fallback = case.fallback_role if case.fallback_role != role else ""
            self.say("owner.missing", at, (role, *occurrence), role=role, reason=why, fallback=fallback)
            person = self._somebody(fallback, at) if fallback else None
            role = fallback if person is not None else role
        before, case.owner = case.owner, person.id if person is not None else ""
        case.role = role
        self.owned()
        if case.owner:
            self.say("case.assigned", at, occurrence, owner=case.owner, role=role, before=before, reason=why)

    def _somebody(self, role: str, at: Instant) -> Person | None:
        case = self.case
        return self.moment.rules.roster.resolve(
            role, attributes=case.routing, at=at, seed=case.id, exclude=frozenset((*case.tried, *case.barred))
        )

    def owned(self) -> None:
        """Keep who owns the case now among those who ever did."""
        case = self.case
        if case.owner and case.owner not in case.owners:
            case.owners = [*case.owners, case.owner][-cases.REMEMBERED :]

    def tell_owner(self, at: Instant, occurrence: tuple[str, ...], why: str) -> None:
        """A notice to the owner, from the rule's template."""
        if self.case.owner:
            self.notice(self.case.owner, self.case.role, at, occurrence, why)

    def notice(self, to: str, role: str, at: Instant, occurrence: tuple[str, ...], why: str, *, told: str = "") -> None:
        """A notice to *to*; its words come from the rule's template, or else from *told* (else *why*).

        Under a policy (`rules/noise.py`) it is asked for, and noise control decides; one of the law is always sent.
        """
        if self.moment.history:
            return
        person = self.moment.rules.roster.person(to)
        subject, body = self.words(self.case.notice, told or why, at)
        held_to_law = self.case.statutory or any(clock.spec.law for clock in self.case.clocks)
        told_of = {
            "to": to,
            "name": person.name if person is not None else to,
            "email": person.email if person is not None else "",
            "role": role,
            "reason": why,
            "subject": subject,
            "body": body,
        }
        if self.moment.rules.noise is None:
            self.say("notice.sent", at, (to, *occurrence), **told_of)
        elif held_to_law:
            spared = "an alarm of the law is never held back"
            self.say("notice.sent", at, (to, *occurrence), **told_of, decided=spared)
        else:
            self.say("notice.asked", at, (to, *occurrence), **told_of)

    def words(self, template: str, why: str, at: Instant) -> tuple[str, str]:
        """Subject and body of *template* about this case; plain words when the set has no such template."""
        case = self.case
        form = self.moment.rules.templates.get(template)
        if form is None:
            return f"{case.type} {case.id}", why
        live = [c for c in case.clocks if c.state is State.RUNNING]
        soonest = min(live, key=lambda c: c.due_at, default=None)
        person = self.moment.rules.roster.person(case.owner) if case.owner else None
        message = render(
            form,
            {
                "case": case.id,
                "type": case.type,
                "subject": case.subject,
                "priority": case.priority.name.lower(),
                "customer": case.customer or "anonymous",
                "owner": person.name if person is not None else case.owner or "nobody yet",
                "rule": case.rules[0].title or case.rules[0].id,
                "why": why,
                "due_at": "no deadline" if soonest is None else self.deadline(soonest),
                "next_best_action": case.next_best_action,
                "channel": case.channel,
                "touchpoint": case.touchpoint,
                "programme": case.programme,
                "opened_at": counting.told(case.opened_at, self.moment.rules.zone),
            },
        )
        return message.subject, message.body

    def deadline(self, clock: Clock) -> str:
        """A deadline for a person, with its zone: `by the end of Tue 17 Nov 2026 (Europe/London)`."""
        calendar = self.calendar(clock.spec)
        if clock.spec.length is None or calendar is None:
            return f"before {counting.told(clock.due_at, self.moment.rules.zone)}"
        return counting.last_moment(clock.spec.length, clock.due_at, calendar)
