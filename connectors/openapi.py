"""What the HTTP door says of itself: OpenAPI 3.1, and the same as a page for people. Pure.

Written by hand, as the promise that it is; a fuzzer holds the service to it (`tests/flows/test_capture_fuzz.py`).
"""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from connectors.http_settings import HttpSettings
from feedback.decode import MAX_ATTRIBUTE, MAX_ID, MAX_TEXT
from feedback.records import Verb

Doc = dict[str, Any]
_ID: Doc = {"type": "string", "minLength": 1, "maxLength": MAX_ID}
_NAME: Doc = {"type": "string", "maxLength": MAX_ID}
_TIME: Doc = {"type": "string", "format": "date-time", "description": "RFC 3339, with an offset from UTC."}

RESPONSE: Doc = {
    "type": "object",
    "required": ["id"],
    "properties": {
        "id": {**_ID, "description": "Unique within programme and source; the same again is an update."},
        "source": {**_NAME, "description": "Where it comes from; http when left out."},
        "programme": {**_NAME, "description": "That of the key; another one is rejected."},
        "customer": {**_NAME, "description": "Who said it; anonymous when left out."},
        "occurred_at": _TIME,
        "channel": _NAME,
        "touchpoint": _NAME,
        "language": _NAME,
        "text": {"type": "string", "maxLength": MAX_TEXT},
        "scores": {
            "type": "object",
            "additionalProperties": {"type": "number"},
            "description": "nps 0 to 10, csat 1 to 5, ces 1 to 7, stars 1 to 5, and those of the settings.",
        },
        "attributes": {
            "type": "object",
            "additionalProperties": {
                "anyOf": [
                    {"type": "string", "maxLength": MAX_ATTRIBUTE},
                    {"type": "number"},
                    {"type": "boolean"},
                ]
            },
        },
    },
}
ACTION: Doc = {
    "type": "object",
    "required": ["id", "case", "do"],
    "properties": {
        "id": {**_ID, "description": "The same action again changes nothing."},
        "case": _ID,
        "do": {"enum": [str(verb) for verb in Verb]},
        "by": {**_NAME, "description": "The person; the key itself when left out."},
        "at": {**_TIME, "description": "When it took place; now when left out."},
        "reason": {"type": "string"},
        "data": {"type": "object"},
    },
}
RESULT: Doc = {
    "type": "object",
    "required": ["index", "status"],
    "properties": {
        "index": {"type": "integer", "minimum": 0},
        "status": {"enum": ["accepted", "duplicate", "rejected", "refused"]},
        "entry": {"type": "string", "description": "Of the stream; of a duplicate that of the first."},
        "reason": {"type": "string"},
        "detail": {"type": "string"},
    },
}
RESULTS: Doc = {
    "type": "object",
    "required": ["accepted", "duplicates", "rejected", "refused", "results"],
    "properties": {
        **{name: {"type": "integer", "minimum": 0} for name in ("accepted", "duplicates", "rejected", "refused")},
        "results": {"type": "array", "items": {"$ref": "#/components/schemas/Result"}},
    },
}
PROBLEM: Doc = {
    "type": "object",
    "required": ["type", "title", "status", "reason", "detail"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "reason": {"type": "string", "description": "Stable; for programs."},
        "detail": {"type": "string", "description": "For people: what was found and what was expected."},
    },
}
SCHEMAS: Doc = {"Response": RESPONSE, "Action": ACTION, "Result": RESULT, "Results": RESULTS, "Problem": PROBLEM}
_ANSWERS = {
    "400": "The request cannot be read.",
    "401": "No key in force came with it.",
    "403": "The key does not allow it.",
    "409": "The idempotency key was used for another request.",
    "413": "Too many bytes, or too many records.",
    "415": "A form that is not taken.",
    "429": "More than the key's rate; see Retry-After.",
    "503": "Not known to be kept; see Retry-After and send it again, it will not count twice.",
}
_KEYS: list[Doc] = [{"bearer": []}, {"header": []}]


def describe(
    version: str, settings: HttpSettings, tools: Mapping[str, list[str]], back: Mapping[str, list[str]] | None = None
) -> Doc:
    """The document. *tools* are the webhooks that are open, by programme; *back* those that may call back."""
    paths: Doc = {
        "/v1/responses": {"post": _post("Hand in responses", "Response", ("200", "202", "422"), settings)},
        "/v1/actions": {"post": _post("Hand in what was done to cases", "Action", ("200", "202", "422"), settings)},
    }
    for programme, names in tools.items():
        for tool in names:
            paths[f"/v1/hooks/{tool}/{programme}"] = {"post": _hook(tool, programme)}
    for programme, names in (back or {}).items():
        for tool in names:
            paths[f"/v1/callbacks/{tool}/{programme}"] = {"post": _callback(tool, programme)}
    paths["/health"] = {"get": _get("Whether the process lives", {"200": "It does."})}
    paths["/ready"] = {"get": _get("Whether it can take anything in", {"200": "It can.", "503": "Why it cannot."})}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Tocsin",
            "version": version,
            "description": "Answers 202 when every record is kept on disk. A repeated request does not count twice.",
        },
        "paths": paths,
        "components": {
            "schemas": SCHEMAS,
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "header": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
            },
        },
    }


