"""Carries out the conversation of a target: HTTP, mail, `apprise`; what came of it is an `Outcome`, as for webhooks.

An answer that is not 2xx ends the conversation as `connectors.webhooks.after` says, unless the request called it
fine. Nothing that a tool says, no URL and no header gets into an outcome: only our words and numbers do.
"""

import asyncio
import socket
import ssl
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

import aiosmtplib
import msgspec

from connectors.posting import Caller
from connectors.ssrf import AddressRefused, guard
from connectors.targets.loading import Ready
from connectors.targets.secrets import Hidden
from connectors.targets.target import Mail, Notice, Reply, Request, Talk, TargetError
from connectors.webhooks import USER_AGENT, Answered, Dead, Delivered, Failed, Outcome, Retry, after, jitter

STEPS_MAX = 10
"""More requests than this about one event is a mistake of ours."""


class Pace:
    """Lets at most *per_second* through, evenly, in the order in which they came."""

    def __init__(self, per_second: float) -> None:
        self._gap_s, self._next_at = 1 / per_second, 0.0

    async def turn(self) -> None:
        now = time.monotonic()
        at, self._next_at = max(now, self._next_at), max(now, self._next_at) + self._gap_s
        if at > now:
            await asyncio.sleep(at - now)


class Ended(msgspec.Struct, frozen=True, kw_only=True):
    """How a conversation ended."""

    outcome: Outcome
    remember: str = ""
    said: int = 0
    """Requests made; 0 when the tool needed no word of the event."""
    status: int = 0
    """Of the last answer over HTTP."""


class Sender:
    """Talks for one target. Made inside a running loop; `close` it."""

    def __init__(self, target: Ready) -> None:
        declared = target.declared
        self._schedule_s, self._timeout_s = target.schedule_s, declared.timeout_s
        self._allow_private = declared.allow_private
        self._http = Caller(declared.name, allow_private=declared.allow_private, timeout_s=declared.timeout_s)
        self._pace = Pace(declared.per_second)

    async def converse(self, talk: Talk, *, event_id: str, attempt: int, now: float) -> Ended:
        """Attempt number *attempt* (from 1) at *now* (Unix seconds)."""
        said, status = 0, 0
        try:
            step = next(talk)
            while said < STEPS_MAX:
                await self._pace.turn()
                said += 1
                if isinstance(step, Request):
                    answer = await self._call(step)
                    status = answer.status if isinstance(answer, Answered) else 0
                    if isinstance(answer, Failed) or not (200 <= status < 300 or status in step.fine):
                        schedule = self._schedule_s
                        outcome = after(answer, event_id=event_id, attempt=attempt, now=now, schedule_s=schedule)
                        return Ended(outcome=outcome, said=said, status=status)
                    step = talk.send(Reply(status, _json(answer.body)))
                else:
                    await (self._mail(step) if isinstance(step, Mail) else self._notify(step))
                    step = talk.send(Reply(200))
        except StopIteration as end:
            return Ended(outcome=Delivered(), remember=end.value or "", said=said, status=status)
        except TargetError as error:
            return Ended(outcome=self._failed(error, event_id, attempt, now), said=said, status=status)
        raise RuntimeError(f"a conversation of more than {STEPS_MAX} requests")

    def _failed(self, error: TargetError, event_id: str, attempt: int, now: float) -> Outcome:
        if error.permanent:
            return Dead(reason="refused", detail=error.reason, blames_endpoint=not error.ours)
        if attempt >= len(self._schedule_s):
            return Dead(reason="exhausted", detail=error.reason)
        wait = max(self._schedule_s[attempt] * jitter(event_id, attempt), error.retry_after_s)
        return Retry(at=now + wait, reason=error.reason)

    async def _call(self, request: Request) -> Answered | Failed:
        return await self._http.call(request.method, *_bytes(request))

    async def say(self, request: Request) -> bool:
        """One request outside any conversation; whether it was taken."""
        await self._pace.turn()
        answer = await self._call(request)
        return isinstance(answer, Answered) and 200 <= answer.status < 300

    async def _mail(self, mail: Mail) -> None:
        try:
            async with asyncio.timeout(self._timeout_s):
                line = await _connected(mail.host, mail.port, self._allow_private)
                context = ssl.create_default_context(cafile=mail.ca_file or None) if mail.security != "none" else None
                server = aiosmtplib.SMTP(
                    hostname=mail.host,
                    sock=line,
                    use_tls=mail.security == "tls",
                    start_tls=mail.security == "starttls",
                    tls_context=context,
                    local_hostname=mail.sender.partition("@")[2],
                    timeout=self._timeout_s,
                )
                async with server:
                    if mail.user:
                        await server.login(mail.user, mail.password.reveal())
                    await server.send_message(mail.message, sender=mail.sender, recipients=list(mail.recipients))
        except aiosmtplib.SMTPRecipientsRefused as error:
            codes = [refused.code for refused in error.recipients]
            raise _smtp(min(codes), ours=True) from None  # one that may still be taken makes it worth another attempt
        except aiosmtplib.SMTPAuthenticationError as error:
            raise _smtp(error.code, ours=False) from None
        except aiosmtplib.SMTPResponseException as error:
            raise _smtp(error.code, ours=True) from None
        except aiosmtplib.SMTPNotSupported:
            raise TargetError("smtp_not_offered", permanent=True) from None
        except ssl.SSLError:
            raise TargetError("tls", permanent=False) from None
        except AddressRefused:
            raise TargetError("address_refused", permanent=False) from None
        except TimeoutError:
            raise TargetError("timeout", permanent=False) from None
        except (aiosmtplib.SMTPException, OSError):
            raise TargetError("unreachable", permanent=False) from None

    async def _notify(self, notice: Notice) -> None:
        try:
            import apprise  # an extra: looked for when the first target that needs it speaks
        except ImportError:
            raise TargetError("apprise_not_installed", permanent=False) from None

        kind = {"critical": "failure", "error": "failure", "warning": "warning"}.get(notice.severity, "info")
        library = apprise.Apprise()
        if not library.add(notice.url.reveal()):
            raise TargetError("apprise_url", permanent=True)
        try:
            async with asyncio.timeout(self._timeout_s):
                taken = await library.async_notify(body=notice.text, title=notice.title, notify_type=kind)
        except TimeoutError:
            raise TargetError("timeout", permanent=False) from None
        if not taken:
            raise TargetError("apprise_refused", permanent=False)

    async def close(self) -> None:
        await self._http.close()


