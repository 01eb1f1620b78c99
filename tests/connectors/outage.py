"""A server that dies and comes back at the same address, with or without what it had written down."""

import os
from pathlib import Path

from connectors.embedded import Embedded


class Outage:
    """What may happen to *embedded*, which a test has for itself."""

    def __init__(self, embedded: Embedded) -> None:
        assert embedded._server is not None
        self._server = embedded._server
        self._port = self._server.port

    def begin(self) -> None:
        """Kill the server: it has no time to say goodbye."""
        assert self._server._process is not None
        self._server._process.kill()
        self._server._process.wait()
        self._server._process = None

    def lose(self, folder: Path) -> None:
        """Empty the append-only file under *folder*: the last second, and everything else."""
        for file in folder.rglob("*.incr.aof"):
            os.truncate(file, 0)

    def end(self) -> None:
        """Start the server again."""
        self._server._desired_port = self._port
        self._server.start()
