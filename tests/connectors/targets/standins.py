"""Stand-ins for tools, on loopback: each refuses what the tool's documentation says that it refuses.

`Standin` is the server; a subclass answers one tool's requests. `kept` is what the tool has by then: one entry for
each message, incident or ticket, so that a test sees what a repeat did. Limits and statuses are from the tools' pages.
"""

import base64
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import msgspec
from aiohttp import web

RFC3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
Answer = tuple[int, Any]


class Refused(Exception):
    """The tool's no: a status and a body."""

    def __init__(self, status: int, body: Any = None) -> None:
        super().__init__(status)
        self.answer: Answer = (status, body)


def need(holds: bool, status: int = 400, body: Any = None) -> None:
    if not holds:
        raise Refused(status, body if body is not None else {"error": "bad request"})


class Standin:
    """One tool. `forced` answers come first, each once; `hangs` says nothing until it is stopped."""

    kind = ""
    secret = "s3cr3t-of-the-tool-0123456789abcdef"
    idempotent = True
    """Whether the same event again, by one who remembers nothing, leaves no second trace."""

    def __init__(self) -> None:
        self.url = ""
        self.kept: dict[str, Any] = {}
        self.requests: list[tuple[str, str, Mapping[str, str], Any]] = []
        self.forced: list[tuple[int, dict[str, str], bytes]] = []

    def settings(self) -> dict[str, Any]:
        """The tool's entry under `targets:`; secrets are `env:TOOL_SECRET`."""
        return {"kind": self.kind, "name": "tool", "allow_private": True, "per_second": 1000} | self.own()

    def own(self) -> dict[str, Any]:
        return {"url": self.url}

    def environ(self) -> dict[str, str]:
        return {"TOOL_SECRET": self.secret}

    async def answer(self, request: web.Request, body: Any) -> Answer:
        raise NotImplementedError

    def ended(self, case: str) -> bool:
        """Whether the tool holds the case for done; True for tools that know no such thing."""
        return True

    async def handle(self, request: web.Request) -> web.StreamResponse:
        raw = await request.read()
        body = msgspec.json.decode(raw) if raw and "json" in request.headers.get("content-type", "") else raw.decode()
        self.requests.append((request.method, request.path, dict(request.headers), body))
        if self.forced:
            status, headers, said = self.forced.pop(0)
            return web.Response(status=status, headers=headers, body=said)
        try:
            status, answer = await self.answer(request, body)
        except Refused as refused:
            status, answer = refused.answer
        except (KeyError, TypeError, AttributeError, IndexError):
            status, answer = 400, {"error": "a required field is missing"}
        if answer is None:
            return web.Response(status=status)
        return web.Response(status=status, body=msgspec.json.encode(answer), content_type="application/json")

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Standin"]:
        app = web.Application(client_max_size=1 << 21)
        app.router.add_route("*", "/{path:.*}", self.handle)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        try:
            yield self
        finally:
            await runner.cleanup()

    def bearer(self, request: web.Request) -> None:
        need(request.headers.get("authorization") == f"Bearer {self.secret}", 401)

    def basic(self, request: web.Request, user: str) -> None:
        right = base64.b64encode(f"{user}:{self.secret}".encode()).decode()
        need(request.headers.get("authorization") == f"Basic {right}", 401)


class HttpTool(Standin):
    """A receiver that honours `Idempotency-Key`."""

    kind = "http"

    def own(self) -> dict[str, Any]:
        return {"url": self.url + "/hook", "token": "env:TOOL_SECRET"}

    async def answer(self, request: web.Request, body: Any) -> Answer:
        self.bearer(request)
        need(request.method == "POST" and request.path == "/hook", 404)
        need(isinstance(body["case"], str) and bool(body["headline"]), 422)
        self.kept.setdefault(request.headers["idempotency-key"], body)
        return 201, {"id": "x-1"}


class SlackTool(Standin):
    """`chat.postMessage`: 200 to all it can read, `ok` in the body."""

    kind = "slack"
    idempotent = False

    def own(self) -> dict[str, Any]:
        return {"api": self.url, "token": "env:TOOL_SECRET", "channel": "C0123456789", "per_second": 1}

    async def answer(self, request: web.Request, body: Any) -> Answer:
        need(request.path == "/chat.postMessage" and request.method == "POST", 404)
        try:
            self.bearer(request)
        except Refused:
            return 200, {"ok": False, "error": "invalid_auth"}
        if body.get("channel") != "C0123456789":
            return 200, {"ok": False, "error": "channel_not_found"}
        if not body.get("text") and not body.get("blocks"):
            return 200, {"ok": False, "error": "no_text"}
        if len(body["text"]) > 40_000:
            return 200, {"ok": False, "error": "msg_too_long"}
        blocks = body.get("blocks", [])
        sound = len(blocks) <= 50 and all(1 <= len(b["text"]["text"]) <= 3000 for b in blocks if b["type"] == "section")
        if not sound or any(re.search(r"<(?!https?:)", b["text"]["text"]) for b in blocks if "text" in b):
            return 200, {"ok": False, "error": "invalid_blocks"}
        if "thread_ts" in body and body["thread_ts"] not in self.kept:
            return 200, {"ok": False, "error": "thread_not_found"}
        ts = f"1700000000.{len(self.kept):06d}"
        self.kept[ts] = body
        return 200, {"ok": True, "channel": body["channel"], "ts": ts}


