"""The HTTP door on a socket, in a thread of the test, and a caller of it."""

import asyncio
import http.client
import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch
from urllib.parse import urlsplit

import msgspec

from connectors.http_settings import HttpSettings
from connectors.key_store import KeyStore
from flows import doorkeeper
from flows.serving import serve
from flows.settings import DEFAULT_FILE, Settings, load

Row = dict[str, Any]


def settings_with(**http: Any) -> Settings:
    """The shipped settings with a door on a free port."""
    shipped = load(DEFAULT_FILE, {})
    return msgspec.structs.replace(shipped, http=msgspec.convert({"port": 0, **http}, HttpSettings))


class Answer:
    def __init__(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        self.status, self.headers, self.body = status, headers, body

    @property
    def json(self) -> Row:
        found: Row = json.loads(self.body)
        return found

    @property
    def statuses(self) -> list[str]:
        return [row["status"] for row in self.json["results"]]


class Caller:
    """Somebody with a key."""

    def __init__(self, where: str, key: str = "") -> None:
        self.where, self.key = where, key

    def __call__(self, method: str, path: str, body: bytes = b"", **headers: str) -> Answer:
        """Header names with `_` for `-`."""
        url = urlsplit(self.where)
        connection = http.client.HTTPConnection(url.hostname or "", url.port, timeout=30)
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if self.key:
            sent.setdefault("Authorization", f"Bearer {self.key}")
        connection.request(method, path, body=body, headers=sent)
        answer = connection.getresponse()
        found = Answer(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read())
        connection.close()
        return found

    def post(self, path: str, record: Any, **headers: str) -> Answer:
        """*record* as JSON, or as it is when it is bytes."""
        body = record if isinstance(record, bytes) else json.dumps(record).encode()
        if not {"content-type", "Content_Type"} & set(headers):
            headers["Content_Type"] = "application/json"
        return self("POST", path, body, **headers)

    def respond(self, record: Any, **headers: str) -> Answer:
        return self.post("/v1/responses", record, **headers)


class Door:
    """A running door."""

    def __init__(self, url: str, where: str, programmes: list[str]) -> None:
        self.url, self.where, self._programmes = url, where, programmes

    def caller(self, *allow: str, programme: str = "default", name: str = "crm") -> Caller:
        """Somebody with a new key, once the door knows it."""
        store = KeyStore(self.url)
        _, text = store.add(name, programme, allow or ("capture",), int(time.time()))
        self.know(len(store.all(self._programmes)))
        store.close()
        return Caller(self.where, text)

    def know(self, keys: int) -> None:
        """Wait until the door has read that many keys."""
        anybody, line = Caller(self.where), f"tocsin_http_keys {keys}.0".encode()
        eventually(lambda: line in anybody("GET", "/metrics").body.splitlines())


def eventually(ready: Callable[[], object], seconds: float = 15.0) -> None:
    """Until *ready*; fails when it is not within *seconds*."""
    deadline = time.monotonic() + seconds
    while not ready():
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.02)


@contextmanager
def door(url: str, environ: Mapping[str, str] | None = None, **http: Any) -> Iterator[Door]:
    """A door before the store at *url*; *http* as under `http:` in the settings."""
    settings = settings_with(**http)
    loop, over = asyncio.new_event_loop(), asyncio.Event()
    found: list[str] = []
    failed: list[BaseException] = []

    async def run() -> None:
        await serve(url, settings, version="test", stop=over, started=found.append, environ=environ or {})

    def work() -> None:
        asyncio.set_event_loop(loop)
        try:
            loop.run_until_complete(run())
        except BaseException as error:
            failed.append(error)
        finally:
            loop.close()

    thread = threading.Thread(target=work, daemon=True)
    with patch.object(doorkeeper, "LOOK_S", 0.05):  # so that a test need not wait for a new key
        yield from _while(thread, loop, over, url, found, failed, sorted(settings.programmes))


def _while(
    thread: threading.Thread,
    loop: asyncio.AbstractEventLoop,
    over: asyncio.Event,
    url: str,
    found: list[str],
    failed: list[BaseException],
    programmes: list[str],
) -> Iterator[Door]:
    thread.start()
    try:
        eventually(lambda: found or failed)
        if failed:
            raise failed[0]
        yield Door(url, found[0], programmes)
    finally:
        if not loop.is_closed():
            loop.call_soon_threadsafe(over.set)
        thread.join(timeout=30)
    assert not thread.is_alive()
    assert not failed, failed
