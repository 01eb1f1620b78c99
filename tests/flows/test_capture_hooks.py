"""Webhooks of tools through the whole door: one response for what is one, nothing lost that was signed."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from connectors.keyspace import Keys
from feedback.decode import Decoder
from feedback.metrics import STANDARD
from feedback.records import Envelope, Rejected, Response
from flows.settings import SettingsError
from tests.connectors.test_hooks import (
    DELIGHTED,
    HELPSCOUT,
    KEY,
    QUALTRICS,
    SURVEYMONKEY,
    SURVICATE,
    TYPEFORM,
    WHSEC,
    signed,
)
from tests.flows.door import Answer, Caller, Door, door, eventually

INBOX = Keys("default").inbox
ENVIRON = {"KEY": KEY, "WHSEC": WHSEC, "TOKEN": "tok-1"}
PLAIN = {"secrets": ["env:KEY"]}
HOOKS = dict.fromkeys(("typeform", "delighted", "helpscout", "survicate", "zendesk"), PLAIN)


@pytest.fixture
def here(store_url: str) -> Iterator[Door]:
    with door(store_url, ENVIRON, hooks={"default": {**HOOKS, "formbricks": {"secrets": ["env:WHSEC"]}}}) as opened:
        yield opened


def send(here: Door, tool: str, document: Any) -> Answer:
    secret = WHSEC if tool == "formbricks" else KEY
    headers, body = signed(tool, document if isinstance(document, bytes) else json.dumps(document).encode(), secret)
    eventually(lambda: Caller(here.where)("GET", "/ready").status == 200)
    return Caller(here.where).post(f"/v1/hooks/{tool}/default", body, **headers)


def read(redis: Any) -> list[Response | Rejected]:
    """The inbox, as the engine reads it."""
    decoder = Decoder(STANDARD, frozenset({"default"}))
    found = []
    for id_, fields in redis.xrange(INBOX):
        at = int(id_.partition(b"-")[0]) / 1000
        record = decoder.decode(Envelope(raw=fields[b"record"], source="in", position="", received_at=at))
        assert isinstance(record, Response | Rejected)
        found.append(record)
    return found


@pytest.mark.parametrize(
    ("tool", "document"), [("typeform", TYPEFORM), ("helpscout", HELPSCOUT), ("delighted", DELIGHTED)]
)
def test_a_signed_notice_is_a_response_once(here: Door, redis: Any, tool: str, document: Any) -> None:
    assert send(here, tool, document).json == {"status": "accepted"}
    assert send(here, tool, document).json == {"status": "duplicate"}
    (response,) = read(redis)
    assert isinstance(response, Response)
    assert (response.source, len(response.scores)) == (tool, 1)


def test_a_score_and_the_comment_that_follows_are_one_response(here: Door, redis: Any) -> None:
    first = json.loads(json.dumps(DELIGHTED))
    first["event_type"] = "survey_response.created"
    first["event_data"]["comment"] = None
    assert [send(here, "delighted", d).json["status"] for d in (first, DELIGHTED, first)] == [
        "accepted", "accepted", "duplicate",
    ]  # fmt: skip
    created, updated = read(redis)
    assert isinstance(created, Response)
    assert isinstance(updated, Response)
    assert (created.id, created.scores) == (updated.id, updated.scores)
    assert [created.text, updated.text] == ["", "Slow, and rude."]


def test_answers_that_come_one_by_one_are_one_response(here: Door, redis: Any) -> None:
    text = json.loads(json.dumps(SURVICATE))
    del text["event"]["questionAnswered"]["choice"]
    text["event"]["questionAnswered"]["text"] = "Too slow."
    assert [send(here, "survicate", d).status for d in (SURVICATE, text, text)] == [200, 200, 200]
    before, whole = read(redis)
    assert isinstance(whole, Response)
    assert isinstance(before, Response)
    assert (before.id, before.text) == (whole.id, "")
    assert (whole.scores, whole.text) == ({"nps": 4}, "Too slow.")


def test_a_wrong_signature_keeps_nothing_and_is_recorded(here: Door, redis: Any) -> None:
    headers, body = signed("typeform", json.dumps(TYPEFORM).encode(), "another-secret")
    eventually(lambda: Caller(here.where)("GET", "/ready").status == 200)
    bad = Caller(here.where).post("/v1/hooks/typeform/default", body, **headers)
    missing = Caller(here.where).post("/v1/hooks/typeform/default", body)
    stale = send(here, "zendesk", {})
    told = [(a.status, a.json["reason"]) for a in (bad, missing, stale)]
    assert told == [(401, "bad_signature"), (401, "missing_signature"), (401, "stale_timestamp")]
    assert redis.xlen(INBOX) == 0
    eventually(lambda: redis.xlen(Keys("default").refusals) == 3)


def test_what_was_signed_and_cannot_be_read_reaches_the_dead_letters(here: Door, redis: Any) -> None:
    nameless = json.loads(json.dumps(TYPEFORM))
    del nameless["form_response"]["token"]
    beyond = json.loads(json.dumps(TYPEFORM))
    beyond["form_response"]["answers"][0]["number"] = 99
    answers = [send(here, "typeform", d) for d in (nameless, beyond, b"no json")]
    assert [a.status for a in answers] == [200, 200, 200]
    found = read(redis)
    assert [r.reason for r in found if isinstance(r, Rejected)] == [
        "missing_field", "score_out_of_range", "missing_field",
    ]  # fmt: skip
    assert b"Nobody rang back." in found[0].original  # type: ignore[union-attr]


def test_a_notice_about_something_else_is_left(here: Door, redis: Any) -> None:
    assert send(here, "delighted", {**DELIGHTED, "event_type": "unsubscribe.created"}).json == {"status": "ignored"}
    assert redis.xlen(INBOX) == 0


def test_only_what_the_settings_open_is_open(here: Door) -> None:
    anybody = Caller(here.where)
    assert anybody("HEAD", "/v1/hooks/typeform/default").status == 200
    assert anybody("HEAD", "/v1/hooks/typeform/housing").status == 404
    assert anybody.post("/v1/hooks/nobody/default", {}).json["reason"] == "no_such_hook"


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ({"typeform": {"secrets": ["env:NONE"]}}, "no NONE"),
        ({"typeform": {"secrets": []}}, "no secret"),
        ({"nobody": PLAIN}, "no such tool"),
        ({"formbricks": PLAIN}, "begins with whsec_"),
        ({"qualtrics": {**PLAIN, "token": "env:TOKEN"}}, "no base"),
        ({"surveymonkey": PLAIN}, "no token"),
        ({"typeform": {**PLAIN, "scores": {"nps": "a..b"}}}, "is no path"),
    ],
)
def test_a_hook_that_cannot_work_is_refused_at_the_start(store_url: str, said: Any, told: str) -> None:
    with pytest.raises(SettingsError, match=told), door(store_url, ENVIRON, hooks={"default": said}):
        pass


# -- answers that are fetched --------------------------------------------------------------------------------------


class Api(ThreadingHTTPServer):
    """Stands in for a tool's API: wants its token, and fails as often as it is told to."""

    def __init__(self, failures: list[int], answer: Any) -> None:
        self.failures, self.answer = failures, json.dumps(answer).encode()
        self.asked: list[tuple[str, str]] = []
        super().__init__(("127.0.0.1", 0), _Get)


