"""`tocsin pause` and `tocsin resume`: all notices, held for a while. Deliveries notice within a second or two."""

import asyncio
import time
from datetime import UTC, datetime

from connectors import notice_pause
from connectors.delivery_queue import connect
from connectors.notice_pause import Pause
from feedback.instants import Instant, parse_span, rfc3339


def pause(url: str, span: str, *, by: str, reason: str) -> str:
    """Pause for *span* from now; what to tell. Raises ValueError, in words, when it cannot be."""
    since = time.time()
    asked = Pause(by=by, reason=reason, since=since, until=since + parse_span(span))

    async def run() -> None:
        client = connect(url)
        try:
            await notice_pause.pause(client, asked)
        finally:
            await client.aclose()

    asyncio.run(run())
    return (
        f"all notices are held until {rfc3339(Instant(int(asked.until)))}; clocks go on, and what is held is sent then"
    )


def resume(url: str, *, by: str, reason: str) -> str:
    """End a pause now; what to tell. Raises ValueError when it cannot be."""

    async def run() -> Pause | None:
        client = connect(url)
        try:
            return await notice_pause.resume(client, by=by, reason=reason, at=time.time())
        finally:
            await client.aclose()

    stood = asyncio.run(run())
    if stood is None:
        return "nothing was paused"
    since = datetime.fromtimestamp(stood.since, UTC).isoformat(timespec="seconds")
    return f"notices are sent again; {stood.by} had paused them since {since}: {stood.reason}"
