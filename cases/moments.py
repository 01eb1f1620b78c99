"""Moments: what happens in a case's life that starts and ends clocks.

`opened`, `acknowledged` and `resolved` come from the lifecycle, `milestone:<name>` from what people report,
`breach:<clock>` and `extended:<clock>` from clocks. A clock says which moments start it and which end it, so a
regime is a file. Meeting a clock is an action's business (`acting.py`).
"""

from typing import Any

from cases.case import REMEMBERED
from cases.clocks import Clock
from cases.telling import Telling
from feedback.instants import Instant
from rules.model import ClockSpec

MILESTONE = "milestone:"


def remember(telling: Telling, moment: str, at: Instant, issue: str) -> None:
    """Keep a milestone, for what may only come after it and for what counts from it."""
    case = telling.case
    if moment.startswith(MILESTONE):
        case.reached = [*case.reached, (issue, moment.removeprefix(MILESTONE), at)][-REMEMBERED:]


def live(telling: Telling, issue: str) -> frozenset[str]:
    """Names of the clocks that run for *issue*."""
    return frozenset(c.name for c in telling.case.clocks if c.is_live and c.issue == issue)


def begin(
    telling: Telling,
    moment: str,
    at: Instant,
    *,
    issue: str = "",
    again: bool = False,
    beside: frozenset[str] | None = None,
) -> None:
    """Arm every clock that *moment* starts, for *issue*. *again* also those of our own that were met before.

    *beside* are the clocks that ran when the moment came, if it has ended or met some since.
    """
    case = telling.case
    running = live(telling, issue) if beside is None else beside
    hazard = case.hazards.get(issue, "")
    for spec in [s for s in case.later if moment in s.moments and s.hazard == hazard]:
        same = [c for c in case.clocks if c.name == spec.name and c.issue == issue]
        if any(c.is_live for c in same) and not spec.again_each:
            continue
        if same and not again and not spec.again_each:
            continue
        if running.intersection(spec.unless_live):
            continue
        if spec.unless_done and _is_done(telling, spec, moment, issue):
            continue
        if at < spec.from_at or (spec.to_at and at >= spec.to_at):
            telling.say_not_armed(spec, at, issue)
            continue
        counted = at
        if spec.counts_from:
            counted = case.reached_at(spec.counts_from.removeprefix(MILESTONE), issue) or at
        telling.start(spec, counted, issue=issue, said_at=at)


def _is_done(telling: Telling, spec: ClockSpec, moment: str, issue: str) -> bool:
    """Whether what would meet the clock was done already, since what *moment* follows (since ever, if nothing)."""
    case = telling.case
    name = moment.removeprefix(MILESTONE).partition(":")[0]
    follows = next((m.after for m in case.milestones if m.name == name), ())
    since = max((at for before in follows if (at := case.reached_at(before, issue)) is not None), default=Instant(0))
    done = [case.reached_at(m.removeprefix(MILESTONE), issue) for m in spec.meets]
    return any(at is not None and at >= since for at in done)


def end(telling: Telling, moment: str, at: Instant, *, issue: str = "", **data: Any) -> None:
    """End every live clock of *issue* that *moment* ends, with the reason that the clock names."""
    case = telling.case
    for index, clock in enumerate(case.clocks):
        why = next((why for what, why in clock.spec.ended_by if what == moment), None)
        if why is not None and clock.is_live and clock.issue == issue:
            telling.stop(index, at, why, **data)


def shorter(first: ClockSpec, second: ClockSpec) -> ClockSpec:
    """The one that promises more."""
    return second if second.length_s < first.length_s else first


def newest(held: list[Clock], name: str, issue: str) -> Clock:
    """The latest occurrence of that name for that issue."""
    return max((c for c in held if c.name == name and c.issue == issue), key=lambda c: c.occurrence)


def occurrences(held: list[Clock], name: str) -> int:
    """The highest occurrence of that name, over all issues: an event's id needs no issue."""
    return max((c.occurrence for c in held if c.name == name), default=0)
