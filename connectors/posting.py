"""One attempt over HTTP: a request that ends in `Answered` or `Failed`, never in an exception.

Each endpoint has its own connections and its own threads for resolving names, so a receiver whose name server
hangs holds up nobody else. No redirects, no cookies, no proxies from the environment.
"""

import asyncio
import socket
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from connectors.ssrf import AddressRefused, guard
from connectors.webhooks import Answered, Endpoint, Failed

KEEP_ALIVE_S = 2.0
"""Shorter than the servers' own (Gunicorn 2 s, Node 5 s): a POST on a connection just closed is a failed attempt."""
DRAIN_BYTES = 64 * 1024
DRAIN_S = 1.0


class Caller:
    """Makes requests for one receiver. Made inside a running loop; `close` it."""

    def __init__(self, name: str, *, allow_private: bool, timeout_s: float) -> None:
        self._resolver = _Resolver(name)
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=0,  # the flow bounds the attempts
                keepalive_timeout=KEEP_ALIVE_S,
                resolver=self._resolver,
                socket_factory=guard(allow_private),
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=timeout_s),
            auto_decompress=False,
        )

    async def call(
        self, method: str, url: str, headers: Mapping[str, str], payload: bytes | None = None
    ) -> Answered | Failed:
        """One attempt. A status line decides: what happens to the rest of the answer changes nothing."""
        try:
            async with self._session.request(
                method, url, data=payload, headers=headers, allow_redirects=False
            ) as answer:
                retry_after = answer.headers.get("retry-after", "")[:64]
                return Answered(answer.status, retry_after, await _drain(answer))
        except TimeoutError:
            return Failed("timeout")
        except (aiohttp.ClientConnectorDNSError, aiohttp.InvalidURL):
            return Failed("unresolved")
        except aiohttp.ClientSSLError:
            return Failed("tls")
        except aiohttp.ClientConnectorError as error:
            return Failed("address_refused" if isinstance(error.os_error, AddressRefused) else "unreachable")
        except aiohttp.ClientResponseError:
            return Failed("bad_answer")
        except (aiohttp.ClientError, OSError):
            return Failed("reset")

    async def close(self) -> None:
        await self._session.close()


class Poster(Caller):
    """Posts to one endpoint."""

    def __init__(self, endpoint: Endpoint) -> None:
        super().__init__(endpoint.name, allow_private=endpoint.allow_private, timeout_s=endpoint.timeout_s)
        self._url = endpoint.url

    async def post(self, headers: Mapping[str, str], payload: bytes) -> Answered | Failed:
        return await self.call("POST", self._url, headers, payload)


async def _drain(answer: aiohttp.ClientResponse) -> bytes:
    """The rest of a short answer, read so that the connection can be used again; empty for one we gave up on."""
    content, read = answer.content, bytearray()
    try:
        async with asyncio.timeout(DRAIN_S):
            while not content.at_eof():
                read += await content.readany()
                if len(read) > DRAIN_BYTES:
                    break
            else:
                return bytes(read)
    except (TimeoutError, aiohttp.ClientError, OSError):
        pass  # the status has been read, and stands; only the connection is spent
    answer.close()
    return b""


class _Resolver(AbstractResolver):
    def __init__(self, name: str) -> None:
        self._threads = ThreadPoolExecutor(max_workers=2, thread_name_prefix=f"resolve-{name}")

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        found = await asyncio.get_running_loop().run_in_executor(
            self._threads, socket.getaddrinfo, host, port, family, socket.SOCK_STREAM
        )
        return [
            ResolveResult(
                hostname=host,
                host=str(address[0]),
                port=int(address[1]),
                family=kind,
                proto=protocol,
                flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            )
            for kind, _, protocol, _, address in found
        ]

    async def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)
