"""What deliveries count, for Prometheus. The label `endpoint` is a name from the settings, so it is bounded."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

LATENCY_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 120.0, 600.0, 3600.0, 86_400.0)


class DeliveryMetrics:
    """The second flow's numbers; one object a process."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._deliveries = Counter(
            "tocsin_deliveries",
            "Deliveries that ended, by outcome: delivered or dead.",
            ["endpoint", "outcome"],
            registry=registry,
        )
        self._attempts = Counter(
            "tocsin_delivery_attempts",
            "Attempts, by the class of the answer (2xx to 5xx, or none).",
            ["endpoint", "code_class"],
            registry=registry,
        )
        self._dead = Counter(
            "tocsin_delivery_dead_letters",
            "Events given up, by reason; entries of the log that were no event have no endpoint.",
            ["endpoint", "reason"],
            registry=registry,
        )
        self._length = Gauge(
            "tocsin_delivery_queue_length", "Events that wait to be delivered.", ["endpoint"], registry=registry
        )
        self._oldest = Gauge(
            "tocsin_oldest_undelivered_timestamp_seconds",
            "Since when the oldest event waits; 0 while none does.",
            ["endpoint"],
            registry=registry,
        )
        self._disabled = Gauge(
            "tocsin_endpoint_disabled", "1 while nothing is sent to the endpoint.", ["endpoint"], registry=registry
        )
        self._latency = Histogram(
            "tocsin_delivery_latency_seconds",
            "From the event standing in the log to the receiver having it.",
            ["endpoint"],
            buckets=LATENCY_SECONDS,
            registry=registry,
        )
        self._paused = Gauge(
            "tocsin_notices_paused_until_timestamp_seconds",
            "Until when somebody has paused all notices; 0 while nobody has.",
            registry=registry,
        )
        self._queues: dict[str, dict[str, tuple[int, float]]] = {}

    def begin(self, endpoint: str) -> None:
        """Every series of *endpoint* begins at 0, so that its first dead letter is seen as a rise."""
        for outcome in ("delivered", "dead"):
            self._deliveries.labels(endpoint, outcome)
        for code_class in ("none", "2xx", "3xx", "4xx", "5xx"):
            self._attempts.labels(endpoint, code_class)
        self._latency.labels(endpoint)
        self._length.labels(endpoint)
        self._oldest.labels(endpoint)

    def attempted(self, endpoint: str, status: int) -> None:
        """An attempt was answered with *status*; 0 when it was not answered."""
        self._attempts.labels(endpoint, f"{status // 100}xx" if status else "none").inc()

    def delivered(self, endpoint: str, latency_s: float) -> None:
        self._deliveries.labels(endpoint, "delivered").inc()
        self._latency.labels(endpoint).observe(max(latency_s, 0.0))

    def died(self, endpoint: str, reason: str, count: int = 1) -> None:
        if endpoint:
            self._deliveries.labels(endpoint, "dead").inc(count)
        self._dead.labels(endpoint, reason).inc(count)

    def queue(self, endpoint: str, programme: str, waiting: int, oldest_at: float | None) -> None:
        """One programme's queue of *endpoint* stands so; shown is the sum, and the oldest, over programmes."""
        queues = self._queues.setdefault(endpoint, {})
        queues[programme] = (waiting, oldest_at or 0.0)
        self._length.labels(endpoint).set(sum(count for count, _ in queues.values()))
        self._oldest.labels(endpoint).set(min((at for _, at in queues.values() if at), default=0.0))

    def disabled(self, endpoint: str, is_disabled: bool) -> None:
        self._disabled.labels(endpoint).set(int(is_disabled))

    def paused(self, until: float) -> None:
        """All notices are held until *until* (Unix seconds); 0 when they are not."""
        self._paused.set(until)

    @property
    def waiting(self) -> int:
        """Events that wait, over all endpoints and programmes."""
        return sum(count for queues in self._queues.values() for count, _ in queues.values())
