"""Bytes to records. Never raises, whatever the bytes: what cannot be read is `Rejected`, with a named reason.

An ordinary response takes one pass by a typed decoder (3 us); anything unusual takes the slow way, which knows
how to say what is wrong. `detail` says the field, what was found and what was expected, never a customer's words.
"""

import math
from collections import Counter
from collections.abc import Mapping
from typing import Any

import msgspec

from feedback.instants import Instant, parse_instant
from feedback.metrics import Metric
from feedback.records import Action, Control, Envelope, Outcome, Record, Rejected, Response, Scalar, Verb

MAX_RECORD = 256 * 1024
MAX_TEXT = 32_768
MAX_ID = 256
MAX_ATTRIBUTE = 1024
MAX_ATTRIBUTES = 64
MAX_DEPTH = 32
FUTURE_S = 300
"""A kiosk's clock may be this much ahead of ours before we call its time impossible."""
KEPT_OF_ORIGINAL = 64 * 1024

REASONS = frozenset(
    {
        "not_json", "not_an_object", "too_large", "too_deep", "text_too_long", "bad_text", "missing_field",
        "wrong_type", "bad_id", "bad_time", "naive_time", "impossible_time", "score_out_of_range", "bad_score",
        "too_many_attributes", "attribute_too_long", "unknown_kind", "unknown_programme", "unknown_verb",
    }
)  # fmt: skip
"""Every reason there is; each is a metric label's value."""


class _Wire(msgspec.Struct, forbid_unknown_fields=True):
    """A response with nothing unusual about it."""

    id: str
    kind: str = "response"
    source: str = ""
    programme: str = ""
    customer: str = ""
    occurred_at: str = ""
    channel: str = ""
    touchpoint: str = ""
    language: str = ""
    text: str = ""
    scores: dict[str, float] = {}
    attributes: dict[str, str | float | bool] = {}


class _Wrong(Exception):
    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(reason)
        self.reason, self.detail = reason, detail


_FIELDS = frozenset(_Wire.__struct_fields__)
_typed = msgspec.json.Decoder(_Wire)
_any = msgspec.json.Decoder()
_NAMES = ("source", "programme", "customer", "channel", "touchpoint", "language")


