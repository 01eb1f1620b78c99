"""A small Tocsin as its operator runs it, with Prometheus and Alertmanager beside it: real processes on loopback.

Two lanes under a supervisor, deliveries to two receivers of ours, the HTTP door, and a feed that gives every panel
something to show. The rules are the shipped ones; only their pauses (`for`, `interval`) are cut to seconds.
"""

import base64
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import msgspec

from connectors.key_store import KeyStore
from connectors.records import Records
from feedback.encode import encode_action
from feedback.instants import Instant
from feedback.records import Action, Verb
from tests.watch.files import PROMETHEUS, ROOT
from tests.watch.parts import programs

TOCSIN = (sys.executable, "-c", "from console.cli import main; main()")
SECRET = "whsec_" + base64.b64encode(b"0123456789abcdef0123456789abcdef").decode()
PATIENCE_S = 20.0


def until(claim: Callable[[], Any], what: str) -> Any:
    """What *claim* says, as soon as it is something."""
    deadline = time.monotonic() + PATIENCE_S
    while not (said := claim()):
        assert time.monotonic() < deadline, f"{what} did not come"
        time.sleep(0.1)
    return said


def free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [int(one.getsockname()[1]) for one in sockets]
    for one in sockets:
        one.close()
    return ports


def get(url: str) -> Any:
    with urllib.request.urlopen(url, timeout=10) as answer:
        return json.load(answer)


class _Receiver(BaseHTTPRequestHandler):
    """`/gone` has gone for good, `/hung` does not answer in time; everything else takes what comes."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        if self.path == "/hung":
            time.sleep(3)
        self.send_response(410 if self.path == "/gone" else 200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Nobody reads it."""


