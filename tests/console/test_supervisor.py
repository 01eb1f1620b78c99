"""A supervisor starts what dies, gives up out loud, passes a stop on and waits; and its page speaks for every lane."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from threading import Thread

import pytest
from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.exposition import generate_latest

from console.supervisor import Policy, Supervisor
from flows.health import HealthServer, Labelled
from flows.run import Stop

PATIENT = Policy(first_pause_s=0.01, longest_pause_s=0.02, give_up_after=3)
LIVES = "import sys, signal; signal.signal(signal.SIGTERM, lambda *_: sys.exit(0)); print('up', flush=True); "
"""A child that ends with 0 when it is asked to."""


def until(claim: Callable[[], object]) -> None:
    deadline = time.monotonic() + 30
    while not claim():
        assert time.monotonic() < deadline
        time.sleep(0.01)


class Scene:
    """Lanes whose processes note their starts in files."""

    def __init__(self, folder: Path, scripts: Mapping[int, str], policy: Policy = PATIENT) -> None:
        self.folder, self.stop, self.told = folder, Stop(), list[str]()
        commands = {
            lane: (
                [
                    sys.executable,
                    "-c",
                    f"import os; open(r'{folder}/{lane}', 'a').write(f'{{os.getpid()}}\\n'); {code}",
                ],
                dict(os.environ),
            )
            for lane, code in scripts.items()
        }
        self.supervisor = Supervisor(
            commands, lambda lane: folder / f"note-{lane}", self.stop, self.told.append, policy
        )
        self.code: int | None = None

    def pids(self, lane: int) -> list[int]:
        path = self.folder / str(lane)
        return [int(line) for line in path.read_text().splitlines()] if path.exists() else []

    @contextmanager
    def running(self) -> Iterator[None]:
        def run() -> None:
            self.code = self.supervisor.run()

        thread = Thread(target=run)
        thread.start()
        try:
            yield
        finally:
            self.stop.request("the test is over")
            thread.join()


def value(scene: Scene, name: str, lane: int) -> float:
    return scene.supervisor.registry.get_sample_value(name, {"lane": str(lane)}) or 0.0


def test_what_dies_is_started_again_and_the_other_lane_goes_on(tmp_path: Path) -> None:
    scene = Scene(tmp_path, {0: LIVES + "signal.pause()", 1: LIVES + "signal.pause()"})
    with scene.running():
        until(lambda: scene.pids(0) and scene.pids(1))
        os.kill(scene.pids(1)[0], signal.SIGKILL)
        until(lambda: len(scene.pids(1)) == 2)
        until(lambda: value(scene, "tocsin_lane_up", 1) == 1)
        assert value(scene, "tocsin_lane_restarts_total", 1) == 1
    assert len(scene.pids(0)) == 1
    assert scene.code == 0


def test_a_lane_that_dies_at_once_again_and_again_is_given_up_out_loud(tmp_path: Path) -> None:
    scene = Scene(tmp_path, {0: LIVES + "signal.pause()", 1: "raise SystemExit(2)"})
    with scene.running():
        until(lambda: scene.code is not None)
    assert scene.code == 1
    assert len(scene.pids(1)) == 3
    assert "lane 1 died 3 times in a row" in scene.told[-1]


def test_a_lane_that_lived_for_a_while_is_not_given_up(tmp_path: Path) -> None:
    calm = Policy(first_pause_s=0.001, longest_pause_s=0.001, calm_s=0.0, give_up_after=2)
    scene = Scene(tmp_path, {0: "raise SystemExit(1)"}, calm)
    with scene.running():
        until(lambda: len(scene.pids(0)) >= 4)
    assert scene.code == 0


def test_a_stop_is_passed_on_and_waited_for(tmp_path: Path) -> None:
    slow = f"import time; signal.signal(15, lambda *_: (time.sleep(0.3), open(r'{tmp_path}/clean', 'w'), sys.exit(0)))"
    scene = Scene(tmp_path, {0: LIVES + slow + f"; open(r'{tmp_path}/set', 'w'); signal.pause()"})
    with scene.running():
        until((tmp_path / "set").exists)
    assert (tmp_path / "clean").exists()


def test_when_the_supervisor_is_killed_its_processes_see_their_input_end(tmp_path: Path) -> None:
    child = f"import sys; sys.stdin.read(); open({str(tmp_path / 'ended')!r}, 'w')"
    script = (
        "import sys, pathlib; from console.supervisor import Supervisor; from flows.run import Stop\n"
        f"c = {{0: ([sys.executable, '-c', {child!r}], {{}})}}\n"
        "Supervisor(c, lambda n: pathlib.Path('x'), Stop(), print).run()"
    )
    with subprocess.Popen([sys.executable, "-c", script]) as process:
        until(lambda: _children(process.pid))
        process.kill()
    until((tmp_path / "ended").exists)


def _children(pid: int) -> list[str]:
    return [c for task in Path(f"/proc/{pid}/task").iterdir() for c in (task / "children").read_text().split()]


@pytest.fixture
def page() -> Iterator[HealthServer]:
    """The page of an engine that is not ready."""
    registry = CollectorRegistry()
    Counter("tocsin_events", "Events.", ["type"], registry=registry).labels("case.opened").inc(3)
    Histogram("tocsin_seconds", "Time.", buckets=(1.0,), registry=registry).observe(0.5)
    server = HealthServer(Labelled(registry, {"lane": "0"}), lambda: {"store": "Redis is away"})
    yield server
    server.close()


def test_its_page_has_the_reasons_and_the_metrics_of_every_lane(tmp_path: Path, page: HealthServer) -> None:
    lasting = Policy(first_pause_s=30, give_up_after=1000)
    scene = Scene(tmp_path, {0: LIVES + "signal.pause()", 1: "raise SystemExit(2)"}, lasting)
    with scene.running():
        until(lambda: scene.pids(0))
        (tmp_path / "note-0").write_text(json.dumps({"pid": scene.pids(0)[0], "port": page.port}))
        until(lambda: scene.supervisor.reasons().get("lane 0 store") == "Redis is away")
        until(lambda: "ended with 2" in scene.supervisor.reasons().get("lane 1 process", ""))
        text = generate_latest(scene.supervisor.registry).decode()
    assert 'tocsin_events_total{lane="0",type="case.opened"} 3.0' in text
    assert 'tocsin_seconds_bucket{lane="0",le="1.0"} 1.0' in text
    assert text.count("# TYPE tocsin_events_total counter") == 1
