"""`tocsin notify`: what a target would be sent, secrets masked, and one message sent as a test."""

import asyncio
import os
import time
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from connectors.records import Records
from connectors.targets.loading import Ready, TargetSettingsError, ready
from connectors.targets.secrets import Fetch, fetching, masked
from connectors.targets.sending import Sender, imagine
from connectors.targets.target import TargetError
from connectors.vault import vault_at
from connectors.webhooks import Dead, Delivered, Disable, Retry
from feedback.instants import Instant, rfc3339
from flows.engine import redis_at
from flows.settings import Settings

CloudEvent = Mapping[str, Any]


class NotifyError(Exception):
    """What was asked cannot be done; the text says why and what would be."""


class NotTaken(Exception):
    """The tool did not take the test."""


def sample(now: float) -> CloudEvent:
    """An event such as the engine writes, of a case that nobody has."""
    at, due = rfc3339(Instant(int(now))), rfc3339(Instant(int(now) + 1800))
    case = f"c-0-test{uuid.uuid4().hex[:8]}"
    return {
        "specversion": "1.0",
        "id": f"e-test{uuid.uuid4().hex[:20]}",
        "type": "tocsin.case.opened",
        "source": "/tocsin/default",
        "subject": case,
        "time": at,
        "sequence": "1",
        "data": {
            "reason": "a sample, to try the target",
            "response": {"text": "This is a sample: nobody needs to act.", "channel": "web", "scores": {"nps": 2}},
            "case": {
                "id": case, "type": "sample", "priority": "high", "status": "new", "owner": "nobody",
                "opened_at": at, "due_at": due, "next_best_action": "Nothing", "rules": [{"title": "Sample"}],
            },
        },
    }  # fmt: skip


def events_of(settings: Settings, file: Path | None, case: str) -> list[CloudEvent]:
    """The event of *file*, those of *case*, or a sample. Raises NotifyError."""
    if file is not None and case:
        raise NotifyError("give either --event or --case")
    if file is not None:
        return [_read(file)]
    if not case:
        return [sample(time.time())]
    with redis_at(settings) as url:
        records = Records(url, vault_at(settings.vault))
        try:
            programme = records.find(case)
            record = records.case(programme, case) if programme else None
        finally:
            records.close()
    if record is None:
        raise NotifyError(f"there is no case {case[:80]}")
    return [records.read(event) for event in record["log"]]


def _read(file: Path) -> CloudEvent:
    try:
        plain = msgspec.json.decode(file.read_bytes())
    except OSError as error:
        raise NotifyError(f"{file} cannot be read: {error.strerror}") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise NotifyError(f"{file} is no JSON: {error}") from None
    if not isinstance(plain, dict) or not isinstance(plain.get("type"), str) or not isinstance(plain.get("id"), str):
        raise NotifyError(f"{file} is no event; expected a CloudEvent with id, type and data")
    return plain


def dry_run(settings: Settings, name: str, events: Sequence[CloudEvent]) -> list[dict[str, Any]]:
    """For each target (or the one called *name*) and each event: what would be sent, or why nothing would.

    No secret is fetched: references stand in their places. Each answer is imagined as the tool gives it when all is
    well, and what it leads to is remembered for the next event.
    """
    found = []
    for target in _targets(settings, name, masked):
        remembered: dict[str, str] = {}
        for event in events:
            told = target.hear(event)
            row: dict[str, Any] = {"target": target.name, "event": told.id, "type": told.type, "case": told.case}
            programme = told.values["programme"]
            if not target.wants(programme, told.type):
                row["nothing"] = "the target does not ask for this type or programme"
            elif not target.cares(event, told.case in remembered):
                row["nothing"] = f"the priority is below {target.declared.min_priority}"
            else:
                _imagine(target, event, remembered, row)
            found.append(row)
    return found


def _imagine(target: Ready, event: CloudEvent, remembered: dict[str, str], row: dict[str, Any]) -> None:
    told = target.hear(event, remembered.get(str(row["case"]), ""))
    try:
        sent, remember = imagine(target.talk(told))
    except TargetError as error:
        row["refused"] = error.reason
        return
    if sent:
        row["sent"] = sent
        remembered[told.case] = remember or told.remembered
    else:
        row["nothing"] = "the tool needs no word of this event"


def send_test(settings: Settings, name: str, file: Path | None) -> str:
    """Send one message to the target *name*, marked as a test; what to tell. Raises NotifyError, NotTaken."""
    [target] = _targets(settings, name, fetching(os.environ))
    event = dict(_read(file) if file is not None else sample(time.time()))
    event["id"] = f"e-test{uuid.uuid4().hex[:20]}"  # never taken for the event itself
    return asyncio.run(_send(target, event))


async def _send(target: Ready, event: CloudEvent) -> str:
    sender = Sender(target)
    try:
        told = target.hear(event, test=True)
        ended = await sender.converse(target.talk(told), event_id=told.id, attempt=1, now=time.time())
    finally:
        await sender.close()
    match ended.outcome:
        case Delivered() if ended.said:
            return f"{target.name} took the test ({ended.said} requests, case {told.case})"
        case Delivered():
            raise NotTaken(f"{target.name} needs no word of {told.type}: nothing was sent")
        case Retry(reason=reason):
            raise NotTaken(f"{target.name} did not take the test now: {reason}")
        case Dead(reason=reason, detail=detail):
            raise NotTaken(f"{target.name} refused the test: {detail or reason}")
        case Disable(reason=reason):
            raise NotTaken(f"{target.name} wants nothing more from us: {reason}")


def _targets(settings: Settings, name: str, fetch: Fetch) -> list[Ready]:
    declared = [one for one in settings.targets if not name or one.name == name]
    if not declared:
        names = ", ".join(one.name for one in settings.targets) or "none"
        what = f"no target {name[:64]!r}" if name else "no targets"
        raise NotifyError(f"{settings.file} declares {what}; there are: {names} (docs/targets.md)")
    try:
        return [ready(one, fetch, settings.file.resolve().parent) for one in declared]
    except TargetSettingsError as error:
        raise NotifyError(str(error)) from None
