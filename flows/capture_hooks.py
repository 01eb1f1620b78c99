"""Webhooks of feedback tools: a signed notice becomes a response, an answer of one, or something to fetch.

A tool that is refused tries again, and in the end switches the webhook off; so what it signed is always kept: a notice
that nothing can be made of goes to the engine, which says so and buries it. Only a wrong signature, an unknown address
or our own trouble is answered with an error.
"""

from collections.abc import Mapping
from typing import Any

import msgspec
from aiohttp import web

from connectors import hooks
from connectors.fetching import Job, adding
from connectors.hook_signatures import check_secrets, refusal
from connectors.hooks import HookError, HookSettings, NotANotice
from connectors.http_settings import HttpSettings
from connectors.intake import Ask, Busy, Changed, Entry, entry_of, mark_of
from connectors.keyspace import Keys
from connectors.redis_async import AsyncLink
from connectors.redis_link import StoreAway, StoreError, StoreRefusing
from connectors.references import fetch as fetch_secret
from feedback.records import Envelope, Outcome, Response
from flows.capture import AWAY_S, Door, json_response
from flows.doorkeeper import Refused

TRIES = 8
"""How often an answer is put to the others of its response, when each time another came between."""


class OpenHook(msgspec.Struct, frozen=True):
    """A tool's webhook for one programme, ready to be used."""

    mapping: hooks.Mapping
    secrets: tuple[str, ...]
    token: str
    allow_private: bool


def open_hooks(settings: HttpSettings, environ: Mapping[str, str]) -> dict[tuple[str, str], OpenHook]:
    """(tool, programme) to the webhooks of the settings, their secrets fetched. Raises HookError."""
    found: dict[tuple[str, str], OpenHook] = {}
    for programme, said in settings.hooks.items():
        for tool, own in said.items():
            try:
                found[tool, programme] = _open(tool, own, environ)
            except (HookError, ValueError) as error:
                raise HookError(f"http.hooks.{programme}.{tool}: {error}") from None
    return found


def _open(tool: str, own: HookSettings, environ: Mapping[str, str]) -> OpenHook:
    mapping = hooks.with_settings(hooks.load(tool), own)
    secrets = tuple(fetch_secret(reference, environ) for reference in own.secrets)
    check_secrets(mapping.verify, secrets)
    if mapping.fetch is not None and not own.token:
        raise ValueError("no token; the tool's notices hold no answers, and its API wants one")
    if mapping.fetch is not None and not mapping.fetch.base.startswith(("https://", "http://")):
        raise ValueError("no base; the address of the tool's API, such as https://example.qualtrics.com")
    token = fetch_secret(own.token, environ) if own.token else ""
    return OpenHook(mapping, secrets, token, own.allow_private)


