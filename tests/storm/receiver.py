"""The receiver of the storm's webhooks: answers most of them, and lists what it took in, in the order in which it did.

It refuses some at random, as a busy receiver would, and those are not in its list. What it was sent under one id
must be the same each time; `deliveries_account` tells what is missing, altered or out of order.
"""

import random
import sys
import threading
from collections.abc import Iterable, Sequence
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import msgspec

from tests.storm.accounting import Said

REFUSED = 0.03
"""Share of webhooks that are answered with 503."""


class Got(msgspec.Struct, frozen=True):
    """A webhook that was answered with 200."""

    id: str
    case: str
    sequence: int
    body: bytes
    """Its digest."""


class _Body(msgspec.Struct):
    id: str
    subject: str = ""
    sequence: str = "0"


_decode = msgspec.json.Decoder(_Body).decode


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A sender that was killed breaks its connection, which is no news; anything else is."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


class Receiver:
    """Listens on loopback until `close`."""

    def __init__(self, dice: random.Random) -> None:
        self.got: list[Got] = []
        self.wrong: list[str] = []
        """Webhooks whose id is not that of the event in them."""
        self._dice, self._lock = dice, threading.Lock()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                self.send_response(receiver.take(self.headers.get("webhook-id", ""), body))
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:
                """A webhook is no news."""

        self._server = _Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/hook"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.1,), daemon=True)
        self._thread.start()

    def take(self, id_: str, body: bytes) -> int:
        """The status with which a webhook is answered."""
        with self._lock:
            if self._dice.random() < REFUSED:
                return 503
            event = _decode(body)
            if event.id != id_:
                self.wrong.append(f"webhook {id_} holds event {event.id}")
            self.got.append(Got(id_, event.subject, int(event.sequence), digest(body)))
        return 200

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def digest(body: bytes) -> bytes:
    """Of what the event says: not of when it was noticed, which is later when a file that was cut has it said again."""
    event = msgspec.json.decode(body)
    for name in ("detected_at", "late"):
        event.get("data", {}).pop(name, None)
    return sha256(msgspec.json.encode(event, order="deterministic")).digest()


def undelivered(got: Iterable[Got], stream: Iterable[Said]) -> set[str]:
    """Ids of the events of *stream* that no webhook brought."""
    return {event.id for event in stream} - {webhook.id for webhook in got}


class DeliveriesAccount(msgspec.Struct, frozen=True):
    """Findings, in words; each list must be empty."""

    lost: list[str] = []
    disordered: list[str] = []
    altered: list[str] = []
    repeats: int = 0
    """Webhooks that came more than once, which is allowed."""
    wiped: int = 0
    """Events that a wipe took before they were sent: the queue was in the store that was wiped."""


def deliveries_account(
    got: Sequence[Got], stream: Sequence[Said], wiped: Sequence[Sequence[Said]] = ()
) -> DeliveriesAccount:
    """What was taken in against the event *stream*, and the streams of the stores that were *wiped* before it."""
    bodies: dict[str, bytes] = {}
    newest: dict[str, int] = {}
    altered, disordered = [], []
    # What is said once more to an empty store has no event before it there: its link in the trail is another.
    wiped_ids = {event.id for past in wiped for event in past}
    for webhook in got:
        if webhook.id in bodies:
            if bodies[webhook.id] != webhook.body and webhook.id not in wiped_ids:
                altered.append(f"webhook {webhook.id} came as another than before")
            continue
        bodies[webhook.id] = webhook.body
        if webhook.case and webhook.sequence < newest.get(webhook.case, 0):
            disordered.append(f"webhook of case {webhook.case}: {webhook.sequence} after {newest[webhook.case]}")
        newest[webhook.case] = max(webhook.sequence, newest.get(webhook.case, 0))
    known = {event.id for event in stream}
    gone = wiped_ids - known
    altered += [f"webhook {id_} of an event that is in no stream" for id_ in bodies.keys() - known - gone]
    return DeliveriesAccount(
        lost=[f"event {id_} reached no receiver" for id_ in sorted(undelivered(got, stream))],
        disordered=disordered,
        altered=altered,
        repeats=len(got) - len(bodies),
        wiped=len(gone - bodies.keys()),
    )
