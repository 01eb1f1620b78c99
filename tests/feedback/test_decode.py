"""Decoding: ordinary records, every way a record can be wrong, and that nothing at all makes it raise."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from feedback.decode import FUTURE_S, KEPT_OF_ORIGINAL, MAX_RECORD, MAX_TEXT, REASONS, SKEW_S, Decoder
from feedback.encode import encode_action, encode_response
from feedback.instants import LATEST, Instant, rfc3339
from feedback.metrics import STANDARD
from feedback.records import Action, Control, Envelope, Outcome, Record, Rejected, Response, Verb

RECEIVED = Instant(1_793_610_000)  # 2026-11-02T09:00:00Z
PROGRAMMES = frozenset({"default", "housing"})


def decoder() -> Decoder:
    return Decoder(STANDARD, PROGRAMMES)


def envelope(raw: bytes, **more: Any) -> Envelope:
    return Envelope(raw=raw, source="file", position="1", received_at=RECEIVED + 0.25, **more)


def decode(record: Any, **more: Any) -> Record:
    raw = record if isinstance(record, bytes) else json.dumps(record).encode()
    return decoder().decode(envelope(raw, **more))


def response(**fields: Any) -> Response:
    read = decode({"id": "1", **fields})
    assert isinstance(read, Response), read
    return read


def rejected(record: Any, **more: Any) -> Rejected:
    read = decode(record, **more)
    assert isinstance(read, Rejected), read
    return read


def at(seconds: int) -> str:
    return rfc3339(Instant(RECEIVED + seconds))


# -- responses ----------------------------------------------------------------------------------------------


def test_absent_fields_come_from_the_door() -> None:
    read = response()
    assert (read.programme, read.source, read.customer) == ("default", "file", "")
    assert read.occurred_at == read.received_at == RECEIVED
    assert read.arrived == RECEIVED + 0.25


def test_null_means_absent() -> None:
    names = "source customer occurred_at text channel scores attributes kind programme".split()
    assert response(**dict.fromkeys(names)) == response()


def test_unknown_scalars_become_attributes_and_the_rest_is_ignored() -> None:
    read = response(site="Leeds", floor=3, vip=True, nested={"a": 1}, tags=["a"], attributes={"floor": 4})
    assert read.attributes == {"site": "Leeds", "floor": 4.0, "vip": True}


def test_undeclared_score_is_an_attribute_and_is_counted() -> None:
    read = decoder()
    record = read.decode(envelope(b'{"id":"1","scores":{"nps":9,"joy":3}}'))
    assert isinstance(record, Response)
    assert (record.scores, record.attributes) == ({"nps": 9.0}, {"joy": 3.0})
    assert read.undeclared == {"joy": 1}


@pytest.mark.parametrize("written", [9, 9.0, "9", " 9.0 ", "9e0"])
def test_score_may_be_a_number_or_a_numeral(written: Any) -> None:
    assert response(scores={"nps": written}).scores == {"nps": 9.0}


def test_ids_kept_as_numbers_are_text() -> None:
    read = response(id=17, customer=4)
    assert (read.id, read.customer) == ("17", "4")


def test_last_of_a_double_key_counts() -> None:
    read = decode(b'{"id":"1","id":"2"}')
    assert isinstance(read, Response)
    assert read.id == "2"


def test_byte_order_mark_is_passed_over() -> None:
    assert isinstance(decode(b'\xef\xbb\xbf{"id":"1"}'), Response)


def test_late_response_keeps_its_own_time() -> None:
    assert response(occurred_at="2026-10-30T08:00:00.9+01:00").occurred_at == 1_793_343_600


def test_kiosk_a_little_ahead_is_believed() -> None:
    assert response(occurred_at=at(FUTURE_S)).occurred_at == RECEIVED + FUTURE_S


def test_escaped_backslash_before_u0000_is_no_nul() -> None:
    assert response(text="\\u0000").text == "\\u0000"


# -- what is wrong, by name ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"", "not_json"),
        (b"hello", "not_json"),
        (b'{"id":"1"', "not_json"),
        (b'{"id":"1"}{}', "not_json"),
        (b'{"id":"1","scores":{"nps":NaN}}', "not_json"),
        (b'{"id":"1","scores":{"nps":Infinity}}', "not_json"),
        (b"[1]", "not_an_object"),
        (b"null", "not_an_object"),
        (b'"text"', "not_an_object"),
        (b'{"id":"1","text":"\xff"}', "bad_text"),
        (b'{"id":"1","text":"\xed\xa0\x80"}', "bad_text"),
        (b'{"id":"1","text":"\\ud800"}', "bad_text"),
        (b'{"id":"1","text":"\\ud800 and more"}', "bad_text"),
        (b'{"id":"1","text":"\\udc00"}', "bad_text"),
        (b'{"id":"1","text":"a\\u0000b"}', "bad_text"),
        (b'{"id":"1","site":"a\\u0000b"}', "bad_text"),
        (b'{"id":"1","attributes":{"a\\u0000b":1}}', "bad_text"),
        (b'{"id":"1","text":"a\x00b"}', "bad_text"),
        (b"\x00\x00\x00", "bad_text"),
        (b"{}", "missing_field"),
        (b'{"id":null}', "missing_field"),
        (b'{"id":""}', "bad_id"),
        (b'{"id":true}', "wrong_type"),
        (b'{"id":["1"]}', "wrong_type"),
        (b'{"id":"1","text":5}', "wrong_type"),
        (b'{"id":"1","scores":[9]}', "wrong_type"),
        (b'{"id":"1","scores":{"nps":true}}', "wrong_type"),
        (b'{"id":"1","scores":{"nps":"nine"}}', "wrong_type"),
        (b'{"id":"1","scores":{"nps":"nan"}}', "wrong_type"),
        (b'{"id":"1","scores":{"nps":"1_0"}}', "wrong_type"),
        (b'{"id":"1","scores":{"nps":1e999}}', "wrong_type"),
        (b'{"id":"1","floor":' + b"9" * 400 + b"}", "wrong_type"),
        (b'{"id":"1","scores":{"joy":"1e999"}}', "bad_score"),
        (b'{"id":"1","scores":{"nps":11}}', "score_out_of_range"),
        (b'{"id":"1","scores":{"nps":-1}}', "score_out_of_range"),
        (b'{"id":"1","scores":{"csat":"0"}}', "score_out_of_range"),
        (b'{"id":"1","occurred_at":"yesterday"}', "bad_time"),
        (b'{"id":"1","occurred_at":"2026-02-30T10:00:00Z"}', "bad_time"),
        (b'{"id":"1","occurred_at":"2026-11-02T10:00:00+99:00"}', "bad_time"),
        (b'{"id":"1","occurred_at":1793610000}', "wrong_type"),
        (b'{"id":"1","occurred_at":"2026-11-02T08:00:00"}', "naive_time"),
        (b'{"id":"1","occurred_at":"2026-11-02T09:05:01Z"}', "impossible_time"),
        (b'{"id":"1","occurred_at":"1969-12-31T23:59:59Z"}', "impossible_time"),
        (b'{"id":"1","occurred_at":"0001-01-01T00:00:00+14:00"}', "impossible_time"),
        (b'{"id":"1","programme":"unheard-of"}', "unknown_programme"),
        (b'{"id":"1","kind":"gossip"}', "unknown_kind"),
        (b'{"id":"1","kind":"action","do":"dance","case":"c","by":"ann"}', "unknown_verb"),
        (b'{"id":"1","kind":"action","do":"note","by":"ann"}', "missing_field"),
        (b'{"id":"1","kind":"action","do":"note","case":"c"}', "missing_field"),
        (b'{"kind":"action","do":"note","case":"c","by":"ann"}', "missing_field"),
        (b'{"id":"1","kind":"action","do":"note","case":"c","by":"ann","data":[]}', "wrong_type"),
        (b'{"id":"1","kind":"action","do":"note","case":"c","by":"ann","at":"2026-11-02T10:00:00Z"}', "impossible_time"),  # noqa: E501
        (b'{"id":"1","kind":"action","do":"note","case":"c","by":"ann","data":{"n":' + b"9" * 30 + b"}}", "wrong_type"),
        (b'{"id":"1","kind":"outcome","customer":"x"}', "missing_field"),
        (b'{"id":"1","kind":"control"}', "missing_field"),
        (b"[" * 10_000, "too_deep"),
        (b'{"id":"1","a":' * 10_000, "too_deep"),
        (b'{"id":"1","a":' + b"[" * 200 + b"]" * 200 + b"}", "too_deep"),
        (b'{"id":"' + b"x" * 257 + b'"}', "bad_id"),
        (b'{"id":"1","customer":"' + b"x" * 257 + b'"}', "bad_id"),
        (b'{"id":"1","site":"' + b"x" * 1025 + b'"}', "attribute_too_long"),
        (b'{"id":"1","attributes":{"' + b"x" * 257 + b'":1}}', "attribute_too_long"),
        (json.dumps({"id": "1", **{f"a{n}": n for n in range(65)}}).encode(), "too_many_attributes"),
        (b'{"id":"1","text":"' + b"x" * (MAX_TEXT + 1) + b'"}', "text_too_long"),
        (b'{"id":"1","text":"' + b"x" * 1_000_000 + b'"}', "too_large"),
    ],
    ids=lambda value: value if isinstance(value, str) else repr(value[:40]),
)  # fmt: skip
def test_reason(raw: bytes, reason: str) -> None:
    found = rejected(raw)
    assert found.reason == reason
    assert found.original == raw[:KEPT_OF_ORIGINAL]
    assert 0 < len(found.detail) <= 500


def test_longest_text_is_read() -> None:
    assert len(response(text="é" * MAX_TEXT).text) == MAX_TEXT


def test_detail_names_field_found_and_expected() -> None:
    assert rejected({"id": "1", "scores": {"nps": 11}}).detail == "scores.nps is 11; expected 0 to 10"


def test_detail_holds_none_of_the_customers_words() -> None:
    for fields in ({"text": ["dreadful"]}, {"text": "dreadful", "id": None}, {"text": "dreadful" * 9000}):
        assert "dreadful" not in rejected({"id": "1", **fields}).detail


def test_letter_is_filed_under_the_records_own_programme() -> None:
    assert rejected({"id": "1", "programme": "housing", "text": 1}).programme == "housing"
    assert rejected({"id": "1", "programme": "other"}).programme == "default"
    assert rejected(b"{", programme="nowhere").programme == "default"


def test_door_without_a_record_says_why() -> None:
    found = rejected(b"a;b;c", fault="bad_row: 3 cells under 2 columns")
    assert (found.reason, found.detail, found.original) == ("bad_row", "3 cells under 2 columns", b"a;b;c")
    assert rejected(b"", fault="novel: what").reason == "door_fault"


# -- actions, outcomes, controls ----------------------------------------------------------------------------


def action(**fields: Any) -> Action:
    record = {"kind": "action", "id": "1", "case": "c-1-0123456789ab", "do": "note", "by": "ann", **fields}
    read = decode(record, principal="key 7")
    assert isinstance(read, Action), read
    return read


def test_action_has_the_doors_principal_and_not_the_records() -> None:
    assert action(principal="root").principal == "key 7"


def test_door_that_knows_who_acts_speaks_for_a_record_that_does_not() -> None:
    assert action(by=None).by == "key 7"


def test_action_takes_place_when_it_says_and_never_after_receipt() -> None:
    assert action(at=at(-600)).at == RECEIVED - 600
    assert action(at=at(SKEW_S)).at == RECEIVED
    assert action().at == RECEIVED


def test_outcome_and_control_are_read() -> None:
    outcome = decode({"kind": "outcome", "id": "1", "customer": "c", "result": "left"})
    assert isinstance(outcome, Outcome)
    assert (outcome.customer, outcome.result, outcome.occurred_at) == ("c", "left", RECEIVED)
    control = decode({"kind": "control", "id": "1", "do": "rules", "data": {"book": "x"}})
    assert isinstance(control, Control)
    assert (control.do, control.data) == ("rules", {"book": "x"})


# -- properties ---------------------------------------------------------------------------------------------

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
KNOWN = ("id kind source programme customer occurred_at channel text scores attributes case do by at data reason "
         "result").split()  # fmt: skip
records = st.dictionaries(st.sampled_from(KNOWN) | st.text(max_size=5), json_values, max_size=8)
kinds = st.sampled_from(["response", "action", "outcome", "control", None])


def check_is_record(raw: bytes) -> None:
    read = decoder().decode(envelope(raw))
    if isinstance(read, Rejected):
        assert read.reason in REASONS
    else:
        assert read.received_at == RECEIVED
        msgspec.msgpack.encode(read)  # what later steps do with it


@given(st.binary(max_size=200))
@example(b"\xff\xfe{\x00}\x00")
def test_no_bytes_make_it_raise(raw: bytes) -> None:
    check_is_record(raw)


@given(records, kinds)
def test_no_json_makes_it_raise(record: dict[str, Any], kind: str | None) -> None:
    check_is_record(json.dumps({"id": "1", "kind": kind, **record}).encode("utf-8", "surrogatepass"))


@given(st.data())
def test_no_damage_to_a_good_record_makes_it_raise(data: st.DataObject) -> None:
    raw = bytearray(
        b'{"id":"17","text":"Caf\xc3\xa9 \\ud83d\\ude00","scores":{"nps":9},"occurred_at":"2026-11-02T08:00:00Z"}'
    )
    place = data.draw(st.integers(0, len(raw) - 1))
    raw[place : place + data.draw(st.integers(0, 9))] = data.draw(st.binary(max_size=4))
    check_is_record(bytes(raw))


words = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=30)
instants = st.integers(0, RECEIVED).map(Instant)
responses = st.builds(
    Response,
    programme=st.sampled_from(sorted(PROGRAMMES)),
    source=words.filter(bool),
    id=words.filter(bool),
    customer=words,
    occurred_at=instants,
    received_at=st.just(RECEIVED),
    arrived=st.just(RECEIVED + 0.25),
    channel=words,
    touchpoint=words,
    language=words,
    text=words,
    scores=st.fixed_dictionaries({}, optional={"nps": st.floats(0, 10), "csat": st.floats(1, 5)}),
    attributes=st.dictionaries(words, words | st.booleans() | st.floats(allow_nan=False, allow_infinity=False)),
)
actions = st.builds(
    Action,
    programme=st.sampled_from(sorted(PROGRAMMES)),
    id=words.filter(bool),
    case=words.filter(bool),
    do=st.sampled_from(Verb),
    by=words.filter(bool),
    at=instants,
    received_at=st.just(RECEIVED),
    arrived=st.just(RECEIVED + 0.25),
    reason=words,
    data=st.dictionaries(words, words | st.booleans() | st.none() | st.integers(-(2**63), 2**63 - 1)),
)  # fmt: skip


@given(responses)
def test_decode_undoes_encode_of_responses(sent: Response) -> None:
    assert decoder().decode(envelope(encode_response(sent))) == sent


@given(actions)
def test_decode_undoes_encode_of_actions(sent: Action) -> None:
    door = msgspec.structs.replace(sent, principal="source:file")  # who acts is not the record's to say
    assert decoder().decode(envelope(encode_action(sent))) == door


def test_limits_leave_room_for_the_longest_text() -> None:
    assert 4 * MAX_TEXT < MAX_RECORD
    assert RECEIVED < LATEST
