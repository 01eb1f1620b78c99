"""`tocsin explain`: why a response did or did not fire, and who was told.

The response comes from a file, or from the record of an engine: its cases, its input stream, its journals.
"""

import json
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from connectors.journal import JournalError, recorded
from connectors.records import Records
from connectors.vault import vault_at
from console.deliver import Asked, look_at_deliveries
from feedback.decode import Decoder
from feedback.instants import parse_instant
from feedback.records import Envelope, Rejected, Response
from flows.books import book_of
from flows.engine import redis_at
from flows.explaining import Explained, explain
from flows.settings import Settings

Row = dict[str, Any]
_TELLING = ("case.opened", "case.assigned", "case.escalated", "case.updated", "owner.missing", "notice.sent",
            "notice.asked", "notice.held", "notice.suppressed", "customer.acknowledged",
            "customer.contacted")  # fmt: skip
_SAID = ("to", "name", "email", "role", "channel", "template", "owner", "change", "reason", "decided", "until", "group",
         "number")  # fmt: skip
_ENGINES = ("source", "id", "programme", "customer", "occurred_at", "channel", "touchpoint", "language", "text",
            "scores", "attributes")  # fmt: skip


KEPT_S = 400 * 86_400
"""How far back digests and alerts are looked for: as far as any event is kept."""


class ExplainError(Exception):
    """What cannot be explained, and why. Whose turn: who asks."""


def answer(settings: Settings, asked: str, rules: str) -> Row:
    """Everything about the response *asked* (a JSON file, `-`, or an id that an engine heard), as a JSON object."""
    sets = {name: programme.rules for name, programme in settings.programmes.items()}
    book = book_of(rules, settings.rules, sets, settings.metrics)
    if asked == "-" or Path(asked).is_file():
        raw = sys.stdin.buffer.read() if asked == "-" else Path(asked).read_bytes()
        response = _decode(settings, raw, time.time(), "default", "explain")
        return {**judged(explain(book, response)), "cases": [], "alerts": []}
    with redis_at(settings) as url:
        records = Records(url, vault_at(settings.vault))
        found = _from_record(settings, records, asked)
        cases = [case for name in records.programmes() for case in _cases(records, name, asked)]
        alerts = [case for name in records.programmes() for case in _alerts(records, name, asked)]
        dead = (
            look_at_deliveries(settings, url, Asked(dead=True, replay=False, enable="", endpoint="", event=""))
            if cases or alerts
            else []
        )
    for case in [*cases, *alerts]:
        ids = {told["event"]: told for told in case["told"]}
        for letter in dead:
            if letter["id"] in ids:
                ids[letter["id"]].setdefault("undelivered", []).append(f"{letter['endpoint']}: {letter['reason']}")
    return {**judged(explain(book, found)), "cases": cases, "alerts": alerts}


def _decode(settings: Settings, raw: bytes, received_at: float, programme: str, source: str) -> Response:
    known = programme if programme in settings.programmes else next(iter(settings.programmes))
    envelope = Envelope(raw=raw, source=source, position="1", received_at=received_at, programme=known)
    record = Decoder(settings.metrics, frozenset(settings.programmes), settings.privacy.redactor()).decode(envelope)
    if isinstance(record, Rejected):
        raise ExplainError(f"the engine would reject it: {record.reason}: {record.detail}")
    if not isinstance(record, Response):
        raise ExplainError("it is no response, and only responses are judged")
    return record


def _from_record(settings: Settings, records: Records, id_: str) -> Response:
    """The response of that id as an engine here heard it last: from its cases, its input stream, its journals."""
    for programme in records.programmes():
        for case in records.holding(programme, id_):
            held = (records.case(programme, case) or {}).get("responses", ())
            for row in held:
                if str(row["id"]) == id_:
                    return _again(settings, row, programme)
        if (row := records.waiting(programme, id_)) is not None:
            return _again(settings, row, programme)
    for folder in sorted((settings.state / "journals").glob("*/")):
        newest = None
        try:
            for _, entry in recorded(folder):
                if id_.encode() in entry.raw and _id_of(entry.raw) == id_:
                    newest = entry
        except JournalError as error:
            raise ExplainError(str(error)) from None
        if newest is not None:
            return _decode(settings, newest.raw, newest.received_at, newest.programme, newest.source)
    raise ExplainError(
        f"{id_} is no file, and no engine that kept its records here heard a response of that id; "
        "give the response itself as a JSON file, or - for standard input"
    )


def _again(settings: Settings, row: Row, programme: str) -> Response:
    if row.get("erased"):
        raise ExplainError(f"response {row['id']} was erased at its customer's request")
    if "sealed" in row:
        raise ExplainError(f"response {row['id']} is sealed, and there is no vault at {settings.vault} (TOCSIN_VAULT)")
    raw = msgspec.json.encode({name: row[name] for name in _ENGINES if name in row})
    return _decode(settings, raw, float(parse_instant(row["received_at"])), programme, "redis")


