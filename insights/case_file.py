"""The file of one case, as a regulator asks for it: what was known when, which deadline followed, who did what.

Folded from the record and the log that the store keeps, and from nothing else; the trail is verified and each
clock counted again while doing so. Pure: `console/` fetches and prints.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from cases import counting, ledger, trail
from cases.ledger import History
from feedback.instants import Instant, parse_instant, rfc3339
from rules.calendar import Calendar

Log = Sequence[Mapping[str, Any]]
COMMUNICATIONS = ("customer.acknowledged", "customer.contacted", "notice.sent", "notice.asked")
_QUIET = frozenset(
    {
        "detected_at",
        "late",
        "previous",
        "hash",
        "case",
        "owner",
        "rule",
        "rule_version",
        "response",
        "reading",
        "counting",
    }
)
"""Of an event's data what a timeline does not repeat."""


def case_file(
    record: Mapping[str, Any],
    calendars: Mapping[str, Calendar],
    *,
    at: Instant,
    zone: str,
    read: Callable[[dict[str, Any]], dict[str, Any]] = lambda event: event,
) -> dict[str, Any]:
    """The file of the case in *record* (as `Records.case` gives it) at *at*, people's times in *zone*.

    *read* opens what is sealed in an event; `events` stay as they were written, since that is what is verified.
    """
    written: Log = record.get("log", ())
    log: Log = [read(dict(event)) for event in written]
    case = {k: v for k, v in record.items() if k not in ("log", "responses", "notices")}
    flaw = trail.verify([dict(e) for e in written], length=int(record["sequence"]))
    until = _ended(record) or at
    local = ZoneInfo(zone)
    return {
        "format": "tocsin case file 1",
        "case": case,
        "as_at": rfc3339(at),
        "as_at_local": told(at, local),
        "zone": zone,
        "timeline": [_line(event, local) for event in log],
        "owners": owners(log, local),
        "communications": [_communication(event, local) for event in log if _kind(event) in COMMUNICATIONS],
        "clocks": [
            _clock(history, calendars, until, local, zone) for history in ledger.histories(log, record["clocks"])
        ],
        "milestones": record.get("milestones", []),
        "refused": [_line(event, local) for event in log if _kind(event) == "action.refused"],
        "notices": [
            {"at": event["time"], "what": _kind(event), **{k: v for k, v in event["data"].items() if k in _NOTICED}}
            for event in record.get("notices", ())
        ],
        "corrections": [_line(event, local) for event in log if _is_correction(event)],
        "outcome": record.get("outcome", {}),
        "responses": [
            {**said, **{f"{n}_local": told(parse_instant(said[n]), local) for n in ("received_at", "occurred_at")}}
            for said in record.get("responses", [])
        ],
        "trail": {
            "events": len(written),
            "whole": flaw is None,
            "flaw": "" if flaw is None else f"event {flaw.sequence} {flaw.event}: {flaw.what}",
            "head": log[-1]["data"].get("hash", "") if log else "",
        },
        "events": list(written),
    }


_NOTICED = ("asked", "to", "decided", "why", "until", "group", "number")
"""Of what noise control made of a notice; it is no part of the trail."""


def told(at: Instant, zone: ZoneInfo) -> str:
    """*at* for a person: `Tue 24 Nov 2026 09:00:00 GMT`."""
    local = datetime.fromtimestamp(at, zone)
    return f"{local:%a} {local.day} {local:%b %Y %H:%M:%S %Z}"


def _kind(event: Mapping[str, Any]) -> str:
    return str(event["type"]).removeprefix("tocsin.")


def _ended(record: Mapping[str, Any]) -> Instant | None:
    return parse_instant(record["closed_at"]) if record.get("closed_at") else None


def _is_correction(event: Mapping[str, Any]) -> bool:
    return _kind(event) == "clock.corrected" or event["data"].get("change") in ("corrected", "rebased")


