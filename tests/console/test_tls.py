"""Redis and the HTTP door over TLS, with a user and a password; whoever is not who they say they are stays outside."""

import http.client
import json
import os
import re
import signal
import ssl
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from connectors.embedded import Embedded
from connectors.keyspace import Keys
from connectors.redis_link import client
from tests.console.test_beside import children_of, engine_in, opened, wait_for
from tests.console.test_beside import receiver as receiver
from tests.console.test_cli import ROOT
from tests.tls import Authority, relay

SECRET = "s3cret-of-the-store"
RESPONSE = {"id": "r-1", "customer": "c-1", "channel": "sms", "scores": {"nps": 0}, "text": "Nobody rang back."}


class Store:
    """A Valkey that lets in one user, by password, behind TLS that asks for a certificate."""

    def __init__(self, folder: Path, port: int, authority: Authority) -> None:
        self._folder, self._port, self._authority = folder, port, authority
        self.client = authority.certificate("engine")

    def url(
        self,
        *,
        ca: Path | None = None,
        secret: str = SECRET,
        mine: tuple[Path, Path] | None = None,
        user: str = "tocsin",
    ) -> str:
        cert, key = mine or self.client
        trust = f"ssl_ca_certs={ca or self._authority.ca}"
        return f"rediss://{user}:{secret}@127.0.0.1:{self._port}/0?{trust}&ssl_certfile={cert}&ssl_keyfile={key}"


@pytest.fixture
def store(own_server: Embedded, tmp_path: Path) -> Iterator[Store]:
    authority = Authority(tmp_path / "pki")
    cert, key = authority.certificate("redis")
    where = urlsplit(own_server.url)
    with client(own_server.url, timeout_s=5.0) as connection:
        connection.execute_command("ACL", "SETUSER", "tocsin", "on", f">{SECRET}", "~tocsin:*", "&tocsin:*", "+@all")
    with relay((where.hostname or "", where.port or 0), cert, key, clients=authority.ca) as port:
        yield Store(tmp_path, port, authority)


def tocsin(folder: Path, url: str, *words: str, stdin: str = "") -> "subprocess.CompletedProcess[str]":
    env = {**os.environ, "PYTHONPATH": str(ROOT), "TOCSIN_REDIS_URL": url}
    command = [sys.executable, "-c", "from console.cli import main; main()", *words]
    return subprocess.run(
        command, cwd=folder, env=env, input=stdin, capture_output=True, text=True, timeout=90, check=False
    )


def test_an_engine_writes_by_tls_with_a_certificate_a_user_and_a_password(
    store: Store, own_server: Embedded, tmp_path: Path
) -> None:
    ran = tocsin(tmp_path, store.url(), "run", "--input", "-", stdin=json.dumps(RESPONSE) + "\n")

    assert ran.returncode == 0, ran.stderr
    with client(own_server.url, timeout_s=5.0) as plain:
        assert plain.xlen(Keys("default").events) > 0
    cases = tocsin(tmp_path, store.url(), "cases")
    assert cases.returncode == 0, cases.stderr
    assert "detractor" in cases.stdout
    assert SECRET not in ran.stdout + ran.stderr + cases.stdout + cases.stderr


def test_a_server_that_no_authority_of_ours_vouches_for_gets_nothing(
    store: Store, own_server: Embedded, tmp_path: Path
) -> None:
    stranger = Authority(tmp_path / "else")

    for url, why in (
        (store.url(ca=stranger.ca), "certificate verify failed"),
        (store.url(mine=stranger.certificate("engine")), ""),
        (store.url(secret="wrong"), "refused the user or the password"),
        (store.url(user="nobody"), "refused the user or the password"),
    ):
        found = tocsin(tmp_path, url, "cases")

        assert found.returncode != 0
        assert why in found.stderr
        assert "Traceback" not in found.stderr
        assert SECRET not in found.stderr
    with client(own_server.url, timeout_s=5.0) as plain:
        assert plain.dbsize() == 0


