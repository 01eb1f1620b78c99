"""A systemic case: many alike raised one alert, which names those it is about, and further ones join it.

Opened by a finding of a rule with memory (`rules/kinds/`), it is a case as any other: an owner, clocks, an end that
people give it. While its alert goes on, responses that join are gathered and said together, a few seconds later,
with the cases that they have opened meanwhile; so ten thousand of them are a handful of events whose numbers add up.
"""

from collections.abc import Mapping
from typing import Any, Protocol

import msgspec

from cases.case import Alarm, Case, FiredRule
from cases.opening import begin, starting_later
from cases.telling import Moment, Telling
from feedback.ids import CaseId, response_key
from feedback.instants import Instant, rfc3339
from feedback.records import Scalar
from rules.kinds import Finding, Ref
from rules.model import Trigger

TOLD_AFTER_S = 10
"""Responses that joined are said this long after the first of them: by then their own cases have been opened."""
LISTED = 200
"""Responses, and cases, that one event names; its totals count all of them."""


class Names(Protocol):
    def case(self, key: int) -> str | None:
        """The case that holds the response of this key (`response_key`); None when none does."""


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """A finding on its way to its case."""

    finding: Finding
    programme: str
    at: Instant
    """When it could be known: a fact of the finding, whoever looked first."""
    trigger: Trigger | None
    """The rule and the case that it opens; None when the rule is no longer in force."""
    customer: str = ""
    """Of a rule by customer: whose case it is."""
    routing: Mapping[str, Scalar] = {}
    """What rosters route by: the site of a window by site."""
    theme: str = ""
    """Of a window by theme."""
    tells: bool = True
    """Whether its key may lie anywhere; one by customer or by an attribute of theirs is sealed."""
    arrived: float = 0.0

    @property
    def key(self) -> str:
        """Stands for a customer: everything that this window finds under this key is about the same thing."""
        finding = self.finding
        return f"window {finding.window} {finding.scope} {finding.key} {finding.value}"


def open_systemic(
    id_: CaseId, found: Found, trigger: Trigger, *, leaf: int, earlier: list[str], moment: Moment
) -> Telling:
    """The case of an alert that was raised."""
    spec, finding, at = trigger.case, found.finding, found.at
    case = Case(
        id=id_,
        programme=found.programme,
        customer=found.customer,
        type=spec.type,
        subject=finding.value or ("" if found.customer else finding.key),
        priority=spec.priority,
        role=spec.role,
        fallback_role=spec.fallback_role,
        opened_at=at,
        rules=[FiredRule(trigger.rule, trigger.version, trigger.title)],
        routing=dict(found.routing),
        clocks=[],
        notice=spec.notice,
        next_best_action=spec.next_best_action,
        statutory=spec.statutory,
        reopen_for_s=spec.reopen_for_s,
        status_at=at,
        earlier=earlier,
        milestones=list(spec.milestones),
        closing=list(spec.closing),
        leaf=leaf,
    )
    case.later = starting_later([spec])
    case.alarm = Alarm(alert=finding.alert, since=finding.since, count=finding.count)
    case.theme = found.theme
    telling = Telling(case, moment)
    begin(
        telling,
        [spec],
        at,
        f"{trigger.rule}: {finding.why}",
        rules=[{"id": trigger.rule, "version": trigger.version, "title": trigger.title, "why": [finding.why]}],
        **_shown(found),
    )
    gather(telling, finding.refs, at)
    return telling


def raised_again(telling: Telling, found: Found) -> None:
    """The alert ended and was raised again while people were still at the case."""
    case, finding = telling.case, found.finding
    case.alarm = Alarm(alert=finding.alert, since=finding.since, count=finding.count)
    shown = _shown(found)
    telling.say("case.updated", found.at, (finding.alert,), change="raised_again", reason=finding.why, **shown)
    gather(telling, finding.refs, found.at)


def joined(telling: Telling, found: Found) -> None:
    """One more, which is said with others."""
    alarm = telling.case.alarm
    if alarm is None or alarm.alert != found.finding.alert:
        return
    alarm.count = found.finding.count
    gather(telling, found.finding.refs, found.at)


def ended(telling: Telling, found: Found, names: Names | None) -> None:
    """What the rule watches is over; the case is people's to close."""
    case, finding = telling.case, found.finding
    alarm = case.alarm
    if alarm is None or alarm.alert != finding.alert:
        return
    tell_gathered(telling, found.at, names)
    case.alarm = None
    until = rfc3339(finding.until)
    telling.say(
        "case.updated", found.at, (finding.alert, "ended"),
        change="alert_ended", reason=finding.why, count=finding.count, until=until,
    )  # fmt: skip


def gather(telling: Telling, refs: tuple[Ref, ...], at: Instant) -> None:
    alarm = telling.case.alarm
    if alarm is None or not refs:
        return
    alarm.joined += len(refs)
    alarm.refs = [*alarm.refs, *((r.programme, r.source, r.id) for r in refs)][-LISTED:]
    alarm.told_at = alarm.told_at or Instant(at + TOLD_AFTER_S)


def tell_gathered(telling: Telling, at: Instant, names: Names | None) -> None:
    """Say who joined since the last time, and which cases they have."""
    alarm = telling.case.alarm
    if alarm is None or not alarm.joined:
        return
    cases = [names.case(response_key(*ref)) for ref in alarm.refs] if names is not None else []
    telling.say(
        "case.updated",
        at,
        # With the count: what was held up, and joins after a telling, is to be told at the same instant as that was.
        (alarm.alert, str(alarm.told_at), str(alarm.count)),
        change="affected",
        count=alarm.count,
        joined=alarm.joined,
        responses=[{"programme": p, "source": s, "id": i} for p, s, i in alarm.refs],
        cases=list(dict.fromkeys(case for case in cases if case is not None)),
    )
    alarm.refs, alarm.joined, alarm.told_at = [], 0, Instant(0)


def _shown(found: Found) -> dict[str, Any]:
    finding = found.finding
    alert: dict[str, Any] = {
        "id": finding.alert,
        "count": finding.count,
        "measure": finding.measure,
        "threshold": finding.threshold,
        "since": rfc3339(finding.since),
        "until": rfc3339(finding.until),
    }
    if finding.baseline is not None:
        alert["baseline"] = finding.baseline
    if finding.scope == "":
        alert["programmes"] = "all"
    if found.tells:
        alert |= {name: value for name, value in (("key", finding.key), ("value", finding.value)) if value}
    return {"alert": alert}
