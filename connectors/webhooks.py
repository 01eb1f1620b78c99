"""Webhooks: who receives what (`Endpoint`), the bytes of a request, and what its answer means (`after`).

Pure, time passed in. Signatures are in `signing.py`, addresses in `ssrf.py`; `delivery_queue.py` keeps what
waits, `flows/deliveries.py` does the posting.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from email.utils import parsedate_to_datetime
from fnmatch import fnmatchcase
from hashlib import blake2b
from typing import Literal, Protocol
from urllib.parse import urlsplit

import msgspec

from connectors.signing import Secret, sign

SCHEDULE_S = (0.0, 1.0, 5.0, 30.0, 120.0, 600.0, 3600.0, 21_600.0, 86_400.0)
"""Wait before each attempt. An alert is stale after minutes, so the early ones are close together.

The last two are reached only when `max_age_s` is raised above a day."""
JITTER = 0.2
RETRY_AFTER_MAX_S = 3600.0
"""A receiver may ask us to wait this long; beyond it we ask again."""
USER_AGENT = "Tocsin"
EVENT_PREFIX = "tocsin."

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", re.ASCII)
_HEADER = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", re.ASCII)
_OURS = frozenset({"content-type", "content-length", "host", "user-agent", "transfer-encoding", "connection"})

HEARTBEAT = "heartbeat"
"""The event that has to be named to be sent: `*` does not ask for it."""

Format = Literal["cloudevents", "standard"]
_CONTENT_TYPE: Mapping[Format, str] = {
    "cloudevents": "application/cloudevents+json",
    "standard": "application/json",
}


class Endpoint(msgspec.Struct, frozen=True, kw_only=True):
    """One receiver of webhooks. Raises ValueError for what could never work; its repr shows only the name."""

    name: str
    """Stands in keys, metrics and logs, in place of the URL."""
    url: str
    """`http` or `https`; may itself be a secret, so it is never logged. No user or password in it."""
    secrets: tuple[Secret, ...]
    """All of them sign; the first is the current one, the others are on their way in or out."""
    events: tuple[str, ...] = ("*",)
    """Globs over event types, with or without the `tocsin.` prefix: `case.*`, `clock.breached`."""
    programmes: tuple[str, ...] = ()
    """Empty means all."""
    format: Format = "cloudevents"
    allow_private: bool = False
    """Also connect to private and loopback addresses."""
    timeout_s: float = 15.0
    """For a whole attempt, from resolving the name to the answer's headers."""
    schedule_s: tuple[float, ...] = SCHEDULE_S
    """Wait before each attempt, the first of them 0; as many attempts as there are numbers."""
    max_age_s: float = 86_400.0
    """An event that waited longer than this is no longer news: it expires to the dead letters."""
    concurrency: int = 8
    """Attempts at once, for each programme."""
    headers: Mapping[str, str] = {}
    """Sent with every attempt; may hold credentials."""

    def __post_init__(self) -> None:
        wrong = "; ".join(_wrong(self))
        if wrong:
            raise ValueError(f"endpoint {self.name[:64]!r}: {wrong}")

    def __repr__(self) -> str:
        return f"Endpoint({self.name!r})"

    def wants(self, programme: str, type_: str) -> bool:
        """Whether an event of *type_* (with or without its prefix) in *programme* goes to this endpoint."""
        if self.programmes and programme not in self.programmes:
            return False
        short = type_.removeprefix(EVENT_PREFIX)
        globs = [glob.removeprefix(EVENT_PREFIX) for glob in self.events]
        if short == HEARTBEAT:  # for a watchdog; whoever wants to know of cases did not ask for it
            return short in globs
        return any(fnmatchcase(short, glob) for glob in globs)


def _wrong(endpoint: Endpoint) -> list[str]:
    found = []
    if not _NAME.fullmatch(endpoint.name):
        found.append("the name must be letters, digits, '.', '_' and '-', 64 at most")
    try:
        url = urlsplit(endpoint.url)
        port_is_fine = url.port is None or url.port > 0
    except ValueError:
        found.append("the url cannot be read")
    else:
        if url.scheme not in ("http", "https") or not url.hostname or not port_is_fine:
            found.append("the url must be http:// or https:// and name a host")
        if url.username or url.password:
            found.append("the url holds a user or password; put them into headers (Authorization)")
    if not endpoint.secrets:
        found.append("it needs at least one secret")
    if endpoint.format not in _CONTENT_TYPE:
        found.append(f"format must be one of {', '.join(_CONTENT_TYPE)}")
    if not 0 < endpoint.timeout_s <= 60:
        found.append("timeout_s must be above 0, and 60 at most")
    waits = endpoint.schedule_s
    if not waits or waits[0] != 0 or any(not 0 <= wait <= 7 * 86_400 for wait in waits):
        found.append("schedule_s must hold a wait of 0 to 604800 seconds for each attempt, the first 0")
    if not 0 < endpoint.max_age_s <= 30 * 86_400:
        found.append("max_age_s must be above 0, and 2592000 at most")
    if not 1 <= endpoint.concurrency <= 256:
        found.append("concurrency must be 1 to 256")
    for name, value in endpoint.headers.items():
        if not _HEADER.fullmatch(name) or not value.isprintable() or not value.isascii():
            found.append(f"header {name[:40]!r} is not one that HTTP can carry")
        elif name.lower() in _OURS or name.lower().startswith("webhook-"):
            found.append(f"header {name} is set by the delivery itself")
    return found


# -- the request --------------------------------------------------------------------------------------------


class _CloudEvent(msgspec.Struct):
    type: str
    time: str
    data: msgspec.Raw


class _Standard(msgspec.Struct):
    type: str
    timestamp: str
    data: msgspec.Raw