class Decoder:
    """Decodes records of the declared programmes and metrics. One a process; not for several threads."""

    def __init__(self, metrics: Mapping[str, Metric], programmes: frozenset[str]) -> None:
        self._metrics, self._programmes = metrics, programmes
        self.undeclared: Counter[str] = Counter()
        """Scores of metrics that nobody declared, by name (the first 100 names): kept as attributes."""

    def decode(self, envelope: Envelope) -> Record:
        """What *envelope* holds."""
        try:
            return self._decode(envelope)
        except _Wrong as wrong:
            reason, detail = wrong.reason, wrong.detail
        except RecursionError:
            reason, detail = "too_deep", f"nested deeper than {MAX_DEPTH}"
        programme = envelope.programme if envelope.programme in self._programmes else min(self._programmes)
        return Rejected(
            reason=reason,
            detail=detail,
            programme=programme,
            source=envelope.source,
            position=envelope.position,
            received_at=Instant(int(envelope.received_at)),
            original=envelope.raw[:KEPT_OF_ORIGINAL],
        )

    def _decode(self, envelope: Envelope) -> Record:
        raw = envelope.raw
        if len(raw) > MAX_RECORD:
            raise _Wrong("too_large", f"a record of {len(raw)} bytes; at most {MAX_RECORD}")
        try:
            wire = _typed.decode(raw)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return self._slowly(_parse(raw), envelope)
        if wire.kind != "response":
            return self._slowly(_parse(raw), envelope)
        return self._response(wire, envelope)

    # -- responses ----------------------------------------------------------------------------------------

    def _response(self, wire: _Wire, envelope: Envelope) -> Response:
        programme = wire.programme or envelope.programme
        if programme not in self._programmes:
            raise _Wrong("unknown_programme", f"programme {_cut(programme)}; declare it in the settings")
        received_at = Instant(int(envelope.received_at))
        text = wire.text
        if len(text) > MAX_TEXT:
            raise _Wrong("text_too_long", f"text of {len(text)} characters; at most {MAX_TEXT}")
        if not wire.id or len(wire.id) > MAX_ID:
            raise _Wrong("bad_id", f"id of {len(wire.id)} characters; 1 to {MAX_ID}")
        for name in _NAMES:
            if len(getattr(wire, name)) > MAX_ID:
                raise _Wrong("bad_id", f"{name} of {len(getattr(wire, name))} characters; at most {MAX_ID}")
        attributes = wire.attributes
        scores = wire.scores
        if scores:
            scores, attributes = self._scores(scores, attributes)
        if attributes:
            _check_attributes(attributes)
        _check_text(wire.id, wire.customer, text)
        return Response(
            programme=programme,
            source=wire.source or envelope.source,
            id=wire.id,
            customer=wire.customer,
            occurred_at=_past(wire.occurred_at, "occurred_at", received_at, FUTURE_S),
            received_at=received_at,
            arrived=envelope.received_at,
            channel=wire.channel,
            touchpoint=wire.touchpoint,
            language=wire.language,
            text=text,
            scores=scores,
            attributes=attributes,
        )

    def _scores(
        self, scores: dict[str, float], attributes: dict[str, Scalar]
    ) -> tuple[dict[str, float], dict[str, Scalar]]:
        declared: dict[str, float] = {}
        for name, score in scores.items():
            if not math.isfinite(score):
                raise _Wrong("bad_score", f"scores.{_cut(name)} is not a finite number")
            metric = self._metrics.get(name)
            if metric is None:
                if name in self.undeclared or len(self.undeclared) < 100:
                    self.undeclared[name] += 1
                attributes = {**attributes, name: score}
            elif not metric.holds(score):
                raise _Wrong(
                    "score_out_of_range", f"scores.{name} is {score:g}; expected {metric.low:g} to {metric.high:g}"
                )
            else:
                declared[name] = score
        return declared, attributes

    # -- the slow way -------------------------------------------------------------------------------------

    def _slowly(self, record: Any, envelope: Envelope) -> Record:
        if not isinstance(record, dict):
            raise _Wrong("not_an_object", f"{_kind(record)}; expected a JSON object")
        _check_depth(record)
        kind = _text(record, "kind") or "response"
        if kind == "response":
            return self._response(self._loose(record), envelope)
        if kind not in ("action", "outcome", "control"):
            raise _Wrong("unknown_kind", f"kind {_cut(kind)}; expected response, action, outcome or control")
        programme = _text(record, "programme") or envelope.programme
        if programme not in self._programmes:
            raise _Wrong("unknown_programme", f"programme {_cut(programme)}; declare it in the settings")
        id_ = _text(record, "id")
        if not id_ or len(id_) > MAX_ID:
            raise _Wrong("missing_field" if not id_ else "bad_id", f"id of {len(id_)} characters; 1 to {MAX_ID}")
        _check_text(id_, str(record.get("by", "")), str(record.get("reason", "")))
        if kind == "action":
            return _action(record, envelope, programme, id_)
        received_at = Instant(int(envelope.received_at))
        if kind == "control":
            return Control(
                id=id_,
                do=_text(record, "do"),
                received_at=received_at,
                by=envelope.principal or _text(record, "by"),
                data=_data(record),
            )
        customer, result = _text(record, "customer"), _text(record, "result")
        if not customer or not result:
            raise _Wrong("missing_field", "an outcome needs customer and result")
        return Outcome(
            id=id_,
            programme=programme,
            customer=customer,
            result=result,
            occurred_at=_past(_text(record, "occurred_at"), "occurred_at", received_at, FUTURE_S),
            received_at=received_at,
        )

    def _loose(self, record: dict[str, Any]) -> _Wire:
        """A response with something unusual: unknown fields, nulls, numbers as text. Raises _Wrong."""
        if record.get("id") is None:
            raise _Wrong("missing_field", "no id; expected one that is unique within programme and source")
        plain: dict[str, Any] = {}
        for name in ("id", "kind", "text", "occurred_at", *_NAMES):
            plain[name] = _text(record, name)
        scores = record.get("scores") or {}
        if not isinstance(scores, dict):
            raise _Wrong("wrong_type", f"scores is {_kind(scores)}; expected an object of metric to number")
        attributes = record.get("attributes") or {}
        if not isinstance(attributes, dict):
            raise _Wrong("wrong_type", f"attributes is {_kind(attributes)}; expected an object")
        kept = {**{k: v for k, v in record.items() if k not in _FIELDS}, **attributes}
        return _Wire(
            scores={str(k): _number(str(k), v) for k, v in scores.items() if v is not None},
            attributes={str(k): v for k, v in kept.items() if isinstance(v, str | float | int | bool)},
            **plain,
        )