def _id_of(raw: bytes) -> str:
    try:
        record = msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return ""
    return str(record.get("id")) if isinstance(record, dict) else ""


def judged(explained: Explained) -> Row:
    plain: Row = msgspec.to_builtins(explained)
    return plain


def _cases(records: Records, programme: str, response: str) -> Iterator[Row]:
    """The cases that hold the response: what opened them then, and whom they told."""
    for case in records.holding(programme, response):
        if (found := _case(records, programme, case)) is not None:
            yield found


def _alerts(records: Records, programme: str, response: str) -> Iterator[Row]:
    """The alerts of rules with memory that counted the response: how many with it, and whom their cases told."""
    for case, event in records.counted(programme, response, KEPT_S).items():
        if (found := _case(records, programme, case)) is not None:
            yield {**found, "counted": {"at": event["time"], "count": event["data"]["count"], "event": event["id"]}}


def _case(records: Records, programme: str, case: str) -> Row | None:
    record = records.case(programme, case)
    if record is None:
        return None
    events = [records.read(event) for event in (*record["log"], *record["notices"])]
    held = any(event["type"] == "tocsin.notice.held" for event in events)
    return case_row(record, events, records.newest(programme, ("tocsin.notice.digest",), KEPT_S) if held else ())


def case_row(record: Row, events: Sequence[Row], digests: Iterable[Row]) -> Row:
    """A case as it stands (*record*), what its *events* told, and in which of *digests* what was held back was told."""
    told = [_told(event) for event in events if event["type"].removeprefix("tocsin.") in _TELLING]
    waited = {(one["group"], one["number"]): one for one in told if one["type"] == "notice.held"}
    for digest in digests:
        for (group, number), one in waited.items():
            data = digest["data"]
            if data["group"] == group and any(first <= number <= last for first, last in data["numbers"]):
                one["digest"] = {"at": digest["time"], "event": digest["id"], "count": data["count"]}
    reasons = (e["data"]["reason"] for e in events if e["type"] == "tocsin.case.opened" and "reason" in e["data"])
    return {
        "id": record["id"],
        "status": record["status"],
        "owner": record["owner"],
        "rules": record["rules"],
        "reason": next(reasons, ""),
        "told": told,
    }


def _told(event: Row) -> Row:
    return {
        "at": event["time"],
        "type": event["type"].removeprefix("tocsin."),
        "event": event["id"],
        **{name: event["data"][name] for name in _SAID if event["data"].get(name)},
    }


def lines(found: Row) -> Iterator[str]:
    """*found* for a terminal."""
    response, reading = found["response"], found["reading"]
    scores = ", ".join(f"{name} {score:g}" for name, score in response.get("scores", {}).items())
    customer = response.get("customer", "anonymous")
    yield f"response   {response['source']} {response['id']}  {customer}  {scores}".rstrip()
    mood = reading.get("sentiment")
    yield f"language   {reading['language'] or 'unknown'}"
    yield (
        f"sentiment  {mood['label']} ({mood['compound']:g})" if mood else f"sentiment  none: {reading.get('unscored')}"
    )
    for name in ("themes", "intents"):
        seen = ", ".join(f"{one['path']} ({one['phrase']})" for one in reading.get(name, ()))
        yield f"{name:<10} {seen or 'none'}"
    yield ""
    yield "rules in force now"
    for rule in found["rules"]:
        yield f"  {rule['outcome'].replace('_', ' '):<15}{rule['rule']} @{rule['version']}: {rule['words']}"
    if found["windows"]:
        yield ""
        yield "rules with memory"
    for rule in found["windows"]:
        yield f"  {rule['outcome'].replace('_', ' '):<15}{rule['rule']} @{rule['version']}: {rule['words']}"
        for held in rule.get("held", ()):
            yield f"    {held}"
    for case in (*found["cases"], *found["alerts"]):
        yield ""
        opened = ", ".join(f"{rule['id']} @{rule['version']}" for rule in case["rules"])
        yield f"case {case['id']}  {case['status']}  owner {case['owner'] or 'nobody'}  opened by {opened} (times UTC)"
        if counted := case.get("counted"):
            yield f"  an alert: {case['reason']}; by {counted['at']} it counted {counted['count']}, this one among them"
        for told in case["told"]:
            said = "  ".join(f"{name}={told[name]}" for name in _SAID if name in told)
            yield f"  {told['at']}  {told['type']:<22} {said}"
            if digest := told.get("digest"):
                yield f"    told after all at {digest['at']}, in a digest of {digest['count']} ({digest['event']})"
            for failed in told.get("undelivered", ()):
                yield f"    not delivered to {failed}"


def as_json(found: Row) -> str:
    return json.dumps(found, indent=2)
