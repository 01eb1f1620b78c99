"""Answers that a notice does not hold: a durable list of what is still to be fetched, and how one is fetched.

A notice is kept before the tool is answered, and leaves the list only after its answers were taken in; so a crash
fetches again, which counts once. A worker borrows a notice for a while, and one that dies gives it back by not coming.
"""

from typing import Any, Protocol

import aiohttp
import msgspec

from connectors.hooks import NotANotice
from connectors.keyspace import Keys
from connectors.redis_async import AsyncLink
from connectors.ssrf import guard

BORROWED_S = 60.0
RETRY_S = (2.0, 10.0, 30.0, 120.0, 600.0, 1800.0, 3600.0, 7200.0, 14_400.0, 28_800.0)
"""Pauses after each failure, as a tool's outage may last a night; after the last one it is given up (15.6 hours)."""
MAX_ANSWER = 4 * 1024 * 1024
TIMEOUT_S = 20.0

ADD = """
if redis.call('HSETNX', KEYS[2], ARGV[1], ARGV[2]) == 1 then redis.call('ZADD', KEYS[1], ARGV[3], ARGV[1]) end
return 1
"""
BORROW = """
local ids = redis.call('ZRANGE', KEYS[1], '-inf', ARGV[1], 'BYSCORE', 'LIMIT', 0, ARGV[3])
local found = {}
for _, id in ipairs(ids) do
  local job = redis.call('HGET', KEYS[2], id)
  if job then
    redis.call('ZADD', KEYS[1], ARGV[2], id)
    found[#found + 1] = job
  else redis.call('ZREM', KEYS[1], id) end
end
return found
"""


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """One notice whose answers are to be fetched."""

    id: str
    tool: str
    notice: bytes
    """The request's body, as it came."""
    url: str
    first_at: float
    failures: int = 0


class FetchError(Exception):
    """The answers could not be had this time. *permanent*: nor will they be the next time."""

    def __init__(self, reason: str, *, permanent: bool = False, retry_after_s: float = 0.0) -> None:
        super().__init__(reason)
        self.reason, self.permanent, self.retry_after_s = reason, permanent, retry_after_s


class Fetcher(Protocol):
    """Gets a document."""

    async def fetch(self, url: str, headers: dict[str, str]) -> bytes:
        """What lies at *url*. Raises FetchError."""


class HttpFetcher:
    """By HTTP, from public addresses, without following anybody elsewhere."""

    def __init__(self, *, allow_private: bool = False) -> None:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=8, socket_factory=guard(allow_private)),
            timeout=aiohttp.ClientTimeout(total=TIMEOUT_S, connect=5.0),
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,
        )

    async def fetch(self, url: str, headers: dict[str, str]) -> bytes:
        try:
            async with self._session.get(url, headers=headers, allow_redirects=False) as answer:
                if answer.status == 200:
                    body = await answer.content.read(MAX_ANSWER + 1)
                    while chunk := await answer.content.read(MAX_ANSWER + 1 - len(body)) if body else b"":
                        body += chunk
                        if len(body) > MAX_ANSWER:
                            raise FetchError("too_large", permanent=True)
                    return body
                permanent = 300 <= answer.status < 500 and answer.status not in (401, 403, 404, 408, 425, 429)
                wait = answer.headers.get("Retry-After", "")
                retry_after_s = float(wait) if wait.isascii() and wait.isdigit() and len(wait) < 6 else 0.0
                raise FetchError(f"status_{answer.status}", permanent=permanent, retry_after_s=retry_after_s)
        except (TimeoutError, aiohttp.ClientError, OSError, ValueError) as error:
            raise FetchError(type(error).__name__.lower()) from error

    async def close(self) -> None:
        await self._session.close()


def adding(programme: str, job: Job) -> list[Any]:
    """The command that puts *job* on the list of *programme*, for the intake; again it changes nothing."""
    keys = Keys(programme)
    return ["EVAL", ADD, "2", keys.fetches, keys.fetch_jobs, job.id, msgspec.json.encode(job), job.first_at]


class FetchList:
    """What is still to be fetched for one programme."""

    def __init__(self, link: AsyncLink, programme: str) -> None:
        self._link, self._keys = link, Keys(programme)

    async def borrow(self, now: float, count: int) -> list[Job]:
        """Up to *count* that are due, ours for `BORROWED_S`."""
        raw = await self._link.call(
            "EVAL", BORROW, "2", self._keys.fetches, self._keys.fetch_jobs, now, now + BORROWED_S, count
        )
        return [msgspec.json.decode(job, type=Job) for job in raw]

    async def done(self, job: Job) -> None:
        """Off the list."""
        for reply in await self._link.calls(
            [("ZREM", self._keys.fetches, job.id), ("HDEL", self._keys.fetch_jobs, job.id)]
        ):
            if isinstance(reply, Exception):
                raise reply

    async def later(self, job: Job, at: float) -> None:
        """To be tried again at *at*."""
        again = msgspec.structs.replace(job, failures=job.failures + 1)
        for reply in await self._link.calls(
            [
                ("HSET", self._keys.fetch_jobs, job.id, msgspec.json.encode(again)),
                ("ZADD", self._keys.fetches, at, job.id),
            ]
        ):
            if isinstance(reply, Exception):
                raise reply


def pause_after(failures: int) -> float | None:
    """Seconds until the next try after *failures* that went before it; None when it is given up."""
    return RETRY_S[failures] if failures < len(RETRY_S) else None


def header_of(template: str, token: str) -> dict[str, str]:
    """`Name: value` with the token in it. Raises NotANotice for a token that no header can hold."""
    name, _, value = template.partition(":")
    if not token or any(c in token for c in "\r\n\0"):
        raise NotANotice("the settings give no token for this tool")
    return {name.strip(): value.strip().format(token=token)}
