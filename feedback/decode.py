"""Bytes to records. Never raises, whatever the bytes: what cannot be read is `Rejected`, with a named reason.

An ordinary response takes one pass by a typed decoder (3 us); anything unusual takes the slow way, which knows
how to say what is wrong. `detail` says the field, what was found and what was expected, never a customer's words.
JSON as msgspec reads it: strict, no NaN; of a key that is there twice the last one counts. null means absent.
A number written as text is taken for a score, and a number for an `id` or `customer`, since tools send both.
"""

import math
import re
from collections import Counter
from collections.abc import Mapping
from typing import Any

import msgspec

from feedback.instants import Instant, parse_instant
from feedback.metrics import Metric
from feedback.records import Action, Control, Envelope, Outcome, Record, Rejected, Response, Scalar, Verb
from feedback.redaction import Redactor

MAX_RECORD = 256 * 1024
MAX_TEXT = 32_768
MAX_ID = 256
MAX_ATTRIBUTE = 1024
MAX_ATTRIBUTES = 64
MAX_DEPTH = 32
FUTURE_S = 300
"""A kiosk's clock may be this much ahead of ours before we call its time impossible."""
SKEW_S = 5
"""An action's `at` may be this far after we received it (two machines' clocks); it is then taken as of receipt."""
KEPT_OF_ORIGINAL = 64 * 1024

REASONS = frozenset(
    {
        "not_json", "not_an_object", "too_large", "too_deep", "text_too_long", "bad_text", "missing_field",
        "wrong_type", "bad_id", "bad_time", "naive_time", "impossible_time", "score_out_of_range", "bad_score",
        "too_many_attributes", "attribute_too_long", "unknown_kind", "unknown_programme", "unknown_verb",
        "bad_row", "cut_off", "door_fault",
    }
)  # fmt: skip
"""Every reason there is; each is a metric label's value. The last three are found by a door, see `Envelope.fault`."""


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


class _Named(msgspec.Struct):
    programme: str = ""


class _Wrong(Exception):
    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(reason)
        self.reason, self.detail = reason, detail


_FIELDS = frozenset(_Wire.__struct_fields__)
_typed = msgspec.json.Decoder(_Wire)
_any = msgspec.json.Decoder()
_named = msgspec.json.Decoder(_Named)
_LONE_SURROGATE = re.compile(
    rb"\\u[dD][89abAB][0-9a-fA-F]{2}(?!\\u[dD][c-fC-F])|(?<!\\u[dD][89abAB][0-9a-fA-F]{2})\\u[dD][c-fC-F]"
)
_NUMERAL = re.compile(r"\s*[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?\s*", re.ASCII)
_NAMES = ("source", "programme", "customer", "channel", "touchpoint", "language")


