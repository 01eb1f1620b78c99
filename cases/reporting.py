"""What people report: milestones, which start, meet and end clocks of the law, and facts about the case."""

from typing import Any

import msgspec

from cases import moments
from cases.deeds import reach, restart_takeover, say
from cases.lifecycle import Status
from cases.moments import MILESTONE
from cases.refusal import Refusal
from cases.telling import Telling
from feedback.instants import rfc3339
from feedback.records import Action
from rules.model import MilestoneSpec, Priority

ABOUT = ("property", "household", "parties", "attachments")
"""What a note may say of the case; attachments by reference, never by content."""
ABOUT_BYTES = 4096


def note(telling: Telling, action: Action) -> None:
    data: dict[str, Any] = {}
    if about := _about(telling, action):
        data["about"] = about
    say(telling, "case.updated", action, change="noted", note=str(action.data.get("note", action.reason)), **data)


def milestone(telling: Telling, action: Action) -> None:
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
    say(telling, "milestone.reached", action, name=name, data=action.data, **data)
    moments.remember(telling, MILESTONE + name, action.at, issue)
    found = (f"{MILESTONE}{name}:{finding}",) if finding else ()
    reach(telling, action, MILESTONE + name, *found, issue=issue)
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
            restart_takeover(telling, action)
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
