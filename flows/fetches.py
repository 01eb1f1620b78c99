"""Fetching the answers that a tool's notice did not hold, outside the door's way: from a durable list, with patience.

Runs in the door's process, one loop a programme; several processes share the list. What is given up in the end goes
to the engine as it came, which says that it could not be read and buries it.
"""

import asyncio
import random
import time
from collections.abc import Callable, Sequence

import msgspec
import structlog

from connectors import hooks
from connectors.fetching import Fetcher, FetchError, FetchList, Job, header_of, pause_after
from connectors.hooks import NotANotice
from connectors.redis_async import AsyncLink, end
from connectors.redis_link import ScriptMissing, StoreAway, StoreError, StoreRefusing
from flows.capture_hooks import Hooks, OpenHook
from flows.capture_metrics import CaptureMetrics
from flows.doorkeeper import Refused

log = structlog.get_logger()

LOOK_S = 0.5
AT_ONCE = 8


class Fetches:
    """The loops. Use as an async context manager."""

    def __init__(
        self,
        url: str,
        programmes: Sequence[str],
        hooks_: Hooks,
        fetcher: Callable[[OpenHook], Fetcher],
        metrics: CaptureMetrics,
        *,
        now: Callable[[], float] = time.time,
        pause: Callable[[int], float | None] = pause_after,
    ) -> None:
        self._url, self._programmes, self._hooks, self._fetcher = url, programmes, hooks_, fetcher
        self._metrics, self._now, self._pause = metrics, now, pause
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> "Fetches":
        self._tasks = [asyncio.create_task(self._serve(programme)) for programme in self._programmes]
        return self

    async def __aexit__(self, *_: object) -> None:
        await end(self._tasks)

    async def _serve(self, programme: str) -> None:
        link = AsyncLink(self._url, timeout_s=5.0)
        waiting = FetchList(link, programme)
        try:
            while True:
                jobs: Sequence[Job] = ()
                try:
                    if not link.is_open:
                        await link.open()
                    jobs = await waiting.borrow(self._now(), AT_ONCE)
                    for job, pause in zip(
                        jobs, await asyncio.gather(*(self._one(programme, job) for job in jobs)), strict=True
                    ):
                        if pause is None:
                            await waiting.done(job)
                        else:
                            await waiting.later(job, self._now() + pause)
                except (StoreAway, StoreRefusing, StoreError, ScriptMissing, msgspec.DecodeError) as error:
                    log.warning("fetches.away", programme=programme, error=str(error)[:200])
                if not jobs:
                    await asyncio.sleep(LOOK_S)
        finally:
            await link.close()

    async def _one(self, programme: str, job: Job) -> float | None:
        """Fetch and take in; seconds until the next try, or None when the notice is done with."""
        hook = self._hooks.opened(job.tool, programme)
        try:
            if hook is None or hook.mapping.fetch is None:
                raise FetchError("hook_closed")
            headers = header_of(hook.mapping.fetch.header, hook.token)
            body = await self._fetcher(hook).fetch(job.url, headers)
            record = hooks.response_of(hook.mapping, _document(body))
            await self._hooks.take(hook, programme, record, body)
        except NotANotice as error:
            return await self._failed(programme, hook, job, FetchError(str(error)))
        except FetchError as error:
            return await self._failed(programme, hook, job, error)
        except Refused as error:
            return await self._failed(programme, hook, job, FetchError(error.reason))
        self._metrics.fetched(job.tool, "fetched")
        return None

    async def _failed(self, programme: str, hook: OpenHook | None, job: Job, error: FetchError) -> float | None:
        pause = None if error.permanent else self._pause(job.failures)
        if pause is not None or hook is None:
            self._metrics.fetched(job.tool, "again")
            log.warning("fetch.failed", tool=job.tool, job=job.id, reason=error.reason, failures=job.failures + 1)
            base = pause if pause is not None else 3600.0
            return max(error.retry_after_s, base * random.uniform(0.8, 1.2))
        try:
            await self._hooks.take(hook, programme, {}, job.notice)
        except Refused:
            return 5.0
        self._metrics.fetched(job.tool, "given_up")
        log.error("fetch.given_up", tool=job.tool, job=job.id, reason=error.reason, failures=job.failures + 1)
        return None


def _document(body: bytes) -> object:
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise FetchError("not_json") from None
