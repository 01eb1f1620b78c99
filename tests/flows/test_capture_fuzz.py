"""Hostile input at the door: whatever comes, no answer is a 500, the door lives, and what is accepted is there."""

import json
import string
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from connectors.embedded import Embedded
from connectors.http_records import BadBody, UnknownForm, split
from connectors.keyspace import Keys
from connectors.redis_link import client
from feedback.decode import Decoder
from feedback.metrics import STANDARD
from feedback.records import Action, Envelope, Response
from tests.flows.door import Caller, door
from tests.fuzz import examples

FORMS = ["application/json", "application/x-ndjson", "application/cloudevents+json",
         "application/cloudevents-batch+json", "text/plain", "application/json; charset=\x7f", "", "*/*"]  # fmt: skip
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=30),
    lambda below: st.lists(below, max_size=4) | st.dictionaries(st.text(max_size=10), below, max_size=4),
    max_leaves=10,
)
FIELDS = ["id", "kind", "source", "programme", "customer", "occurred_at", "text", "scores", "attributes", "case", "do",
          "by", "at", "reason", "data", "specversion", "type", "time", "data_base64"]  # fmt: skip
NEARLY = st.dictionaries(
    st.sampled_from(FIELDS),
    JSON | st.sampled_from(["response", "action", "control", "note", "1.0", "2026-11-02T09:00:00Z", "default", "x"]),
)
SOUND: dict[str, Any] = {"id": "x", "scores": {"nps": 3}, "case": "c-1-0123456789ab", "do": "note", "by": "ana"}
ALTERED = st.tuples(st.uuids(), st.dictionaries(st.sampled_from(FIELDS), JSON, max_size=1)).map(
    lambda found: {**SOUND, "id": str(found[0]), **found[1]}
)
BODIES = st.one_of(
    (ALTERED | st.lists(ALTERED, max_size=4)).map(lambda value: json.dumps(value).encode()),
    st.binary(max_size=200),
    (NEARLY | st.lists(NEARLY | JSON, max_size=5) | JSON).map(lambda value: json.dumps(value).encode()),
    st.lists(NEARLY, max_size=4).map(lambda rows: b"\n".join(json.dumps(row).encode() for row in rows)),
    NEARLY.map(lambda row: json.dumps(row, ensure_ascii=False).encode("utf-8", "surrogatepass")),
)
VALUES = st.text(string.printable.translate({ord(c): None for c in "\r\n\x0b\x0c"}), max_size=40)
HEADERS = st.just({}) | st.dictionaries(
    st.sampled_from(["Idempotency-Key", "ce-id", "ce-source", "ce-type", "ce-specversion", "ce-time", "X-API-Key"]),
    VALUES | st.just("1.0"),
    max_size=4,
)


@settings(max_examples=examples(400), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(FORMS), HEADERS, BODIES)
def test_a_body_is_taken_apart_or_refused_by_name(form: str, headers: dict[str, str], body: bytes) -> None:
    try:
        found = split(form, {name.lower(): value for name, value in headers.items()}, body, 4)
    except (BadBody, UnknownForm):
        return
    decoder = Decoder(STANDARD, frozenset({"default"}))
    for piece in found.pieces:
        decoder.decode(Envelope(raw=piece.raw, source="http", position="", received_at=1e9))


def test_no_request_is_answered_by_a_mistake_of_ours_and_what_is_accepted_is_there(server: Embedded) -> None:
    with client(server.url) as redis:
        redis.flushall()
    decoder = Decoder(STANDARD, frozenset({"default"}))
    accepted: set[str] = set()
    with door(server.url, hooks={"default": {}}, rate=1e6, burst=1e7) as here:
        key = here.caller("capture", "act:*").key

        @settings(max_examples=examples(250), deadline=None)
        @given(
            st.sampled_from(
                [
                    "/v1/responses",
                    "/v1/responses",
                    "/v1/actions",
                    "/v1/actions",
                    "/v1/hooks/typeform/default",
                    "/v1/%ff",
                    "/openapi.json",
                ]
            ),
            st.sampled_from(["POST", "POST", "POST", "GET", "PUT", "OPTIONS"]),
            st.sampled_from([*FORMS[:1] * 5, *FORMS[1:5]]),
            HEADERS,
            BODIES,
            st.sampled_from([True, True, False]),
        )
        def hammer(path: str, method: str, form: str, headers: dict[str, str], body: bytes, known: bool) -> None:
            named = {**headers, "Content_Type": form}
            answer: Any = Caller(here.where, key if known else "")(method, path, body, **named)
            assert answer.status < 500, (answer.status, answer.body)
            if not known:
                assert answer.status != 202
            if answer.status == 202:
                accepted.update(row["entry"] for row in answer.json["results"] if row["status"] == "accepted")

        hammer()
        assert accepted  # or nothing was tried
        assert Caller(here.where)("GET", "/health").status == 200
    keys = Keys("default")
    with client(server.url) as redis:
        entries = [*redis.xrange(keys.inbox), *redis.xrange(keys.actions)]
    assert {id_.decode() for id_, _ in entries} == accepted
    for id_, fields in entries:  # and the engine can read every one of them
        at = int(id_.partition(b"-")[0]) / 1000
        envelope = Envelope(raw=fields[b"record"], source="in", position="", received_at=at, principal="key:crm")
        assert isinstance(decoder.decode(envelope), Response | Action)
