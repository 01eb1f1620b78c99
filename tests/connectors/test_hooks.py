"""Each tool's mapping on payloads of the documented shape, and its signature: good, bad, missing, stale."""

import base64
import hmac
import json
from typing import Any
from urllib.parse import urlencode

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors import hooks
from connectors.hook_paths import Path
from connectors.hook_signatures import refusal
from connectors.hooks import HookError, HookSettings
from connectors.signing import Secret, sign
from feedback.decode import Decoder
from feedback.metrics import STANDARD
from feedback.records import Envelope, Response

NOW = 1_795_453_200.0
KEY = "client&secret-of-many-characters"
WHSEC = "whsec_" + base64.b64encode(b"0123456789abcdef0123456789abcdef").decode()
decoder = Decoder(STANDARD, frozenset({"default"}))

TYPEFORM = {
    "event_id": "01H",
    "event_type": "form_response",
    "form_response": {
        "form_id": "lT4Z3j",
        "token": "a3a12ec67a136592",
        "landed_at": "2026-11-18T18:07:02Z",
        "submitted_at": "2026-11-18T18:17:02Z",
        "hidden": {"customer": "c-17", "site": "leeds"},
        "calculated": {"score": 9},
        "definition": {"id": "lT4Z3j", "fields": []},
        "answers": [
            {"type": "number", "number": 2, "field": {"id": "a", "type": "opinion_scale", "ref": "nps"}},
            {"type": "text", "text": "Nobody rang back.", "field": {"id": "b", "type": "long_text", "ref": "comment"}},
            {"type": "choice", "choice": {"id": "x", "label": "Leeds"}, "field": {"id": "c", "type": "dropdown"}},
        ],
    },
}
DELIGHTED = {
    "event_type": "survey_response.updated",
    "event_id": "b8d057c59327541d",
    "event_data": {
        "id": "5435",
        "person": {"id": "5975", "email": "charlie@example.com", "name": "Charlie"},
        "survey_type": "nps",
        "score": 3,
        "comment": "Slow, and rude.",
        "permalink": "https://app.delighted.com/r/5pF",
        "created_at": 1_795_450_000,
        "updated_at": 1_795_450_600,
        "person_properties": None,
        "notes": [],
        "tags": [],
    },
}
FORMBRICKS = {
    "webhookId": "w1",
    "event": "responseFinished",
    "data": {
        "id": "cljwxvjos0003qhnvj2jg4k5i",
        "createdAt": "2026-11-20T09:09:58.254Z",
        "updatedAt": "2026-11-20T09:10:08.254Z",
        "surveyId": "cljwy2m8r0001qhclco1godnu",
        "finished": True,
        "language": "en",
        "data": {"csat": 1, "comment": "It broke twice."},
        "meta": {"url": "https://example.com/pricing", "userAgent": {"os": "Windows"}},
        "contact": {"id": "x", "userId": "c-18"},
        "contactAttributes": {"plan": "pro"},
        "tags": [],
    },
}
QUALTRICS = {
    "Status": "Complete",
    "SurveyID": "SV_1AmkKSDmoZ4XlQx",
    "ResponseID": "R_0B7IcnXszjEUHLP",
    "CompletedDate": "2026-11-19 07:58:25",
    "BrandID": "example",
}
SURVEYMONKEY = {
    "name": "Hook",
    "filter_type": "survey",
    "filter_id": "123",
    "event_type": "response_completed",
    "event_id": "e-1",
    "object_type": "response",
    "object_id": "987654321",
    "event_datetime": "2026-01-21T10:30:00.000000+00:00",
    "resources": {"survey_id": "123456789", "collector_id": "1", "respondent_id": "2", "recipient_id": "0"},
}
ZENDESK = {
    "type": "zen:event-type:ticket.csat_received",
    "account_id": 22129848,
    "id": "2b24ef10-19d6-4740-93cf-8f98ec4776c0",
    "time": "2026-11-19T05:33:18Z",
    "zendesk_event_version": "2022-06-20",
    "subject": "zen:ticket:5158",
    "detail": {"id": "5158", "requester_id": "8447388090494", "assignee_id": "8447388090495", "priority": "NORMAL"},
    "event": {"satisfaction_score": {"score": "BAD", "comment": "Third time I ask."}},
}
HELPSCOUT = {
    "id": 5434,
    "customer": {"id": 449379, "firstName": "John", "emails": [{"id": 1, "value": "john@example.com"}]},
    "ticketId": 1560011,
    "threadId": 3002084,
    "mailbox": {"id": 1234, "name": "My Mailbox"},
    "rating": "Bad",
    "comments": "he was no help",
    "createdAt": "2026-11-13T12:34:12Z",
    "modifiedAt": "2026-11-14T20:18:33Z",
}
SURVICATE = {
    "messageId": "c0101a21572ca643fd9f9ad40a5a4650",
    "deliveryTries": 0,
    "event": {
        "questionAnswered": {
            "responseUuid": "3fa85f64-5717-4562-b3fc-2c963f66afa6",
            "survey": {"id": "b92b6ecae6dd7207", "name": "Satisfaction"},
            "url": "https://survey.survicate.com/43f2",
            "timestamp": "2026-11-10T06:46:02+00:00",
            "respondent": {"id": "534759", "uuid": "279cd4ab", "attributes": [], "links": []},
            "question": {"id": 12123, "body": "Would you recommend us?"},
            "choice": {"id": 4, "body": "detractor", "comment": None},
        }
    },
}


