"""The page for machines: `/metrics`, `/health` (the process lives), `/ready` (it keeps its promises now).

One server a process, on its own thread; Bytewax's own pages are not used (they bind every address, and know
nothing of readiness). `/ready` answers 503 with every reason at once, in words.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector


class Labelled(Collector):
    """What *registry* has, with *labels* put to every sample: several processes of one kind tell theirs apart."""

    def __init__(self, registry: Collector, labels: Mapping[str, str]) -> None:
        self._registry, self._labels = registry, labels

    def collect(self) -> Iterator[Metric]:
        for family in self._registry.collect():
            told = Metric(family.name, family.documentation, family.type, family.unit)
            told.samples = [s._replace(labels={**self._labels, **s.labels}) for s in family.samples]
            yield told


class Readiness(Collector):
    """`tocsin_ready`: what `/ready` answers, for alerts."""

    def __init__(self, reasons: "Reasons") -> None:
        self._reasons = reasons

    def collect(self) -> Iterator[Metric]:
        ready = Metric("tocsin_ready", "1 while the process keeps its promises; /ready says why it does not.", "gauge")
        ready.add_sample("tocsin_ready", {}, 0.0 if self._reasons() else 1.0)
        yield ready

    def describe(self) -> list[Metric]:
        """Nothing: reasons are looked at when they are asked for."""
        return []


Reasons = Callable[[], Mapping[str, str]]
"""What keeps the process from being ready: the part and why; empty when it is."""


class HealthServer:
    """Serves until `close`. *port* 0 takes a free one; `port` tells which."""

    def __init__(self, registry: Collector, reasons: Reasons, *, host: str = "127.0.0.1", port: int = 0) -> None:
        class Handler(_Handler):
            pass

        Handler.registry, Handler.reasons = registry, staticmethod(reasons)
        self._server = ThreadingHTTPServer((host, port), Handler)
        self._server.daemon_threads = True
        self.port: int = self._server.server_address[1]
        self._thread = Thread(target=self._server.serve_forever, args=(0.05,), name="health", daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Handler(BaseHTTPRequestHandler):
    registry: Collector
    reasons: Reasons

    def do_GET(self) -> None:
        path = self.path.split("?", 1)[0]
        if path == "/metrics":
            encode, content_type = choose_encoder(self.headers.get("Accept", ""))
            self._answer(200, content_type, encode(self.registry))
        elif path == "/health":
            self._answer(200, "application/json", b'{"status":"alive"}\n')
        elif path == "/ready":
            why = dict(type(self).reasons())
            body = {"ready": not why, "reasons": why}
            self._answer(503 if why else 200, "application/json", json.dumps(body).encode() + b"\n")
        else:
            self._answer(404, "text/plain; charset=utf-8", b"/metrics, /health and /ready are served here\n")

    def _answer(self, status: int, content_type: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """A scrape a second is no news."""
