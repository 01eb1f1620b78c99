"""`tocsin explain ID --history HISTORY`: one response of a history, told again among all the others.

The history is heard under virtual time by the same code as `tocsin replay`, so this knows what the record of an engine
does not keep: what each window had counted already when the response came.
"""

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from cases.events import Event, encode
from connectors.history import History
from console.explain import ExplainError, Row, case_row, judged
from console.inputs import source_name
from console.replay import rows_of
from feedback.decode import Decoder
from feedback.instants import Instant, rfc3339, span_text
from feedback.records import Envelope, Response
from flows.books import Book, book_of
from flows.explaining import explain
from flows.settings import Settings
from flows.virtual import VirtualEngine
from rules.kinds import Ref, WindowFact
from rules.watching import watch

AFTERWARDS_S = 86_400
"""How long time goes on after the last record: until what was held back overnight has been told."""


def answer(settings: Settings, asked: str, path: Path, rules: str) -> Row:
    """Everything about the response of id *asked* in the history *path*. Raises ExplainError, ReplayError."""
    sets = {name: programme.rules for name, programme in settings.programmes.items()}
    book = book_of(rules, settings.rules, sets, settings.metrics)
    decoder = Decoder(settings.metrics, frozenset(settings.programmes), settings.privacy.redactor())
    rows, _ = rows_of(settings, path, lambda _: None)

    def history() -> Iterator[Envelope]:
        yield from History(path, rows, source=source_name(path), programme=next(iter(sets)))

    heard = [r for e in history() if isinstance(r := decoder.decode(e), Response) and r.id == asked]
    if not heard:
        raise ExplainError(f"{path} holds no response of the id {asked}")
    response = heard[0]
    engine = VirtualEngine(book, decoder, start=Instant(0), shard_count=settings.engine.shards, spikes=settings.spikes)
    told, counted, last = _Told(response), _Counted(book, response), Instant(0)
    for envelope in history():
        told.take(engine.hear([envelope]))
        counted.take(decoder.decode(envelope))
        last = Instant(max(last, int(envelope.received_at)))
    told.take(engine.advance(Instant(last + AFTERWARDS_S)))
    found = judged(explain(book, response))
    for rule in found["windows"]:
        rule["held"] = counted.lines(rule["rule"])
    return {**found, "cases": list(told.cases()), "alerts": list(told.alerts())}


class _Told:
    """What was said of the customer's cases, and of those that no customer's are."""

    def __init__(self, response: Response) -> None:
        self._response = response
        self._records: dict[str, dict[str, Any]] = {}
        self._events: dict[str, list[Row]] = defaultdict(list)
        self._digests: list[Row] = []

    def take(self, events: list[Event]) -> None:
        for event in events:
            case = event.case
            if case is None:
                if event.type == "notice.digest":
                    self._digests.append(msgspec.json.decode(encode(event)))
                continue
            if event.record is not None and case not in self._records:
                record = msgspec.json.decode(event.record)
                if record.get("customer", "") not in ("", self._response.customer):
                    continue
                self._records[case] = record
            if case in self._records:
                if event.record is not None:
                    self._records[case] = msgspec.json.decode(event.record)
                self._events[case].append(msgspec.json.decode(encode(event)))

    def cases(self) -> Iterator[Row]:
        for case, events in self._events.items():
            if any(event["data"].get("response", {}).get("id") == self._response.id for event in events):
                yield case_row(self._row(case), events, self._digests)

    def alerts(self) -> Iterator[Row]:
        for case, events in self._events.items():
            for event in events:
                named = event["data"].get("responses", ())
                if event["data"].get("change") == "affected" and any(one["id"] == self._response.id for one in named):
                    counted = {"at": event["time"], "count": event["data"]["count"], "event": event["id"]}
                    yield {**case_row(self._row(case), events, self._digests), "counted": counted}
                    break

    def _row(self, case: str) -> Row:
        record = self._records[case]
        return {"id": case, "status": record["status"], "owner": record.get("owner", ""), "rules": record["rules"]}


class _Counted:
    """How many others had counted under the keys of the response, in each window's time before it."""

    def __init__(self, book: Book, response: Response) -> None:
        self._book, self._response = book, response
        self._facts = self._facts_of(response)
        self._before: dict[tuple[str, str, str], dict[Ref, Instant]] = defaultdict(dict)

    def _facts_of(self, response: Response) -> tuple[WindowFact, ...]:
        rules = self._book.sets[response.programme]
        return watch(rules, response, self._book.reader(response.programme).read(response)).facts

    def take(self, record: object) -> None:
        places = {fact.place for fact in self._facts}
        if not places or not isinstance(record, Response) or record.id == self._response.id:
            return
        if record.occurred_at > self._response.occurred_at:
            return
        for fact in self._facts_of(record):
            if fact.place in places:
                self._before[fact.place][fact.ref] = fact.at

    def lines(self, rule: str) -> list[str]:
        """For each key, in words."""
        windows = {w.window.id: w.window for w in self._book.sets[self._response.programme].windows}
        said = []
        for fact in self._facts:
            if fact.rule != rule:
                continue
            within = getattr(windows[fact.window].kind, "within_s", None) or None  # a share of the last ones has none
            since = 0 if within is None else fact.at - within
            before = [at for at in self._before[fact.place].values() if at > since]
            span = "" if within is None else f" in the {span_text(within)} before it"
            newest = f", the last at {rfc3339(max(before))}" if before else ""
            said.append(f"{len(before)} others had counted there{span}{newest}")
        return said
