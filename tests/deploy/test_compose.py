"""docker-compose.yml is one, is closed as far as it can be, and its commands run with its settings."""

import json
import shutil
import tempfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import redis
from compose_spec import PyCompose

from connectors.redis_link import client
from tests.deploy.compose import OURS, PORT, SERVICES, WHOLE, Native, as_json, mounts, valkey_server
from tests.kafka.topics import MockKafka, contents
from tests.watch.files import PROMETHEUS, ROOT, load_yaml
from tests.watch.stage import free_ports, get, until

EACH = pytest.mark.parametrize("name", SERVICES)


def test_it_is_a_compose_file_by_the_specification() -> None:
    assert set(PyCompose.from_json(as_json()).service_names()) == set(SERVICES)


def test_the_specification_would_refuse_a_misspelt_key() -> None:
    with pytest.raises(ValueError, match="helthcheck"):
        PyCompose.from_json(as_json().replace("healthcheck", "helthcheck"))


@EACH
def test_a_service_is_no_root_has_limits_and_gains_no_privileges(name: str) -> None:
    service = SERVICES[name]
    assert int(str(service["user"]).partition(":")[0]) > 0
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["mem_limit"]
    assert service["cpus"]
    assert service.get("read_only", False) == (name != "kafka")  # its image writes its own settings at start


@EACH
def test_an_image_names_its_version(name: str) -> None:
    tag = SERVICES[name]["image"].partition("@")[0].partition(":")[2]
    assert any(digit in tag for digit in "0123456789")


@EACH
def test_what_is_waited_for_can_say_that_it_is_well(name: str) -> None:
    assert "healthcheck" in SERVICES[name] or name == "feed"
    for other, how in SERVICES[name].get("depends_on", {}).items():
        assert how == {"condition": "service_healthy"}
        assert "healthcheck" in SERVICES[other]


@EACH
def test_what_is_mounted_exists_and_what_is_published_is_for_this_machine(name: str) -> None:
    for source, target, read_only in mounts(SERVICES[name]):
        if source.startswith("./"):
            assert (ROOT / source).exists()
            assert read_only
        else:
            assert source in WHOLE["volumes"]
        assert target.startswith("/")
    assert all(PORT.fullmatch(port) for port in SERVICES[name].get("ports", ()))


def test_prometheus_scrapes_every_process_of_ours_that_has_a_page() -> None:
    config = load_yaml(PROMETHEUS / "prometheus.yml")
    targets = {job["job_name"]: job["static_configs"][0]["targets"] for job in config["scrape_configs"]}
    assert targets == {
        "tocsin-engine": ["engine:9464"], "tocsin-deliveries": ["deliveries:9465"], "tocsin-door": ["door:8080"]
    }  # fmt: skip
    assert {target.partition(":")[0] for (target,) in targets.values()} == set(OURS) - {"feed"}


def test_the_image_gets_every_package_and_nothing_secret() -> None:
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    packages = {path.parent.name for path in ROOT.glob("*/__init__.py")} - {"tests", "benchmarks"}
    assert packages <= allowed
    assert allowed - packages == {
        "requirements.lock", "pyproject.toml", "README.md", "tocsin.yaml", "deploy/feed.py", "deploy/healthy.py"
    }  # fmt: skip


class _Alertmanager(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.posted.extend(json.loads(body))  # type: ignore[attr-defined]
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Nobody reads it."""


@pytest.fixture
def folder() -> Iterator[Path]:
    """A place that the containers' user may write to."""
    made = Path(tempfile.mkdtemp(prefix="tocsin-compose-"))
    made.chmod(0o755)
    for name in ("state", "vault", "data"):
        (made / name).mkdir()
        (made / name).chmod(0o777)
    yield made
    shutil.rmtree(made)


@pytest.fixture
def alertmanager() -> Iterator[Any]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Alertmanager)
    server.posted = []  # type: ignore[attr-defined]
    Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def test_every_command_of_ours_runs_with_its_settings(folder: Path, alertmanager: Any, mock_kafka: MockKafka) -> None:
    """The demo's feed through valkey, engine, deliveries, door and feed, to the topic and to Alertmanager."""
    valkey, page, deliveries, door = free_ports(4)
    mock_kafka.create("tocsin.events")
    settings = (ROOT / "deploy" / "compose" / "tocsin.yaml").read_text("utf-8")
    for there, here in (("kafka:9092", mock_kafka.servers),
                        ("alertmanager:9093", f"127.0.0.1:{alertmanager.server_address[1]}")):  # fmt: skip
        assert there in settings
        settings = settings.replace(there, here)
    (folder / "tocsin.yaml").write_text(settings)
    stand_ins = {
        "valkey-server": valkey_server(), "valkey:6379": f"127.0.0.1:{valkey}", "/etc/tocsin/": f"{folder}/",
        "/state": f"{folder}/state", "/vault/": f"{folder}/vault/", "0.0.0.0": "127.0.0.1",
        ":9464/": f":{page}/", ":9465/": f":{deliveries}/", ":8080/": f":{door}/",
    }  # fmt: skip
    running: list[Native] = []

    def start(name: str, *more: str) -> Native:
        running.append(Native(name, folder, stand_ins, *more, metrics_port=page))
        return running[-1]

    try:
        start("valkey", "--port", str(valkey), "--dir", str(folder / "data"))
        with client(f"redis://127.0.0.1:{valkey}", decode_responses=True) as connection:
            until(lambda: _pings(connection), "valkey")
            assert connection.config_get("appendonly")["appendonly"] == "yes"
            assert connection.config_get("maxmemory-policy")["maxmemory-policy"] == "noeviction"
        for name, more in (("engine", ()), ("deliveries", ("--metrics-port", str(deliveries))),
                           ("door", ("--port", str(door)))):  # fmt: skip
            service = start(name, *more)
            until(service.is_healthy, f"{name}'s health")
        start("feed")
        assert get(f"http://127.0.0.1:{door}/openapi.json")["openapi"].startswith("3.")
        until(lambda: alertmanager.posted, "an alert of a case")
        until(lambda: contents(mock_kafka.servers, "tocsin.events"), "an event in the topic")
    finally:
        codes = [service.stop() for service in reversed(running)]
    assert codes == [0] * 5, [service.log.read_text()[-500:] for service in running]


def _pings(connection: Any) -> bool:
    try:
        return bool(connection.ping())
    except redis.ConnectionError:
        return False