def _action(record: dict[str, Any], envelope: Envelope, programme: str, id_: str) -> Action:
    do = _text(record, "do")
    try:
        verb = Verb(do)
    except ValueError:
        raise _Wrong("unknown_verb", f"do {_cut(do)}; expected one of {', '.join(Verb)}") from None
    case, by = _text(record, "case"), _text(record, "by") or envelope.principal
    if not case or not by:
        raise _Wrong("missing_field", f"no {'case' if not case else 'by'}; an action says which case and who")
    received_at = Instant(int(envelope.received_at))
    return Action(
        id=id_,
        programme=programme,
        case=case,
        do=verb,
        by=by,
        at=_past(_text(record, "at"), "at", received_at, 0),
        received_at=received_at,
        arrived=envelope.received_at,
        principal=envelope.principal,
        reason=_text(record, "reason"),
        data=_data(record),
    )


def _parse(raw: bytes) -> Any:
    try:
        return _any.decode(raw.removeprefix(b"\xef\xbb\xbf"))
    except UnicodeDecodeError as error:
        raise _Wrong("bad_text", f"a byte that is no UTF-8 at {error.start}") from None
    except msgspec.DecodeError as error:
        # A lone surrogate, and JSON cut off in the middle, are both told apart by msgspec's own words.
        reason = "bad_text" if "surrogate" in str(error) or "utf-8" in str(error).lower() else "not_json"
        raise _Wrong(reason, f"{str(error)[:120]}") from None


def _data(record: dict[str, Any]) -> dict[str, Any]:
    data = record.get("data") or {}
    if not isinstance(data, dict):
        raise _Wrong("wrong_type", f"data is {_kind(data)}; expected an object")
    return data


def _text(record: dict[str, Any], name: str) -> str:
    value = record.get(name)
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, int) and not isinstance(value, bool) and name in ("id", "customer"):
        return str(value)  # ids that a tool keeps as numbers
    raise _Wrong("wrong_type", f"{name} is {_kind(value)}; expected text")


def _number(name: str, value: Any) -> float:
    if isinstance(value, bool):
        raise _Wrong("wrong_type", f"scores.{_cut(name)} is true or false; expected a number")
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        raise _Wrong("wrong_type", f"scores.{_cut(name)} is {_kind(value)}; expected a number") from None


def _past(text: str, field: str, received_at: Instant, tolerance_s: int) -> Instant:
    if not text:
        return received_at
    try:
        at = parse_instant(text)
    except (ValueError, OverflowError) as error:
        words = str(error)
        raise _Wrong("naive_time" if "no offset" in words else "bad_time", f"{field}: {words[:120]}") from None
    if at > received_at + tolerance_s:
        raise _Wrong("impossible_time", f"{field} is {at - received_at} s after it was received")
    return at


def _check_attributes(attributes: dict[str, Scalar]) -> None:
    if len(attributes) > MAX_ATTRIBUTES:
        raise _Wrong("too_many_attributes", f"{len(attributes)} attributes; at most {MAX_ATTRIBUTES}")
    for name, value in attributes.items():
        if len(name) > MAX_ID or (isinstance(value, str) and len(value) > MAX_ATTRIBUTE):
            raise _Wrong("attribute_too_long", f"attribute {_cut(name)}; values of at most {MAX_ATTRIBUTE} characters")
        if isinstance(value, float) and not math.isfinite(value):
            raise _Wrong("wrong_type", f"attribute {_cut(name)} is not a finite number")
        if isinstance(value, str):
            _check_text(value)
        _check_text(name)


def _check_text(*texts: str) -> None:
    for text in texts:
        if "\x00" in text:
            raise _Wrong("bad_text", "a NUL character; expected text")
        if not text.isascii():
            try:
                text.encode()
            except UnicodeEncodeError:
                raise _Wrong("bad_text", "a lone surrogate; expected Unicode text") from None


def _check_depth(value: Any) -> None:
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [
            child
            for parent in level
            if isinstance(parent, dict | list)
            for child in (parent.values() if isinstance(parent, dict) else parent)
        ]
        if not level:
            return
    raise _Wrong("too_deep", f"nested deeper than {MAX_DEPTH}")


def _kind(value: Any) -> str:
    names = {dict: "an object", list: "a list", str: "text", bool: "true or false", int: "a number", float: "a number"}
    return names.get(type(value), "null")


def _cut(text: str) -> str:
    return repr(text if len(text) <= 60 else text[:59] + "…")
