"""The people of the storm: they read which cases opened, and act on some, once each, through the actions stream.

An action counts as accepted once the append-only file has it on disk (`WAITAOF`). One whose acceptance was not
answered is looked for in the stream, and said again only when it is not there: then it had not been accepted.
"""

import threading
import time

import msgspec
import redis

from connectors.keyspace import Keys
from connectors.redis_link import client
from tests.storm import house
from tests.storm.accounting import OPENED, Said, said

KEYS = Keys("default")
PAUSE_S = 0.1
PAGE = 4000


class People:
    """One thread; `pause` and `go_on` are anybody's."""

    def __init__(self, url: str) -> None:
        self._url = url
        self.accepted: dict[str, str] = {}
        """Action id to the response whose case it is about."""
        self._unsure: dict[str, tuple[bytes, str]] = {}
        self._done, self._paused, self._idle = threading.Event(), threading.Event(), threading.Event()
        self._after = "-"
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._done.set()
        if self._thread.is_alive():
            self._thread.join()

    def pause(self) -> None:
        """Nobody acts from here on; what was begun is known to be accepted or not begun."""
        self._idle.clear()
        self._paused.set()
        self._idle.wait()

    def go_on(self) -> None:
        self._paused.clear()

    def begin_again(self, wiped: str) -> None:
        """The store is a new one: its stream is read from the beginning.

        What opened while they paused is known from *wiped*, the URL of what the old one held: they act on it too.
        """
        with client(wiped, timeout_s=30.0) as connection:
            for _, fields in connection.xrange(KEYS.events, min=self._after):
                event = said(fields)
                if event.type == OPENED and (do := house.deed(event.response)):
                    id_ = f"act-{event.response}"
                    if id_ not in self.accepted:
                        self._unsure[id_] = (self._record(connection, id_, event, do), event.response)
        self._after = "-"

    @property
    def newest(self) -> bytes:
        """The id of the last action that is known to be on disk."""
        return next(reversed(self.accepted), "").encode()

    def _run(self) -> None:
        with client(self._url, timeout_s=5.0) as connection:
            while not self._done.wait(PAUSE_S):
                if self._paused.is_set() and not self._unsure:
                    self._idle.set()
                    continue
                try:
                    self._look_again(connection)
                    if not self._paused.is_set():
                        self._act(connection)
                except (redis.RedisError, OSError):
                    time.sleep(PAUSE_S)

    def _act(self, connection: redis.Redis) -> None:
        for entry, fields in connection.xrange(KEYS.events, min=self._after, count=PAGE):
            event = said(fields)
            if event.type == OPENED and (do := house.deed(event.response)):
                self._say(connection, event, do)
            self._after = f"({entry.decode()}"

    def _say(self, connection: redis.Redis, event: Said, do: str) -> None:
        id_ = f"act-{event.response}"
        if id_ in self.accepted or id_ in self._unsure:
            return
        record = self._record(connection, id_, event, do)
        self._unsure[id_] = (record, event.response)
        connection.xadd(KEYS.actions, {"record": record})
        self._settle(connection, [id_])

    @staticmethod
    def _record(connection: redis.Redis, id_: str, event: Said, do: str) -> bytes:
        owner = msgspec.json.decode(connection.hget(KEYS.log(event.case), event.id))["data"]["owner"]
        return msgspec.json.encode(house.action(id_, event.case, do, owner))

    def _look_again(self, connection: redis.Redis) -> None:
        if not self._unsure:
            return
        there = [msgspec.json.decode(fields[b"record"])["id"] for _, fields in connection.xrange(KEYS.actions)]
        for id_, (record, _) in list(self._unsure.items()):
            if id_ not in there:
                connection.xadd(KEYS.actions, {"record": record})
        self._settle(connection, list(self._unsure))

    def _settle(self, connection: redis.Redis, ids: list[str]) -> None:
        if connection.execute_command("WAITAOF", 1, 0, 4000)[0]:
            for id_ in ids:
                self.accepted[id_] = self._unsure.pop(id_)[1]