class Decoder:
    """Decodes records of the declared programmes and metrics. One a process; not for several threads."""

    def __init__(
        self, metrics: Mapping[str, Metric], programmes: frozenset[str], redact: Redactor | None = None
    ) -> None:
        """*redact* is applied to what a response says, its attributes, and the reason of an action."""
        self.metrics, self._programmes, self._redact = metrics, programmes, redact
        self.undeclared: Counter[str] = Counter()
        """Scores of metrics that nobody declared, by name (the first 100 names): kept as attributes."""

    def decode(self, envelope: Envelope) -> Record:
        """What *envelope* holds. Raises nothing, whatever the bytes."""
        try:
            return self._decode(envelope)
        except _Wrong as wrong:
            reason, detail = wrong.reason, wrong.detail
        except RecursionError:
            reason, detail = "too_deep", f"nested deeper than {MAX_DEPTH}"
        return Rejected(
            reason=reason,
            detail=detail,
            programme=self._whose(envelope),
            source=envelope.source,
            position=envelope.position,
            received_at=Instant(int(envelope.received_at)),
            original=envelope.raw[:KEPT_OF_ORIGINAL],
        )

    def _whose(self, envelope: Envelope) -> str:
        """The programme whose dead letter it is: the record's own if it can be made out and is declared."""
        try:
            named = _named.decode(envelope.raw).programme if len(envelope.raw) <= MAX_RECORD else ""
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            named = ""
        for programme in (named, envelope.programme):
            if programme in self._programmes:
                return programme
        return min(self._programmes, default=envelope.programme)

    def _decode(self, envelope: Envelope) -> Record:
        raw = envelope.raw
        if envelope.fault:
            reason, _, detail = envelope.fault.partition(": ")
            raise _Wrong(reason if reason in REASONS else "door_fault", detail[:200])
        if len(raw) > MAX_RECORD:
            raise _Wrong("too_large", f"a record of {len(raw)} bytes; at most {MAX_RECORD}")
        try:
            wire = _typed.decode(raw)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return self._slowly(_parse(raw), envelope)
        if wire.kind != "response" or b"\\u0000" in raw:
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
        if self._redact is not None:
            redact = self._redact
            text = redact(text)
            attributes = {n: redact(v) if isinstance(v, str) else v for n, v in attributes.items()}
        occurred_at, arrived = _past(wire.occurred_at, "occurred_at", received_at, FUTURE_S), envelope.received_at
        if envelope.history:
            if not wire.occurred_at:
                raise _Wrong("missing_field", "no occurred_at; history says when each response was given")
            received_at, arrived = occurred_at, 0.0
        return Response(
            programme=programme,
            source=wire.source or envelope.source,
            id=wire.id,
            customer=wire.customer,
            occurred_at=occurred_at,
            received_at=received_at,
            arrived=arrived,
            history=envelope.history,
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
            metric = self.metrics.get(name)
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
        _check_values(record)
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
        for name in ("customer", "case", "do", "by", "result"):
            if len(_text(record, name)) > MAX_ID:
                raise _Wrong("bad_id", f"{name} of {len(_text(record, name))} characters; at most {MAX_ID}")
        if len(_text(record, "reason")) > MAX_TEXT:
            raise _Wrong("text_too_long", f"reason of {len(_text(record, 'reason'))} characters; at most {MAX_TEXT}")
        if kind == "action":
            action = _action(record, envelope, programme, id_)
            if self._redact is None:
                return action
            return msgspec.structs.replace(action, reason=self._redact(action.reason))
        received_at = Instant(int(envelope.received_at))
        if kind == "control":
            if not (do := _text(record, "do")):
                raise _Wrong("missing_field", "no do; a control says what is to be done")
            return Control(
                id=id_,
                do=do,
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
        # What stands under `attributes` was meant as one, so it wins over a stray field of that name.
        kept = {**{k: v for k, v in record.items() if k not in _FIELDS}, **attributes}
        return _Wire(
            scores={k: _number(k, v) for k, v in scores.items() if v is not None},
            attributes={k: v if isinstance(v, str | bool) else float(v) for k, v in kept.items() if _is_scalar(v)},
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
        at=min(received_at, _past(_text(record, "at"), "at", received_at, SKEW_S)),
        received_at=received_at,
        arrived=envelope.received_at,
        principal=envelope.principal or f"source:{envelope.source}",
        reason=_text(record, "reason"),
        data=_data(record),
    )


def _parse(raw: bytes) -> Any:
    try:
        return _any.decode(raw.removeprefix(b"\xef\xbb\xbf"))
    except UnicodeDecodeError:
        raise _Wrong("bad_text", "bytes that are no UTF-8; expected JSON in UTF-8") from None
    except msgspec.DecodeError as error:
        if b"\x00" in raw:
            raise _Wrong("bad_text", f"a NUL byte at {raw.index(0)}; expected JSON") from None
        if lone := _LONE_SURROGATE.search(raw):
            raise _Wrong("bad_text", f"a lone surrogate at byte {lone.start()}; expected Unicode text") from None
        if "out of range" in str(error):
            raise _Wrong("wrong_type", "a number too large to hold") from None
        # msgspec's words name a byte and a kind of fault, and quote nothing.
        raise _Wrong("not_json", f"{str(error)[:120]}; expected one JSON object") from None


def _data(record: dict[str, Any]) -> dict[str, Any]:
    data = record.get("data")
    if data is None:
        return {}
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
    if isinstance(value, int | float) or (isinstance(value, str) and _NUMERAL.fullmatch(value)):
        return float(value)
    raise _Wrong("wrong_type", f"scores.{_cut(name)} is {_kind(value)}; expected a number")


def _past(text: str, field: str, received_at: Instant, tolerance_s: int) -> Instant:
    if not text:
        return received_at
    try:
        at = parse_instant(text)
    except (ValueError, OverflowError) as error:
        words = str(error)
        if "no offset" in words:
            reason = "naive_time"
        else:
            reason = "impossible_time" if "outside" in words else "bad_time"
        raise _Wrong(reason, f"{field}: {words[:120]}") from None
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


def _check_values(record: dict[str, Any]) -> None:
    """Refuse what no later step could hold: deep nesting, NUL in a text, integers of more than 64 bits."""
    level: list[Any] = [record]
    for _ in range(MAX_DEPTH):
        below: list[Any] = []
        for value in level:
            if isinstance(value, dict):
                below += value
                below += value.values()
            elif isinstance(value, list):
                below += value
            elif isinstance(value, str):
                if "\x00" in value:
                    raise _Wrong("bad_text", "a NUL character; expected text")
            elif isinstance(value, int) and not -(2**63) <= value < 2**63:
                raise _Wrong("wrong_type", "a whole number of more than 64 bits")
        if not below:
            return
        level = below
    raise _Wrong("too_deep", f"nested deeper than {MAX_DEPTH}")


def _is_scalar(value: Any) -> bool:
    return isinstance(value, str | float | int | bool)


def _kind(value: Any) -> str:
    names = {dict: "an object", list: "a list", str: "text", bool: "true or false", int: "a number", float: "a number"}
    return names.get(type(value), "null")


def _cut(text: str) -> str:
    return repr(text if len(text) <= 60 else text[:59] + "…")