def document_of(tool: str) -> Any:
    return {"typeform": TYPEFORM, "delighted": DELIGHTED, "formbricks": FORMBRICKS, "zendesk": ZENDESK,
            "helpscout": HELPSCOUT, "survicate": SURVICATE}[tool]  # fmt: skip


@pytest.mark.parametrize(
    ("tool", "id_", "customer", "scores", "text", "occurred_at"),
    [
        ("typeform", "a3a12ec67a136592", "c-17", {"nps": 2}, "Nobody rang back.", "2026-11-18T18:17:02Z"),
        ("delighted", "5435", "charlie@example.com", {"nps": 3}, "Slow, and rude.", "2026-11-23T16:06:40Z"),
        ("formbricks", "cljwxvjos0003qhnvj2jg4k5i", "c-18", {"csat": 1}, "It broke twice.", "2026-11-20T09:09:58.254Z"),
        ("zendesk", "5158", "8447388090494", {"csat": 1}, "Third time I ask.", "2026-11-19T05:33:18Z"),
        ("helpscout", "5434", "john@example.com", {"csat": 1}, "he was no help", "2026-11-14T20:18:33Z"),
        ("survicate", "3fa85f64-5717-4562-b3fc-2c963f66afa6", "279cd4ab", {"nps": 4}, "", "2026-11-10T06:46:02+00:00"),
    ],
)  # fmt: skip
def test_a_tools_notice_is_one_response(
    tool: str, id_: str, customer: str, scores: dict[str, float], text: str, occurred_at: str
) -> None:
    record = hooks.response_of(hooks.load(tool), document_of(tool))
    said = (record["id"], record["customer"], record["scores"], record.get("text", ""), record["occurred_at"])
    assert said == (id_, customer, scores, text, occurred_at)
    read = decoder.decode(Envelope(raw=msgspec.json.encode(record), source="x", position="1", received_at=NOW))
    assert isinstance(read, Response)
    assert (read.source, read.id) == (tool, id_)