class _Get(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        api = self.server
        assert isinstance(api, Api)
        token = self.headers.get("X-API-TOKEN", "") or self.headers.get("Authorization", "")
        api.asked.append((self.path, token))
        status = api.failures.pop(0) if api.failures else 200
        self.send_response(status)
        if status == 429:
            self.send_header("Retry-After", "0")
        self.end_headers()
        self.wfile.write(api.answer if status == 200 else b"")

    def log_message(self, format: str, *args: object) -> None:
        """Nobody reads it."""


QUALTRICS_ANSWER = {
    "result": {
        "responseId": "R_0B7IcnXszjEUHLP",
        "values": {
            "finished": 1, "recordedDate": "2026-11-19T07:58:26.123Z", "externalDataReference": "c-9",
            "QID1": 1, "QID2_TEXT": "I gave up.", "userLanguage": "EN",
        },
        "labels": {},
    },
    "meta": {"httpStatus": "200 - OK"},
}  # fmt: skip
SURVEYMONKEY_ANSWER = {
    "id": "987654321",
    "survey_id": "123456789",
    "date_created": "2026-01-21T10:29:00+00:00",
    "custom_variables": {"customer": "c-8"},
    "pages": [{"id": "1", "questions": [
        {"id": "11", "answers": [{"choice_id": "5", "choice_metadata": {"weight": "2"}}]},
        {"id": "12", "answers": [{"text": "Hard to find."}]},
    ]}],
}  # fmt: skip


@pytest.mark.parametrize(
    ("tool", "notice", "answer", "scores", "text", "path", "token"),
    [
        (
            "qualtrics", QUALTRICS, QUALTRICS_ANSWER, {"nps": "result.values.QID1"},
            "I gave up.", "/API/v3/surveys/SV_1AmkKSDmoZ4XlQx/responses/R_0B7IcnXszjEUHLP", "tok-1",
        ),
        (
            "surveymonkey", SURVEYMONKEY, SURVEYMONKEY_ANSWER,
            {"nps": "pages[*].questions[id=11].answers[0].choice_metadata.weight"},
            "Hard to find.", "/v3/surveys/123456789/responses/987654321/details?simple=true", "Bearer tok-1",
        ),
    ],
)  # fmt: skip
def test_answers_that_a_notice_does_not_hold_are_fetched_until_they_come(
    store_url: str, redis: Any, monkeypatch: pytest.MonkeyPatch, tool: str, notice: Any, answer: Any,
    scores: dict[str, str], text: str, path: str, token: str,
) -> None:  # fmt: skip
    monkeypatch.setattr("connectors.fetching.RETRY_S", (0.05,) * 10)
    api = Api([500, 429, 404], answer)
    threading.Thread(target=api.serve_forever, daemon=True).start()
    said = {
        "secrets": ["env:KEY"], "token": "env:TOKEN", "base": f"http://127.0.0.1:{api.server_port}",
        "allow_private": True, "scores": scores, "text": "result.values.QID2_TEXT",
    }  # fmt: skip
    with door(store_url, ENVIRON, hooks={"default": {tool: said}}) as here:
        assert send(here, tool, notice).json["status"] == "noted"
        assert send(here, tool, notice).json["status"] == "noted"
        eventually(lambda: redis.xlen(INBOX) == 1 and not redis.zcard(Keys("default").fetches))
    api.shutdown()
    (response,) = read(redis)
    assert isinstance(response, Response)
    assert (len(response.scores), response.text, response.source) == (1, text, tool)
    assert api.asked == [(path, token)] * 4
    assert not redis.hlen(Keys("default").fetch_jobs)


def test_what_can_never_be_fetched_reaches_the_dead_letters(store_url: str, redis: Any) -> None:
    api = Api([301], {})
    threading.Thread(target=api.serve_forever, daemon=True).start()
    said = {**PLAIN, "token": "env:TOKEN", "base": f"http://127.0.0.1:{api.server_port}", "allow_private": True}
    with door(store_url, ENVIRON, hooks={"default": {"surveymonkey": said}}) as here:
        send(here, "surveymonkey", SURVEYMONKEY)
        eventually(lambda: redis.xlen(INBOX) == 1)
    api.shutdown()
    (lost,) = read(redis)
    assert isinstance(lost, Rejected)
    assert b"987654321" in lost.original


def test_a_private_address_is_not_asked_unless_the_settings_say_so(store_url: str, redis: Any) -> None:
    api = Api([], SURVEYMONKEY_ANSWER)
    threading.Thread(target=api.serve_forever, daemon=True).start()
    said = {**PLAIN, "token": "env:TOKEN", "base": f"http://127.0.0.1:{api.server_port}"}
    with door(store_url, ENVIRON, hooks={"default": {"surveymonkey": said}}) as here:
        send(here, "surveymonkey", SURVEYMONKEY)
        again = b'tocsin_fetch_attempts_total{outcome="again",tool="surveymonkey"} 1.0'
        eventually(lambda: again in Caller(here.where)("GET", "/metrics").body)
    api.shutdown()
    assert api.asked == []
    assert redis.zcard(Keys("default").fetches) == 1
