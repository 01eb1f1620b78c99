"""What comes back: a tool's own webhook, or a signed callback, as actions on cases. Pure; the HTTP service calls it.

Each decoder takes the secrets (the current one first), the headers, the raw body and the time, and returns
`Actions` (none for news that asks nothing of a case) or `NotTrusted` or `Unreadable`, with a named reason. Nothing is
read of a body before its signature is found good.

Sources: developer.pagerduty.com/docs/verifying-webhook-signatures; developer.atlassian.com/cloud/jira/platform/webhooks
(`X-Hub-Signature`, WebSub); docs.slack.dev/authentication/verifying-requests-from-slack; Standard Webhooks 1.0.0.
"""

import hmac
import re
from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Any
from urllib.parse import parse_qs

import msgspec

from connectors.signing import Secret, verify
from connectors.targets.secrets import Hidden
from feedback.instants import Instant, parse_instant, rfc3339
from feedback.records import Verb

TOLERANCE_S = 300
"""How old a signed request may be, and how far ahead of our clock."""
BODY_MAX = 1 << 20
_CASE = re.compile(r"c-[A-Za-z0-9_.-]{1,126}", re.ASCII)
_WORD = re.compile(r"[^A-Za-z0-9_.:@-]")


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """One action on a case, in the words of an action on the wire."""

    id: str
    """From what the tool said, so the same callback again is the same action."""
    case: str
    do: Verb
    by: str
    at: str
    """RFC 3339."""
    principal: str
    """The door: `pagerduty:PABC123`."""
    reason: str = ""
    data: dict[str, Any] = {}

    def record(self, programme: str) -> bytes:
        """The action as JSON, ready for the stream; the principal travels beside it."""
        plain: dict[str, Any] = {
            "kind": "action",
            "id": self.id,
            "programme": programme,
            "case": self.case,
            "do": self.do,
            "by": self.by,
            "at": self.at,
        }
        if self.reason:
            plain["reason"] = self.reason
        if self.data:
            plain["data"] = self.data
        return msgspec.json.encode(plain)


class Actions(msgspec.Struct, frozen=True):
    """A callback that is to be believed, and what it asks; nothing, when it is news that concerns no case of ours."""

    asked: tuple[Asked, ...] = ()


class NotTrusted(msgspec.Struct, frozen=True):
    """Answer 401: `missing_header`, `bad_timestamp`, `stale_timestamp` or `bad_signature`."""

    reason: str


class Unreadable(msgspec.Struct, frozen=True):
    """Answer 400: signed, and yet not what the tool is known to send."""

    reason: str


Decoded = Actions | NotTrusted | Unreadable


# -- PagerDuty ----------------------------------------------------------------------------------------------

_PAGERDUTY = {
    "incident.acknowledged": Verb.ACKNOWLEDGE,
    "incident.resolved": Verb.RESOLVE,
    "incident.reopened": Verb.REOPEN,
    "incident.escalated": Verb.ESCALATE,
}


def pagerduty(secrets: Sequence[Hidden], headers: Mapping[str, str], body: bytes, now: float) -> Decoded:
    """A V3 webhook. `X-PagerDuty-Signature` holds `v1=` and a hexadecimal HMAC-SHA256, one for each key, by commas.

    It signs no time, so the age is that of `event.occurred_at`, which is signed with the rest; PagerDuty itself tries
    for up to two days, but an action that old has been overtaken, and Tocsin takes it at its own time anyway.
    """
    given = _header(headers, "x-pagerduty-signature")
    distrust = _check(secrets, [g.strip().removeprefix("v1=") for g in given.split(",")] if given else [], body)
    if distrust:
        return NotTrusted(distrust)
    event = _map(_map(_json(body)).get("event"))
    type_, at = event.get("event_type"), _instant(event.get("occurred_at"))
    if not isinstance(type_, str) or at is None:
        return Unreadable("no_event")
    if not -TOLERANCE_S <= now - at <= RETRIED_FOR_S:
        return NotTrusted("stale_timestamp")
    do, data = _PAGERDUTY.get(type_), _map(event.get("data"))
    case = data.get("incident_key")
    if do is None or not _is_case(case):
        return Actions()
    agent = _map(event.get("agent"))
    who = _word(agent.get("id") or "unknown")
    return _one("pagerduty", event.get("id"), case, do, _by(agent.get("summary"), who), who, at, type_)


