"""The HTTP door: responses and actions in, each answered when it is kept. `tocsin serve` runs it.

A request is let in by its key (`doorkeeper.py`), taken apart into records (`connectors/http_records.py`), each of which
is decoded as the engine will decode it, and handed to the intake, which answers once all are on disk. What cannot be
read is told to the sender record by record, and nothing of it is kept: it is the sender's turn. Webhooks of tools have
their own handler (`capture_hooks.py`). Nothing in a body says who is acting: the principal is the key's name.
"""

import time
from collections.abc import Awaitable, Callable, Mapping
from hashlib import sha256
from typing import Any

import msgspec
import structlog
from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from connectors.api_keys import ApiKey
from connectors.http_records import BadBody, Piece, UnknownForm, split, with_source
from connectors.http_settings import HttpSettings
from connectors.intake import Ask, Busy, Clash, Entry, Intake, entry_of, mark_of
from connectors.openapi import describe, page
from connectors.redis_link import StoreAway, StoreError, StoreRefusing
from feedback.decode import Decoder
from feedback.metrics import Metric
from feedback.records import Action, Envelope, Outcome, Record, Rejected, Response
from flows.capture_metrics import CaptureMetrics
from flows.doorkeeper import Doorkeeper, Refused

log = structlog.get_logger()

Row = dict[str, Any]
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
SOURCE = "http"
"""The source of a response that names none."""
AWAY_S = 2.0
MAX_KEY = 255
"""Characters of an Idempotency-Key."""
_object = msgspec.json.Decoder(dict[str, Any])