class Stage:
    """Everything, running. `close` ends what was started, by pid."""

    def __init__(self, folder: Path, redis: str) -> None:
        self.folder, self.redis = folder, redis
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        names = ("engine", "deliveries", "door", "prometheus", "alertmanager")
        self.ports = dict(zip(names, free_ports(len(names)), strict=True))
        self.receiver = ThreadingHTTPServer(("127.0.0.1", 0), _Receiver)
        Thread(target=self.receiver.serve_forever, daemon=True).start()
        try:
            self._open()
        except BaseException:
            self.close()
            raise

    def _open(self) -> None:
        where = f"http://127.0.0.1:{self.receiver.server_address[1]}"
        self._write(
            "tocsin.yaml",
            "programmes: {default: {rules: contact-centre}, housing: {rules: housing}}\n"
            "engine: {shards: 64, epoch_ms: 500}\n"
            "endpoints:\n"
            f"  - {{name: crm, url: '{where}/crm', secrets: ['env:HOOK'], allow_private: true}}\n"
            f"  - {{name: old-crm, url: '{where}/gone', secrets: ['env:HOOK'], allow_private: true}}\n"
            f"  - {{name: hung, url: '{where}/hung', secrets: ['env:HOOK'], allow_private: true, timeout_s: 1}}\n",
        )
        self.start_engine()
        self.start_deliveries()
        self.start_door()
        self._watch()
        # Every series has been read at 0 before something happens, so that rates see the rise.
        until(lambda: len(self.ask("up == 1")) == 3, "three targets that are up")
        self._feed()

    def start_engine(self) -> None:
        self._start("engine", *TOCSIN, "run", "--processes", "2", "--no-deliver")
        until(lambda: self._answers("engine", "/ready"), "the engine")

    def start_deliveries(self) -> None:
        self._start("deliveries", *TOCSIN, "deliver", "--metrics-port", str(self.ports["deliveries"]))

    def start_door(self) -> None:
        self._start("door", *TOCSIN, "serve", "--port", str(self.ports["door"]))
        until(lambda: self._answers("door", "/ready"), "the door")

    def _start(self, name: str, *words: str) -> None:
        env = {
            **os.environ, "PYTHONPATH": str(ROOT), "HOOK": SECRET, "TOCSIN_REDIS_URL": self.redis,
            "TOCSIN_METRICS_PORT": str(self.ports["engine"]), "TOCSIN_STATE": str(self.folder / "state"),
        }  # fmt: skip
        with (self.folder / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                words, cwd=self.folder, env=env, stdout=log, stderr=log, start_new_session=True
            )

    def _answers(self, name: str, path: str) -> bool:
        assert self.processes[name].poll() is None, (self.folder / f"{name}.log").read_text()[-2000:]
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.ports[name]}{path}", timeout=5):
                return True
        except (urllib.error.URLError, OSError):
            return False

    def _write(self, name: str, text: str) -> Path:
        path = self.folder / name
        path.write_text(text, encoding="utf-8")
        return path

    # -- what happens ---------------------------------------------------------------------------------------

    def _feed(self) -> None:
        """Responses by stream and by HTTP, one case brought to its close, one record that cannot be read."""
        keys = KeyStore(self.redis)
        _, key = keys.add("test", "default", ["capture"], int(time.time()))
        keys.close()
        self.key = key
        said = {"id": "h1", "customer": "h1", "scores": {"nps": 1}, "text": "The agent was rude. Nobody rang me back."}
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.ports['door']}/v1/responses",
            json.dumps(said).encode(),
            {"Authorization": f"Bearer {key}", "Content-Type": "application/json"},
        )
        until(lambda: self._posted(request), "the answer of the door")
        stranger = urllib.request.Request(request.full_url, b"{}", {"Authorization": "Bearer tk_nobody"})
        assert not self._posted(stranger)
        records = Records(self.redis)
        for programme, text in (
            ("default", "Nobody rang me back."),
            ("housing", "There is black mould in the bedroom."),
        ):
            for number in range(8):
                one = {**said, "id": f"{programme}-{number}", "customer": f"c{number}", "text": text}
                records.respond(programme, msgspec.json.encode(one))
        records.respond("default", b"{")

        def mine() -> list[dict[str, Any]]:
            return [case for case in records.cases("default") if case["owner"]]

        case = until(mine, "a case with an owner")[0]
        outcome = {"problem": "p", "action_taken": "a", "customer_told": "yes", "satisfied": "yes"}
        for number, (verb, data) in enumerate(
            ((Verb.ACKNOWLEDGE, {}), (Verb.CONTACT, {"channel": "phone"}), (Verb.RESOLVE, {"outcome": outcome}),
             (Verb.CLOSE, {}), (Verb.CLOSE, {}))
        ):  # fmt: skip
            now = Instant(int(time.time()))
            action = Action(
                id=f"a{number}", programme="default", case=case["id"], do=verb, by=case["owner"], at=now,
                received_at=now, arrived=float(now), reason="", data=data,
            )  # fmt: skip
            records.act("default", action.id, encode_action(action), principal="test")
        records.close()

    def respond(self, id_: str) -> int:
        """The status with which the door answers a response of the feed's sender."""
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.ports['door']}/v1/responses",
            json.dumps({"id": id_}).encode(),
            {"Authorization": f"Bearer {self.key}", "Content-Type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            return error.code

    def _posted(self, request: urllib.request.Request) -> bool:
        try:
            with urllib.request.urlopen(request, timeout=5) as answer:
                return bool(answer.status in (200, 202))
        except urllib.error.HTTPError as error:
            if error.code == 401:  # the door looks at its keys every now and then
                return False
            raise

    # -- Prometheus and Alertmanager --------------------------------------------------------------------------

    def _watch(self) -> None:
        found, ports = programs(), self.ports
        for name in ("recording.yml", "alerts.yml"):
            hasty = re.sub(r"\b(for|interval): \d+[smhd]", r"\1: 1s", (PROMETHEUS / name).read_text("utf-8"))
            self._write(name, hasty)
        text = (PROMETHEUS / "prometheus.yml").read_text("utf-8")
        for name in ("engine", "deliveries", "door", "alertmanager"):
            text, count = re.subn(rf'"{name}:\d+"', f'"127.0.0.1:{ports[name]}"', text)
            assert count == 1, name
        text, count = re.subn(r"_interval: \d+s", "_interval: 1s", text)
        assert count == 2
        self._write("prometheus.yml", text)
        hasty = (PROMETHEUS / "alertmanager.yml").read_text("utf-8").replace("group_wait: 10s", "group_wait: 1s")
        self._write("alertmanager.yml", hasty)
        self._start("alertmanager", str(found["alertmanager"]), "--config.file=alertmanager.yml",
                    "--storage.path=am", "--cluster.listen-address=",
                    f"--web.listen-address=127.0.0.1:{ports['alertmanager']}")  # fmt: skip
        self._start("prometheus", str(found["prometheus"]), "--config.file=prometheus.yml",
                    "--storage.tsdb.path=tsdb", f"--web.listen-address=127.0.0.1:{ports['prometheus']}")  # fmt: skip
        for name in ("prometheus", "alertmanager"):
            until(lambda name=name: self._answers(name, "/-/ready"), name)  # type: ignore[misc]

    def ask(self, expr: str) -> list[dict[str, Any]]:
        """What Prometheus answers to *expr* now."""
        query = urllib.parse.urlencode({"query": expr})
        answer = get(f"http://127.0.0.1:{self.ports['prometheus']}/api/v1/query?{query}")
        assert answer["status"] == "success"
        result = answer["data"]["result"]
        return [result] if answer["data"]["resultType"] == "scalar" else list(result)

    def alerts(self, name: str) -> list[dict[str, Any]]:
        """What Alertmanager has of that alert."""
        found = get(f"http://127.0.0.1:{self.ports['alertmanager']}/api/v2/alerts")
        return [alert for alert in found if alert["labels"]["alertname"] == name]

    @contextmanager
    def suspended(self, pid: int) -> Iterator[None]:
        """Process *pid* does nothing meanwhile: it keeps its connections and answers nobody."""
        os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(pid, signal.SIGCONT)

    def kill(self, name: str) -> None:
        process = self.processes[name]
        process.send_signal(signal.SIGKILL)
        process.wait()

    def close(self) -> None:
        for process in reversed(self.processes.values()):
            if process.poll() is None:
                process.terminate()
        for process in self.processes.values():
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self.receiver.shutdown()
        self.receiver.server_close()


def promtool(*words: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([str(programs()["promtool"]), *words], capture_output=True, text=True, check=False)


def amtool(*words: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([str(programs()["amtool"]), *words], capture_output=True, text=True, check=False)


__all__: Sequence[str] = ("Stage", "amtool", "promtool", "until")
