"""What erasures gave up, and when it may be destroyed: keys, and the raw records that lie before the engine.

A destroyed key does not come back, and a crash sends the engine back to its last durable snapshot: from there it must
say the same again, with the key that it had. So a key is destroyed when no snapshot from before its erasure can be
stood on any more. By then the records that the engine has taken from its streams and journals are done with as well:
those of the erased are removed there first, by a thread of their own. The drawers keep the list of what is to go
(`cases/shard.py`); here is only how far it is, and after a crash all of it is asked for again.
"""

import re
import time
from collections.abc import Callable, Iterable, Sequence
from threading import Lock, Thread
from typing import Protocol

import structlog
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from cases.sealing import Keys, leaf_of_customer, leaves_before
from cases.shard import Erased
from connectors.reading import Forgetful

log = structlog.get_logger()

SNAPSHOTS = 3
"""Snapshots of the lane to wait for: the one that closes the erasure's epoch, and two more until it is durable."""
_CASE = re.compile(rb'"case"\s*:\s*"(c-[0-9a-f-]{1,40})"')

CustomerOf = Callable[[bytes], str]


class Vault(Keys, Protocol):
    """Keys that can be destroyed (`connectors/vault.py`)."""

    def destroy(self, leaves: Iterable[int]) -> None: ...


class Memory(Protocol):
    """What keeps words of customers in memory only (`learning.py`)."""

    def forget(self, is_theirs: Callable[[str, str], bool]) -> None: ...


class Erasures:
    """Of one engine. `ask` is the shards', `snapshotted` the lane's; any thread."""

    def __init__(
        self,
        vault: Vault | None = None,
        customer_of: CustomerOf = lambda _: "",
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """*customer_of* tells whom a raw record names."""
        self.vault, self._customer_of = vault, customer_of
        self._waiting: dict[int, int] = {}
        """Key to how many snapshots it has yet to see."""
        self._cases: dict[int, set[str]] = {}
        self._asked_at: dict[int, float] = {}
        self._swept: set[int] = set()
        self._sweeper: Thread | None = None
        self._lock = Lock()
        self.memories: list[Memory] = []
        """Told with each sweep to let go of those who were erased."""
        self._now = now
        self.asked = self.done = self.put_off = 0
        """Keys that were given up, and destroyed; sweeps that could not reach what they sweep. Since the start."""

    def ask(self, erased: Iterable[Erased]) -> None:
        """These are to be destroyed; asked again for what waits or is gone, nothing changes."""
        for leaf, case in erased:
            with self._lock:
                if self.vault is None or self.vault.key(leaf) is None:
                    continue
                if case not in self._cases.setdefault(leaf, set()):
                    self._cases[leaf].add(case)
                    if leaf not in self._asked_at:
                        self._asked_at[leaf] = self._now()
                        self.asked += 1
                    self._waiting[leaf] = SNAPSHOTS
                    self._swept.discard(leaf)

    @property
    def waiting(self) -> int:
        """How many keys are given up and still there."""
        return len(self._waiting)

    @property
    def pending_s(self) -> float:
        """For how long the oldest key that is given up has been there, since it was asked for or the start."""
        with self._lock:
            oldest = min(self._asked_at.values(), default=None)
        return 0.0 if oldest is None else max(0.0, self._now() - oldest)

    def is_given_up(self, leaf: int) -> bool:
        return leaf in self._waiting

    def snapshotted(self, sources: Sequence[Forgetful]) -> None:
        """The lane has taken a snapshot; *sources* are all that holds records as they came in."""
        if not self._waiting:
            return
        with self._lock:
            self._waiting = {leaf: max(0, left - 1) for leaf, left in self._waiting.items()}
            ready = {leaf for leaf, left in self._waiting.items() if not left}
            self._destroy(ready & self._swept)
            if (left := ready & set(self._waiting)) and (self._sweeper is None or not self._sweeper.is_alive()):
                self._sweeper = Thread(target=self._sweep, args=(left, sources), name="erasures", daemon=True)
                self._sweeper.start()

    def _destroy(self, leaves: set[int]) -> None:
        if not leaves or self.vault is None:
            return
        self.vault.destroy(leaves)
        for leaf in leaves:
            del self._waiting[leaf], self._cases[leaf], self._asked_at[leaf]
        self.done += len(leaves)
        self._swept -= leaves
        log.info("erasures.done", keys=len(leaves))

    def _sweep(self, leaves: set[int], sources: Sequence[Forgetful]) -> None:
        """Remove the raw records; what cannot be reached now is tried again at the next snapshot."""
        with self._lock:
            cases = set[str]().union(*(self._cases.get(leaf, ()) for leaf in leaves))
        try:
            removed = sum(
                source.forget(lambda raw, name: self._is_theirs(leaves, cases, raw, name)) for source in sources
            )
        except Exception as error:
            self.put_off += 1
            log.warning("erasures.put_off", error=type(error).__name__, why=str(error)[:200])
            return
        for memory in self.memories:
            memory.forget(lambda programme, customer: self._had(leaves, programme, customer))
        log.info("erasures.swept", keys=len(leaves), records=removed)
        with self._lock:
            self._swept |= leaves

    def _is_theirs(self, leaves: set[int], cases: set[str], raw: bytes, programme: str) -> bool:
        if (found := _CASE.search(raw)) is not None and found[1].decode() in cases:
            return True
        customer = self._customer_of(raw)
        return bool(customer) and self._had(leaves, programme, customer)

    def _had(self, leaves: set[int], programme: str, customer: str) -> bool:
        """Whether one of *leaves* was that customer's."""
        if self.vault is None:
            return False
        now = leaf_of_customer(self.vault, programme, customer, self.is_given_up)
        return any(leaf in leaves for leaf in leaves_before(self.vault, programme, customer, now))


class ErasureFigures(Collector):
    """How far erasures are, for Prometheus. Counts are an engine's own: after a crash what waits is asked for again."""

    def __init__(self, erasures: Erasures) -> None:
        self._erasures = erasures

    def collect(self) -> Iterable[Metric]:
        found = self._erasures
        yield CounterMetricFamily("tocsin_erasures_asked", "Keys of customers that were given up.", found.asked)
        yield CounterMetricFamily("tocsin_erasures_done", "Keys of customers that were destroyed.", found.done)
        yield CounterMetricFamily(
            "tocsin_erasure_sweeps_put_off", "Times that raw records could not be removed and will be tried again.",
            found.put_off,
        )  # fmt: skip
        yield GaugeMetricFamily("tocsin_erasures_waiting", "Keys given up and not yet destroyed.", found.waiting)
        yield GaugeMetricFamily(
            "tocsin_erasures_pending_seconds", "For how long the oldest of them has waited, since the start at most.",
            found.pending_s,
        )  # fmt: skip