class Door:
    """The handlers of responses and actions."""

    def __init__(
        self,
        settings: HttpSettings,
        programmes: frozenset[str],
        metrics_declared: Mapping[str, Metric],
        intake: Intake,
        doorkeeper: Doorkeeper,
        metrics: CaptureMetrics,
        *,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.settings, self.intake, self.doorkeeper, self.metrics = settings, intake, doorkeeper, metrics
        self.programmes, self.now = programmes, now
        self._decoder = Decoder(metrics_declared, programmes)

    async def responses(self, request: web.Request) -> web.StreamResponse:
        """`POST /v1/responses`."""
        key = self._let_in(request, "responses")
        if not key.may_capture():
            raise self._forbidden(key, "responses", "capture", request)
        return await self._take_in(request, key, "responses", self._response)

    async def actions(self, request: web.Request) -> web.StreamResponse:
        """`POST /v1/actions`."""
        key = self._let_in(request, "actions")
        if not key.may_act():
            raise self._forbidden(key, "actions", "act", request)
        return await self._take_in(request, key, "actions", self._action)

    def _let_in(self, request: web.Request, door: str) -> ApiKey:
        headers = request.headers
        return self.doorkeeper.who(
            headers.get("Authorization", ""), headers.get("X-API-Key", ""), request.remote or "", door
        )

    def _forbidden(self, key: ApiKey, door: str, what: str, request: web.Request) -> Refused:
        self.doorkeeper.turn_away(
            "not_allowed", door, programme=key.programme, principal=key.principal, what=what,
            address=request.remote or "",
        )  # fmt: skip
        return Refused(403, "not_allowed", f"the key {key.name} does not allow {what}")

    # -- records ------------------------------------------------------------------------------------------

    async def _take_in(
        self, request: web.Request, key: ApiKey, door: str, judge: Callable[[ApiKey, Piece, str], Entry | Row]
    ) -> web.StreamResponse:
        asked = request.headers.get("Idempotency-Key", "")
        if len(asked) > MAX_KEY:
            raise Refused(400, "bad_idempotency_key", f"an Idempotency-Key has {MAX_KEY} characters at most")
        self.doorkeeper.make_room(key.programme)
        body = await request.read()
        try:
            taken_apart = split(
                request.headers.get("Content-Type", ""),
                {name.lower(): value for name, value in request.headers.items()},
                body,
                self.settings.max_batch,
            )
        except UnknownForm as error:
            raise Refused(415, "unknown_form", f"content type {str(error)[:80]!r}; send application/json") from None
        except BadBody as error:
            self.metrics.records(door, "rejected")
            too_large = error.reason == "too_many_records"
            raise Refused(413 if too_large else 422, error.reason, error.detail) from None
        self.doorkeeper.spend(key.id, len(taken_apart.pieces))
        address = request.remote or ""
        judged = [judge(key, piece, address) for piece in taken_apart.pieces]
        entries = tuple(one for one in judged if isinstance(one, Entry))
        rows = await self._hand_in(key, door, judged, entries, asked, body)
        return _answer(rows, is_batch=taken_apart.is_batch)

    async def _hand_in(
        self, key: ApiKey, door: str, judged: list[Entry | Row], entries: tuple[Entry, ...], asked: str, body: bytes
    ) -> list[Row]:
        """One row for each record, in order, once everything that was taken in is kept."""
        taken = iter(
            await self.hand_in(
                Ask(
                    programme=key.programme,
                    entries=entries,
                    remember_s=self.settings.remember_s,
                    principal=key.principal if door == "actions" else "",
                    asked=mark_of("asked", key.name, door, asked) if asked else "",
                    digest=sha256(body).hexdigest() if asked else "",
                )
            )
            if entries
            else ()
        )
        rows: list[Row] = []
        for index, one in enumerate(judged):
            if isinstance(one, Entry):
                found = next(taken)
                row: Row = {"status": "accepted" if found.is_new else "duplicate", "entry": found.id}
            else:
                row = one
            rows.append({"index": index, **row})
            self.metrics.records(door, row["status"])
        return rows

    async def hand_in(self, ask: Ask) -> list[Any]:
        """The intake, its errors as answers of HTTP. Raises Refused, Changed."""
        try:
            return await self.intake.hand_in(ask)
        except Clash:
            words = "this Idempotency-Key was used for another request; use a new one"
            raise Refused(409, "idempotency_key_reused", words) from None
        except Busy:
            raise Refused(503, "busy", "too many requests are in hand; send this again", 1.0) from None
        except (StoreAway, StoreRefusing, StoreError):
            words = "not known to be kept; send this again, it will not count twice"
            raise Refused(503, "redis_away", words, AWAY_S) from None

    def read(self, envelope: Envelope) -> Record:
        """*envelope* as the engine will read it."""
        return self._decoder.decode(envelope)

    def _decode(self, key: ApiKey, piece: Piece) -> Response | Outcome | Action | Row:
        if piece.reason:
            return _rejected(piece.reason, piece.detail)
        raw = piece.raw
        envelope = Envelope(
            raw=raw, source=SOURCE, position="", received_at=self.now(), programme=key.programme,
            principal=key.principal,
        )  # fmt: skip
        record = self.read(envelope)
        if isinstance(record, Rejected):
            return _rejected(record.reason, record.detail)
        if not isinstance(record, Response | Outcome | Action):
            return _rejected("wrong_door", "a control does not come in by HTTP")
        if record.programme != key.programme:
            return _rejected("wrong_programme", f"this key is for the programme {key.programme}")
        return record

    def _response(self, key: ApiKey, piece: Piece, address: str) -> Entry | Row:
        record = self._decode(key, piece)
        if isinstance(record, dict):
            return record
        if isinstance(record, Action):
            return _rejected("wrong_door", "an action goes to /v1/actions")
        raw = piece.raw
        if isinstance(record, Response) and record.source == SOURCE:
            raw = with_source(raw, SOURCE)
        return entry_of(record, raw)

    def _action(self, key: ApiKey, piece: Piece, address: str) -> Entry | Row:
        raw = piece.raw if piece.reason else _as_action(piece.raw)
        record = self._decode(key, Piece(raw, piece.reason, piece.detail))
        if isinstance(record, dict):
            return record
        if not isinstance(record, Action):
            return _rejected("wrong_door", "a response goes to /v1/responses")
        if not key.may(record.do):
            self.doorkeeper.turn_away(
                "verb_not_allowed", "actions", programme=key.programme, principal=key.principal,
                what=f"{record.do} {record.case}", address=address,
            )  # fmt: skip
            return {"status": "refused", "reason": "verb_not_allowed", "detail": f"the key does not allow {record.do}"}
        return entry_of(record, raw)


def _as_action(raw: bytes) -> bytes:
    """*raw* said to be an action, when it is an object that does not say what it is; else as it was."""
    try:
        record = _object.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return raw  # the decoder says what is wrong with it
    if record.get("kind") is not None:
        return raw
    return msgspec.json.encode({**record, "kind": "action"})


def _rejected(reason: str, detail: str) -> Row:
    return {"status": "rejected", "reason": reason, "detail": detail}


def _answer(rows: list[Row], *, is_batch: bool) -> web.Response:
    """202 when anything is new, 200 when all was here already, 403 or 422 when nothing was taken in."""
    found = [row["status"] for row in rows]
    if "accepted" in found:
        status = 202
    elif "duplicate" in found:
        status = 200
    else:
        status = 403 if set(found) == {"refused"} else 422
    if status >= 400 and not is_batch:
        return problem(status, rows[0]["reason"], rows[0]["detail"])
    counts = {f"{name}s" if name == "duplicate" else name: found.count(name) for name in
              ("accepted", "duplicate", "rejected", "refused")}  # fmt: skip
    return json_response(status, {**counts, "results": rows})


def json_response(status: int, body: Any, content_type: str = "application/json") -> web.Response:
    """*body* as JSON."""
    return web.Response(status=status, body=msgspec.json.encode(body) + b"\n", content_type=content_type)


def problem(status: int, reason: str, detail: str, retry_after: int = 0) -> web.Response:
    """An error as RFC 9457 has it, with our reason as a member of its own."""
    body = {"type": f"urn:tocsin:{reason}", "title": reason.replace("_", " "), "status": status, "detail": detail}
    answer = json_response(status, {**body, "reason": reason}, "application/problem+json")
    if retry_after:
        answer.headers["Retry-After"] = str(retry_after)
    if status == 401:
        answer.headers["WWW-Authenticate"] = "Bearer"
    return answer


# -- the application -----------------------------------------------------------------------------------------------


class Tools(msgspec.Struct, frozen=True):
    """What answers tools under one address, `{tool}/{programme}`, and those that are open, by programme."""

    handle: Handler
    open: Mapping[str, list[str]]


def application(
    door: Door, registry: CollectorRegistry, version: str, hooks: Tools, callbacks: Tools
) -> web.Application:
    """The routes: ours, and under `/v1/hooks` and `/v1/callbacks` those of tools."""
    document = describe(version, door.settings, hooks.open, callbacks.open)
    described, shown = msgspec.json.encode(document), page(document)

    async def openapi(request: web.Request) -> web.StreamResponse:
        return web.Response(body=described, content_type="application/json")

    async def docs(request: web.Request) -> web.StreamResponse:
        return web.Response(text=shown, content_type="text/html", headers={"Content-Security-Policy": PAGE_POLICY})

    async def health(request: web.Request) -> web.StreamResponse:
        return json_response(200, {"status": "alive"})

    async def ready(request: web.Request) -> web.StreamResponse:
        why = reasons(door)
        return json_response(503 if why else 200, {"ready": not why, "reasons": why})

    async def metrics(request: web.Request) -> web.StreamResponse:
        door.metrics.in_hand.set(door.intake.in_hand)
        encode, content_type = choose_encoder(request.headers.get("Accept", ""))
        return web.Response(body=encode(registry), headers={"Content-Type": content_type})

    app = web.Application(client_max_size=door.settings.max_body, middlewares=[_answering(door)])
    app.router.add_post("/v1/responses", door.responses)
    app.router.add_post("/v1/actions", door.actions)
    app.router.add_post("/v1/hooks/{tool}/{programme}", hooks.handle)
    app.router.add_route("HEAD", "/v1/hooks/{tool}/{programme}", hooks.handle)
    app.router.add_post("/v1/callbacks/{tool}/{programme}", callbacks.handle)
    app.router.add_get("/openapi.json", openapi)
    app.router.add_get("/docs", docs)
    app.router.add_get("/health", health)
    app.router.add_get("/ready", ready)
    app.router.add_get("/metrics", metrics)
    return app


PAGE_POLICY = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"


def reasons(door: Door) -> dict[str, str]:
    """What keeps the door from keeping its promises now."""
    found = {"keys": door.doorkeeper.trouble, "intake": door.intake.trouble}
    return {part: why for part, why in found.items() if why}


def _answering(door: Door) -> Any:
    @web.middleware
    async def answering(request: web.Request, handler: Handler) -> web.StreamResponse:
        """Errors as problems, and every answer counted. What we did not foresee is ours: 500, logged, no details."""
        began = time.perf_counter()
        resource = request.match_info.route.resource
        route = resource.canonical if resource is not None else "none"
        try:
            answer = await handler(request)
        except Refused as refused:
            answer = problem(refused.status, refused.reason, refused.detail, refused.retry_after)
        except web.HTTPRequestEntityTooLarge:
            answer = problem(413, "too_large", f"a body of more than {door.settings.max_body} bytes")
        except web.HTTPException as error:
            reason = error.reason.lower().replace(" ", "_")
            answer = problem(error.status, reason, f"{request.method} is not served here; see /docs")
            if "Allow" in error.headers:
                answer.headers["Allow"] = error.headers["Allow"]
        except (ConnectionResetError, web.RequestPayloadError):
            answer = problem(400, "cut_off", "the body ended early, or is not encoded as its headers say")
        except Exception:
            log.exception("http.failed", route=route)
            answer = problem(500, "our_mistake", "this was not foreseen; send it again, it will not count twice")
        answer.headers["X-Content-Type-Options"] = "nosniff"
        answer.headers["Server"] = "tocsin"
        door.metrics.answered(route, answer.status, time.perf_counter() - began)
        return answer

    return answering