def _line(event: Mapping[str, Any], zone: ZoneInfo) -> dict[str, Any]:
    data = event["data"]
    at = parse_instant(event["time"])
    line: dict[str, Any] = {
        "sequence": int(event["sequence"]),
        "at": event["time"],
        "at_local": told(at, zone),
        "what": _kind(event),
        "details": {k: _shown(k, v, zone) for k, v in data.items() if k not in _QUIET and v not in ("", None, [], {})},
        "event": event["id"],
    }
    if data.get("late"):
        line["noticed_at"] = data["detected_at"]
    return line


def _shown(name: str, value: Any, zone: ZoneInfo) -> Any:
    """*value* for a person: a time in *zone*."""
    return told(parse_instant(value), zone) if name.endswith("_at") and isinstance(value, str) else value


def owners(log: Log, zone: ZoneInfo) -> list[dict[str, Any]]:
    """Who had it, from when, why; the last one still does."""
    had: list[dict[str, Any]] = []
    for event in log:
        if _kind(event) != "case.assigned":
            continue
        at = parse_instant(event["time"])
        if had:
            had[-1]["until_local"] = told(at, zone)
            had[-1]["until"] = rfc3339(at)
        data = event["data"]
        had.append(
            {
                "owner": data["owner"],
                "role": data.get("role", ""),
                "from": rfc3339(at),
                "from_local": told(at, zone),
                "until": "",
                "until_local": "",
                "why": data.get("reason", "") or f"by {data.get('by', '')}",
            }
        )
    return had


def _communication(event: Mapping[str, Any], zone: ZoneInfo) -> dict[str, Any]:
    data = event["data"]
    kind = _kind(event)
    to_customer = kind not in ("notice.sent", "notice.asked")
    return {
        "at": event["time"],
        "at_local": told(parse_instant(event["time"]), zone),
        "what": kind,
        "to": data.get("to", "") or ("the customer" if to_customer else ""),
        "by": data.get("by", "") or "the engine",
        "channel": data.get("channel", "") or ("" if to_customer else "notice"),
        "subject": data.get("subject", "") or data.get("reason", ""),
        "body": data.get("body", ""),
    }


def _clock(
    history: History, calendars: Mapping[str, Calendar], until: Instant, zone: ZoneInfo, zone_name: str
) -> dict[str, Any]:
    key = history.length.calendar
    calendar = calendars.get(key) if key else None
    counted: dict[str, Any] = {
        "name": history.name,
        "occurrence": history.occurrence,
        "issue": history.issue,
        "law": history.law,
        "length": history.length.in_words,
        "calendar": key,
        "started_at": rfc3339(history.started_at),
        "started_at_local": told(history.started_at, zone),
        "due_at": rfc3339(history.due_at),
        "outcome": history.outcome,
        "late": history.late,
    }
    if key and calendar is None:
        return {**counted, "last_moment": f"before {told(history.due_at, zone)}", "ledger": None,
                "note": f"the calendar {key} is not in this store, so it cannot be counted again"}  # fmt: skip
    if calendar is None:
        counted["last_moment"] = f"before {told(history.due_at, zone)} ({zone_name})"
    else:
        counted["last_moment"] = counting.last_moment(history.length, history.due_at, calendar)
    account = ledger.account(history, calendar, until)
    counted["ledger"] = {
        "unit": account.unit,
        "total": account.total,
        "used": account.used,
        "left": account.left,
        "in_words": {
            "total": account.words(account.total),
            "used": account.words(account.used),
            "left": f"{account.words(abs(account.left))} {'over' if account.left < 0 else 'left'}",
        },
        "spans": [
            {
                "from": rfc3339(span.begins),
                "from_local": told(span.begins, zone),
                "until": rfc3339(span.ends),
                "until_local": told(span.ends, zone),
                "counted": span.counted,
                "why": span.why,
            }
            for span in account.spans
        ],
    }
    return counted
