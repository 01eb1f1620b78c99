"""`redis_link.py` for asyncio: one connection that says which process answered, and pipelines.

Made for writes that must be known to be on disk: after any failure the connection is closed and stays so until
`open` is called, so nobody goes on talking to another server process without noticing.
"""

import asyncio
from collections.abc import Iterable, Sequence
from typing import Any

from redis.asyncio.connection import ConnectionPool
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError, BusyLoadingError, NoScriptError, RedisError, ResponseError

from connectors.redis_link import PASSING, ScriptMissing, StoreAway, StoreError, StoreRefusing

AGAIN_S = 0.2
_PASSING_CLASSES = ("OutOfMemoryError", "ReadOnlyError", "ClusterDownError", "MasterDownError", "TryAgainError")


class AsyncLink:
    """A connection. One call at a time."""

    def __init__(self, url: str, *, timeout_s: float) -> None:
        """*url* as redis-py has them. Raises ValueError; connects later."""
        self._pool = ConnectionPool.from_url(
            url,
            protocol=2,
            socket_timeout=timeout_s,
            socket_connect_timeout=timeout_s,
            retry=Retry(NoBackoff(), 0),
        )
        self._connection: Any = None
        self.run_id = ""
        """Names the server process behind this connection; another one after each restart."""
        self.has_aof = False

    @property
    def is_open(self) -> bool:
        return self._connection is not None and bool(self._connection.is_connected)

    async def open(self) -> None:
        """Connect and learn who answered. Raises StoreAway, StoreRefusing, StoreError."""
        await self.close()
        connection: Any = self._pool.make_connection()  # type: ignore[no-untyped-call]
        try:
            await connection.connect()
        except AuthenticationError as error:
            raise StoreError(f"Redis refused the password or user: {error}") from error
        except (RedisError, OSError, TimeoutError) as error:
            raise StoreAway(str(error)) from error
        self._connection = connection
        for reply in await self.calls([("INFO", "server"), ("INFO", "persistence")]):
            if isinstance(reply, Exception):
                await self.close()
                raise reply
            lines = dict(line.partition(b":")[::2] for line in reply.splitlines())
            self.run_id = lines.get(b"run_id", self.run_id.encode()).decode()
            self.has_aof = lines.get(b"aof_enabled", b"0") == b"1"

    async def call(self, *args: Any) -> Any:
        """Send one command and return its reply. Raises ScriptMissing too."""
        (reply,) = await self.calls([args])
        if isinstance(reply, Exception):
            raise reply
        return reply

    async def calls(self, commands: Sequence[Sequence[Any]]) -> list[Any]:
        """Send *commands* at once; their replies in order, an error in the place of a reply that is one.

        Raises StoreAway when not all replies came: what was sent may or may not have been done.
        """
        connection = self._connection
        if connection is None or not connection.is_connected:
            raise StoreAway("the connection was lost")
        try:
            await connection.send_packed_command(connection.pack_commands(commands), check_health=False)
            return [await self._reply(connection) for _ in commands]
        except BaseException as error:
            # Also when cancelled: replies that nobody read would be taken for those of the next call.
            await self.close()
            if isinstance(error, RedisError | OSError | TimeoutError):
                raise StoreAway(str(error) or type(error).__name__) from error
            raise

    async def _reply(self, connection: Any) -> Any:
        try:
            return await connection.read_response()
        except NoScriptError as error:
            return ScriptMissing(str(error))
        except BusyLoadingError:
            raise
        except ResponseError as error:
            if str(error).split(" ", 1)[0] in PASSING or type(error).__name__ in _PASSING_CLASSES:
                return StoreRefusing(str(error))
            return StoreError(f"Redis refused a call: {error}")

    async def close(self) -> None:
        if self._connection is not None:
            connection, self._connection = self._connection, None
            await connection.disconnect(nowait=True)


async def end(tasks: Iterable["asyncio.Task[None]"]) -> None:
    """Cancel *tasks* and wait until all have ended; asked again and again, for a cancellation that meets a time-out
    inside the client can be lost."""
    left = set(tasks)
    while left:
        for task in left:
            task.cancel()
        _, left = await asyncio.wait(left, timeout=AGAIN_S)
