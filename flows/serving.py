"""The HTTP service put together: settings in, a process that serves until it is asked to stop.

One process is one event loop; several may serve the same store behind a balancer (rates are then per process).
"""

import asyncio
import os
import ssl
import time
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack

import structlog
from aiohttp import web
from prometheus_client import CollectorRegistry

from connectors.fetching import Fetcher, HttpFetcher
from connectors.hooks import HookError
from connectors.http_settings import Tls
from connectors.intake import Intake
from connectors.keyspace import Keys
from flows.capture import Door, Tools, application, reasons
from flows.capture_callbacks import CallbackError, Callbacks, open_callbacks
from flows.capture_hooks import Hooks, OpenHook, open_hooks
from flows.capture_metrics import CaptureMetrics
from flows.doorkeeper import Doorkeeper
from flows.fetches import Fetches
from flows.health import Readiness
from flows.settings import Settings, SettingsError

log = structlog.get_logger()

GRACE_S = 10.0
"""Requests under way when a stop comes have this long to be answered."""
BACKLOG = 1024


async def serve(
    url: str,
    settings: Settings,
    *,
    version: str,
    stop: asyncio.Event,
    started: Callable[[str], None] = lambda _: None,
    now: Callable[[], float] = time.time,
    environ: Mapping[str, str] = os.environ,
) -> None:
    """Serve until *stop*. *started* is told the address. Raises SettingsError for what cannot be opened."""
    http = settings.http
    try:
        opened, back = open_hooks(http, environ), open_callbacks(http, environ)
    except (HookError, CallbackError) as error:
        raise SettingsError(f"{settings.file}: {error}") from None
    tls = _tls(http.tls)
    registry = CollectorRegistry()
    metrics = CaptureMetrics(registry)
    programmes = sorted(settings.programmes)
    async with AsyncExitStack() as stack:
        intake = await stack.enter_async_context(
            Intake(url, marker=Keys(programmes[0]).marker, wait_for_disk=http.durability == "disk")
        )
        keeper = await stack.enter_async_context(Doorkeeper(url, programmes, http, metrics, now=now))
        door = Door(http, frozenset(programmes), settings.metrics, intake, keeper, metrics, now=now)
        registry.register(Readiness(lambda: reasons(door)))
        hooks = Hooks(door, url, opened)
        stack.push_async_callback(hooks.close)
        fetchers = _Fetchers()
        stack.push_async_callback(fetchers.close)
        fetching = sorted({programme for (_, programme), hook in opened.items() if hook.mapping.fetch is not None})
        await stack.enter_async_context(Fetches(url, fetching, hooks, fetchers, metrics, now=now))
        callbacks = Callbacks(door, back)
        app = application(
            door, registry, version, Tools(hooks.handle, hooks.tools), Tools(callbacks.handle, callbacks.tools)
        )
        runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=GRACE_S)
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        site = web.TCPSite(runner, http.host, http.port, ssl_context=tls, backlog=BACKLOG)
        try:
            await site.start()
        except OSError as error:
            raise SettingsError(
                f"{http.host}:{http.port} cannot be listened on ({error.strerror}); set http.port, or give --port"
            ) from None
        host, port = runner.addresses[0][:2]
        shown = f"[{host}]" if ":" in str(host) else host
        started(f"{'https' if tls else 'http'}://{shown}:{port}")
        await stop.wait()
        log.info("http.stopping", in_hand=intake.in_hand)


class _Fetchers:
    """A fetcher for public addresses, and one for tools that the settings say are in the house."""

    def __init__(self) -> None:
        self._made: dict[bool, HttpFetcher] = {}

    def __call__(self, hook: OpenHook) -> Fetcher:
        private = hook.allow_private
        if private not in self._made:
            self._made[private] = HttpFetcher(allow_private=private)
        return self._made[private]

    async def close(self) -> None:
        for fetcher in self._made.values():
            await fetcher.close()


def _tls(files: Tls | None) -> ssl.SSLContext | None:
    """TLS 1.2 or later. Raises SettingsError when a file cannot be used."""
    if files is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(files.cert, files.key)
        if files.clients:
            context.load_verify_locations(files.clients)
            context.verify_mode = ssl.CERT_REQUIRED
    except (OSError, ssl.SSLError) as error:
        raise SettingsError(f"http.tls: {files.cert}, {files.key}: {error}") from None
    return context
