"""What the HTTP door counts, for Prometheus. Labels are routes, tools, programmes and named reasons: all bounded."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

LATENCY_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)

REASONS = (
    "no_key", "malformed_key", "unknown_key", "wrong_key", "ended_key", "not_allowed", "verb_not_allowed",
    "too_fast", "inbox_full", "missing_signature", "bad_signature", "bad_timestamp", "stale_timestamp",
)  # fmt: skip
"""Why somebody is turned away: `connectors/api_keys.py`, `connectors/hook_signatures.py`, `doorkeeper.py`."""


class CaptureMetrics:
    """The door's numbers; one object a process."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._requests = Counter(
            "tocsin_http_requests", "Requests answered, by route and status.", ["route", "status"], registry=registry
        )
        self._seconds = Histogram(
            "tocsin_http_request_seconds",
            "From a request's first byte read to its answer, by route.",
            ["route"],
            buckets=LATENCY_SECONDS,
            registry=registry,
        )
        self._records = Counter(
            "tocsin_http_records",
            "Records by door and outcome: accepted, duplicate, rejected, ignored (a notice about something else).",
            ["door", "outcome"],
            registry=registry,
        )
        self._refusals = Counter(
            "tocsin_http_refusals", "Requests and actions turned away, by reason.", ["reason"], registry=registry
        )
        for reason in REASONS:  # from 0, so that the first of anything is a rise
            self._refusals.labels(reason)
        self.in_hand = Gauge("tocsin_http_in_hand_requests", "Requests that wait for Redis.", registry=registry)
        self.keys = Gauge("tocsin_http_keys", "API keys that the door knows, ended ones too.", registry=registry)
        self.inbox = Gauge(
            "tocsin_http_inbox_entries", "Entries of a programme's inbox.", ["programme"], registry=registry
        )
        self.fetches = Gauge(
            "tocsin_fetches_waiting", "Notices whose answers are to be fetched.", ["programme"], registry=registry
        )
        self._fetched = Counter(
            "tocsin_fetch_attempts", "Fetches, by tool and outcome: fetched, again, given_up.", ["tool", "outcome"],
            registry=registry,
        )  # fmt: skip

    def answered(self, route: str, status: int, seconds: float) -> None:
        self._requests.labels(route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def records(self, door: str, outcome: str, count: int = 1) -> None:
        if count:
            self._records.labels(door, outcome).inc(count)

    def refused(self, reason: str) -> None:
        self._refusals.labels(reason).inc()

    def fetched(self, tool: str, outcome: str) -> None:
        self._fetched.labels(tool, outcome).inc()
