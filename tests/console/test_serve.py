"""`tocsin serve` and `tocsin keys` as an operator has them: killed at any moment, nothing that was accepted is lost."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from connectors.embedded import Embedded
from connectors.keyspace import Keys
from connectors.redis_link import client
from tests.connectors.outage import Outage
from tests.console.test_cli import ROOT
from tests.flows.door import Caller, eventually


class Service:
    """The service in a process of its own, at one address, however often it is killed."""

    def __init__(self, folder: Path, url: str) -> None:
        self._folder, self._url, self.where = folder, url, ""
        self._port = "0"
        self.start()

    def start(self) -> None:
        env = {**os.environ, "PYTHONPATH": str(ROOT), "TOCSIN_REDIS_URL": self._url}
        command = [sys.executable, "-c", "from console.cli import main; main()", "serve", "--port", self._port]
        self._process = subprocess.Popen(command, cwd=self._folder, env=env, stderr=subprocess.PIPE, text=True)
        assert self._process.stderr is not None
        for line in self._process.stderr:
            if found := re.search(r"serving at (http://127\.0\.0\.1:(\d+))", line):
                self.where, self._port = found[1], found[2]
                break
        threading.Thread(target=self._process.stderr.read, daemon=True).start()
        eventually(lambda: Caller(self.where)("GET", "/ready").status == 200)

    def kill(self) -> None:
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()

    def stop(self) -> int:
        self._process.send_signal(signal.SIGTERM)
        return self._process.wait(timeout=30)


def tocsin(folder: Path, url: str, *words: str) -> "subprocess.CompletedProcess[str]":
    env = {**os.environ, "PYTHONPATH": str(ROOT), "TOCSIN_REDIS_URL": url}
    command = [sys.executable, "-c", "from console.cli import main; main()", *words]
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=60, check=False)


def test_nothing_that_was_accepted_is_lost_or_doubled_when_the_service_and_redis_are_killed(
    own_server: Embedded, tmp_path: Path
) -> None:
    url, outage = own_server.url, Outage(own_server)
    key = tocsin(tmp_path, url, "keys", "add", "crm", "--allow", "capture").stdout.strip()
    service = Service(tmp_path, url)
    caller, accepted = Caller(service.where, key), []
    over = threading.Event()

    def send(worker: int) -> None:
        number = 0
        while not over.is_set():
            id_ = f"{worker}-{number}"
            while True:  # as a sender does: the same again until it is told that it is kept
                try:
                    answer = caller.respond({"id": id_, "scores": {"nps": 3}})
                except OSError:
                    time.sleep(0.05)
                    continue
                if answer.status in (200, 202):
                    break
                assert answer.status in (401, 503), answer.body
                time.sleep(0.05)
            accepted.append(id_)
            number += 1

    senders = [threading.Thread(target=send, args=(worker,), daemon=True) for worker in range(4)]
    for sender in senders:
        sender.start()
    for _ in range(2):
        eventually(lambda: len(accepted) > 20)
        service.kill()
        service.start()
        before = len(accepted)
        eventually(lambda: len(accepted) > before + 10)  # noqa: B023
        outage.begin()
        outage.end()
        before = len(accepted)
        eventually(lambda: len(accepted) > before + 10, 30)  # noqa: B023
    over.set()
    for sender in senders:
        sender.join(timeout=30)
    assert service.stop() == 0
    with client(url) as redis:
        kept = [json.loads(fields[b"record"])["id"] for _, fields in redis.xrange(Keys("default").inbox)]
    assert sorted(kept) == sorted(accepted)


def test_keys_are_made_listed_rotated_and_revoked(store_url: str, tmp_path: Path) -> None:
    made = tocsin(tmp_path, store_url, "keys", "add", "crm", "--allow", "capture", "--allow", "act:note")
    assert re.fullmatch(r"tk_[0-9a-f]{12}_[0-9a-f]{64}\n", made.stdout)
    rotated = tocsin(tmp_path, store_url, "keys", "rotate", "crm", "--overlap", "1h", "--json")
    assert json.loads(rotated.stdout)[0]["allow"] == ["act:note", "capture"]
    listed = json.loads(tocsin(tmp_path, store_url, "keys", "list", "--json").stdout)
    assert [row["state"] for row in listed] == ["ends", "in force"]
    assert tocsin(tmp_path, store_url, "keys", "revoke", "crm").returncode == 0
    listed = json.loads(tocsin(tmp_path, store_url, "keys", "--json").stdout)
    assert [row["state"] for row in listed] == ["ended", "ended"]
    assert made.stdout.strip().split("_")[2] not in json.dumps(listed)


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (("keys", "lend"), 2, "expected add, list, revoke, rotate or refusals"),
        (("keys", "add"), 2, "say which"),
        (("keys", "add", "crm"), 2, "allows nothing"),
        (("keys", "add", "crm", "--allow", "act:fly"), 2, "is no role"),
        (("keys", "add", "crm", "--allow", "capture", "--programme", "nobody"), 2, "not declared"),
        (("keys", "revoke", "nobody"), 1, "no key in force"),
        (("serve", "--host", "192.0.2.1"), 2, "cannot be listened on"),
        (("serve", "--settings", "rate.yaml"), 2, "http.rate: 0; expected"),
        (("serve", "--settings", "hook.yaml"), 2, "http.hooks.default.typeform: the environment has no NOBODY"),
        (("serve", "--settings", "tls.yaml"), 2, "http.tls: none.pem"),
    ],
)
def test_a_mistake_says_what_to_do(
    store_url: str, tmp_path: Path, words: tuple[str, ...], code: int, told: str
) -> None:
    (tmp_path / "rate.yaml").write_text("http: {rate: 0}\n")
    (tmp_path / "hook.yaml").write_text("http: {hooks: {default: {typeform: {secrets: [env:NOBODY]}}}}\n")
    (tmp_path / "tls.yaml").write_text("http: {port: 0, tls: {cert: none.pem, key: none.pem}}\n")
    done = tocsin(tmp_path, store_url, *words)
    assert (done.returncode, done.stdout) == (code, "")
    assert told in done.stderr
