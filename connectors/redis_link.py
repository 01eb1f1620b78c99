"""One connection to one Redis process, and whose turn it is when a call fails.

redis-py does the handshake (address, TLS, password) and the parsing; its own retry is off, because a write
that was heard but not answered must be repeated by somebody who knows that it is idempotent.
"""

from typing import Any
from urllib.parse import urlsplit

import redis
from redis.backoff import NoBackoff
from redis.connection import ConnectionInterface
from redis.exceptions import (
    AuthenticationError,
    BusyLoadingError,
    NoScriptError,
    RedisError,
    ResponseError,
)
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError
from redis.retry import Retry


def shown(url: str) -> str:
    """*url* for people: without its password, and without what follows the database."""
    parts = urlsplit(url)
    user = f"{parts.username}@" if parts.username else ""
    return f"{parts.scheme}://{user}{parts.netloc.rpartition('@')[2]}{parts.path}"


def trouble(error: RedisError) -> str:
    """What *error* of a first call means, and whose turn it is."""
    why = str(error).rstrip(".")
    if isinstance(error, AuthenticationError):
        return f"it refused the user or the password ({why}). Put the right ones into TOCSIN_REDIS_URL"
    return f"{why}. Is it running, and is --redis or TOCSIN_REDIS_URL right?"


class StoreError(Exception):
    """Redis answered that the call is wrong: ours to mend (or the operator's: a password, a permission)."""


class StoreAway(Exception):
    """Redis did not answer: unreachable, hung, starting. The connection is closed."""


class StoreRefusing(Exception):
    """Redis answered that it cannot take writes now: out of memory, disk full, a replica."""


class ScriptMissing(Exception):
    """Redis has forgotten the script (SCRIPT FLUSH, a failover): load it and call again."""


PASSING = ("OOM", "READONLY", "LOADING", "MISCONF", "MASTERDOWN", "CLUSTERDOWN", "TRYAGAIN", "BUSY", "NOREPLICAS")
"""Error codes that go away without us. Source: redis.io, "Redis error codes"; valkey src/server.c."""


def client(url: str, *, timeout_s: float = 5.0, **options: Any) -> Any:
    """A redis-py client for reading: bytes in and out, no silent retries. Does not connect yet.

    Typed Any: redis-py's own types allow for text, bytes and awaitables at once.
    """
    return redis.Redis.from_url(
        url,
        socket_timeout=timeout_s,
        socket_connect_timeout=timeout_s,
        retry=Retry(NoBackoff(), 0),
        protocol=2,
        **options,
    )


class Link:
    """A connection that says which process answered. Not thread-safe."""

    def __init__(self, url: str, *, timeout_s: float) -> None:
        """*url* as redis-py has them (`redis://`, `rediss://`, `unix://`). Raises ValueError; connects later."""
        self._pool = client(url, timeout_s=timeout_s).connection_pool
        self._connection: ConnectionInterface | None = None
        self.run_id = ""
        """Names the server process behind this connection; another one after each restart."""
        self.has_aof = False

    @property
    def is_open(self) -> bool:
        return self._connection is not None

    def open(self) -> None:
        """Connect and learn who answered. Raises StoreAway, StoreRefusing, StoreError."""
        self.close()
        self._connection = self._pool.make_connection()
        try:
            try:
                self._connection.connect()
            except AuthenticationError as error:
                raise StoreError(f"Redis refused the password or user: {error}") from error
            except (RedisError, OSError) as error:
                raise StoreAway(str(error)) from error
            server, persistence = self.call("INFO", "server"), self.call("INFO", "persistence")
            self.run_id = _field(server, b"run_id")
            self.has_aof = _field(persistence, b"aof_enabled") == "1"
        except BaseException:
            self.close()
            raise

    def call(self, *args: Any) -> Any:
        """Send one command and return its reply."""
        assert self._connection is not None
        self.send(b"".join(self._connection.pack_command(*args)))  # type: ignore[no-untyped-call]
        return self.receive()

    def send(self, packed: bytes) -> None:
        """Send a packed command; its reply waits to be `receive`d."""
        assert self._connection is not None
        try:
            self._connection.send_packed_command([packed], check_health=False)  # type: ignore[no-untyped-call]
        except (RedisConnectionError, RedisTimeoutError, OSError) as error:
            self.close()
            raise StoreAway(str(error)) from error

    def receive(self) -> Any:
        """The next reply, sorted by whose turn it is when it is an error."""
        assert self._connection is not None
        try:
            return self._connection.read_response()
        except NoScriptError as error:
            raise ScriptMissing(str(error)) from error
        except BusyLoadingError as error:
            self.close()
            raise StoreAway("loading its data after a start") from error
        except (RedisConnectionError, RedisTimeoutError, OSError) as error:
            self.close()
            raise StoreAway(str(error)) from error
        except ResponseError as error:
            # redis-py drops the code of the errors it has a class for, so the class's name stands in.
            code = str(error).split(" ", 1)[0]
            if code in PASSING or type(error).__name__ in _PASSING_CLASSES:
                raise StoreRefusing(str(error)) from error
            raise StoreError(f"Redis refused a call: {error}") from error

    def close(self) -> None:
        if self._connection is not None:
            self._connection.disconnect()  # type: ignore[no-untyped-call]
            self._connection = None


_PASSING_CLASSES = frozenset(
    {"OutOfMemoryError", "ReadOnlyError", "ClusterDownError", "MasterDownError", "TryAgainError"}
)


def _field(info: bytes, name: bytes) -> str:
    for line in info.splitlines():
        key, _, value = line.partition(b":")
        if key == name:
            return value.decode()
    raise StoreError(f"Redis's INFO has no {name.decode()}; the user of the connection needs +info")