RETRIED_FOR_S = 2 * 86_400


# -- Jira ---------------------------------------------------------------------------------------------------

JIRA_STATUSES: Mapping[str, Verb] = {"In Progress": Verb.START, "Done": Verb.RESOLVE}
"""What an issue's new status asks of its case, where the settings say nothing else."""


def jira(
    secrets: Sequence[Hidden],
    headers: Mapping[str, str],
    body: bytes,
    now: float,
    statuses: Mapping[str, Verb] = JIRA_STATUSES,
) -> Decoded:
    """An `jira:issue_updated` webhook whose change is the issue's status. `X-Hub-Signature`: `sha256=` and hexadecimal.

    The case is the label of the issue that is one. The age is that of the signed `timestamp` (milliseconds); Jira
    tries five times, within some minutes.
    """
    given = _header(headers, "x-hub-signature")
    distrust = _check(secrets, [given.removeprefix("sha256=")] if given else [], body)
    if distrust:
        return NotTrusted(distrust)
    plain = _map(_json(body))
    stamp = plain.get("timestamp")
    if isinstance(stamp, bool) or not isinstance(stamp, int) or not 0 < stamp < 10**14:
        return Unreadable("no_timestamp")
    at = Instant(stamp // 1000)
    if abs(now - at) > JIRA_RETRIED_FOR_S:
        return NotTrusted("stale_timestamp")
    issue = _map(plain.get("issue"))
    labels = _map(issue.get("fields")).get("labels")
    case = next((label for label in labels if _is_case(label)), None) if isinstance(labels, list) else None
    items = _map(plain.get("changelog")).get("items")
    moves = [_map(item) for item in items if _map(item).get("field") == "status"] if isinstance(items, list) else []
    do = statuses.get(str(moves[-1].get("toString"))) if moves else None
    if plain.get("webhookEvent") != "jira:issue_updated" or do is None or not _is_case(case):
        return Actions()
    user = _map(plain.get("user"))
    who = _word(user.get("accountId") or user.get("name") or "unknown")
    change = f"{issue.get('id')}-{_map(plain.get('changelog')).get('id')}-{stamp}"
    said = f"{_word(issue.get('key'))} moved to {moves[-1].get('toString')}"[:200]
    return _one("jira", change, case, do, _by(user.get("displayName"), who), who, at, said)


JIRA_RETRIED_FOR_S = 3600


# -- Slack --------------------------------------------------------------------------------------------------

_SLACK = {f"tocsin.{verb}": verb for verb in (Verb.ACKNOWLEDGE, Verb.START, Verb.ESCALATE)}
"""Buttons: `action_id` to what it asks. Only verbs that need nothing said besides."""


def slack(secrets: Sequence[Hidden], headers: Mapping[str, str], body: bytes, now: float) -> Decoded:
    """A button of ours (`action_id: tocsin.acknowledge`, `value`: the case) that somebody pressed.

    `X-Slack-Signature` is `v0=` and a hexadecimal HMAC-SHA256 of `v0:{X-Slack-Request-Timestamp}:{body}`.
    """
    given, stamp = _header(headers, "x-slack-signature"), _header(headers, "x-slack-request-timestamp")
    if not given or not stamp:
        return NotTrusted("missing_header")
    if not (stamp.isascii() and stamp.isdigit() and len(stamp) <= 12):
        return NotTrusted("bad_timestamp")
    if abs(now - int(stamp)) > TOLERANCE_S:
        return NotTrusted("stale_timestamp")
    distrust = _check(secrets, [given.removeprefix("v0=")], b"v0:%b:%b" % (stamp.encode(), body))
    if distrust:
        return NotTrusted(distrust)
    try:
        fields = parse_qs(body.decode(), max_num_fields=10, strict_parsing=True)
    except (ValueError, UnicodeDecodeError):
        return Unreadable("no_form")
    plain = _map(_json(fields.get("payload", [""])[0].encode()))
    if not plain:
        return Unreadable("no_payload")
    pressed = plain.get("actions")
    user = _map(plain.get("user"))
    who = _word(user.get("id") or "unknown")
    asked: list[Asked] = []
    for button in pressed[:10] if plain.get("type") == "block_actions" and isinstance(pressed, list) else []:
        one = _map(button)
        do, case = _SLACK.get(str(one.get("action_id"))), one.get("value")
        if do is not None and _is_case(case):
            id_ = f"{case}-{one.get('action_id')}-{one.get('action_ts')}-{who}"
            asked += _one("slack", id_, case, do, _by(user.get("username"), who), who, Instant(int(stamp)), "").asked
    return Actions(tuple(asked))


# -- anything that signs as we do ---------------------------------------------------------------------------


class _Callback(msgspec.Struct, frozen=True):
    case: str
    do: Verb
    by: str
    at: str = ""
    reason: str = ""
    data: dict[str, Any] = {}


def signed(secrets: Sequence[Secret], headers: Mapping[str, str], body: bytes, now: float, door: str) -> Decoded:
    """A Standard Webhooks request whose body is `{case, do, by, at?, reason?, data?}`; *door* names the caller."""
    distrust = verify(secrets, headers, body, now, TOLERANCE_S)
    if distrust:
        return NotTrusted(distrust)
    if len(body) > BODY_MAX:
        return Unreadable("too_large")
    try:
        said = msgspec.json.decode(body, type=_Callback)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return Unreadable("not_a_callback")
    at = _instant(said.at) if said.at else Instant(int(now))
    if not _is_case(said.case) or not said.by.strip() or at is None:
        return Unreadable("not_a_callback")
    id_ = _word(_header(headers, "webhook-id"))[:120]
    asked = Asked(
        id=f"callback-{_word(door)}-{id_}"[:200],
        case=said.case,
        do=said.do,
        by=said.by[:200],
        at=rfc3339(at),
        principal=f"callback:{_word(door)}",
        reason=said.reason[:2000],
        data=said.data,
    )
    return Actions((asked,))


# -- what they share ----------------------------------------------------------------------------------------


def _check(secrets: Sequence[Hidden], given: Sequence[str], text: bytes) -> str:
    """Why *text* is not to be trusted; empty when one of *secrets* made one of the hexadecimal signatures *given*."""
    if not given:
        return "missing_header"
    if len(text) > BODY_MAX + 100:
        return "bad_signature"
    found = False
    for secret in secrets:
        if not secret:
            continue
        mine = hmac.new(secret.reveal().encode(), text, sha256).hexdigest().encode()
        for one in given[:10]:
            found |= hmac.compare_digest(one.encode("utf-8", "replace"), mine)
    return "" if found else "bad_signature"


def _one(tool: str, id_: Any, case: Any, do: Verb, by: str, who: str, at: Instant, reason: str) -> Actions:
    return Actions(
        (
            Asked(
                id=f"{tool}-{_word(id_)}"[:200],
                case=str(case),
                do=do,
                by=by,
                at=rfc3339(at),
                principal=f"{tool}:{who}",
                reason=reason,
            ),
        )
    )


def _header(headers: Mapping[str, str], name: str) -> str:
    return next((value for key, value in headers.items() if key.lower() == name), "")


def _json(body: bytes) -> Any:
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def _map(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _is_case(value: Any) -> bool:
    return isinstance(value, str) and _CASE.fullmatch(value) is not None


def _by(name: Any, who: str) -> str:
    return name[:200] if isinstance(name, str) and name.strip() else who


def _word(value: Any) -> str:
    return _WORD.sub("_", str(value))[:150]


def _instant(text: Any) -> Instant | None:
    """The whole second of an RFC 3339 text; None when it is none."""
    if not isinstance(text, str):
        return None
    try:
        return parse_instant(text)
    except ValueError:
        return None
