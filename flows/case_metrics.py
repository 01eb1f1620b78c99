"""What a team lead's page counts: how cases move, how long people took, whose they are, what is due next.

`CaseMetrics` counts events as they become readable; `CaseGauges` asks the store's indexes. Labels are programmes,
changes, clocks and themes of the rules, and ids of people on a roster: what somebody wrote into a file, and at most
`NAMES` of each, so that no customer can make a series.
"""

from collections.abc import Callable, Iterable, Sequence

import msgspec
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from cases.events import Event
from connectors.records import Records
from feedback.instants import parse_instant

NAMES = 200
"""Clocks, themes and versions of rules of one programme that have a label of their own; the others are `other`."""
MINUTE, HOUR, DAY = 60.0, 3600.0, 86_400.0
TAKEN_SECONDS = (
    MINUTE, 5 * MINUTE, 15 * MINUTE, 30 * MINUTE, HOUR, 2 * HOUR, 4 * HOUR, 8 * HOUR, DAY, 2 * DAY, 3 * DAY, 5 * DAY,
    10 * DAY, 20 * DAY, 60 * DAY,
)  # fmt: skip
"""Bucket edges of what people do: a minute to eight weeks."""
WITHIN = {"1h": 3600, "4h": 14_400, "24h": 86_400, "7d": 604_800}
"""How far ahead "due next" looks, in seconds."""
OWNERS_EVERY_S = 5

CHANGES = {
    "case.opened": "opened",
    "case.acknowledged": "acknowledged",
    "case.escalated": "escalated",
    "case.resolved": "resolved",
    "case.closed": "closed",
    "case.reopened": "reopened",
    "case.invalidated": "invalidated",
    "clock.breached": "breached",
}
"""Event type to the change that is counted."""
SINCE_OPENED = frozenset({"acknowledged", "resolved", "closed"})
"""Changes of which the time since the case opened is measured."""


class _Rule(msgspec.Struct):
    id: str
    version: str


class _Case(msgspec.Struct):
    rules: list[_Rule] = []


_record = msgspec.json.Decoder(_Case).decode
_ENDS = {"case.opened": "opened", "case.closed": "closed", "case.invalidated": "invalidated"}


def _outcome(event: Event) -> str:
    """What *event* tells of the rules that opened its case; empty for nothing."""
    if event.type == "case.updated":
        corrected = event.data.get("correction")
        return "corrected" if corrected and corrected.get("field", "priority") != "priority" else ""
    return _ENDS.get(event.type, "")


class CaseMetrics:
    """Counts of what happens to cases; one object a process."""

    def __init__(self, registry: CollectorRegistry, programmes: Iterable[str] = ()) -> None:
        """*programmes*: those whose series begin at 0."""
        self._changes = Counter(
            "tocsin_case_changes",
            "What happened to cases: " + ", ".join(CHANGES.values()) + ".",
            ["programme", "change"],
            registry=registry,
        )
        self._taken = Histogram(
            "tocsin_case_age_seconds",
            "From a case's opening to its acknowledgement, resolution and close, on the wall clock.",
            ["programme", "until"],
            buckets=TAKEN_SECONDS,
            registry=registry,
        )
        self._met = Histogram(
            "tocsin_clock_met_seconds",
            "From a clock's start to its being met, on the wall clock; first_response is the first action.",
            ["programme", "clock"],
            buckets=TAKEN_SECONDS,
            registry=registry,
        )
        self._themes = Counter(
            "tocsin_case_themes",
            "Cases opened, by theme of the response; one with two themes counts for both.",
            ["programme", "theme"],
            registry=registry,
        )
        self._rules = Counter(
            "tocsin_rule_cases",
            "By rule and version: cases that it opened; and of those that it opened or joined, the closed, the "
            "invalidated and those with a label corrected. The last two are false alarms.",
            ["programme", "rule", "version", "outcome"],
            registry=registry,
        )
        self._names: dict[tuple[str, str], set[str]] = {}
        for programme in programmes:
            for change in CHANGES.values():
                self._changes.labels(programme, change)
            for until in SINCE_OPENED:
                self._taken.labels(programme, until)

    def note(self, event: Event) -> None:
        """*event* became readable."""
        outcome = _outcome(event)
        if outcome:
            self._note_rules(event, outcome)
        change = CHANGES.get(event.type)
        if change is not None:
            self._changes.labels(event.programme, change).inc()
            if change in SINCE_OPENED and event.standing is not None:
                age = event.time - event.standing.opened_at
                self._taken.labels(event.programme, change).observe(max(0.0, age))
            elif change == "opened":
                for theme in event.data.get("reading", {}).get("themes", ()):
                    self._themes.labels(event.programme, self._name(event.programme, "theme", theme)).inc()
        elif event.type == "clock.met":
            clock = self._name(event.programme, "clock", event.data["clock"])
            taken = event.time - parse_instant(event.data["started_at"])
            self._met.labels(event.programme, clock).observe(max(0.0, taken))

    def _note_rules(self, event: Event, outcome: str) -> None:
        """An opening says its rules; of an end the case's record has them, with those that joined."""
        rules = event.data.get("rules", ()) if outcome == "opened" else _record(event.record or b"{}").rules
        for rule in rules:
            id_, version = (rule["id"], rule["version"]) if isinstance(rule, dict) else (rule.id, rule.version)
            if self._name(event.programme, "rule", f"{id_} {version}") == "other":
                id_, version = "other", ""
            self._rules.labels(event.programme, id_, version, outcome).inc()

    def _name(self, programme: str, kind: str, name: str) -> str:
        names = self._names.setdefault((programme, kind), set())
        if name not in names:
            if len(names) >= NAMES:
                return "other"
            names.add(name)
        return name