def _smtp(code: int, *, ours: bool) -> TargetError:
    permanent = 500 <= code < 600
    return TargetError(f"smtp_{code}", permanent=permanent, ours=ours and permanent)


async def _connected(host: str, port: int, allow_private: bool) -> socket.socket:
    """A socket to the first address of *host* that answers. Raises OSError; AddressRefused for what is inside."""
    loop, make = asyncio.get_running_loop(), guard(allow_private)
    last: OSError = OSError("no address")
    for info in await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM):
        try:
            line = make(info)
        except AddressRefused as refused:
            last = refused
            continue
        line.setblocking(False)
        try:
            await loop.sock_connect(line, info[4])
        except OSError as error:
            last = error
            line.close()
        except BaseException:
            line.close()
            raise
        else:
            return line
    raise last


def _bytes(request: Request) -> tuple[str, dict[str, str], bytes | None]:
    headers = {name: _open(value) for name, value in request.headers.items()} | {"user-agent": USER_AGENT}
    payload = None
    if request.form:
        headers["content-type"] = "application/x-www-form-urlencoded"
        payload = urlencode({name: _open(value) for name, value in request.form.items()}).encode()
    elif request.body is not None:
        headers["content-type"] = "application/json; charset=utf-8"
        payload = msgspec.json.encode(request.body, enc_hook=_open)
    return _open(request.url), headers, payload


def _open(value: Any) -> str:
    if isinstance(value, Hidden):
        return value.reveal()
    if isinstance(value, str):
        return value
    raise TypeError(f"a request cannot hold {type(value).__name__}")


def _json(body: bytes) -> Any:
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def imagine(talk: Talk) -> tuple[list[Mapping[str, Any]], str]:
    """What a conversation would say, each request answered as imagined; and what would be remembered. For a dry run."""
    found: list[Mapping[str, Any]] = []
    try:
        step = next(talk)
        while True:
            found.append(_plain(step))
            status = step.imagined_status if isinstance(step, Request) else 200
            step = talk.send(Reply(status, step.imagined if isinstance(step, Request) else None))
    except StopIteration as end:
        return found, end.value or ""


def _plain(step: Request | Mail | Notice) -> Mapping[str, Any]:
    if isinstance(step, Mail):
        return {"mail": step.message.as_string(), "to": list(step.recipients), "by": f"{step.host}:{step.port}"}
    if isinstance(step, Notice):
        return {"apprise": step.url.reveal(), "title": step.title, "text": step.text}
    url, headers, _ = _bytes(step)
    plain: dict[str, Any] = {"request": f"{step.method} {url}", "headers": headers}
    if step.form:
        plain["form"] = {name: _open(value) for name, value in step.form.items()}
    if step.body is not None:
        plain["body"] = msgspec.to_builtins(step.body, enc_hook=_open)
    return plain
