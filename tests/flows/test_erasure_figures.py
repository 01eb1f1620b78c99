"""What is told of erasures and of rules with memory, for alerts: from 0, and until it is done."""

from collections.abc import Callable
from pathlib import Path

from prometheus_client import CollectorRegistry

from connectors.vault import Vault
from flows.erasures import SNAPSHOTS, ErasureFigures, Erasures
from flows.metrics import EngineMetrics


class Source:
    """Holds raw records; cannot be reached while *away*."""

    def __init__(self) -> None:
        self.away = False

    def forget(self, is_theirs: Callable[[bytes, str], bool]) -> int:
        if self.away:
            raise OSError("away")
        return 0


class Watched:
    def __init__(self, folder: Path) -> None:
        self.vault, self.at, self.source = Vault(folder / "keys", create=True), 0.0, Source()
        self.erasures = Erasures(self.vault, now=lambda: self.at)
        self.registry = CollectorRegistry()
        self.registry.register(ErasureFigures(self.erasures))

    def __getitem__(self, name: str) -> float | None:
        return self.registry.get_sample_value(f"tocsin_{name}")

    def snapshots(self, count: int) -> None:
        for _ in range(count):
            self.erasures.snapshotted([self.source])
            if (sweeper := self.erasures._sweeper) is not None:
                sweeper.join()


def test_an_erasure_is_asked_waits_and_is_done(tmp_path: Path) -> None:
    told = Watched(tmp_path)
    assert [told[n] for n in ("erasures_asked_total", "erasures_done_total", "erasures_pending_seconds")] == [0, 0, 0]
    leaf = told.vault.leaf("default", "ann", "0")
    told.erasures.ask([(leaf, "c-1")])
    told.at = 40.0
    assert (told["erasures_waiting"], told["erasures_pending_seconds"]) == (1, 40)
    told.snapshots(SNAPSHOTS + 1)
    assert told.vault.key(leaf) is None
    assert [told[n] for n in ("erasures_asked_total", "erasures_done_total", "erasures_pending_seconds")] == [1, 1, 0]


def test_an_erasure_that_cannot_be_swept_goes_on_waiting_and_says_so(tmp_path: Path) -> None:
    told = Watched(tmp_path)
    told.source.away = True
    told.erasures.ask([(told.vault.leaf("default", "ann", "0"), "c-1")])
    told.snapshots(SNAPSHOTS + 2)
    told.at = 1000.0
    assert told["erasure_sweeps_put_off_total"] == 3
    assert (told["erasures_done_total"], told["erasures_pending_seconds"]) == (0, 1000)
    told.source.away = False
    told.snapshots(2)
    assert (told["erasures_done_total"], told["erasures_pending_seconds"]) == (1, 0)


def test_the_series_of_a_rule_with_memory_begin_at_0() -> None:
    registry = CollectorRegistry()
    EngineMetrics(registry, "0").windows(["spike"])
    dropped = [registry.get_sample_value("tocsin_window_dropped_total", {"rule": "spike", "what": what})
               for what in ("late", "ids", "values", "keys")]  # fmt: skip
    found = [registry.get_sample_value("tocsin_window_findings_total", {"rule": "spike", "kind": kind})
             for kind in ("raised", "joined", "ended")]  # fmt: skip
    assert (dropped, found) == ([0] * 4, [0] * 3)