class CaseGauges:
    """How the cases of the whole store stand."""

    def __init__(
        self,
        registry: CollectorRegistry,
        records: Records,
        programmes: Sequence[str],
        owners: Callable[[str], Iterable[str]],
    ) -> None:
        """*owners*: programme to the ids of the people on its roster."""
        self._records, self._programmes, self._owners = records, programmes, owners
        self._owners_at = 0
        self._shown: dict[str, set[str]] = {}
        """Programme to the people that have a series; whoever left the roster loses theirs."""
        self._open = Gauge("tocsin_open_cases", "Cases not closed.", ["programme"], registry=registry)
        self._overdue = Gauge(
            "tocsin_overdue_cases", "Open cases with a deadline in the past.", ["programme"], registry=registry
        )
        self._due = Gauge(
            "tocsin_due_cases",
            "Open cases whose next deadline is at most so far ahead; overdue ones are not among them.",
            ["programme", "within"],
            registry=registry,
        )
        self._owned = Gauge(
            "tocsin_owner_open_cases", "Cases that a person has now.", ["programme", "owner"], registry=registry
        )
        self._owned_overdue = Gauge(
            "tocsin_owner_overdue_cases",
            "Overdue cases that a person has now; nobody's have an empty owner.",
            ["programme", "owner"],
            registry=registry,
        )

    def refresh(self, now: int) -> None:
        """Fresh numbers at *now*, those of people not more often than `OWNERS_EVERY_S`. Raises RedisError."""
        for programme in self._programmes:
            self._look(programme, now)
        if now >= self._owners_at:
            self._owners_at = now + OWNERS_EVERY_S
            for programme in self._programmes:
                self._look_at_owners(programme, now)

    def _look(self, programme: str, now: int) -> None:
        still_open, overdue = self._records.counts(programme, now)
        self._open.labels(programme).set(still_open)
        self._overdue.labels(programme).set(overdue)
        for within, due in zip(WITHIN, self._records.due_within(programme, now, WITHIN.values()), strict=True):
            self._due.labels(programme, within).set(due)

    def _look_at_owners(self, programme: str, now: int) -> None:
        owners = sorted(self._owners(programme))
        owned, overdue = self._records.owned(programme, owners), self._records.overdue_by_owner(programme, now)
        for owner in owners:
            self._owned.labels(programme, owner).set(owned[owner])
        for owner in ("", *owners):
            self._owned_overdue.labels(programme, owner).set(overdue.get(owner, 0))
        for gone in self._shown.get(programme, set()).difference(owners):
            self._owned.remove(programme, gone)
            self._owned_overdue.remove(programme, gone)
        self._shown[programme] = set(owners)
