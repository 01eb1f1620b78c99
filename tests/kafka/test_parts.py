"""Where a node's parts come from: the named repository, checked; and a JVM that is installed where there is none."""

import hashlib
import os
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.kafka import parts
from tests.kafka.parts import PartsError

JAR = b"a jar"
PATH = "org/one/1/one-1.jar"
LOCK = f"# what it is\n{hashlib.sha256(JAR).hexdigest()}  {PATH}\n"


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("KAFKA_HOME", "JAVA_HOME", "TOCSIN_MAVEN_URL", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    lock = tmp_path / "jars.lock"
    lock.write_text(LOCK)
    monkeypatch.setattr(parts, "LOCK", lock)
    (tmp_path / "home" / ".m2").mkdir(parents=True)
    return tmp_path / "home"


@pytest.fixture
def maven(tmp_path: Path) -> Iterator[str]:
    """A repository with the jar; its address."""
    served = tmp_path / "served"
    (served / PATH).parent.mkdir(parents=True)
    (served / PATH).write_bytes(JAR)
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=served))
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def mirror(home: Path, url: str, of: str = "central") -> None:
    settings = f'<settings xmlns="http://maven.apache.org/SETTINGS/1.0.0"><mirrors><mirror><mirrorOf>{of}</mirrorOf>'
    (home / ".m2" / "settings.xml").write_text(f"{settings}<url>{url}</url></mirror></mirrors></settings>")


def test_jars_come_from_the_mirror_of_mavens_settings_and_are_kept(home: Path, maven: str) -> None:
    mirror(home, maven + "/")
    ready = parts.jars()
    assert (ready / "one-1.jar").read_bytes() == JAR
    mirror(home, "http://127.0.0.1:9")
    assert parts.jars() == ready, "the second time nobody is asked"


def test_a_repository_that_is_named_comes_before_the_mirror(
    home: Path, maven: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    mirror(home, "http://127.0.0.1:9")
    monkeypatch.setenv("TOCSIN_MAVEN_URL", maven)
    assert (parts.jars() / "one-1.jar").read_bytes() == JAR


def test_a_mirror_of_something_else_leaves_maven_central(home: Path) -> None:
    mirror(home, "http://127.0.0.1:9", of="external:http:*")
    assert parts.repository() == parts.CENTRAL


def test_what_maven_has_fetched_already_is_taken(home: Path) -> None:
    mirror(home, "http://127.0.0.1:9")
    kept = home / ".m2" / "repository" / PATH
    kept.parent.mkdir(parents=True)
    kept.write_bytes(JAR)
    assert (parts.jars() / "one-1.jar").read_bytes() == JAR


def test_a_jar_that_is_not_the_one_of_the_lock_is_refused_and_not_kept(tmp_path: Path, home: Path, maven: str) -> None:
    mirror(home, maven)
    (tmp_path / "served" / PATH).write_bytes(b"another")
    with pytest.raises(PartsError, match=r"one-1\.jar is not the file that jars\.lock names"):
        parts.jars()
    assert not list((home / ".cache" / "tocsin").iterdir())


def test_a_repository_that_does_not_answer_is_named_with_the_way_out(home: Path) -> None:
    mirror(home, "http://127.0.0.1:9")
    with pytest.raises(PartsError, match=r"from http://127\.0\.0\.1:9 .* TOCSIN_MAVEN_URL, or an unpacked Kafka"):
        parts.jars()


def test_where_there_is_no_jvm_root_gets_one_by_apt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bin_ = tmp_path / "bin"
    bin_.mkdir()
    made = f"/usr/bin/printf '#!/bin/sh' >{bin_}/java; /bin/chmod +x {bin_}/java"
    (bin_ / "apt-get").write_text(f'#!/bin/sh\necho "$@" >>{tmp_path}/said\n[ "$1" = update ] || {{ {made}; }}\n')
    (bin_ / "apt-get").chmod(0o755)
    monkeypatch.setenv("PATH", str(bin_))
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    parts.install_java()
    assert (tmp_path / "said").read_text().splitlines() == [
        "update -q",
        "install -q -y --no-install-recommends default-jre-headless",
    ]
    assert parts.java() == str(bin_ / "java")


def test_where_there_is_no_jvm_anybody_else_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(PartsError, match="apt-get install default-jre-headless"):
        parts.install_java()