class Hooks:
    """The handler of webhooks, and what reads fetched answers."""

    def __init__(self, door: Door, url: str, opened: Mapping[tuple[str, str], OpenHook]) -> None:
        self._door, self._open = door, opened
        self._link = AsyncLink(url, timeout_s=3.0)

    @property
    def tools(self) -> dict[str, list[str]]:
        """Tools by programme."""
        found: dict[str, list[str]] = {}
        for tool, programme in self._open:
            found.setdefault(programme, []).append(tool)
        return found

    def opened(self, tool: str, programme: str) -> OpenHook | None:
        return self._open.get((tool, programme))

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """`POST /v1/hooks/{tool}/{programme}`, and the HEAD by which some tools look first."""
        tool, programme = request.match_info["tool"], request.match_info["programme"]
        hook = self._open.get((tool, programme))
        if hook is None:
            raise Refused(404, "no_such_hook", "no webhook of that tool is open for that programme")
        if request.method == "HEAD":
            return web.Response()
        door = self._door
        if door.doorkeeper.trouble:
            raise Refused(503, "redis_away", "the store cannot be reached just now; send this again", AWAY_S)
        body = await request.read()
        headers = {name.lower(): value for name, value in request.headers.items()}
        form = hooks.form_of(request.headers.get("Content-Type", ""), body)
        if why := refusal(hook.mapping.verify, hook.secrets, headers, form, body, door.now()):
            door.doorkeeper.turn_away(
                why, "hooks", programme=programme, principal=f"hook:{tool}", address=request.remote or ""
            )
            raise Refused(401, why, "the signature does not stand: check the secret, and the clock of this machine")
        door.doorkeeper.make_room(programme)
        door.doorkeeper.spend(f"hook:{tool}:{programme}", 1)
        try:
            notice = hooks.notice_of(hook.mapping, headers, form, body)
        except NotANotice:
            return await self._bury(hook, programme, body)
        if hook.mapping.take is not None and not hook.mapping.take.holds(notice):
            door.metrics.records(f"hook {tool}", "ignored")
            return json_response(200, {"status": "ignored"})
        if hook.mapping.fetch is not None:
            return await self._note_to_fetch(hook, programme, notice, body)
        if hook.mapping.partial:
            return await self._take_answer(hook, programme, notice.document, body)
        record = hooks.response_of(hook.mapping, notice.document)
        return self._said(hook, await self.take(hook, programme, record, body))

    async def take(self, hook: OpenHook, programme: str, record: dict[str, Any], body: bytes, **ask: Any) -> bool:
        """Keep *record*, or *body* when the engine could not read it as it is; whether it is new. Raises Refused."""
        entry = self.entry(hook, programme, record, body)
        asked = Ask(programme=programme, entries=(entry,), remember_s=self._door.settings.remember_s, **ask)
        taken = await self._door.hand_in(asked)
        return bool(taken[0].is_new)

    def entry(self, hook: OpenHook, programme: str, record: dict[str, Any], body: bytes) -> Entry:
        """What is written for *record*."""
        raw = msgspec.json.encode(record)
        envelope = Envelope(
            raw=raw, source=hook.mapping.tool, position="", received_at=self._door.now(), programme=programme
        )
        found = self._door.read(envelope)
        if isinstance(found, Response | Outcome):
            return entry_of(found, raw)
        # Where only the id is missing the mapping's own record says nothing; the notice does.
        lost = raw if "id" in record else hooks.unreadable(hook.mapping, body)
        keys = Keys(programme)
        return Entry(keys.inbox, keys.seen(mark_of("unreadable", hook.mapping.tool, lost)), lost)

    async def _bury(self, hook: OpenHook, programme: str, body: bytes) -> web.StreamResponse:
        await self.take(hook, programme, {}, body)
        self._door.metrics.records(f"hook {hook.mapping.tool}", "rejected")
        return json_response(200, {"status": "kept", "detail": "nothing could be made of it; it is a dead letter"})

    def _said(self, hook: OpenHook, is_new: bool) -> web.StreamResponse:
        status = "accepted" if is_new else "duplicate"
        self._door.metrics.records(f"hook {hook.mapping.tool}", status)
        return json_response(200, {"status": status})

    async def _note_to_fetch(
        self, hook: OpenHook, programme: str, notice: hooks.Notice, body: bytes
    ) -> web.StreamResponse:
        assert hook.mapping.fetch is not None
        try:
            url = hooks.address_of(hook.mapping.fetch, notice.document)
        except NotANotice:
            return await self._bury(hook, programme, body)
        id_ = mark_of("fetch", hook.mapping.tool, body)
        job = Job(id=id_, tool=hook.mapping.tool, notice=body, url=url, first_at=self._door.now())
        try:
            await self._door.intake.do(adding(programme, job))
        except (Busy, StoreAway, StoreRefusing, StoreError):
            raise Refused(503, "redis_away", "not known to be kept; send this again", AWAY_S) from None
        self._door.metrics.records(f"hook {hook.mapping.tool}", "to_fetch")
        return json_response(200, {"status": "noted", "detail": "its answers are fetched"})

    async def _take_answer(self, hook: OpenHook, programme: str, document: Any, body: bytes) -> web.StreamResponse:
        """One answer of several: put to what is known of its response, which is then one again."""
        record = hooks.response_of(hook.mapping, document)
        if "id" not in record:
            return await self._bury(hook, programme, body)
        mark = mark_of("partial", hook.mapping.tool, record["id"])
        for _ in range(TRIES):
            before = await self._known(Keys(programme).partial(mark))
            whole = hooks.together(msgspec.json.decode(before) if before else {}, record)
            try:
                after = msgspec.json.encode(whole)
                return self._said(
                    hook, await self.take(hook, programme, whole, body, partial=mark, before=before, after=after)
                )
            except Changed:
                continue
        raise Refused(503, "busy", "many answers of one response at once; send this again", 1.0)

    async def _known(self, key: str) -> bytes:
        try:
            if not self._link.is_open:
                await self._link.open()
            return await self._link.call("GET", key) or b""
        except (StoreAway, StoreRefusing, StoreError):
            raise Refused(503, "redis_away", "the store cannot be reached just now; send this again", AWAY_S) from None

    async def close(self) -> None:
        await self._link.close()
