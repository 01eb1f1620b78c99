"""`tocsin run` alone posts webhooks: the second flow is a process beside it, started again when it dies."""

import base64
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from standardwebhooks import Webhook

from tests.console.test_cli import ROOT

SECRET = "whsec_" + base64.b64encode(b"0123456789abcdef0123456789abcdef").decode()


class Receiver(ThreadingHTTPServer):
    """Keeps what was posted."""

    def __init__(self) -> None:
        self.posted: list[tuple[dict[str, str], bytes]] = []
        super().__init__(("127.0.0.1", 0), _Post)


class _Post(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        assert isinstance(self.server, Receiver)
        self.server.posted.append((dict(self.headers), body))
        self.send_response(200)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Nobody reads it."""


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    server = Receiver()
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    thread.join()


def children_of(pid: int, word: bytes = b"deliver") -> list[int]:
    """Processes that *pid* started whose command line has *word*."""
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        with suppress(FileNotFoundError, ProcessLookupError):  # a thread, or a child, that just ended
            for child in (task / "children").read_text().split():
                if word in Path(f"/proc/{child}/cmdline").read_bytes().split(b"\0"):
                    found.append(int(child))
    return found


def wait_for(what: str, ready: object, seconds: float = 40.0) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        assert callable(ready)
        if ready():
            return
        time.sleep(0.1)
    raise AssertionError(f"{what} did not happen")


def opened(receiver: Receiver) -> list[str]:
    bodies = [json.loads(body) for _, body in receiver.posted]
    return [b["data"]["response"]["id"] for b in bodies if b["type"] == "tocsin.case.opened"]


LINE = '{{"id": "{0}", "customer": "c{0}", "language": "en", "scores": {{"nps": 1}}}}\n'


def engine_in(tmp_path: Path, receiver: Receiver, redis_url: str = "") -> "subprocess.Popen[bytes]":
    """`tocsin run`, following a file with one response; with *redis_url* nothing of it outlives its death."""
    (tmp_path / "tocsin.yaml").write_text(
        "programmes: {default: {rules: contact-centre}}\n"
        f"rules: {ROOT / 'rules'}\n"
        "endpoints:\n"
        f"  - {{name: here, url: 'http://127.0.0.1:{receiver.server_port}/', "
        "secrets: ['env:HOOK'], allow_private: true}\n"
    )
    (tmp_path / "in.jsonl").write_text(LINE.format(1))
    env = {**os.environ, "PYTHONPATH": str(ROOT), "TOCSIN_METRICS_PORT": "0", "HOOK": SECRET}
    if redis_url:
        env["TOCSIN_REDIS_URL"] = redis_url
    command = [sys.executable, "-c", "from console.cli import main; main()", "run", "--input", "in.jsonl", "--follow"]
    return subprocess.Popen(command, cwd=tmp_path, env=env, stderr=subprocess.DEVNULL)


def test_one_command_posts_webhooks_and_goes_on_when_the_second_flow_is_killed(
    tmp_path: Path, receiver: Receiver
) -> None:
    engine = engine_in(tmp_path, receiver)
    try:
        wait_for("the first webhook", lambda: opened(receiver) == ["1"])
        headers, body = receiver.posted[0]
        Webhook(SECRET).verify(body, headers)
        (child,) = children_of(engine.pid)
        os.kill(child, signal.SIGKILL)
        with (tmp_path / "in.jsonl").open("a") as file:
            file.write(LINE.format(2))
        wait_for("the second webhook", lambda: opened(receiver) == ["1", "2"])
        (again,) = children_of(engine.pid)
        assert again != child
    finally:
        engine.send_signal(signal.SIGTERM)
        assert engine.wait(timeout=40) == 0
    wait_for("the second flow's end", lambda: not Path(f"/proc/{again}").exists(), 10)


def test_the_second_flow_ends_when_the_engine_is_killed_so_that_none_is_left_behind(
    tmp_path: Path, receiver: Receiver, store_url: str
) -> None:
    engine = engine_in(tmp_path, receiver, store_url)
    try:
        wait_for("the first webhook", lambda: opened(receiver) == ["1"])
        (child,) = children_of(engine.pid)
    finally:
        engine.kill()
        engine.wait()
    wait_for("the second flow's end", lambda: not is_alive(child), 20)


def is_alive(pid: int) -> bool:
    """Whether the process runs; one that ended and was not asked after has no command line any more."""
    try:
        return bool(Path(f"/proc/{pid}/cmdline").read_bytes())
    except (FileNotFoundError, ProcessLookupError):
        return False