_read = msgspec.json.Decoder(_CloudEvent).decode


def body(endpoint: Endpoint, event: bytes) -> bytes:
    """What is posted for *event* (a CloudEvent's JSON): the same bytes, or `{type, timestamp, data}`.

    Raises msgspec.DecodeError when *event* is none; the queue holds only what was read once.
    """
    if endpoint.format == "cloudevents":
        return event
    whole = _read(event)
    return msgspec.json.encode(_Standard(type=whole.type, timestamp=whole.time, data=whole.data))


def request_headers(endpoint: Endpoint, event_id: str, payload: bytes, now: float) -> dict[str, str]:
    """The headers of one attempt at *now* (Unix seconds); `webhook-id` is the event's id at every attempt."""
    return {
        **endpoint.headers,
        "content-type": _CONTENT_TYPE[endpoint.format],
        "user-agent": USER_AGENT,
        **sign(endpoint.secrets, event_id, int(now), payload),
    }


# -- the answer ---------------------------------------------------------------------------------------------


class Answered(msgspec.Struct, frozen=True):
    """The receiver answered."""

    status: int
    retry_after: str = ""
    """The header as it came."""
    body: bytes = b""
    """Empty when it was too long, or broke off."""


class Failed(msgspec.Struct, frozen=True):
    """There was no answer."""

    reason: str
    """`timeout`, `unreachable`, `unresolved`, `reset`, `tls`, `bad_answer` or `address_refused`."""


class Delivered(msgspec.Struct, frozen=True):
    """The receiver has it."""


class Retry(msgspec.Struct, frozen=True):
    """Not yet: once more at `at` (Unix seconds)."""

    at: float
    reason: str
    pause_until: float = 0.0
    """The receiver asked to be left alone until then, for all events."""


class Dead(msgspec.Struct, frozen=True):
    """Never: to the dead letters."""

    reason: str
    """`refused` (the receiver will not take this one), `exhausted` (all attempts made), `expired`, `lost`."""
    detail: str = ""
    blames_endpoint: bool = True
    """False when only the message was at fault, so that the next one may well be taken."""


class Disable(msgspec.Struct, frozen=True):
    """The receiver wants no more from us; the event stays in the queue."""

    reason: str


Outcome = Delivered | Retry | Dead | Disable

_AGAIN = frozenset({408, 425, 429})
_ABOUT_THE_MESSAGE = frozenset({400, 413, 414, 415, 422, 431})


def after(
    answer: Answered | Failed,
    *,
    event_id: str,
    attempt: int,
    now: float,
    schedule_s: Sequence[float] = SCHEDULE_S,
) -> Outcome:
    """What the answer to attempt number *attempt* (from 1), known at *now*, means for the event.

    2xx: delivered. 410: the endpoint is disabled. Any other 4xx but 408, 425 and 429: dead at once, for it would
    be refused again. The rest (no answer, 5xx, and 3xx, which is never followed but is often a maintenance page
    and can be mended by an operator) is retried by the schedule; after its last attempt the event is dead.
    """
    if isinstance(answer, Failed):
        return _again(answer.reason, 0.0, event_id, attempt, now, schedule_s)
    status = answer.status
    if 200 <= status < 300:
        return Delivered()
    if status == 410:
        return Disable(reason="gone")
    reason = f"http_{status}"
    if 400 <= status < 500 and status not in _AGAIN:
        return Dead(reason="refused", detail=reason, blames_endpoint=status not in _ABOUT_THE_MESSAGE)
    return _again(reason, retry_after_s(answer.retry_after, now), event_id, attempt, now, schedule_s)


def _again(
    reason: str, asked_s: float, event_id: str, attempt: int, now: float, schedule_s: Sequence[float]
) -> Outcome:
    if attempt >= len(schedule_s):
        return Dead(reason="exhausted", detail=reason)
    at = now + max(schedule_s[attempt] * jitter(event_id, attempt), asked_s)
    return Retry(at=at, reason=reason, pause_until=now + asked_s if asked_s else 0.0)


def jitter(event_id: str, attempt: int) -> float:
    """A factor of 0.8 to 1.2 that is the same whenever it is asked for, so that a retry can be foretold."""
    digest = blake2b(f"{event_id} {attempt}".encode(), digest_size=4).digest()
    return 1 - JITTER + 2 * JITTER * int.from_bytes(digest, "big") / 0xFFFFFFFF


def retry_after_s(header: str, now: float) -> float:
    """Seconds from *now* that a `Retry-After` (seconds or an HTTP date) asks for: 0 to RETRY_AFTER_MAX_S.

    What cannot be read asks for nothing.
    """
    text = header.strip()
    if text.isascii() and text.isdigit():
        return min(float(text[:12]), RETRY_AFTER_MAX_S)
    try:
        at = parsedate_to_datetime(text)
    except (ValueError, IndexError, TypeError):
        return 0.0
    if at.tzinfo is None:
        return 0.0
    return min(max(at.timestamp() - now, 0.0), RETRY_AFTER_MAX_S)


class Wanting(Protocol):
    @property
    def name(self) -> str: ...
    def wants(self, programme: str, type_: str) -> bool: ...


def matching(endpoints: Sequence[Wanting], programme: str) -> Callable[[str], tuple[str, ...]]:
    """A function from an event's type to the names of those of *endpoints* that want it; it remembers types."""
    known: dict[str, tuple[str, ...]] = {}

    def names(type_: str) -> tuple[str, ...]:
        found = known.get(type_)
        if found is None:
            found = tuple(e.name for e in endpoints if e.wants(programme, type_))
            if len(known) < 1000:
                known[type_] = found
        return found

    return names
