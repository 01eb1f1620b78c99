"""What an Apache Kafka node is made of: its jars and a JVM, found on this machine or fetched.

`python -m tests.kafka.parts` sees to all of it and is what `make test-kafka` runs first. The jars are those of
`KAFKA_HOME`, or those of `jars.lock`, each checked against its SHA-256: out of Maven's own folder, or over HTTPS from
`TOCSIN_MAVEN_URL`, the mirror in `~/.m2/settings.xml`, or Maven Central. They stay in `~/.cache/tocsin`.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from xml.etree import ElementTree

LOCK = Path(__file__).with_name("jars.lock")
CENTRAL = "https://repo.maven.apache.org/maven2"
TIMEOUT_S = 60.0
AT_ONCE = 6
JVM = "default-jre-headless"


class PartsError(Exception):
    """Something of a node cannot be had; the text says what, and what to do."""


def jars() -> Path:
    """The directory of Kafka's jars, complete. Raises PartsError."""
    if home := os.environ.get("KAFKA_HOME"):
        return Path(home) / "libs"
    text = LOCK.read_text(encoding="utf-8")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tocsin"
    ready = cache / f"kafka-{hashlib.sha256(text.encode()).hexdigest()[:12]}"
    if not ready.is_dir():
        draft = cache / f"kafka-draft-{os.getpid()}"
        draft.mkdir(parents=True, exist_ok=True)
        try:
            fetch(text, draft)
            if not ready.is_dir():  # another may have been faster
                draft.rename(ready)
        finally:
            shutil.rmtree(draft, ignore_errors=True)
    return ready


def fetch(lock: str, folder: Path) -> None:
    """Every jar of *lock* into *folder*. Raises PartsError; what is there by then is not to be trusted."""
    rows = [line.split() for line in lock.splitlines() if line and not line.startswith("#")]
    base = repository()
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for done in [pool.submit(_fetch_one, base, path, digest, folder) for digest, path in rows]:
            done.result()


def _fetch_one(base: str, path: str, digest: str, folder: Path) -> None:
    kept = Path.home() / ".m2" / "repository" / path
    if kept.is_file() and hashlib.sha256(data := kept.read_bytes()).hexdigest() == digest:
        (folder / kept.name).write_bytes(data)
        return
    try:
        with urllib.request.urlopen(f"{base}/{path}", timeout=TIMEOUT_S) as answer:
            data = answer.read()
    except (urllib.error.URLError, OSError) as error:
        raise PartsError(
            f"{path} could not be fetched from {base} ({error}); name a Maven repository in TOCSIN_MAVEN_URL, "
            "or an unpacked Kafka in KAFKA_HOME"
        ) from error
    if hashlib.sha256(data).hexdigest() != digest:
        raise PartsError(f"{base}/{path} is not the file that {LOCK.name} names; look into that repository")
    (folder / Path(path).name).write_bytes(data)


def repository() -> str:
    """Address of the Maven repository to ask, without a slash at its end."""
    return (os.environ.get("TOCSIN_MAVEN_URL") or _mirror(Path.home() / ".m2" / "settings.xml") or CENTRAL).rstrip("/")


def _mirror(settings: Path) -> str:
    """The mirror that stands for Maven Central in *settings*; empty when there is none. Raises PartsError."""
    try:
        root = ElementTree.parse(settings).getroot()
    except FileNotFoundError:
        return ""
    except (OSError, ElementTree.ParseError) as error:
        raise PartsError(f"{settings} cannot be read ({error}); mend it, or set TOCSIN_MAVEN_URL") from error
    for mirror in root.iterfind("{*}mirrors/{*}mirror"):
        of = [name.strip() for name in (mirror.findtext("{*}mirrorOf") or "").split(",")]
        if {"central", "*", "external:*"} & set(of) and "!central" not in of:
            return (mirror.findtext("{*}url") or "").strip()
    return ""


def java() -> str:
    """The JVM. Raises PartsError."""
    home = os.environ.get("JAVA_HOME")
    found = str(Path(home) / "bin" / "java") if home else shutil.which("java")
    if found is None:
        raise PartsError(
            f"Kafka needs a JVM, 17 or later; install one (Debian: apt-get install {JVM}), or set JAVA_HOME"
        )
    return found


def install_java() -> None:
    """Install a JVM where there is none. Raises PartsError when that is not ours to do, or fails."""
    try:
        java()
    except PartsError:
        apt = shutil.which("apt-get")
        if apt is None or os.geteuid() != 0:
            raise
        print(f"no JVM here: installing {JVM} by apt-get", file=sys.stderr)
        env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        for words in (["update", "-q"], ["install", "-q", "-y", "--no-install-recommends", JVM]):
            done = subprocess.run([apt, *words], env=env, capture_output=True, text=True, check=False)
            if done.returncode:
                said = (done.stderr or done.stdout)[-500:]
                raise PartsError(f"apt-get {words[0]} ended with {done.returncode}: {said}") from None
        java()


if __name__ == "__main__":
    try:
        install_java()
        jars()
    except PartsError as trouble:
        sys.exit(f"test-kafka: {trouble}")