@pytest.mark.parametrize(
    ("tool", "document", "address"),
    [
        ("qualtrics", QUALTRICS, "https://x.qualtrics.com/API/v3/surveys/SV_1AmkKSDmoZ4XlQx/responses/R_0B7IcnXszjEUHLP"),
        (
            "surveymonkey",
            SURVEYMONKEY,
            "https://api.surveymonkey.com/v3/surveys/123456789/responses/987654321/details?simple=true",
        ),
    ],
)  # fmt: skip
def test_a_notice_without_answers_says_where_they_are(tool: str, document: Any, address: str) -> None:
    mapping = hooks.load(tool)
    if tool == "qualtrics":
        mapping = hooks.with_settings(mapping, HookSettings(secrets=(), base="https://x.qualtrics.com/"))
    assert mapping.fetch is not None
    assert hooks.address_of(mapping.fetch, document) == address


@pytest.mark.parametrize("bad", ["", "../../admin", "a/b", "a?b=c", "..", "x" * 129, {"a": 1}, None])
def test_an_id_cannot_lead_a_fetch_elsewhere(bad: Any) -> None:
    mapping = hooks.load("surveymonkey")
    assert mapping.fetch is not None
    with pytest.raises(hooks.NotANotice):
        hooks.address_of(mapping.fetch, {**SURVEYMONKEY, "object_id": bad})


# -- signatures ----------------------------------------------------------------------------------------------------


def signed(tool: str, body: bytes, secret: str = KEY) -> tuple[dict[str, str], bytes]:
    """The headers and the body that *tool* would send: written here again from its documentation."""

    def digest(algorithm: str, what: bytes = body) -> bytes:
        return hmac.digest(secret.encode(), what, algorithm)

    def b64(found: bytes) -> str:
        return base64.b64encode(found).decode()

    match tool:
        case "typeform":
            return {"typeform-signature": "sha256=" + b64(digest("sha256"))}, body
        case "delighted":
            return {"x-delighted-webhook-signature": "sha256=" + digest("sha256").hex()}, body
        case "formbricks":
            return sign([Secret(secret)], "msg_1", int(NOW), body), body
        case "surveymonkey":
            return {"sm-signature": b64(digest("sha1")), "sm-apikey": "client"}, body
        case "helpscout":
            return {"x-helpscout-signature": b64(digest("sha1")), "x-helpscout-event": "satisfaction.ratings"}, body
        case "survicate":
            return {"hmac": digest("sha256").hex()}, body
        case "zendesk":
            stamp = "2026-11-23T16:20:00Z"
            found = b64(digest("sha256", stamp.encode() + body))
            return {"x-zendesk-webhook-signature": found, "x-zendesk-webhook-signature-timestamp": stamp}, body
        case "qualtrics":
            form = {"Topic": "example.surveyengine.completedResponse.SV_1", "MSG": body.decode()}
            form["HMAC"] = digest("sha512").hex()
            return {"content-type": "application/x-www-form-urlencoded"}, urlencode(form).encode()
    raise AssertionError(tool)


def why(tool: str, headers: dict[str, str], body: bytes, secret: str = KEY, now: float = NOW - 400) -> str:
    form = hooks.form_of(headers.get("content-type", ""), body)
    return refusal(hooks.load(tool).verify, [secret], headers, form, body, now)


def secret_of(tool: str) -> str:
    return WHSEC if tool == "formbricks" else KEY


ZENDESK_NOW = 1_795_451_000.0  # 2026-11-23T16:23:20Z


def now_of(tool: str) -> float:
    return ZENDESK_NOW if tool == "zendesk" else NOW


@pytest.mark.parametrize("tool", hooks.tools())
def test_a_signature_is_checked_good_bad_and_missing(tool: str) -> None:
    secret, now = secret_of(tool), now_of(tool)
    headers, body = signed(tool, b'{"a": 1}', secret)
    assert why(tool, headers, body, secret, now) == ""
    altered = body.replace(b"1", b"2", 1) if tool != "qualtrics" else body.replace(b"+1%7D", b"+2%7D")
    assert altered != body
    assert why(tool, headers, altered, secret, now) == "bad_signature"
    other = WHSEC.replace("whsec_M", "whsec_N") if tool == "formbricks" else "another-secret"
    assert why(tool, headers, body, other, now) == "bad_signature"
    bare = {"content-type": headers.get("content-type", "")}
    assert why(tool, bare, body.partition(b"&HMAC")[0], secret, now) == "missing_signature"
    # While a secret is being changed either will do.
    form = hooks.form_of(headers.get("content-type", ""), body)
    assert refusal(hooks.load(tool).verify, [other, secret], headers, form, body, now) == ""


