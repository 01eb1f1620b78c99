"""Replay: a history through the engine's own code under virtual time, counted as it goes; nothing is sent.

`Tally` counts what one engine says; `replay` drives one engine, or two beside each other over the same records
to tell what a change of rules would have changed. Events are counted and dropped, so memory holds the cases
that are open or may be reopened, and counters by rule, person and day.
"""

import gc
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import msgspec

from cases.events import Event
from feedback.decode import Decoder
from feedback.instants import Instant, rfc3339
from feedback.metrics import Metric
from feedback.records import Envelope, Response
from feedback.redaction import Redactor
from flows.books import Book
from flows.explaining import explain
from flows.virtual import VirtualEngine
from scoring.models import Models
from scoring.spikes import SpikeSettings

SAMPLES = 3
"""Responses shown for each rule and side of a comparison."""
_PROBLEMS = {
    "response.rejected": "reason",
    "action.refused": "reason",
    "rule.failed": "rule",
    "item.quarantined": "error",
    "owner.missing": "role",
}
"""What may go wrong, and the field that tells one from another."""


class Tally:
    """What one engine said, counted. Days are UTC, of when each thing became true."""

    def __init__(self) -> None:
        self.rules: dict[str, Counter[str]] = {}
        """Rule to `opened`, `joined`, `breaches`."""
        self.versions: dict[str, str] = {}
        self.days: dict[str, Counter[str]] = {}
        """Day to `opened`, `notices`, `breaches`, and the same by rule (`opened <rule>`)."""
        self.owners: dict[str, Counter[str]] = {}
        """Person to `cases` that they were given and `notices` that they would have had."""
        self.clocks: Counter[str] = Counter()
        """Breaches by clock."""
        self.problems: Counter[str] = Counter()
        self.totals: Counter[str] = Counter()

    def take(self, events: Iterable[Event]) -> None:
        for event in events:
            how = _COUNTED.get(event.type)
            if how is not None:
                how(self, event)

    def _opened(self, event: Event) -> None:
        self._by_rules(event, "opened")
        self.totals["opened"] += 1
        self._day(event)["opened"] += 1

    def _updated(self, event: Event) -> None:
        if event.data.get("change") == "joined":
            self._by_rules(event, "joined")
            self.totals["joined"] += 1

    def _by_rules(self, event: Event, what: str) -> None:
        day = self._day(event)
        for rule in event.data.get("rules", ()):
            self.versions[rule["id"]] = rule["version"]
            self._rule(rule["id"])[what] += 1
            day[f"{what} {rule['id']}"] += 1

    def _breached(self, event: Event) -> None:
        day, rule = self._day(event), event.data["rule"]
        self._rule(rule)["breaches"] += 1
        self.clocks[event.data["clock"]] += 1
        self.totals["breaches"] += 1
        day["breaches"] += 1
        day[f"breaches {rule}"] += 1

    def _notice(self, event: Event) -> None:
        self.totals["notices"] += 1
        self._day(event)["notices"] += 1
        self._owner(event.data["to"])["notices"] += 1

    def _assigned(self, event: Event) -> None:
        if owner := event.data.get("owner"):
            self._owner(owner)["cases"] += 1

    def _spiked(self, event: Event) -> None:
        self.totals["spikes"] += 1
        self._day(event)["spikes"] += 1

    def _problem(self, event: Event) -> None:
        self.totals[event.type] += 1
        self.problems[f"{event.type}: {event.data[_PROBLEMS[event.type]]}"] += 1

    def _rule(self, rule: str) -> Counter[str]:
        return self.rules.setdefault(rule, Counter())

    def _owner(self, owner: str) -> Counter[str]:
        return self.owners.setdefault(owner, Counter())

    def _day(self, event: Event) -> Counter[str]:
        name = _day_of(event.time // 86_400)
        return self.days.setdefault(name, Counter())

    def plain(self) -> dict[str, Any]:
        """The counts as one JSON object."""
        return {
            "totals": dict(self.totals),
            "rules": {r: {"version": self.versions.get(r, ""), **n} for r, n in sorted(self.rules.items())},
            "owners": {owner: dict(n) for owner, n in sorted(self.owners.items())},
            "clocks": dict(self.clocks.most_common()),
            "days": {day: dict(n) for day, n in sorted(self.days.items())},
            "problems": dict(self.problems.most_common(100)),
        }


_COUNTED = {
    "case.opened": Tally._opened,
    "case.updated": Tally._updated,
    "case.assigned": Tally._assigned,
    "clock.breached": Tally._breached,
    "notice.sent": Tally._notice,
    "theme.spiked": Tally._spiked,
    **dict.fromkeys(_PROBLEMS, Tally._problem),
}
_days: dict[int, str] = {}


def _day_of(number: int) -> str:
    if number not in _days:
        _days[number] = datetime.fromtimestamp(number * 86_400, UTC).date().isoformat()
    return _days[number]


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """One response on which two sets of rules differ."""

    source: str
    id: str
    at: str
    why: str
    """Why the one opened a case."""
    why_not: str
    """Why the other did not."""


class Change(msgspec.Struct, kw_only=True):
    """What one rule opened under A, under B, and under both."""

    only_a: int = 0
    only_b: int = 0
    both: int = 0
    samples_a: list[Sample] = []
    samples_b: list[Sample] = []


class Side:
    """One engine of a replay, with its book and what it said."""

    def __init__(
        self,
        book: Book,
        metrics: Mapping[str, Metric],
        start: Instant,
        shards: int,
        models: Models | None,
        spikes: SpikeSettings | None = None,
        redact: Redactor | None = None,
    ) -> None:
        self.book, self._models = book, models
        self.decoder = Decoder(metrics, frozenset(book.sets), redact)
        self.engine = VirtualEngine(
            book, self.decoder, start=start, shard_count=shards, models=models, spikes=spikes, stores=False
        )
        self.tally = Tally()

    def hear(self, envelope: Envelope) -> list[Event]:
        events = self.engine.hear((envelope,))
        if events:
            self.tally.take(events)
        return events

    def why_not(self, response: Response, rule: str) -> str:
        verdict = next((v for v in explain(self.book, response, self._models).rules if v.rule == rule), None)
        if verdict is None:
            return "no rule of that id"
        return "it joined a case that was open" if verdict.fired else verdict.words


class Replayed(msgspec.Struct, frozen=True, kw_only=True):
    """What a replay found."""

    a: Tally
    b: Tally | None
    changes: dict[str, Change]
    """Rule to what a change would have changed; empty without a second set."""
    ended_at: Instant
    open_cases: int
    """Under A, when the history ended."""


@contextmanager
def collected_rarely() -> Iterator[None]:
    """Python's collector walks everything that was made so far a hundred times less often.

    Nothing here hangs on itself, and with a hundred thousand cases in memory the walks were a tenth of the time.
    """
    usual = gc.get_threshold()
    gc.freeze()
    gc.set_threshold(100 * usual[0], *usual[1:])
    try:
        yield
    finally:
        gc.set_threshold(*usual)
        gc.unfreeze()


def replay(
    envelopes: Iterable[Envelope],
    book: Book,
    metrics: Mapping[str, Metric],
    *,
    shards: int,
    compare: Book | None = None,
    until: Instant | None = None,
    models: Models | None = None,
    spikes: SpikeSettings | None = None,
    redact: Redactor | None = None,
) -> Replayed | None:
    """Have *envelopes* heard, in order of their received time, then let time pass to *until*. None: no record.

    *models* score every response; VADER alone without.
    """
    a: Side | None = None
    b: Side | None = None
    changes: dict[str, Change] = {}
    with collected_rarely():
        for envelope in envelopes:
            if a is None:
                start = Instant(int(envelope.received_at))
                a = Side(book, metrics, start, shards, models, spikes, redact)
                b = None if compare is None else Side(compare, metrics, start, shards, models, spikes, redact)
            said = a.hear(envelope)
            if b is not None:
                other = b.hear(envelope)
                if said or other:
                    _compare(changes, envelope, a, b, _opened(said), _opened(other))
    if a is None:
        return None
    ended_at = max(a.engine.at, until or a.engine.at)
    for side in (a, b):
        if side is not None:
            side.tally.take(side.engine.advance(ended_at))
    return Replayed(
        a=a.tally,
        b=None if b is None else b.tally,
        changes=changes,
        ended_at=ended_at,
        open_cases=a.engine.open_cases,
    )


def _opened(events: Iterable[Event]) -> dict[str, str]:
    """Rule to why, of the cases that opened."""
    return {
        rule["id"]: "; ".join(rule["why"])
        for event in events
        if event.type == "case.opened"
        for rule in event.data.get("rules", ())
    }


def _compare(
    changes: dict[str, Change], envelope: Envelope, a: Side, b: Side, by_a: dict[str, str], by_b: dict[str, str]
) -> None:
    for rule in {**by_a, **by_b}:
        change = changes.setdefault(rule, Change())
        if rule in by_a and rule in by_b:
            change.both += 1
        elif rule in by_a:
            change.only_a += 1
            _sample(change.samples_a, envelope, rule, a, by_a[rule], b)
        else:
            change.only_b += 1
            _sample(change.samples_b, envelope, rule, b, by_b[rule], a)


def _sample(kept: list[Sample], envelope: Envelope, rule: str, one: Side, why: str, other: Side) -> None:
    if len(kept) >= SAMPLES:
        return
    response = one.decoder.decode(envelope)
    if isinstance(response, Response):
        at = rfc3339(response.occurred_at)
        why_not = other.why_not(response, rule)
        kept.append(Sample(source=response.source, id=response.id, at=at, why=why, why_not=why_not))
