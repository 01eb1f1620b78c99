"""The HTTP door on a real socket before a real server: what is told is true, and nobody comes in who may not."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from connectors.key_store import KeyStore
from connectors.keyspace import Keys
from tests.flows.door import Caller, Door, door, eventually

RESPONSE = {"id": "r1", "customer": "c1", "scores": {"nps": 2}, "text": "Nobody rang back."}
INBOX, ACTIONS = Keys("default").inbox, Keys("default").actions
ACTION = {"id": "a1", "case": "c-1-0123456789ab", "do": "note", "by": "ana", "reason": "rang"}


@pytest.fixture
def here(store_url: str) -> Iterator[Door]:
    with door(store_url) as opened:
        yield opened


def records(redis: Any, stream: str = INBOX) -> list[dict[str, Any]]:
    return [json.loads(fields[b"record"]) for _, fields in redis.xrange(stream)]


def test_a_response_is_in_the_stream_when_it_is_accepted(here: Door, redis: Any) -> None:
    answer = here.caller().respond(RESPONSE)
    assert (answer.status, answer.statuses) == (202, ["accepted"])
    (entry,) = redis.xrange(INBOX)
    assert entry[0].decode() == answer.json["results"][0]["entry"]
    assert json.loads(entry[1][b"record"]) == {**RESPONSE, "source": "http"}
    assert b"principal" not in entry[1]


def test_a_repeated_request_does_not_count_twice_and_an_update_counts(here: Door, redis: Any) -> None:
    caller = here.caller()
    first = caller.respond(RESPONSE)
    again = caller.respond(RESPONSE)
    assert (again.status, again.statuses) == (200, ["duplicate"])
    assert again.json["results"][0]["entry"] == first.json["results"][0]["entry"]
    updated = caller.respond({**RESPONSE, "text": "They rang now."})
    assert updated.statuses == ["accepted"]
    # The first one, sent again so late, must not undo what came after it.
    assert caller.respond(RESPONSE).statuses == ["duplicate"]
    assert [r["text"] for r in records(redis)] == ["Nobody rang back.", "They rang now."]


def test_a_redis_that_answers_and_takes_nothing_is_told_of_and_over_by_itself(here: Door, redis: Any) -> None:
    caller = here.caller()
    redis.config_set("maxmemory", 1)
    try:
        eventually(lambda: caller("GET", "/ready").status == 503)
        assert "used memory > 'maxmemory'" in caller("GET", "/ready").json["reasons"]["keys"]
        refused = caller.respond(RESPONSE)
    finally:
        redis.config_set("maxmemory", 0)
    assert (refused.status, refused.json["reason"], refused.headers["retry-after"]) == (503, "redis_away", "1")
    eventually(lambda: caller("GET", "/ready").status == 200)
    assert caller.respond(RESPONSE).statuses == ["accepted"]


def test_a_batch_is_answered_record_by_record(here: Door, redis: Any) -> None:
    batch = [RESPONSE, {"id": "r2", "scores": {"nps": 11}}, {"scores": {}}, 7, {**RESPONSE, "id": "r3"}, ACTION]
    answer = here.caller().respond([*batch[:5], {**ACTION, "kind": "action"}, {**RESPONSE, "programme": "housing"}])
    told = [(row["status"], row.get("reason")) for row in answer.json["results"]]
    assert answer.status == 202
    assert told == [
        ("accepted", None),
        ("rejected", "score_out_of_range"),
        ("rejected", "missing_field"),
        ("rejected", "not_an_object"),
        ("accepted", None),
        ("rejected", "wrong_door"),
        ("rejected", "wrong_programme"),
    ]
    assert [row["index"] for row in answer.json["results"]] == list(range(7))
    assert [r["id"] for r in records(redis)] == ["r1", "r3"]


EVENT = {"specversion": "1.0", "id": "e1", "source": "/kiosk/7", "type": "x.answered", "time": "2026-11-02T09:00:00Z"}


@pytest.mark.parametrize(
    ("body", "headers", "expected"),
    [
        (b'{"id":"1"}\n\n{"id":"2"}\r\n', {"Content_Type": "application/x-ndjson"}, [("1", "http"), ("2", "http")]),
        (
            json.dumps({**EVENT, "data": {"scores": {"nps": 3}}}).encode(),
            {"Content_Type": "application/cloudevents+json; charset=utf-8"},
            [("e1", "/kiosk/7")],
        ),
        (
            json.dumps(
                [{**EVENT, "data": {"id": "own", "source": "mine"}}, {**EVENT, "id": "e2", "data": {}}]
            ).encode(),
            {"Content_Type": "application/cloudevents-batch+json"},
            [("own", "mine"), ("e2", "/kiosk/7")],
        ),
        (
            b'{"scores":{"nps":3}}',
            {"Content_Type": "application/json", **{f"ce-{name}": value for name, value in EVENT.items()}},
            [("e1", "/kiosk/7")],
        ),
        (b'\xef\xbb\xbf {"id": 7}', {"Content_Type": ""}, [(7, "http")]),
    ],
    ids=["lines", "structured", "batch", "binary", "no content type"],
)
def test_every_form_of_a_body_is_read(
    here: Door, redis: Any, body: bytes, headers: dict[str, str], expected: list[tuple[Any, str]]
) -> None:
    answer = here.caller()("POST", "/v1/responses", body, **headers)
    assert answer.status == 202, answer.body
    assert [(r["id"], r["source"]) for r in records(redis)] == expected


@pytest.mark.parametrize(
    ("body", "headers", "status", "reason"),
    [
        (b"", {}, 422, "not_json"),
        (b"{", {}, 422, "not_json"),
        (b"[]", {}, 422, "empty_batch"),
        (b"[" * 100_000, {}, 422, "not_json"),
        (b"[" + b"1," * 40 + b"1]", {}, 413, "too_many_records"),
        (b"x" * 5000, {}, 413, "too_large"),
        (b"<a/>", {"Content_Type": "application/xml"}, 415, "unknown_form"),
        (b'{"id":"1"}', {"Idempotency_Key": "k" * 256}, 400, "bad_idempotency_key"),
        (b'{"specversion":"0.3"}', {"Content_Type": "application/cloudevents+json"}, 422, "bad_cloudevent"),
        (b"no gzip at all", {"Content_Encoding": "gzip"}, 400, "cut_off"),
    ],
)
def test_what_cannot_be_read_is_the_senders_turn(
    store_url: str, body: bytes, headers: dict[str, str], status: int, reason: str
) -> None:
    with door(store_url, max_body=4096 if len(body) < 100_000 else 4 * 1024 * 1024, max_batch=40) as here:
        answer = here.caller().respond(body, **headers)
    assert (answer.status, answer.json["reason"]) == (status, reason)
    assert answer.headers["content-type"] == "application/problem+json"


def test_an_idempotency_key_is_for_one_request(here: Door, redis: Any) -> None:
    caller = here.caller()
    assert caller.respond(RESPONSE, Idempotency_Key="k1").status == 202
    assert caller.respond(RESPONSE, Idempotency_Key="k1").status == 200
    other = caller.respond({**RESPONSE, "id": "r2"}, Idempotency_Key="k1")
    assert (other.status, other.json["reason"]) == (409, "idempotency_key_reused")
    assert [r["id"] for r in records(redis)] == ["r1"]


def test_an_action_carries_the_principal_of_its_key_whatever_its_body_says(here: Door, redis: Any) -> None:
    caller = here.caller("act:note", name="desk")
    answer = caller.post("/v1/actions", {**ACTION, "principal": "cli:boss"})
    assert answer.statuses == ["accepted"]
    assert caller.post("/v1/actions", {**ACTION, "reason": "again"}).statuses == ["duplicate"]
    ((_, fields),) = redis.xrange(ACTIONS)
    assert fields[b"principal"] == b"key:desk"
    assert json.loads(fields[b"record"])["kind"] == "action"


def test_a_key_opens_only_what_it_allows_and_refusals_are_recorded(here: Door, redis: Any) -> None:
    capture, note = here.caller("capture"), here.caller("act:note", name="desk")
    assert capture.post("/v1/actions", ACTION).status == 403
    assert note.respond(RESPONSE).status == 403
    assert note.post("/v1/actions", {**ACTION, "do": "close"}).status == 403
    mixed = note.post("/v1/actions", [ACTION, {**ACTION, "id": "a2", "do": "erase"}])
    assert (mixed.status, mixed.statuses) == (202, ["accepted", "refused"])
    assert note.post("/v1/actions", {**ACTION, "id": "a3", "programme": "housing"}).json["reason"] == "wrong_programme"
    assert redis.xlen(ACTIONS) == 1
    store = KeyStore(here.url)
    eventually(lambda: len(store.refusals("default", 100)) == 4)
    told = {(row["reason"], row["principal"], row["what"]) for row in store.refusals("default", 100)}
    assert ("verb_not_allowed", "key:desk", "erase c-1-0123456789ab") in told
    assert ("not_allowed", "key:crm", "act") in told
    store.close()


@pytest.mark.parametrize("text", ["", "tk_0123456789ab_" + "0" * 64, "nonsense", "tk_", "ÿ"])
def test_nobody_comes_in_without_a_key_in_force(here: Door, text: str) -> None:
    here.caller()
    answer = Caller(here.where).respond(RESPONSE, Authorization=f"Bearer {text}")
    assert (answer.status, answer.json["reason"]) == (401, "unauthorised")
    assert answer.headers["www-authenticate"] == "Bearer"
    assert Caller(here.where).respond(RESPONSE, X_API_Key=text).status == 401


def test_bad_keys_from_one_address_do_not_hold_up_a_good_one(here: Door) -> None:
    caller = here.caller()
    found = {Caller(here.where).respond(RESPONSE).status for _ in range(60)}
    assert found == {401, 429}
    assert caller.respond(RESPONSE).status == 202


def test_a_key_is_rotated_without_downtime_and_a_revoked_one_ends(here: Door) -> None:
    old = here.caller(name="crm")
    store = KeyStore(here.url)
    _, text = store.rotate("crm", ["default"], 1, overlap_s=4_000_000_000)
    new = Caller(here.where, text)
    here.know(2)
    assert [old.respond(RESPONSE).status, new.respond(RESPONSE).status] == [202, 200]
    store.revoke(old.key.split("_")[1], ["default"], 2)
    eventually(lambda: old.respond(RESPONSE).status == 401)
    assert new.respond(RESPONSE).status == 200
    assert all(text.split("_")[2] not in str(value) for value in store.all(["default"]))
    store.close()


def test_a_key_that_is_too_fast_is_told_when_to_come_again(store_url: str, redis: Any) -> None:
    with door(store_url, rate=0.5, burst=10, max_batch=10) as here:
        caller, other = here.caller(), here.caller(name="other")
        spent = caller.respond([{**RESPONSE, "id": str(n)} for n in range(10)])
        slow = caller.respond(RESPONSE)
        assert (spent.status, slow.status, slow.json["reason"]) == (202, 429, "too_fast")
        assert int(slow.headers["retry-after"]) in (1, 2)
        assert other.respond(RESPONSE).status == 202
    assert redis.xlen(INBOX) == 11


def test_a_full_inbox_asks_for_patience(store_url: str, redis: Any) -> None:
    with door(store_url, inbox_limit=2) as here:
        caller = here.caller()
        assert caller.respond([{**RESPONSE, "id": str(n)} for n in range(3)]).status == 202
        eventually(lambda: caller.respond(RESPONSE).status == 503)
        full = caller.respond(RESPONSE)
        assert (full.json["reason"], full.headers["retry-after"]) == ("inbox_full", "5")
        redis.delete(INBOX)
        eventually(lambda: caller.respond(RESPONSE).status < 300)


def test_the_door_describes_itself(here: Door) -> None:
    anybody = Caller(here.where)
    assert "/v1/responses" in anybody("GET", "/openapi.json").json["paths"]
    page = anybody("GET", "/docs")
    assert b"POST /v1/responses" in page.body
    assert page.headers["content-security-policy"].startswith("default-src 'none'")
    eventually(lambda: anybody("GET", "/ready").status == 200)
    assert anybody("GET", "/health").json == {"status": "alive"}
    assert b'tocsin_http_requests_total{route="/health",status="200"}' in anybody("GET", "/metrics").body
    assert anybody("GET", "/nowhere").json["reason"] == "not_found"
    assert anybody("PUT", "/v1/responses").headers["allow"] == "POST"
