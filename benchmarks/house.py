"""A Tocsin to be measured: rules, settings, a Redis of its own, and `tocsin run` in a process with many open cases.

A house with its cases can be kept in a folder (`--keep`) and used by the next benchmark, which works on a copy.
Processes are ended by their own handle.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import msgspec

from benchmarks.bench_throughput import rules_directory
from connectors.embedded import Embedded
from connectors.redis_link import client
from flows.settings import CHECKOUT, Settings, load

READY_S = 900.0
LONG_S = 34_560_000
"""400 days: the clocks of standing cases are armed, and none falls due while a kept house is used."""
SOON_S = 10
SHARED_S = 3600
CASES_A_SHARD = 60
"""What the settings advise."""
BRACKET = "type: {type}, priority: high, owner: team_lead, notice: owner-alert"
RULES = f"""
  - id: standing
    when: {{all: ['channel == "standing"']}}
    case: {{type: standing, priority: high, owner: team_lead, acknowledge_within: {LONG_S // 3600}h,
            notice: owner-alert, clocks: {{first_response: {{within: {LONG_S // 3600}h, warn: [50%]}},
            resolve: {{within: {LONG_S // 3600 + 24}h}}}}}}
  - id: soon
    when: {{all: ['channel == "soon"']}}
    case: {{type: soon, owner: team_lead, clocks: {{first_response: {{within: {SOON_S}s}}}}}}
  - id: shared
    when: {{all: ['channel == "shared"']}}
    case: {{type: shared, owner: team_lead, clocks: {{first_response: {{within: {SHARED_S}s}}}}}}
"""
"""Beside the fifty rules of the throughput benchmark: cases that stand, cases whose only clock is due soon after they
opened, and cases whose only clock is due at an instant that the benchmark chooses (by when it says they came)."""


def shards_for(cases: int) -> int:
    """One for 60 cases, as a power of two, within what a store is made with."""
    shards = 4096
    while shards < min(cases // CASES_A_SHARD, 65_536) * 0.75:
        shards *= 2
    return shards


def arguments(description: str | None, cases: int) -> argparse.ArgumentParser:
    """What the benchmarks of many open cases have in common."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--cases", type=int, default=cases, help="open cases")
    parser.add_argument("--shards", type=int, default=0, help="of the store; about one for 60 cases if not given")
    parser.add_argument("--keep", type=Path, help="folder of houses with their cases, used again if there")
    return parser


class House:
    """A folder with everything; its Redis runs while it is open."""

    def __init__(self, folder: Path, shards: int) -> None:
        self.folder = folder
        if not (folder / "tocsin.yaml").exists():
            (folder / "rules").mkdir(parents=True)
            rules_directory(folder / "rules")
            with (folder / "rules" / "sets" / "bench.yaml").open("a") as file:
                file.write(RULES)
            (folder / "tocsin.yaml").write_text(
                f"rules: rules\nprogrammes: {{default: {{rules: bench}}}}\nengine: {{shards: {shards}}}\n"
            )
        self._server = Embedded(folder / "server")
        self.url = self._server.url
        self.settings: Settings = msgspec.structs.replace(
            load(folder / "tocsin.yaml", {}), state=folder / "state", redis=self.url, metrics_port=0
        )

    def engine(self) -> "Engine":
        """`tocsin run`, started; see `Engine.wait`."""
        return Engine(self.folder, self.url)

    def stored_bytes(self) -> int:
        """What the recovery store has on disk."""
        return sum(file.stat().st_size for file in (self.folder / "state" / "recovery").iterdir())

    def close(self) -> None:
        self._server.close()

    def discard(self) -> None:
        """Close, and leave nothing."""
        self.close()
        shutil.rmtree(self.folder)


def house_with(folder: Path, cases: int, shards: int, keep: Path | None) -> House:
    """A house in *folder* in which *cases* are open, their records in Redis, and no engine runs."""
    made = None if keep is None else keep / f"{cases}-{shards}"
    if made is not None and made.exists():
        shutil.copytree(made, folder, symlinks=True)
        return House(folder, shards)
    house = House(folder, shards)
    open_cases(house, cases)
    if made is None:
        return house
    with client(house.url) as redis:
        redis.bgrewriteaof()  # so that the copies are loaded sooner
        while redis.info("persistence")["aof_rewrite_in_progress"]:
            time.sleep(0.2)
    house.close()
    made.parent.mkdir(parents=True, exist_ok=True)
    shutil.copytree(folder, made, symlinks=True)
    return House(folder, shards)


def open_cases(house: House, cases: int, *, channel: str = "standing", received_at: float = 0.0) -> float:
    """Open *cases* more through the engine, in a process of its own; how long that took."""
    began = time.perf_counter()
    command = [sys.executable, "-m", "benchmarks.standing", str(house.folder), house.url, str(cases), channel]
    env = {**os.environ, "PYTHONPATH": str(CHECKOUT)}
    with (house.folder / "standing.log").open("ab") as log:
        done = subprocess.run([*command, str(received_at)], cwd=CHECKOUT, env=env, stdout=log, stderr=log, check=False)
    if done.returncode:
        sys.exit(f"opening the cases failed; see {house.folder / 'standing.log'}")
    return time.perf_counter() - began


class Engine:
    """`tocsin run`, reading the Redis streams."""

    def __init__(self, folder: Path, url: str) -> None:
        self._log = folder / "engine.log"
        self._from = self._log.stat().st_size if self._log.exists() else 0
        env = {**os.environ, "PYTHONPATH": str(CHECKOUT), "TOCSIN_METRICS_PORT": "0"}
        words = ["run", "--no-deliver", "--redis", url, "--state", "state", "--settings", "tocsin.yaml"]
        self.started_at = time.time()
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-c", "from console.cli import main; main()", *words],
                cwd=folder, env=env, stdout=log, stderr=log,
            )  # fmt: skip

    def wait(self) -> float:
        """Wait until it is ready; seconds since it was started."""
        limit = time.time() + READY_S
        while time.time() < limit:
            if self.process.poll() is not None:
                sys.exit(f"the engine ended with {self.process.returncode}; see {self._log}")
            if self._is_ready():
                return time.time() - self.started_at
            time.sleep(0.05)
        sys.exit(f"the engine is not ready after {READY_S:.0f} s; see {self._log}")

    def _is_ready(self) -> bool:
        with self._log.open("rb") as file:
            file.seek(self._from)
            found = re.search(rb"(http://[0-9.]+:\d+)/\s*metrics", file.read().replace(b"\n", b""))
        if found is None:
            return False
        try:
            with urllib.request.urlopen(f"{found[1].decode()}/ready", timeout=30) as answer:
                return bool(json.load(answer))
        except (urllib.error.URLError, OSError):
            return False

    @property
    def resident_bytes(self) -> int:
        """Memory of the process."""
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    @property
    def written_bytes(self) -> int:
        """What it has given to disks since it was started: snapshots, and a few journals. Sockets do not count."""
        rows = Path(f"/proc/{self.process.pid}/io").read_text().splitlines()
        return int(dict(row.split(": ") for row in rows)["write_bytes"])

    def kill(self) -> None:
        """kill -9."""
        self.process.kill()
        self.process.wait()

    def stop(self) -> float:
        """A clean stop; how long it took."""
        began = time.perf_counter()
        self.process.terminate()
        if self.process.wait(READY_S) != 0:
            sys.exit(f"the engine ended with {self.process.returncode}; see {self._log}")
        return time.perf_counter() - began
