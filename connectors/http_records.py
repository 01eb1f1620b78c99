"""The body of a request to records: one JSON object, an array, lines, or CloudEvents in any of their three forms. Pure.

A record stays the bytes that were sent, except that a default `source` is put in, so that it means the same whatever
stream it is read from. Of a CloudEvent the data is the record; what the event says and the data does not (id, source,
time) is put in.
Source: CloudEvents 1.0.2, "HTTP Protocol Binding" 3.1 to 3.3 and "JSON Event Format" 2 to 4.
"""

import base64
import binascii
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

import msgspec

JSON = ("application/json", "text/json", "")
LINES = ("application/x-ndjson", "application/ndjson", "application/jsonl", "application/json-lines")
EVENT, EVENTS = "application/cloudevents+json", "application/cloudevents-batch+json"

_any = msgspec.json.Decoder()
_list = msgspec.json.Decoder(list[msgspec.Raw])
_object = msgspec.json.Decoder(dict[str, Any])


class BadBody(Exception):
    """Nothing can be made of the body. The text says what was found and what was expected."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason, self.detail = reason, detail


class UnknownForm(Exception):
    """A content type that is not taken."""


class Piece(msgspec.Struct, frozen=True):
    """One record of a body, or why there is none in its place."""

    raw: bytes
    reason: str = ""
    detail: str = ""


class Body(msgspec.Struct, frozen=True):
    pieces: tuple[Piece, ...]
    is_batch: bool
    """Whether several could have been sent, so that the answer lists them even when there is one."""


def split(content_type: str, headers: Mapping[str, str], body: bytes, limit: int) -> Body:
    """The records of *body*, *limit* at most. Raises UnknownForm, BadBody."""
    form = content_type.partition(";")[0].strip().lower()
    if "ce-id" in headers or "ce-specversion" in headers:
        return Body((_binary(headers, body),), is_batch=False)
    if form == EVENT:
        return Body((_structured(body),), is_batch=False)
    if form == EVENTS:
        return Body(tuple(_structured(raw) for raw in _items(body, limit)), is_batch=True)
    if form in LINES:
        lines = [line.strip() for line in body.split(b"\n")]
        return _batch([line for line in lines if line], limit)
    if form not in JSON:
        raise UnknownForm(form)
    body = body.removeprefix(b"\xef\xbb\xbf").strip()
    if not body:
        raise BadBody("not_json", "an empty body; expected a response as a JSON object, or an array of them")
    if body.startswith(b"["):
        return _batch(_items(body, limit), limit)
    return Body((Piece(body),), is_batch=False)


def _batch(items: list[bytes], limit: int) -> Body:
    if not items:
        raise BadBody("empty_batch", "no record in the batch")
    if len(items) > limit:
        raise BadBody("too_many_records", f"{len(items)} records; at most {limit} in one request")
    return Body(tuple(Piece(item) for item in items), is_batch=True)


def _items(body: bytes, limit: int) -> list[bytes]:
    try:
        items = [bytes(item) for item in _list.decode(body)]
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        # msgspec's words name a byte and a kind of fault, and quote nothing.
        raise BadBody("not_json", f"{str(error)[:120]}; expected a JSON array") from None
    if not items:
        raise BadBody("empty_batch", "no record in the batch")
    if len(items) > limit:
        raise BadBody("too_many_records", f"{len(items)} records; at most {limit} in one request")
    return items


# -- CloudEvents ---------------------------------------------------------------------------------------------------


def _structured(body: bytes) -> Piece:
    try:
        event = _any.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return Piece(body, "not_json", f"{str(error)[:120]}; expected a CloudEvent as JSON")
    if not isinstance(event, dict):
        return Piece(body, "not_an_object", "expected a CloudEvent, a JSON object")
    data = event.get("data")
    if data is None and isinstance(event.get("data_base64"), str):
        try:
            data = _any.decode(base64.b64decode(event["data_base64"], validate=True))
        except (binascii.Error, ValueError, msgspec.DecodeError, RecursionError):
            return Piece(body, "bad_cloudevent", "data_base64 holds no JSON in base64")
    return _record(body, event, data)


def _binary(headers: Mapping[str, str], body: bytes) -> Piece:
    event = {name[3:].lower(): unquote(value) for name, value in headers.items() if name.lower().startswith("ce-")}
    try:
        data = _any.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return Piece(body, "not_json", f"{str(error)[:120]}; expected the data of a CloudEvent as JSON")
    return _record(body, event, data)


def _record(body: bytes, event: Mapping[str, Any], data: Any) -> Piece:
    for name in ("id", "source", "type", "specversion"):
        if not isinstance(event.get(name), str) or not event[name]:
            return Piece(body, "bad_cloudevent", f"no {name}; a CloudEvent has id, source, type and specversion")
    if event["specversion"] != "1.0":
        return Piece(body, "bad_cloudevent", "specversion is not 1.0")
    if not isinstance(data, dict):
        return Piece(body, "bad_cloudevent", "data is no JSON object; expected the response there")
    known = {"id": event["id"], "source": event["source"]}
    if isinstance(event.get("time"), str) and data.get("kind", "response") == "response":
        known["occurred_at"] = event["time"]
    missing = {name: value for name, value in known.items() if data.get(name) in (None, "")}
    return Piece(_encode({**data, **missing}, body))


def with_source(raw: bytes, source: str) -> bytes:
    """*raw*, a JSON object without a source, with one. What is unusual about it stays as it is."""
    if b'"source"' not in raw and raw.startswith(b"{"):
        rest = raw[1:].lstrip()
        return b'{"source":' + msgspec.json.encode(source) + (b"" if rest.startswith(b"}") else b",") + rest
    return _encode({**_object.decode(raw), "source": source}, raw)


def _encode(record: dict[str, Any], fallback: bytes) -> bytes:
    try:
        return msgspec.json.encode(record)
    except (msgspec.EncodeError, UnicodeEncodeError, OverflowError, RecursionError):
        return fallback
