"""The HTTP door and its keys, for the command line."""

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from connectors.api_keys import ApiKey
from connectors.key_store import KeyStore
from feedback.instants import Instant, rfc3339
from flows.run import Stop
from flows.serving import serve
from flows.settings import Settings, SettingsError

Row = dict[str, Any]


def serve_until_stopped(settings: Settings, url: str, version: str, tell: Callable[[str], None]) -> None:
    """Serve until SIGTERM or SIGINT. Raises SettingsError."""
    stop = Stop()

    async def run() -> None:
        over = asyncio.Event()
        serving = asyncio.create_task(
            serve(url, settings, version=version, stop=over, started=lambda where: tell(f"serving at {where}"))
        )
        while not stop() and not serving.done():
            await asyncio.sleep(0.1)
        over.set()
        await serving

    with stop.on_signals():
        asyncio.run(run())


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """What was asked of `tocsin keys`."""

    do: str
    which: str = ""
    programme: str = ""
    allow: Sequence[str] = ()
    overlap_s: int = 86_400
    limit: int = 100


def manage_keys(settings: Settings, url: str, wanted: Wanted) -> list[Row]:
    """The rows to show, once what was asked is done. Raises ValueError, UnknownKey, SettingsError."""
    if wanted.programme and wanted.programme not in settings.programmes:
        raise SettingsError(f"programme {wanted.programme[:64]} is not declared in {settings.file}")
    programmes = [wanted.programme] if wanted.programme else sorted(settings.programmes)
    store, now = KeyStore(url), int(time.time())
    try:
        if wanted.do == "add":
            key, text = store.add(wanted.which, wanted.programme or "default", wanted.allow, now)
            return [{**row_of(key, now), "key": text}]
        if wanted.do == "rotate":
            key, text = store.rotate(wanted.which, programmes, now, wanted.overlap_s)
            return [{**row_of(key, now), "key": text}]
        if wanted.do == "revoke":
            return [row_of(key, now) for key in store.revoke(wanted.which, programmes, now)]
        if wanted.do == "refusals":
            rows = [row for name in programmes for row in store.refusals(name, wanted.limit)]
            rows.sort(key=lambda row: float(row["at"]), reverse=True)
            return [{**row, "at": rfc3339(Instant(int(float(row["at"]))))} for row in rows[: wanted.limit]]
        return [row_of(key, now) for key in store.all(programmes)]
    finally:
        store.close()


def row_of(key: ApiKey, now: int) -> Row:
    """What is shown of a key: all but its digest."""
    state = "in force" if not key.ends_at else "ended" if key.ends_at <= now else "ends"
    return {
        "id": key.id,
        "name": key.name,
        "programme": key.programme,
        "allow": list(key.allow),
        "made_at": rfc3339(Instant(key.made_at)),
        "state": state,
        "ends_at": rfc3339(Instant(key.ends_at)) if key.ends_at else None,
    }
