"""`make pin` asks a registry as its specification says, and leaves alone what nobody answers for."""

import json
import runpy
import shutil
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from tests.watch.files import ROOT

PIN = runpy.run_path(str(ROOT / "deploy" / "pin.py"))
DIGEST = "sha256:" + "ab" * 32


class _Registry(BaseHTTPRequestHandler):
    """Has every tag but Grafana's, for who brings the token that it hands out."""

    def do_HEAD(self) -> None:
        where = f"http://127.0.0.1:{self.server.server_address[1]}"
        name = self.path.removeprefix("/v2/").partition("/manifests/")[0]
        if self.headers.get("Authorization") != f"Bearer for-{name}":
            scope = f'Bearer realm="{where}/token",service="here",scope="repository:{name}:pull"'
            self._say(401, {"WWW-Authenticate": scope})
        elif "grafana" in name:
            self._say(404, {})
        else:
            self._say(200, {"Docker-Content-Digest": DIGEST})

    def do_GET(self) -> None:
        name = self.path.partition("scope=repository%3A")[2].removesuffix("%3Apull").replace("%2F", "/")
        self._say(200, {}, json.dumps({"token": f"for-{name}"}).encode())

    def _say(self, status: int, headers: dict[str, str], body: bytes = b"") -> None:
        self.send_response(status)
        for key, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(key, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Nobody reads it."""


@pytest.fixture
def mirror(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Registry)
    Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("TOCSIN_REGISTRY_MIRROR", f"http://127.0.0.1:{server.server_address[1]}")
    yield
    server.shutdown()
    server.server_close()


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    (tmp_path / "deploy").mkdir()
    for name in ("docker-compose.yml", "deploy/Dockerfile"):
        shutil.copy(ROOT / name, tmp_path / name)
    return tmp_path


def test_tags_get_digests_and_what_is_not_there_stays(mirror: None, checkout: Path) -> None:
    before = (checkout / "docker-compose.yml").read_text()
    assert PIN["pin"](checkout) == 1
    compose = (checkout / "docker-compose.yml").read_text()
    assert f"image: apache/kafka:4.1.0@{DIGEST}\n" in compose
    assert "image: grafana/grafana:12.1.0\n" in compose
    assert "image: tocsin:0.1.0\n" in compose
    assert compose.replace(f"@{DIGEST}", "") == before
    assert f"FROM python:3.12-slim-bookworm@{DIGEST} AS built\n" in (checkout / "deploy/Dockerfile").read_text()


def test_an_older_digest_is_renewed(mirror: None, checkout: Path) -> None:
    file = checkout / "deploy" / "Dockerfile"
    file.write_text("FROM python:3.12-slim-bookworm@sha256:" + "00" * 32 + "\n")
    PIN["pin"](checkout)
    assert file.read_text() == f"FROM python:3.12-slim-bookworm@{DIGEST}\n"
