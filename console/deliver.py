"""The second flow and its dead letters, for the command line."""

import asyncio
import os
import time
from collections.abc import Callable
from typing import Any

import msgspec
from prometheus_client import CollectorRegistry

from connectors.delivery_commands import dead_letters, enable, replay, state
from connectors.delivery_queue import connect
from connectors.targets.loading import Ready
from connectors.webhooks import Endpoint
from flows import deliveries
from flows.delivery_metrics import DeliveryMetrics
from flows.engine import redis_at
from flows.health import HealthServer, Readiness
from flows.run import StateError, Stop
from flows.settings import Settings, SettingsError

Row = dict[str, Any]


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """What was asked of `tocsin deliveries`; nothing asked shows the endpoints."""

    dead: bool
    replay: bool
    enable: str
    endpoint: str
    event: str


def deliver_until_stopped(
    settings: Settings, metrics_port: int, tell: Callable[[str], None], stop: Stop | None = None
) -> None:
    """Run the deliveries flow until SIGTERM, SIGINT or *stop*. Raises SettingsError, StateError."""
    stop = stop or Stop()
    endpoints = deliveries.receivers_from(settings, os.environ)
    if not endpoints:
        raise SettingsError(
            f"{settings.file} declares no endpoints and no targets; add them (docs/settings.md, docs/targets.md)"
        )
    registry, health = CollectorRegistry(), deliveries.DeliveriesHealth()
    metrics = DeliveryMetrics(registry)
    registry.register(Readiness(health.reasons))
    try:
        server = HealthServer(registry, health.reasons, host=settings.metrics_host, port=metrics_port)
    except OSError as error:
        raise StateError(f"port {metrics_port} for metrics is taken ({error.strerror}); give --metrics-port") from None
    with redis_at(settings) as url, stop.on_signals():
        tell(f"posting to {', '.join(e.name for e in endpoints)}; metrics at http://127.0.0.1:{server.port}/metrics")
        asyncio.run(_deliver(url, endpoints, settings, metrics, health, stop))
    server.close()


async def _deliver(
    url: str,
    endpoints: tuple[Endpoint | Ready, ...],
    settings: Settings,
    metrics: DeliveryMetrics,
    health: deliveries.DeliveriesHealth,
    stop: Stop,
) -> None:
    over = asyncio.Event()
    flow = asyncio.create_task(
        deliveries.run(
            url,
            endpoints,
            sorted(settings.programmes),
            metrics=metrics,
            stop=over,
            health=health,
            vault=settings.vault if settings.privacy.seal else None,
        )
    )
    while not stop() and not flow.done():
        await asyncio.sleep(0.1)
    over.set()
    await flow


def look_at_deliveries(settings: Settings, url: str, asked: Asked) -> list[Row]:
    """The rows to show, once what was asked is done."""
    return asyncio.run(_look(settings, url, asked))


async def _look(settings: Settings, url: str, asked: Asked) -> list[Row]:
    client = connect(url)
    try:
        programmes = sorted(settings.programmes)
        endpoint = asked.endpoint or None
        if asked.enable:
            done = await enable(client, asked.enable)
            return [{"endpoint": asked.enable, "enabled": done}]
        if asked.replay:
            now, event = time.time(), asked.event or None
            return [
                {
                    "programme": programme,
                    "replayed": await replay(client, programme, now=now, endpoint=endpoint, event_id=event),
                }
                for programme in programmes
            ]
        if asked.dead:
            return [
                {"programme": programme, **msgspec.to_builtins(letter)}
                for programme in programmes
                for letter in await dead_letters(client, programme, endpoint=endpoint)
                if not asked.event or letter.id == asked.event
            ]
        names = [declared.name for declared in (*settings.endpoints, *settings.targets)]
        return [{"endpoint": name, **msgspec.to_builtins(await state(client, name))} for name in names]
    finally:
        await client.aclose()