def _post(summary: str, schema: str, good: tuple[str, ...], settings: HttpSettings) -> Doc:
    one = {"$ref": f"#/components/schemas/{schema}"}
    many = {"type": "array", "items": one, "minItems": 1, "maxItems": settings.max_batch}
    event = {"type": "object", "required": ["specversion", "id", "source", "type", "data"],
             "properties": {"specversion": {"const": "1.0"}, "data": one}}  # fmt: skip
    said = {
        "200": "All of it was here already.",
        "202": "Kept. Of a batch, what is rejected says why, and nothing of it is kept.",
        "422": "Nothing in it can be read; of a batch, each record says why.",
    }
    results = {"schema": {"$ref": "#/components/schemas/Results"}}
    answers: Doc = {code: {"description": said[code], "content": {"application/json": results}} for code in good}
    answers["422"]["content"]["application/problem+json"] = {"schema": {"$ref": "#/components/schemas/Problem"}}
    answers["403"] = {"description": _ANSWERS["403"], "content": {"application/json": results, **_problem()}}
    return {
        "summary": summary,
        "security": _KEYS,
        "parameters": [
            {
                "name": "Idempotency-Key",
                "in": "header",
                "schema": {"type": "string", "maxLength": 255},
                "description": "Another request under the same key is refused.",
            }
        ],
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {"schema": {"anyOf": [one, many]}},
                "application/x-ndjson": {"schema": {"type": "string"}},
                "application/cloudevents+json": {"schema": event},
                "application/cloudevents-batch+json": {"schema": {"type": "array", "items": event}},
            },
        },
        "responses": {
            **{code: {"description": text, "content": _problem()} for code, text in _ANSWERS.items()},
            **answers,
        },
    }


def _problem() -> Doc:
    return {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}


def _hook(tool: str, programme: str) -> Doc:
    answers = {code: _ANSWERS[code] for code in ("400", "401", "413", "429", "503")}
    return {
        "summary": f"Notices of {tool} for {programme}, signed by it",
        "requestBody": {"required": True, "content": {"*/*": {"schema": {}}}},
        "responses": {
            "200": {"description": "Kept, known already, or about something else."},
            **{code: {"description": text, "content": _problem()} for code, text in answers.items()},
        },
    }


def _callback(tool: str, programme: str) -> Doc:
    said = _hook(tool, programme)
    said["summary"] = f"What {tool} asks of cases of {programme}, signed by it"
    said["responses"]["422"] = {"description": "Signed, and not what it is known to send.", "content": _problem()}
    return said


def _get(summary: str, answers: Mapping[str, str]) -> Doc:
    return {"summary": summary, "responses": {code: {"description": text} for code, text in answers.items()}}


# -- for people ----------------------------------------------------------------------------------------------------


def page(document: Doc) -> str:
    """*document* as a page without scripts."""
    info = document["info"]
    parts = [
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'>",
        f"<title>{escape(info['title'])}</title><style>{_STYLE}</style>",
        f"<h1>{escape(info['title'])} {escape(info['version'])}</h1><p>{escape(info['description'])}",
        " The same for programs: <a href=/openapi.json>/openapi.json</a>.</p>",
    ]
    for path, verbs in document["paths"].items():
        for verb, what in verbs.items():
            parts.append(f"<h2><code>{verb.upper()} {escape(path)}</code></h2><p>{escape(what['summary'])}</p>")
            if forms := what.get("requestBody", {}).get("content"):
                parts.append(f"<p>Body: {', '.join(f'<code>{escape(form)}</code>' for form in forms)}</p>")
            answers = [(code, said["description"]) for code, said in sorted(what["responses"].items())]
            parts.append(_table(("answer", "meaning"), answers))
    for name in ("Response", "Action", "Result", "Problem"):
        schema = document["components"]["schemas"][name]
        rows = [(field, _kind(found), found.get("description", "")) for field, found in schema["properties"].items()]
        needed = ", ".join(schema["required"])
        parts.append(f"<h2>{name}</h2><p>Required: {needed}.</p>{_table(('field', 'what', ''), rows)}")
    return "".join(parts) + "</html>\n"


def _kind(schema: Doc) -> str:
    if "enum" in schema:
        return ", ".join(schema["enum"])
    most = f", {schema['maxLength']} characters at most" if "maxLength" in schema else ""
    return f"{schema.get('format', schema.get('type', ''))}{most}"


def _table(heads: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    head = "".join(f"<th>{escape(text)}" for text in heads)
    body = "".join("<tr>" + "".join(f"<td>{escape(text)}" for text in row) for row in rows)
    return f"<table><tr>{head}{body}</table>"


_STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}"
    "table{border-collapse:collapse}td,th{border-bottom:1px solid #ccc;text-align:left;padding:.2rem .8rem .2rem 0;"
    "vertical-align:top}code{background:#f3f3f3;padding:0 .2rem}"
)
