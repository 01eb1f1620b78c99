"""A supervisor: keeps an engine process going for each lane, and is one page for machines in front of them.

What dies is started again after a pause that grows; a lane that dies quickly again and again makes it give up, out
loud, with an exit code. A stop is passed on and waited for. When the supervisor itself is killed, its engines see their
standard input end, and stop cleanly: an engine that nobody looks after holds its lane against the next supervisor.
"""

import json
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from threading import Lock, Thread
from time import monotonic

import msgspec
import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

from flows.run import Stop

log = structlog.get_logger()


class Policy(msgspec.Struct, frozen=True):
    """How patient a supervisor is, in seconds."""

    first_pause_s: float = 1.0
    longest_pause_s: float = 30.0
    calm_s: float = 60.0
    """A process that lived this long did not die quickly."""
    give_up_after: int = 6
    """Quick deaths of one lane in a row."""


class _Lane:
    """One lane's process; a thread of its own keeps it going."""

    def __init__(self, number: int, command: Sequence[str], environ: Mapping[str, str], note: Callable[[], Path]):
        self.number, self.command, self.environ, self._note = number, list(command), dict(environ), note
        self.child: subprocess.Popen[bytes] | None = None
        self.quick_deaths = 0
        self.says = "starting"
        """Why it does not run just now."""

    @property
    def port(self) -> int | None:
        """Where its engine answers; None before it does."""
        child = self.child
        try:
            note = json.loads(self._note().read_bytes())
        except (OSError, ValueError):
            return None
        return int(note["port"]) if child is not None and note["pid"] == child.pid else None

    def get(self, path: str) -> bytes:
        """What its engine answers, whatever the status. Raises OSError."""
        port = self.port
        if port is None:
            raise OSError("it has not opened its port yet")
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=2) as answer:
                return bytes(answer.read())
        except urllib.error.HTTPError as answer:
            return bytes(answer.read())

    def reasons(self) -> Mapping[str, str]:
        """Why it is not ready."""
        if self.child is None:
            return {"process": self.says}
        try:
            return dict(json.loads(self.get("/ready"))["reasons"])
        except (OSError, ValueError, KeyError) as error:
            return {"process": f"does not answer: {error}"}


class Supervisor(Collector):
    """The lanes of one store. As a collector: the metrics of all its engines, which carry their lane."""

    def __init__(
        self,
        commands: Mapping[int, tuple[Sequence[str], Mapping[str, str]]],
        note_of: Callable[[int], Path],
        stop: Stop,
        tell: Callable[[str], None],
        policy: Policy | None = None,
    ) -> None:
        """*commands*: lane to command and environment; *note_of* names the note that a running engine leaves."""
        self._lanes = [
            _Lane(number, command, environ, lambda n=number: note_of(n))  # type: ignore[misc]
            for number, (command, environ) in sorted(commands.items())
        ]
        self._stop, self._tell, self._policy = stop, tell, policy or Policy()
        self._lock = Lock()
        self._gave_up: int | None = None
        self.registry = CollectorRegistry()
        self._up = Gauge("tocsin_lane_up", "Whether the lane's process runs.", ["lane"], registry=self.registry)
        self._restarts = Counter(
            "tocsin_lane_restarts", "Processes of a lane started after one died.", ["lane"], registry=self.registry
        )
        self.registry.register(self)

    def run(self) -> int:
        """Keep the lanes going until a stop is asked for; the exit code: 0, or 1 when a lane was given up."""
        threads = [Thread(target=self._keep, args=(lane,), name=f"lane-{lane.number}") for lane in self._lanes]
        for thread in threads:
            thread.start()
        self._stop.event.wait()
        with self._lock:
            for lane in self._lanes:
                if lane.child is not None and lane.child.poll() is None:
                    lane.child.terminate()
        for thread in threads:
            thread.join()
        if self._gave_up is not None:
            self._tell(f"lane {self._gave_up} died {self._policy.give_up_after} times in a row; given up")
            return 1
        return 0

    def _keep(self, lane: _Lane) -> None:
        label = str(lane.number)
        self._restarts.labels(label)  # from 0, so that the first restart is seen as a rise
        pause = self._policy.first_pause_s
        while True:
            with self._lock:
                if self._stop():
                    return
                lane.child = subprocess.Popen(
                    lane.command, env=lane.environ, stdin=subprocess.PIPE, start_new_session=True
                )
            began = monotonic()
            self._up.labels(label).set(1)
            code = lane.child.wait()
            if lane.child.stdin is not None:
                lane.child.stdin.close()
            self._up.labels(label).set(0)
            lane.child, lane.says = None, f"ended with {code}"
            if self._stop():
                return
            if monotonic() - began >= self._policy.calm_s:
                lane.quick_deaths, pause = 0, self._policy.first_pause_s
            lane.quick_deaths += 1
            log.error("lane.died", lane=lane.number, code=code, in_a_row=lane.quick_deaths)
            if lane.quick_deaths >= self._policy.give_up_after:
                self._gave_up = lane.number
                self._stop.request(f"lane {lane.number} was given up")
                return
            lane.says = f"ended with {code}; again in {pause:.0f} s"
            self._tell(f"lane {lane.number} {lane.says}")
            if self._stop.event.wait(pause):
                return
            pause = min(pause * 2, self._policy.longest_pause_s)
            self._restarts.labels(label).inc()

    # -- the page -----------------------------------------------------------------------------------------

    def reasons(self) -> dict[str, str]:
        """Why the store is not ready: every lane's reasons."""
        found = {f"lane {lane.number} {what}": why for lane in self._lanes for what, why in lane.reasons().items()}
        return found | ({"supervisor": "stopping"} if self._stop() else {})

    def collect(self) -> Iterator[Metric]:
        families: dict[str, Metric] = {}
        for lane in self._lanes:
            try:
                text = lane.get("/metrics").decode()
            except OSError:
                continue  # `tocsin_lane_up` and `/ready` tell of it
            for family in text_string_to_metric_families(text):
                families.setdefault(family.name, Metric(family.name, family.documentation, family.type)).samples.extend(
                    family.samples
                )
        yield from families.values()

    def describe(self) -> list[Metric]:
        """Nothing: what the engines count is known when they are asked."""
        return []


ENGINE = (sys.executable, "-c", "from console.cli import main; main()")
"""The command that a lane's process begins with."""
