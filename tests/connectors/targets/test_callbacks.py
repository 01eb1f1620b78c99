"""Callbacks: believed when signed, and only then; what they ask of a case."""

import base64
import hmac
import json
from hashlib import sha256
from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.signing import Secret, sign
from connectors.targets import callbacks
from connectors.targets.callbacks import Actions, Asked, Decoded, NotTrusted, Unreadable
from connectors.targets.secrets import Hidden
from feedback.decode import Decoder
from feedback.instants import Instant, rfc3339
from feedback.metrics import STANDARD
from feedback.records import Action, Envelope, Verb

NOW = 1_780_000_000
AT = rfc3339(Instant(NOW))
KEY, OLD = Hidden("the-tools-signing-key"), Hidden("an-older-key")
WEBHOOK = Secret("whsec_" + base64.b64encode(b"k" * 32).decode())
CASE = "c-3902-5771b26f9f12"

PAGERDUTY: dict[str, Any] = {
    "event": {
        "id": "01DEN4HPBQAAAG05V5QQYBRZMF", "event_type": "incident.acknowledged", "resource_type": "incident",
        "occurred_at": AT, "agent": {"id": "PLH1HKV", "summary": "Ann Lee", "type": "user_reference"},
        "client": None,
        "data": {"id": "PGR0VU2", "type": "incident", "status": "acknowledged", "incident_key": CASE},
    }
}  # fmt: skip
JIRA: dict[str, Any] = {
    "timestamp": NOW * 1000, "webhookEvent": "jira:issue_updated",
    "user": {"accountId": "5b10a2844c20165700ede21g", "displayName": "Ann Lee"},
    "issue": {"id": "10002", "key": "CX-1", "fields": {"labels": ["other", CASE], "status": {"name": "Done"}}},
    "changelog": {"id": "10124", "items": [{"field": "status", "fromString": "To Do", "toString": "Done"}]},
}  # fmt: skip
SLACK: dict[str, Any] = {
    "type": "block_actions", "user": {"id": "U061F7AUR", "username": "ann"}, "trigger_id": "1.2.3",
    "actions": [{"action_id": "tocsin.acknowledge", "value": CASE, "type": "button", "action_ts": "1780000000.1"}],
}  # fmt: skip
SIGNED: dict[str, Any] = {"case": CASE, "do": "note", "by": "crm", "at": AT, "reason": "rang them"}


def mac(key: Hidden, text: bytes) -> str:
    return hmac.new(key.reveal().encode(), text, sha256).hexdigest()


def asked(tool: str, plain: Any = None, *, at: int = NOW, key: Hidden = KEY, drop: str = "", now: int = NOW) -> Decoded:
    """Sign *plain* as *tool* does, at *at*, and decode it at *now*; *drop* takes a header away."""
    secrets = [Hidden("the-current-key"), KEY]
    if tool == "signed":
        raw = json.dumps(plain or SIGNED).encode()
        secret = WEBHOOK if key is KEY else Secret("whsec_" + base64.b64encode(b"x" * 32).decode())
        headers = sign([secret], "msg-1", at, raw)
    elif tool == "slack":
        raw = urlencode({"payload": json.dumps(plain or SLACK)}).encode()
        signature = "v0=" + mac(key, b"v0:%d:%b" % (at, raw))
        headers = {"X-Slack-Request-Timestamp": str(at), "X-Slack-Signature": signature}
    else:
        body = json.loads(json.dumps(plain or {"pagerduty": PAGERDUTY, "jira": JIRA}[tool]))
        if tool == "pagerduty" and plain is None:
            body["event"]["occurred_at"] = rfc3339(Instant(at))
        elif plain is None:
            body["timestamp"] = at * 1000
        raw = json.dumps(body).encode()
        both = f"v1={mac(OLD, raw)},v1={mac(key, raw)}"
        headers = (
            {"x-pagerduty-signature": both} if tool == "pagerduty" else {"X-Hub-Signature": f"sha256={mac(key, raw)}"}
        )
    headers = {name: value for name, value in headers.items() if name.lower() != drop}
    if tool == "signed":
        return callbacks.signed([WEBHOOK], headers, raw, now, "crm")
    decode = {"pagerduty": callbacks.pagerduty, "jira": callbacks.jira, "slack": callbacks.slack}[tool]
    return decode(secrets, headers, raw, now)


TOOLS = ("pagerduty", "jira", "slack", "signed")
SIGNATURES = {
    "pagerduty": "x-pagerduty-signature", "jira": "x-hub-signature", "slack": "x-slack-signature",
    "signed": "webhook-signature",
}  # fmt: skip


@pytest.mark.parametrize(
    ("tool", "do", "by", "principal"),
    [
        ("pagerduty", Verb.ACKNOWLEDGE, "Ann Lee", "pagerduty:PLH1HKV"),
        ("jira", Verb.RESOLVE, "Ann Lee", "jira:5b10a2844c20165700ede21g"),
        ("slack", Verb.ACKNOWLEDGE, "ann", "slack:U061F7AUR"),
        ("signed", Verb.NOTE, "crm", "callback:crm"),
    ],
)
def test_a_signed_callback_is_an_action_on_its_case(tool: str, do: Verb, by: str, principal: str) -> None:
    found = asked(tool)

    assert isinstance(found, Actions)
    [one] = found.asked
    assert (one.case, one.do, one.by, one.principal, one.at) == (CASE, do, by, principal, AT)