@pytest.mark.parametrize("tool", ["formbricks", "zendesk"])
def test_an_old_request_is_stale_where_a_time_is_signed(tool: str) -> None:
    secret = secret_of(tool)
    headers, body = signed(tool, b"{}", secret)
    assert why(tool, headers, body, secret, now_of(tool) + 301) == "stale_timestamp"
    assert why(tool, headers, body, secret, now_of(tool) - 701) == "stale_timestamp"


# -- reading -------------------------------------------------------------------------------------------------------

ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda below: st.lists(below, max_size=4) | st.dictionaries(st.text(max_size=8), below, max_size=4),
    max_leaves=12,
)


@given(st.sampled_from(hooks.tools()), ANYTHING, st.data())
def test_no_notice_stops_a_mapping(tool: str, anything: Any, data: st.DataObject) -> None:
    document = json.loads(json.dumps(document_of(tool) if tool not in ("qualtrics", "surveymonkey") else {}))
    place: Any = document
    while isinstance(place, dict) and place:  # somewhere in a notice as it should be, something else
        name = data.draw(st.sampled_from(sorted(place)))
        if isinstance(place[name], dict) and place[name] and data.draw(st.booleans()):
            place = place[name]
            continue
        place[name] = anything
        break
    hooks.response_of(hooks.load(tool), document)
    hooks.response_of(hooks.load(tool), anything)


def test_what_a_house_says_goes_before_the_mapping() -> None:
    said = msgspec.convert(
        {
            "secrets": [],
            "scores": {"stars": {"path": "form_response.answers[2].choice.label", "map": {"Leeds": 4}}},
            "text": "form_response.hidden.site",
        },
        HookSettings,
    )
    record = hooks.response_of(hooks.with_settings(hooks.load("typeform"), said), TYPEFORM)
    assert record["scores"] == {"nps": 2.0, "stars": 4.0}
    assert record["text"] == "leeds\nNobody rang back."


def test_answers_of_one_response_are_put_together() -> None:
    score = {"id": "r", "scores": {"nps": 2.0}, "occurred_at": "t1"}
    comment = {"id": "r", "text": "Slow.", "attributes": {"a": 1}, "occurred_at": "t2"}
    whole = hooks.together(hooks.together({}, score), comment)
    assert whole == {"id": "r", "scores": {"nps": 2.0}, "text": "Slow.", "attributes": {"a": 1}, "occurred_at": "t1"}
    assert hooks.together(whole, comment) == whole


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("a.b", [1]),
        ("l[0].n", ["x"]),
        ("l[k.t=q].n", ["y"]),
        ("l[*].n", ["x", "y"]),
        ("l[9].n", []),
        ("a.b.c", []),
        ("none", []),
        ("l[k.t=z].n", []),
    ],
)
def test_a_path_finds_what_lies_there(path: str, found: list[Any]) -> None:
    document = {"a": {"b": 1}, "none": None, "l": [{"n": "x", "k": {"t": "p"}}, {"n": "y", "k": {"t": "q"}}]}
    assert Path(path).find(document) == found


@pytest.mark.parametrize("text", ["", ".", "a.", ".a", "a..b", "a[b", "a[b]", "[0]", "a[=x]"])
def test_what_is_no_path_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"no path|neither"):
        Path(text)


def test_an_unknown_tool_is_named_with_those_that_there_are() -> None:
    with pytest.raises(HookError, match=r"no such tool; there are: delighted, formbricks"):
        hooks.load("../x")
