"""Feedback tools' webhooks: one file a tool says how a notice is signed and where the response lies in it. Pure.

`mappings/<tool>.yaml` is read once; settings may say better where a survey's own questions lie (tools name questions
as their users please). What a mapping makes of a notice is one record of the wire form, a notice to fetch by, or
nothing when the notice is about something else. Reading a notice never fails: what is not there is left out, and the
engine says what is missing.
"""

import re
from collections.abc import Mapping as Map
from fnmatch import fnmatchcase
from pathlib import Path as File
from typing import Any
from urllib.parse import parse_qs, quote

import msgspec
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from connectors.hook_paths import Path
from connectors.hook_signatures import Scheme
from feedback.instants import EARLIEST, LATEST, Instant, rfc3339

FOLDER = File(__file__).resolve().parent / "mappings"
_any = msgspec.json.Decoder()
_NUMERAL = re.compile(r"[+-]?\d+(\.\d+)?", re.ASCII)
_PART = re.compile(r"[A-Za-z0-9_.-]{1,128}", re.ASCII)


class HookError(Exception):
    """A mapping cannot be used. The text names the file, what was found and what was expected."""


class NotANotice(Exception):
    """The body is not what the tool sends. The text says what was expected."""


class Condition(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Something that holds of a notice: what lies there is like one of *is*, in which `*` stands for anything."""

    one_of: tuple[str, ...] = msgspec.field(name="is")
    path: str = ""
    header: str = ""
    form: str = ""

    def holds(self, notice: "Notice") -> bool:
        if self.header:
            found = notice.headers.get(self.header.lower(), "")
        elif self.form:
            found = notice.form.get(self.form, "")
        else:
            found = str(Path(self.path).first(notice.document) or "")
        return bool(found) and any(fnmatchcase(found, one) for one in self.one_of)


class Place(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where a value lies."""

    path: str
    when: dict[str, str] = {}
    """Paths and what must lie there."""
    map: dict[str, float] = {}
    """What a word is worth; a word that is not listed is worth nothing."""


Where = str | list[str | Place] | Place
"""A path, a place, or several of which the first counts that has something."""


class Fields(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The parts of a response, and where each lies."""

    id: Where
    customer: Where = ""
    occurred_at: Where = ""
    text: Where = ""
    """Of several, all that have something, a line each."""
    touchpoint: Where = ""
    language: Where = ""
    channel: str = ""
    """As it stands."""
    scores: dict[str, Where] = {}
    attributes: dict[str, Where] = {}


class Fetch(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How the answers are got that a notice does not hold."""

    url: str
    """With `{base}` (of the settings) and the names of *parts*."""
    parts: dict[str, str]
    """Name to path in the notice; letters, digits, `.`, `_` and `-` only."""
    header: str
    """Which carries the token, `Name: {token}`."""
    base: str = ""
    """Where the settings name none."""


class Mapping(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One tool."""

    tool: str
    source: list[str]
    """Where the tool documents this, and when that was read."""
    verify: Scheme
    response: Fields
    take: Condition | None = None
    """Notices about anything else are answered and left."""
    form_field: str = ""
    """The body is a form, and the notice the JSON in this field."""
    partial: bool = False
    """A notice holds one answer of several; those of one id are put together."""
    fetch: Fetch | None = None
    """A notice holds no answers; *response* reads what is fetched."""


class HookSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a house says of a tool for one programme. Where a place is given, it goes before the mapping's own."""

    secrets: tuple[str, ...]
    """References, `env:NAME` or `file:/path`; several while one is being changed."""
    scores: dict[str, Where] = {}
    attributes: dict[str, Where] = {}
    text: Where = ""
    customer: Where = ""
    touchpoint: Where = ""
    base: str = ""
    """Of the tool's API, where answers are fetched."""
    token: str = ""
    """A reference, for the tool's API."""
    allow_private: bool = False
    """Whether the API may lie on a private address."""


class Notice(msgspec.Struct, frozen=True):
    """A request as it came."""

    document: Any
    headers: Map[str, str]
    form: Map[str, str]


def load(tool: str, folder: File = FOLDER) -> Mapping:
    """The mapping of *tool*. Raises HookError."""
    path = folder / f"{tool}.yaml"
    if not re.fullmatch(r"[a-z0-9-]{1,40}", tool) or not path.is_file():
        raise HookError(f"{tool[:40]!r}: no such tool; there are: {', '.join(tools(folder))}")
    try:
        mapping = msgspec.convert(YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8")), Mapping)
        _check(mapping.response)
        for text in (mapping.fetch.parts if mapping.fetch else {}).values():
            Path(text)
        if mapping.take is not None and mapping.take.path:
            Path(mapping.take.path)
    except (YAMLError, msgspec.ValidationError, ValueError, OSError) as error:
        raise HookError(f"{path}: {error}") from None
    return mapping


def tools(folder: File = FOLDER) -> list[str]:
    """The tools that there are mappings for."""
    return sorted(path.stem for path in folder.glob("*.yaml"))


def with_settings(mapping: Mapping, said: HookSettings) -> Mapping:
    """*mapping* with what a house says of it in front. Raises ValueError for what is no path."""
    own = mapping.response
    merged = msgspec.structs.replace(
        own,
        scores={**own.scores, **said.scores},
        attributes={**own.attributes, **said.attributes},
        text=_before(said.text, own.text),
        customer=_before(said.customer, own.customer),
        touchpoint=_before(said.touchpoint, own.touchpoint),
    )
    _check(merged)
    fetch = mapping.fetch
    if fetch is not None and said.base:
        fetch = msgspec.structs.replace(fetch, base=said.base.rstrip("/"))
    return msgspec.structs.replace(mapping, response=merged, fetch=fetch)


def _before(first: Where, then: Where) -> Where:
    return [*_places(first), *_places(then)] if first else then


def _places(where: Where) -> list[str | Place]:
    if not where:
        return []
    return where if isinstance(where, list) else [where]


def _check(fields: Fields) -> None:
    wheres = [fields.id, fields.customer, fields.occurred_at, fields.text, fields.touchpoint, fields.language]
    for where in (*wheres, *fields.scores.values(), *fields.attributes.values()):
        for place in _places(where):
            Path(place if isinstance(place, str) else place.path)
            for path in place.when if isinstance(place, Place) else ():
                Path(path)


# -- reading a notice ----------------------------------------------------------------------------------------------


def form_of(content_type: str, body: bytes) -> dict[str, str]:
    """The fields of a form body; of one that is there twice the first counts. Empty when the body is no form."""
    if "x-www-form-urlencoded" not in content_type.lower():
        return {}
    try:
        return {k: v[0] for k, v in parse_qs(body.decode("ascii", "replace"), max_num_fields=100).items()}
    except ValueError:
        return {}


def notice_of(mapping: Mapping, headers: Map[str, str], form: Map[str, str], body: bytes) -> Notice:
    """The notice in a request that was found to be signed. Raises NotANotice."""
    raw = form.get(mapping.form_field, "").encode("utf-8", "replace") if mapping.form_field else body
    try:
        document = _any.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        where = f"the form's field {mapping.form_field}" if mapping.form_field else "the body"
        raise NotANotice(f"{where} holds no JSON") from None
    if not isinstance(document, dict):
        raise NotANotice("expected a JSON object")
    return Notice(document, headers, form)


def response_of(mapping: Mapping, document: Any) -> dict[str, Any]:
    """The record that *document* holds, of whatever was found in it."""
    fields = mapping.response
    record: dict[str, Any] = {"source": mapping.tool}
    for name in ("id", "customer", "touchpoint", "language"):
        if (found := _first(getattr(fields, name), document)) is not None and found != "":
            record[name] = str(found)
    if (at := _time(_first(fields.occurred_at, document))) is not None:
        record["occurred_at"] = at
    if fields.channel:
        record["channel"] = fields.channel
    texts = [str(t) for place in _places(fields.text) for t in _find(place, document) if str(t).strip()]
    if texts:
        record["text"] = "\n".join(dict.fromkeys(texts))
    scores = {name: _number(_first(where, document)) for name, where in fields.scores.items()}
    if known := {name: score for name, score in scores.items() if score is not None}:
        record["scores"] = known
    attributes = {name: _first(where, document) for name, where in fields.attributes.items()}
    if kept := {name: v for name, v in attributes.items() if isinstance(v, str | int | float) and v != ""}:
        record["attributes"] = kept
    return record


def unreadable(mapping: Mapping, body: bytes) -> bytes:
    """A record that the engine refuses, and buries with all of it: a signed notice that nothing could be made of."""
    return msgspec.json.encode({"hook": mapping.tool, "notice": body.decode("utf-8", "replace")})


def together(before: Map[str, Any], record: dict[str, Any]) -> dict[str, Any]:
    """What was known of a response, and *record* on top. Texts are kept, each once; the earliest time counts."""
    whole = {**before, **record}
    for name in ("scores", "attributes"):
        if both := {**before.get(name, {}), **record.get(name, {})}:
            whole[name] = both
    lines = dict.fromkeys([*before.get("text", "").splitlines(), *record.get("text", "").splitlines()])
    if lines:
        whole["text"] = "\n".join(lines)
    if times := [r["occurred_at"] for r in (before, record) if "occurred_at" in r]:
        whole["occurred_at"] = times[0]
    return whole


def address_of(fetch: Fetch, document: Any) -> str:
    """Where the answers to a notice lie. Raises NotANotice when it does not say, or says something unsafe."""
    parts: dict[str, str] = {"base": fetch.base}
    for name, path in fetch.parts.items():
        found = str(Path(path).first(document) or "")
        if not _PART.fullmatch(found) or not found.strip("."):
            raise NotANotice(f"{path} is missing, or is no plain id")
        parts[name] = quote(found, safe="")
    return fetch.url.format_map(parts)


def _find(place: str | Place, document: Any) -> list[Any]:
    if isinstance(place, str):
        return [value for value in Path(place).find(document) if not isinstance(value, dict | list)]
    if any(str(Path(path).first(document)) != wanted for path, wanted in place.when.items()):
        return []
    found = [value for value in Path(place.path).find(document) if not isinstance(value, dict | list)]
    return [place.map[str(value)] for value in found if str(value) in place.map] if place.map else found


def _first(where: Where, document: Any) -> Any:
    for place in _places(where):
        if found := [value for value in _find(place, document) if value != ""]:
            return found[0]
    return None


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or value is None:
        return None
    if isinstance(value, str):
        return float(value) if _NUMERAL.fullmatch(value.strip()) else None
    return float(value) if isinstance(value, int | float) else None


def _time(value: Any) -> str | None:
    """RFC 3339, out of that or of Unix seconds or milliseconds."""
    if isinstance(value, str):
        return value or None
    if isinstance(value, int | float) and not isinstance(value, bool):
        seconds = int(value / 1000) if value > 100_000_000_000 else int(value)
        return rfc3339(Instant(seconds)) if EARLIEST < seconds <= LATEST else None
    return None