@pytest.mark.parametrize("tool", TOOLS)
def test_the_engine_reads_the_action(tool: str) -> None:
    found = asked(tool)
    assert isinstance(found, Actions)
    record = found.asked[0].record("default")

    envelope = Envelope(raw=record, received_at=float(NOW), source="http", position="1", principal="key:callbacks")
    read = Decoder(STANDARD, frozenset({"default"})).decode(envelope)
    assert isinstance(read, Action)
    assert (read.id, read.case, read.do, read.at) == (found.asked[0].id, CASE, found.asked[0].do, NOW)


@pytest.mark.parametrize("tool", TOOLS)
def test_the_same_callback_again_is_the_same_action(tool: str) -> None:
    assert asked(tool) == asked(tool, now=NOW + 60)


@pytest.mark.parametrize("tool", TOOLS)
def test_a_signature_by_another_key_is_not_trusted(tool: str) -> None:
    assert asked(tool, key=Hidden("the-wrong-key")) == NotTrusted("bad_signature")


@pytest.mark.parametrize("tool", TOOLS)
def test_a_callback_without_a_signature_is_not_trusted(tool: str) -> None:
    assert asked(tool, drop=SIGNATURES[tool]) == NotTrusted("missing_header")


@pytest.mark.parametrize(
    ("tool", "age_s"), [("pagerduty", 2 * 86_400 + 1), ("jira", 3601), ("slack", 301), ("slack", -301), ("signed", 301)]
)
def test_an_old_callback_is_not_trusted_though_it_is_signed(tool: str, age_s: int) -> None:
    assert asked(tool, at=NOW - age_s) == NotTrusted("stale_timestamp")
    assert isinstance(asked(tool, at=NOW - age_s + (1 if age_s > 0 else -1)), Actions)


def test_an_empty_secret_signs_nothing() -> None:
    raw = json.dumps(PAGERDUTY).encode()
    headers = {"X-PagerDuty-Signature": "v1=" + hmac.new(b"", raw, sha256).hexdigest()}

    assert callbacks.pagerduty([Hidden("")], headers, raw, NOW) == NotTrusted("bad_signature")
    assert callbacks.pagerduty([], headers, raw, NOW) == NotTrusted("bad_signature")


def changed(plain: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    copy: dict[str, Any] = json.loads(json.dumps(plain))
    *steps, last = path.split(".")
    place = copy
    for step in steps:
        place = place[step]
    place[last] = value
    return copy


@pytest.mark.parametrize(
    ("tool", "plain"),
    [
        ("pagerduty", changed(PAGERDUTY, "event.event_type", "incident.priority_updated")),
        ("pagerduty", changed(PAGERDUTY, "event.data.incident_key", "somebody-elses")),
        ("jira", changed(JIRA, "webhookEvent", "jira:issue_created")),
        ("jira", changed(JIRA, "issue.fields.labels", ["other"])),
        ("jira", changed(JIRA, "changelog.items", [{"field": "assignee", "toString": "Done"}])),
        ("slack", changed(SLACK, "type", "view_submission")),
        ("slack", changed(SLACK, "actions", [{"action_id": "tocsin.erase", "value": CASE}])),
    ],
)
def test_news_that_asks_nothing_of_a_case_is_no_action(tool: str, plain: dict[str, Any]) -> None:
    assert asked(tool, plain) == Actions()


@pytest.mark.parametrize(
    ("tool", "plain", "reason"),
    [
        ("pagerduty", {"event": 1}, "no_event"),
        ("jira", {"issue": {}}, "no_timestamp"),
        ("slack", [1], "no_payload"),
        ("signed", {"case": CASE, "do": "explode", "by": "crm"}, "not_a_callback"),
        ("signed", {"case": "x y", "do": "note", "by": "crm"}, "not_a_callback"),
    ],
)
def test_what_is_signed_and_makes_no_sense_is_said_to_be_unreadable(tool: str, plain: Any, reason: str) -> None:
    assert asked(tool, plain) == Unreadable(reason)


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.just(CASE),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(["event", "data", "actions", "changelog", "items", "issue", "fields", "labels", "timestamp",
                         "event_type", "occurred_at", "incident_key", "action_id", "value", "type", "user"]),
        inner, max_size=5,
    ),
    max_leaves=12,
)  # fmt: skip


@given(plain=st.dictionaries(st.sampled_from(["event", "issue", "actions", "timestamp", "changelog", "type"]), JUNK))
def test_nothing_that_is_signed_raises(plain: dict[str, Any]) -> None:
    for tool in TOOLS:
        assert isinstance(asked(tool, plain or {"type": 1}), Actions | Unreadable | NotTrusted)


@given(raw=st.binary(max_size=200), value=st.text(max_size=40))
def test_nothing_that_is_not_signed_is_read(raw: bytes, value: str) -> None:
    headers = dict.fromkeys((*SIGNATURES.values(), "x-slack-request-timestamp", "webhook-id"), value)

    for decode in (callbacks.pagerduty, callbacks.jira, callbacks.slack):
        assert isinstance(decode([KEY], headers, raw, NOW), NotTrusted)


def test_what_is_asked_is_a_value() -> None:
    one = Asked(id="a", case=CASE, do=Verb.NOTE, by="ann", at=AT, principal="x", data={"n": 1}, reason="why")
    assert json.loads(one.record("housing")) == {
        "kind": "action", "id": "a", "programme": "housing", "case": CASE, "do": "note", "by": "ann", "at": AT,
        "reason": "why", "data": {"n": 1},
    }  # fmt: skip
