"""What the engine counts, for Prometheus. Names carry units; no label holds an id or a word of a customer.

What a team lead looks at is counted in `case_metrics.py`.
"""

import time
from collections.abc import Callable, Iterable
from typing import get_args

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from cases.events import TYPES, Event
from flows.case_metrics import CaseMetrics
from rules.kinds.values import What

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
"""Bucket edges; one lies exactly at the objective of 1 s."""
FINDINGS = ("raised", "joined", "ended")
LATENESS_SECONDS = (0.05, 0.1, 0.5, 1.0, 2.0, 5.0, 30.0, 60.0, 300.0, 3600.0)


class EngineMetrics:
    """The engine's own numbers; one object a process."""

    def __init__(
        self,
        registry: CollectorRegistry,
        version: str,
        programmes: Iterable[str] = (),
        now: Callable[[], float] = time.time,
    ) -> None:
        """*programmes*: those whose series begin at 0, so that the first of anything is seen as a rise."""
        self._now = now
        responses = Counter(
            "tocsin_responses", "Responses read, by what became of them.", ["outcome"], registry=registry
        )
        actions = Counter("tocsin_actions", "Actions read, by what became of them.", ["outcome"], registry=registry)
        self._responses = {
            name: responses.labels(name) for name in ("fired", "update", "unfired", "rejected", "quarantined")
        }
        self._actions = {name: actions.labels(name) for name in ("taken", "refused")}
        self._events = Counter("tocsin_events", "Events written, by type.", ["type"], registry=registry)
        self._latency = Histogram(
            "tocsin_alert_latency_seconds",
            "From the arrival of a record to its events being readable in Redis.",
            buckets=SECONDS,
            registry=registry,
        )
        self._lateness = Histogram(
            "tocsin_clock_lateness_seconds",
            "From the instant a clock was due to speak to its event being readable in Redis.",
            ["type"],
            buckets=LATENESS_SECONDS,
            registry=registry,
        )
        self._late = Counter("tocsin_late_events", "Clock events said 5 s or more after their time.", registry=registry)
        self.lag = Gauge("tocsin_source_lag_records", "Records waiting in a source.", ["source"], registry=registry)
        self.lag_seconds = Gauge(
            "tocsin_source_lag_seconds",
            "Age of the oldest record that waits unread.",
            ["source"],
            registry=registry,
        )
        self.partition_lag = Gauge(
            "tocsin_kafka_lag_records",
            "Records of a partition that Kafka holds and the engine has not taken.",
            ["source", "partition"],
            registry=registry,
        )
        self.kafka_waiting = Gauge(
            "tocsin_kafka_unacknowledged_events", "Events that the topic of events may not have.", registry=registry
        )
        self.kafka_refused = Gauge(
            "tocsin_kafka_refused_events", "Events that Kafka refused for good since the start.", registry=registry
        )
        self.snapshot_seconds = Histogram(
            "tocsin_snapshot_seconds", "Time in which an epoch's snapshots were written.", registry=registry
        )
        self.snapshot_at = Gauge(
            "tocsin_last_snapshot_timestamp_seconds", "When the last epoch was closed.", registry=registry
        )
        self._rules_refused = Gauge(
            "tocsin_rules_refused",
            "1 while the rule files cannot be used and the set before goes on.",
            registry=registry,
        )
        self.skew = Gauge(
            "tocsin_clock_skew_seconds", "Wall clock minus engine time; ticks are held at 5 s.", registry=registry
        )
        self.uncalled = Gauge(
            "tocsin_audit_uncalled_clocks",
            "Clocks that the records show running 30 s past their deadline; must be 0.",
            registry=registry,
        )
        self.quarantined = Counter(
            "tocsin_quarantined_items",
            "Items that our own mistake kept from having their effect.",
            registry=registry,
        )
        self.rewritten = Counter(
            "tocsin_store_rewritten_cases",
            "Cases written again from the engine's own state, after a store that lost them.",
            registry=registry,
        )
        self.lanes = Gauge(
            "tocsin_lanes", "Lanes that the store is cut into; 0 until that is known.", registry=registry
        )
        self._findings = Counter(
            "tocsin_window_findings", "Alerts of rules with memory: raised, joined, ended.", ["rule", "kind"],
            registry=registry,
        )  # fmt: skip
        self._dropped = Counter(
            "tocsin_window_dropped", "Not counted by a rule with memory, or forgotten before its time.",
            ["rule", "what"], registry=registry,
        )  # fmt: skip
        self._window_keys = Gauge("tocsin_window_keys", "Keys that rules with memory hold.", registry=registry)
        self._keys_held: dict[int, int] = {}
        self._notices_held = Gauge("tocsin_notices_held", "Notices that noise control holds back.", registry=registry)
        unwatched = Counter(
            "tocsin_spike_unwatched", "Not watched for change: too late, a theme or a segment too many.", ["what"],
            registry=registry,
        )  # fmt: skip
        self._unwatched = {what: unwatched.labels(what) for what in ("late", "themes", "segments")}
        self._segments_held: dict[int, int] = {}
        self._segments = Gauge("tocsin_spike_segments", "Segments whose themes are watched.", registry=registry)
        info = Gauge("tocsin_build_info", "The release, as a label; always 1.", ["version"], registry=registry)
        info.labels(version).set(1)

        for type_ in TYPES:
            self._events.labels(type_)
        self._cases = CaseMetrics(registry, programmes)
        self._snapshot_from: float | None = None
        self.polled_at = time.monotonic()
        """When the source was last polled; a worker that is stuck stops polling, and `/ready` says so."""

    def polled(self, now: float) -> None:
        self.polled_at = time.monotonic()
        if self._snapshot_from is not None:
            # The next epoch's first poll comes when the snapshots of the one before are written.
            self.snapshot_seconds.observe(self.polled_at - self._snapshot_from)
            self.snapshot_at.set(self._now())
            self._snapshot_from = None

    def snapshotted(self) -> None:
        self._snapshot_from = time.monotonic()

    def rules_refused(self, refused: bool) -> None:
        self._rules_refused.set(refused)

    def responses(self, outcome: str) -> None:
        self._responses[outcome].inc()

    def actions(self, outcome: str) -> None:
        self._actions[outcome].inc()

    def windows(self, rules: Iterable[str]) -> None:
        """These rules with memory are in force; their series begin at 0, so that the first of anything is a rise."""
        for rule in rules:
            for kind in FINDINGS:
                self._findings.labels(rule, kind)
            for what in get_args(What):
                self._dropped.labels(rule, what)

    def found(self, rule: str, kind: str) -> None:
        self._findings.labels(rule, kind).inc()

    def dropped(self, rule: str, what: str, count: int) -> None:
        self._dropped.labels(rule, what).inc(count)

    def keys(self, drawer: int, count: int) -> None:
        if self._keys_held.get(drawer) != count:
            self._keys_held[drawer] = count
            self._window_keys.set(sum(self._keys_held.values()))

    def notices_held(self, count: int) -> None:
        self._notices_held.set(count)

    def unwatched(self, what: str, count: int) -> None:
        self._unwatched[what].inc(count)

    def segments(self, drawer: int, count: int) -> None:
        if self._segments_held.get(drawer) != count:
            self._segments_held[drawer] = count
            self._segments.set(sum(self._segments_held.values()))

    def written(self, events: list[Event]) -> None:
        """*events* are readable in Redis from now on."""
        now = self._now()
        for event in events:
            self._events.labels(event.type).inc()
            self._cases.note(event)
            if event.arrived:
                self._latency.observe(now - event.arrived)
            elif event.type in ("clock.warned", "clock.breached"):
                self._lateness.labels(event.type).observe(max(0.0, now - event.time))
                if event.data.get("late"):
                    self._late.inc()
            if event.type == "item.quarantined":
                self.quarantined.inc()