class SlackHook(Standin):
    """An incoming webhook: the URL is the secret, the answer is `ok`."""

    kind = "slack"
    idempotent = False

    def own(self) -> dict[str, Any]:
        return {"url": "env:TOOL_SECRET", "per_second": 1}

    def environ(self) -> dict[str, str]:
        return {"TOOL_SECRET": f"{self.url}/services/T0/B0/{self.secret}"}

    async def answer(self, request: web.Request, body: Any) -> Answer:
        need(request.path == f"/services/T0/B0/{self.secret}", 403)
        need(bool(body["text"]) and "channel" not in body and "thread_ts" not in body)
        self.kept[str(len(self.kept))] = body
        return 200, None


class TeamsTool(Standin):
    kind = "teams"
    idempotent = False

    def own(self) -> dict[str, Any]:
        return {"url": "env:TOOL_SECRET"}

    def environ(self) -> dict[str, str]:
        return {"TOOL_SECRET": f"{self.url}/workflows/w/triggers/manual/paths/invoke?api-version=1&sig={self.secret}"}

    async def answer(self, request: web.Request, body: Any) -> Answer:
        need(request.query.get("sig") == self.secret, 401)
        need(len(await request.read()) <= 28_672, 413)
        [attachment] = body["attachments"]
        card = attachment["content"]
        need(body["type"] == "message" and attachment["contentType"] == "application/vnd.microsoft.card.adaptive")
        need(card["type"] == "AdaptiveCard" and card["version"] == "1.4" and bool(card["body"]))
        need(all(isinstance(e["text"], str) for e in card["body"] if e["type"] == "TextBlock"))
        need(all({"title", "value"} == set(f) for e in card["body"] if e["type"] == "FactSet" for f in e["facts"]))
        self.kept[str(len(self.kept))] = card
        return 202, None


class PagerDutyTool(Standin):
    kind = "pagerduty"
    secret = "0123456789abcdef0123456789abcdef"

    def own(self) -> dict[str, Any]:
        return {"url": self.url + "/v2/enqueue", "routing_key": "env:TOOL_SECRET", "events": ["*"]}

    async def answer(self, request: web.Request, body: Any) -> Answer:
        need(request.path == "/v2/enqueue" and request.method == "POST", 404)
        need(len(await request.read()) <= 512_000, 413)
        need(body["routing_key"] == self.secret, 400, {"status": "invalid event", "errors": ["invalid routing key"]})
        action, key = body["event_action"], body["dedup_key"]
        need(action in ("trigger", "acknowledge", "resolve") and 1 <= len(key) <= 255)
        if action == "trigger":
            payload = body["payload"]
            need(1 <= len(payload["summary"]) <= 1024 and bool(payload["source"]))
            need(payload["severity"] in ("critical", "error", "warning", "info"))
            need(RFC3339.fullmatch(payload["timestamp"]) is not None)
            self.kept[key] = "acknowledged" if self.kept.get(key) == "acknowledged" else "triggered"
        elif self.kept.get(key, "resolved") != "resolved":
            self.kept[key] = action + "d"
        return 202, {"status": "success", "message": "Event processed", "dedup_key": key}

    def ended(self, case: str) -> bool:
        return bool(self.kept[case] == "resolved")


class AlertmanagerTool(Standin):
    kind = "alertmanager"

    def own(self) -> dict[str, Any]:
        return {"url": self.url, "token": "env:TOOL_SECRET"}

    async def answer(self, request: web.Request, body: Any) -> Answer:
        self.bearer(request)
        need(request.path == "/api/v2/alerts" and request.method == "POST", 404)
        for alert in body:
            need(set(alert) <= {"labels", "annotations", "startsAt", "endsAt", "generatorURL"}, 422)
            need(all(re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name) for name in alert["labels"]))
            need(bool(alert["labels"]["alertname"]) and all(isinstance(v, str) for v in alert["labels"].values()))
            need(all(isinstance(value, str) for value in alert["annotations"].values()))
            need(all(RFC3339.fullmatch(alert[at]) for at in ("startsAt", "endsAt") if at in alert))
            need(alert.get("endsAt", "9") >= alert["startsAt"])
            self.kept[str(sorted(alert["labels"].items()))] = alert
        return 200, None

    def ended(self, case: str) -> bool:
        return all("endsAt" in alert for alert in self.kept.values() if alert["labels"]["case"] == case)
