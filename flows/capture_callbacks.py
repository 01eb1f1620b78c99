"""What comes back from the tools that were told of cases: a signed callback becomes an action in the engine's stream.

`POST /v1/callbacks/{tool}/{programme}`, for those that the settings open. A signature lets in, the settings say which
verbs it may ask for, and the record names the door (`pagerduty:PLH1HKV`) whatever the body says. What the case's state
does not allow the engine refuses, with a reason. Forms and signatures: `connectors/targets/callbacks.py`.
"""

from collections.abc import Callable, Mapping
from functools import partial

import msgspec
from aiohttp import web

from connectors.http_settings import CallbackSettings, HttpSettings
from connectors.intake import Ask, Entry, entry_of
from connectors.references import fetch as fetch_secret
from connectors.signing import Secret
from connectors.targets import callbacks
from connectors.targets.callbacks import Asked, Decoded, NotTrusted, Unreadable
from connectors.targets.secrets import Hidden
from feedback.records import Action, Envelope, Verb
from flows.capture import AWAY_S, Door, json_response
from flows.doorkeeper import Refused

Decode = Callable[[Mapping[str, str], bytes, float], Decoded]
ANY = "*"


class CallbackError(Exception):
    """The settings of a callback cannot be used. The text says where, what was found and what was expected."""


class OpenCallback(msgspec.Struct, frozen=True):
    """A tool that may call back for one programme."""

    decode: Decode
    allow: frozenset[str]


def open_callbacks(settings: HttpSettings, environ: Mapping[str, str]) -> dict[tuple[str, str], OpenCallback]:
    """(tool, programme) to what may call back, their secrets fetched. Raises CallbackError."""
    found: dict[tuple[str, str], OpenCallback] = {}
    for programme, said in settings.callbacks.items():
        for tool, own in said.items():
            try:
                found[tool, programme] = OpenCallback(_decoder(tool, own, environ), _allowed(own))
            except ValueError as error:
                raise CallbackError(f"http.callbacks.{programme}.{tool}: {error}") from None
    return found


def _decoder(tool: str, own: CallbackSettings, environ: Mapping[str, str]) -> Decode:
    texts = [fetch_secret(reference, environ) for reference in own.secrets]
    if not texts:
        raise ValueError("no secret; a callback that nobody signed is not taken")
    hidden = [Hidden(text) for text in texts]
    match own.form or tool:
        case "pagerduty":
            return partial(callbacks.pagerduty, hidden)
        case "slack":
            return partial(callbacks.slack, hidden)
        case "jira":
            statuses = {name: Verb(verb) for name, verb in own.statuses.items()}
            return partial(callbacks.jira, hidden, statuses=statuses or callbacks.JIRA_STATUSES)
        case "signed":
            return partial(callbacks.signed, [Secret(text) for text in texts], door=tool)
        case other:
            raise ValueError(f"form {other[:40]!r}; expected pagerduty, jira, slack or signed")


def _allowed(own: CallbackSettings) -> frozenset[str]:
    for verb in own.allow:
        if verb != ANY:
            Verb(verb)
    return frozenset(own.allow)


class Callbacks:
    """The handler."""

    def __init__(self, door: Door, opened: Mapping[tuple[str, str], OpenCallback]) -> None:
        self._door, self._open = door, opened

    @property
    def tools(self) -> dict[str, list[str]]:
        """Those that are open, by programme."""
        found: dict[str, list[str]] = {}
        for tool, programme in self._open:
            found.setdefault(programme, []).append(tool)
        return found

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """`POST /v1/callbacks/{tool}/{programme}`."""
        tool, programme = request.match_info["tool"], request.match_info["programme"]
        one, door = self._open.get((tool, programme)), self._door
        if one is None:
            raise Refused(404, "no_such_callback", "no callback of that tool is open for that programme")
        if door.doorkeeper.trouble:
            raise Refused(503, "redis_away", "the store cannot be reached just now; send this again", AWAY_S)
        body = await request.read()
        decoded = one.decode({name.lower(): value for name, value in request.headers.items()}, body, door.now())
        if isinstance(decoded, NotTrusted):
            reason = "missing_signature" if decoded.reason == "missing_header" else decoded.reason
            door.doorkeeper.turn_away(
                reason, "callbacks", programme=programme, principal=f"callback:{tool}", address=request.remote or ""
            )
            raise Refused(401, reason, "the signature does not stand: check the secret, and the clock of this machine")
        if isinstance(decoded, Unreadable):
            door.metrics.records(f"callback {tool}", "rejected")
            raise Refused(422, decoded.reason, "signed, and not what this tool is known to send")
        door.doorkeeper.make_room(programme)
        door.doorkeeper.spend(f"callback:{tool}:{programme}", max(1, len(decoded.asked)))
        outcomes = [await self._take(one, tool, programme, asked, request.remote or "") for asked in decoded.asked]
        for outcome in outcomes or ["ignored"]:
            door.metrics.records(f"callback {tool}", outcome)
        return json_response(200, {"status": outcomes[0] if outcomes else "ignored", "actions": len(outcomes)})

    async def _take(self, one: OpenCallback, tool: str, programme: str, asked: Asked, address: str) -> str:
        if not {asked.do, ANY} & one.allow:
            self._door.doorkeeper.turn_away(
                "verb_not_allowed", "callbacks", programme=programme, principal=asked.principal,
                what=f"{asked.do} {asked.case}", address=address,
            )  # fmt: skip
            return "refused"
        entry = self._entry(programme, asked)
        ask = Ask(programme=programme, entries=(entry,), remember_s=self._door.settings.remember_s,
                  principal=asked.principal)  # fmt: skip
        (taken,) = await self._door.hand_in(ask)
        return "accepted" if taken.is_new else "duplicate"

    def _entry(self, programme: str, asked: Asked) -> Entry:
        raw = asked.record(programme)
        envelope = Envelope(
            raw=raw, source="callback", position="", received_at=self._door.now(), programme=programme,
            principal=asked.principal,
        )  # fmt: skip
        action = self._door.read(envelope)
        if not isinstance(action, Action):
            raise Refused(422, "bad_action", f"what it asks cannot be read: {getattr(action, 'detail', '')}")
        return entry_of(action, raw)
