"""What a template may say about an event: flat names to texts, out of a CloudEvent of ours. Pure.

Nothing is required of the event: what it does not hold has no value. No value is longer than LONGEST.
"""

from collections.abc import Mapping
from typing import Any

from connectors.targets.shapes import Names, cut

LONGEST = 8000
PRIORITIES = ("low", "normal", "high", "urgent")
_SEVERITY = {"low": "info", "normal": "warning", "high": "error", "urgent": "critical"}
_URGENCY = {"low": "3", "normal": "2", "high": "1", "urgent": "1"}
SAID = {
    "case.opened": "Case opened",
    "case.updated": "More was heard",
    "case.acknowledged": "Acknowledged",
    "case.assigned": "Assigned",
    "case.escalated": "Escalated",
    "case.resolved": "Resolved",
    "case.closed": "Closed",
    "case.reopened": "Reopened",
    "case.invalidated": "Withdrawn",
    "customer.contacted": "The customer was contacted",
    "clock.warned": "Due soon",
    "clock.breached": "Deadline missed",
    "clock.met": "Deadline met",
    "owner.missing": "Nobody could be named as owner",
    "notice.sent": "Notice",
    "notice.digest": "Held back until now",
}
"""Event types in words; any other is said by its own name."""

NAMES = Names(
    frozenset(
        {
            "headline", "said", "event_id", "event", "programme", "time", "case", "type", "subject", "priority",
            "severity", "urgency", "status", "customer", "owner", "by", "rule", "why", "reason", "text", "channel",
            "touchpoint", "clock", "due_at", "opened_at", "next_best_action", "link", "test",
        }
    ),
    ("scores.", "attributes."),
)  # fmt: skip
"""`link` is filled from the setting of that name; `test` says so when a message is only a test."""


def values(event: Mapping[str, Any]) -> dict[str, str]:
    """The values of *event*; `headline` says in a line what happened, to which case, and how much it matters."""
    data = _map(event.get("data"))
    case = _map(data.get("case"))
    response = _map(data.get("response"))
    type_ = _text(event.get("type")).removeprefix("tocsin.")
    priority = _text(case.get("priority")) or _text(data.get("priority"))
    rules = case.get("rules") or data.get("rules") or []
    titles = [_text(_map(rule).get("title")) for rule in rules] if isinstance(rules, list) else []
    found = {
        "event_id": event.get("id"),
        "event": type_,
        "said": SAID.get(type_, type_),
        "programme": _text(event.get("source")).removeprefix("/tocsin/"),
        "time": event.get("time"),
        "case": event.get("subject") or case.get("id"),
        "type": case.get("type") or data.get("type"),
        "subject": case.get("subject") or data.get("subject"),
        "priority": priority,
        "severity": _SEVERITY.get(priority, "warning"),
        "urgency": _URGENCY.get(priority, "2"),
        "status": case.get("status"),
        "customer": case.get("customer") or response.get("customer"),
        "owner": case.get("owner") or data.get("owner") or data.get("to"),
        "by": data.get("by"),
        "rule": ", ".join(title for title in titles if title) or data.get("rule"),
        "why": data.get("reason") if type_ in ("case.opened", "case.updated") else "",
        "reason": data.get("reason"),
        "text": response.get("text") or (data.get("body") if type_.startswith("notice.") else ""),
        "channel": response.get("channel"),
        "touchpoint": response.get("touchpoint"),
        "clock": data.get("clock"),
        "due_at": data.get("due_at") or case.get("due_at"),
        "opened_at": case.get("opened_at"),
        "next_best_action": case.get("next_best_action") or data.get("next_best_action"),
    }
    flat = {name: cut(_text(value), LONGEST) for name, value in found.items()}
    for stem in ("scores", "attributes"):
        for name, value in _map(response.get(stem)).items():
            flat[f"{stem}.{name}"] = cut(_text(value), LONGEST)
    flat["headline"] = _headline(flat)
    return flat


def priority_at_least(event: Mapping[str, Any], lowest: str) -> bool:
    """Whether the case's priority is *lowest* or above; an event that names none passes."""
    has = values(event)["priority"]
    return has not in PRIORITIES or PRIORITIES.index(has) >= PRIORITIES.index(lowest)


def _headline(flat: Mapping[str, str]) -> str:
    said = flat["said"] + (f" ({flat['clock']})" if flat["clock"] else "")
    about = ", ".join(part for part in (flat["rule"] or flat["type"], flat["subject"], flat["priority"]) if part)
    return cut(f"{said}: {about}" if about else said, 200)


def _map(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _text(value: Any) -> str:
    """Scalars as people write them; controls that no message needs are blanks."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, int):
        return str(value)
    if not isinstance(value, str):
        return ""
    return "".join(c if c.isprintable() or c in "\n\t" else " " for c in value)