def test_the_second_flow_reads_by_tls_and_no_command_line_shows_the_password(
    store: Store, tmp_path: Path, receiver: Any
) -> None:
    engine = engine_in(tmp_path, receiver, store.url())
    try:
        wait_for("the first webhook", lambda: opened(receiver) == ["1"])
        family = [engine.pid, *children_of(engine.pid)]
        assert len(family) == 2
        words = b" ".join(Path(f"/proc/{pid}/cmdline").read_bytes() for pid in family)
        assert b"deliver" in words
        assert SECRET.encode() not in words
    finally:
        engine.send_signal(signal.SIGTERM)
        assert engine.wait(timeout=40) == 0


def test_each_lane_of_a_supervisor_writes_by_tls_and_no_command_line_shows_the_password(
    store: Store, own_server: Embedded, tmp_path: Path
) -> None:
    env = {**os.environ, "PYTHONPATH": str(ROOT), "TOCSIN_REDIS_URL": store.url(), "TOCSIN_METRICS_PORT": "0"}
    command = [sys.executable, "-c", "from console.cli import main; main()", "run", "--processes", "2", "--kafka"]
    engine = subprocess.Popen([*command, "127.0.0.1:1/none"], cwd=tmp_path, env=env, stderr=subprocess.DEVNULL)
    try:
        wait_for("two lanes", lambda: len(children_of(engine.pid, b"--lane")) == 2)
        words = b" ".join(Path(f"/proc/{pid}/cmdline").read_bytes() for pid in children_of(engine.pid, b"--lane"))
        assert words.count(b"--lane\0") == 2
        assert SECRET.encode() not in words
        with client(own_server.url, timeout_s=5.0) as plain:
            wait_for("a store that is greeted", lambda: plain.dbsize() > 0)
    finally:
        engine.send_signal(signal.SIGTERM)
        engine.wait(timeout=40)


@pytest.fixture
def door(own_server: Embedded, tmp_path: Path) -> Iterator[tuple[int, Authority]]:
    """The port of a door that lets in callers with a certificate of the authority."""
    authority = Authority(tmp_path / "pki")
    cert, key = authority.certificate("door")
    files = {"cert": str(cert), "key": str(key), "clients": str(authority.ca)}
    (tmp_path / "tocsin.yaml").write_text(f"http: {{port: 0, tls: {json.dumps(files)}}}\n")
    env = {**os.environ, "PYTHONPATH": str(ROOT), "TOCSIN_REDIS_URL": own_server.url}
    command = [sys.executable, "-c", "from console.cli import main; main()", "serve"]
    process = subprocess.Popen(command, cwd=tmp_path, env=env, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    try:
        found = next(found for line in process.stderr if (found := re.search(r"https://127\.0\.0\.1:(\d+)", line)))
        yield int(found[1]), authority
    finally:
        process.terminate()
        process.wait(timeout=30)
        process.stderr.close()


def post(port: int, key: str, context: ssl.SSLContext) -> int:
    connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=30, context=context)
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    connection.request("POST", "/v1/responses", body=json.dumps(RESPONSE), headers=headers)
    status = connection.getresponse().status
    connection.close()
    return status


def test_the_door_takes_responses_by_tls_from_callers_with_a_certificate_and_nobody_else(
    door: tuple[int, Authority], own_server: Embedded, tmp_path: Path
) -> None:
    port, authority = door
    key = tocsin(tmp_path, own_server.url, "keys", "add", "crm", "--allow", "capture").stdout.strip()
    known, unknown = ssl.create_default_context(cafile=authority.ca), ssl.create_default_context(cafile=authority.ca)
    old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    known.load_cert_chain(*authority.certificate("crm"))
    old.load_verify_locations(authority.ca)
    old.load_cert_chain(*authority.certificate("crm"))
    with warnings.catch_warnings(action="ignore"):
        old.maximum_version = ssl.TLSVersion.TLSv1_1
    late = ssl.create_default_context(cafile=authority.ca)
    late.load_cert_chain(*authority.certificate("late", days=-1))

    wait_for("the new key to count", lambda: post(port, key, known) == 202, 10)
    assert post(port, "no-such-key", known) == 401
    for nobody in (unknown, old, late):
        with pytest.raises((ssl.SSLError, ConnectionError)):
            post(port, key, nobody)
    plain = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    plain.request("GET", "/ready")
    with pytest.raises((http.client.HTTPException, ConnectionError)):
        plain.getresponse()
