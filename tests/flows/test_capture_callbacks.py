"""Status comes back: what a tool signed becomes an action in the engine's stream, once, in the name of its door."""

import base64
import hmac
import json
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import pytest

from connectors.keyspace import Keys
from connectors.signing import Secret, sign
from feedback.instants import Instant, rfc3339
from flows.settings import SettingsError
from tests.flows.door import Answer, Caller, Door, door, eventually

CASE = "c-3902-5771b26f9f12"
KEY, WHSEC = "a-signing-key-of-the-tool", "whsec_" + base64.b64encode(b"k" * 32).decode()
ENVIRON = {"KEY": KEY, "WHSEC": WHSEC}
OPEN = {
    "pagerduty": {"secrets": ["env:KEY"]},
    "jira": {"secrets": ["env:KEY"], "statuses": {"Closed": "resolve"}},
    "slack": {"secrets": ["env:KEY"], "allow": ["acknowledge"]},
    "crm": {"form": "signed", "secrets": ["env:WHSEC"], "allow": ["note"]},
}
ACTIONS = Keys("default").actions


@pytest.fixture
def here(store_url: str) -> Iterator[Door]:
    with door(store_url, ENVIRON, callbacks={"default": OPEN}) as opened:
        eventually(lambda: Caller(opened.where)("GET", "/ready").status == 200)
        yield opened


def mac(text: bytes, key: str = KEY) -> str:
    return hmac.new(key.encode(), text, "sha256").hexdigest()


def pagerduty(here: Door, type_: str = "incident.acknowledged", key: str = KEY, case: str = CASE) -> Answer:
    at = rfc3339(Instant(int(time.time())))
    event = {"id": f"01{type_}", "event_type": type_, "occurred_at": at, "agent": {"id": "PLH1HKV", "summary": "Ann"},
             "data": {"incident_key": case}}  # fmt: skip
    body = json.dumps({"event": event}).encode()
    return Caller(here.where).post(
        "/v1/callbacks/pagerduty/default", body, **{"X-PagerDuty-Signature": f"v1={mac(body, key)}"}
    )


def crm(here: Door, do: str, id_: str = "m1") -> Answer:
    body = json.dumps({"case": CASE, "do": do, "by": "ann", "reason": "rang them"}).encode()
    return Caller(here.where).post(
        "/v1/callbacks/crm/default", body, **sign([Secret(WHSEC)], id_, int(time.time()), body)
    )


def written(redis: Any) -> list[tuple[str, str, str, str]]:
    """(case, do, by, principal) of every action."""
    found = []
    for _, fields in redis.xrange(ACTIONS):
        said = json.loads(fields[b"record"])
        found.append((said["case"], said["do"], said["by"], fields[b"principal"].decode()))
    return found


def test_what_a_pager_says_is_an_action_once(here: Door, redis: Any) -> None:
    assert [pagerduty(here).json["status"] for _ in range(2)] == ["accepted", "duplicate"]
    assert pagerduty(here, "incident.resolved").json["status"] == "accepted"
    assert written(redis) == [(CASE, do, "Ann", "pagerduty:PLH1HKV") for do in ("acknowledge", "resolve")]


def test_a_status_of_an_issue_asks_what_the_settings_say(here: Door, redis: Any) -> None:
    def moved(to: str) -> str:
        said = {
            "timestamp": int(time.time() * 1000), "webhookEvent": "jira:issue_updated",
            "user": {"accountId": "5b10", "displayName": "Ann"}, "issue": {"id": "1", "fields": {"labels": [CASE]}},
            "changelog": {"id": to, "items": [{"field": "status", "toString": to}]},
        }  # fmt: skip
        body = json.dumps(said).encode()
        answer = Caller(here.where).post(
            "/v1/callbacks/jira/default", body, **{"X-Hub-Signature": f"sha256={mac(body)}"}
        )
        return str(answer.json["status"])

    assert [moved("Closed"), moved("Done")] == ["accepted", "ignored"]
    assert written(redis) == [(CASE, "resolve", "Ann", "jira:5b10")]


def test_a_button_asks_for_what_the_settings_allow_and_nothing_else(here: Door, redis: Any) -> None:
    def press(verb: str) -> str:
        said = {"type": "block_actions", "user": {"id": "U06", "username": "ann"},
                "actions": [{"action_id": f"tocsin.{verb}", "value": CASE, "action_ts": "1"}]}  # fmt: skip
        body, stamp = urlencode({"payload": json.dumps(said)}).encode(), str(int(time.time()))
        answer = Caller(here.where).post(
            "/v1/callbacks/slack/default", body, Content_Type="application/x-www-form-urlencoded",
            **{"X-Slack-Signature": f"v0={mac(f'v0:{stamp}:'.encode() + body)}", "X-Slack-Request-Timestamp": stamp},
        )  # fmt: skip
        return str(answer.json["status"])

    assert [press("acknowledge"), press("escalate")] == ["accepted", "refused"]
    assert written(redis) == [(CASE, "acknowledge", "ann", "slack:U06")]
    eventually(lambda: redis.xlen(Keys("default").refusals) == 1)


def test_who_signs_as_we_do_may_ask_for_its_verbs(here: Door, redis: Any) -> None:
    assert [crm(here, "note").json["status"], crm(here, "close", "m2").json["status"]] == ["accepted", "refused"]
    assert written(redis) == [(CASE, "note", "ann", "callback:crm")]


def test_a_wrong_signature_asks_for_nothing_and_is_recorded(here: Door, redis: Any) -> None:
    bad = pagerduty(here, key="another-key")
    missing = Caller(here.where).post("/v1/callbacks/pagerduty/default", b"{}")
    unsigned = crm(here, "erase")
    assert [(a.status, a.json.get("reason")) for a in (bad, missing)] == [
        (401, "bad_signature"), (401, "missing_signature"),
    ]  # fmt: skip
    assert unsigned.json["status"] == "refused"
    assert written(redis) == []
    eventually(lambda: redis.xlen(Keys("default").refusals) == 3)


def test_news_of_something_else_is_answered_and_left(here: Door, redis: Any) -> None:
    other = pagerduty(here, "incident.annotated"), pagerduty(here, case="an incident of somebody else")
    assert [(a.status, a.json["status"]) for a in other] == [(200, "ignored")] * 2
    assert written(redis) == []


def test_what_is_not_open_is_not_there_and_what_is_open_is_described(here: Door) -> None:
    anybody = Caller(here.where)
    assert anybody.post("/v1/callbacks/pagerduty/housing", b"{}").status == 404
    assert anybody.post("/v1/callbacks/zendesk/default", b"{}").status == 404
    paths = anybody("GET", "/openapi.json").json["paths"]
    assert {path for path in paths if "callbacks" in path} == {f"/v1/callbacks/{tool}/default" for tool in OPEN}


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ({"pagerduty": {"secrets": []}}, "no secret"),
        ({"pagerduty": {"secrets": ["env:NOBODY"]}}, "NOBODY"),
        ({"fax": {"secrets": ["env:KEY"]}}, "form 'fax'"),
        ({"jira": {"secrets": ["env:KEY"], "statuses": {"Done": "vanish"}}}, "vanish"),
        ({"jira": {"secrets": ["env:KEY"], "allow": ["vanish"]}}, "vanish"),
    ],
)
def test_settings_that_cannot_be_used_say_so(store_url: str, said: Any, why: str) -> None:
    with pytest.raises(SettingsError, match=why), door(store_url, ENVIRON, callbacks={"default": said}):
        pass
