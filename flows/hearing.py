"""Hearing: a record becomes a response or an action, is scored and judged, and goes to the shard it concerns.

The rules in force are the only memory here, and only a control item of the stream changes them, so a resume
judges each response by the rules it was judged by before. What fails here fails for one record: it becomes an
`item.quarantined` event with its traceback, the original goes to the dead letters, and the next record is read.
"""

from collections.abc import Callable, Iterable
from typing import Any, Protocol

import structlog

from cases.events import Event, caseless
from cases.refusal import Refusal
from cases.sealing import Keys
from cases.shard import Item, Judged, quarantined, refused
from connectors.reading import part_of
from feedback.decode import Decoder
from feedback.ids import response_key, shard_key
from feedback.instants import Instant, rfc3339
from feedback.layout import DRAWERS, Layout
from feedback.records import Action, Control, Envelope, Outcome, Rejected, Response, Restate, Tick
from flows.books import Book, BookError
from flows.dead_letters import sealed_original
from flows.engine_time import EngineClock
from flows.erasures import Erasures
from flows.indexes import KnownResponses
from flows.lane import Given
from flows.outages import Outages
from flows.suspects import Suspects
from flows.watching import Watch, Windows, as_remembered, watch_key
from rules.judge import judge
from rules.kinds import WindowFact
from rules.kinds.drawer import drawer_of
from rules.model import RuleFailure
from rules.ruleset import difference
from rules.watching import watch

log = structlog.get_logger()

UNKEYED = ""
"""The key of events that concern no shard."""

_TELLING = frozenset({"store.lost", "store.rewritten", "rules.refused", "heartbeat"})
"""Controls that change nothing here and are told as events."""

Heard = tuple[str, Item | Event | Watch]


class ProcessDied(Exception):
    """A record that the process did not survive (`suspects.py`)."""


class Meter(Protocol):
    """What hearing counts; `flows/metrics.py` keeps the numbers."""

    def responses(self, outcome: str) -> None: ...
    def actions(self, outcome: str) -> None: ...


class Hearing:
    """The step. `hear` takes a batch of the lane and gives what the shards and the sinks are to have."""

    def __init__(
        self,
        decoder: Decoder,
        open_book: Callable[[str], Book],
        *,
        shards: int,
        known: KnownResponses,
        clock: EngineClock,
        meter: Meter,
        outages: Outages,
        suspects: Suspects | None = None,
        changed: Callable[[str], None] = lambda _: None,
        erasures: Erasures | None = None,
    ) -> None:
        self._decoder, self._open_book = decoder, open_book
        self._layout, self._lane = Layout(shards=shards), 0
        self._known, self._clock, self._meter, self._changed = known, clock, meter, changed
        self._outages, self._suspects = outages, suspects or Suspects()
        self._erasures = erasures or Erasures()
        self._keys: Keys | None = self._erasures.vault
        self._book: Book | None = None
        self._windows = Windows({})

    def begin(self, book: str) -> None:
        """Judge by the rules stored as *book*: what a resume begins with. Raises BookError."""
        self._take_up(self._open_book(book))

    def _take_up(self, book: Book) -> None:
        self._book, self._windows = book, Windows(book.sets)

    def lay_out(self, layout: Layout, lane: int) -> None:
        """From now on customers lie where *layout* has them, and *lane* is ours."""
        self._layout, self._lane = layout, lane

    @property
    def book(self) -> Book:
        if self._book is None:
            raise RuntimeError("hearing began without rules; call begin first")
        return self._book

    def hear(self, batch: list[Given]) -> Iterable[Heard]:
        heard: list[Heard] = []
        for what, seen_at in batch:
            if isinstance(what, Restate) and what.shard >= self._layout.shards:
                drawer = what.shard - self._layout.shards
                what = Restate(shard=self._layout.shard_of_drawer(self._lane, drawer), at=what.at)
            if isinstance(what, Tick | Restate):
                heard.append(self._for_shard(what.shard, what, what.at, seen_at))
                continue
            kept = len(heard)
            try:
                if self._suspects.is_guilty(f"{what.source} {what.position}"):
                    raise ProcessDied("the process died in this record each time that it was heard")
                self._suspects.begin(f"{what.source} {what.position}")
                self._hear_one(what, seen_at, heard)
            except Exception as error:
                del heard[kept:]
                self._meter.responses("quarantined")
                log.error("record.quarantined", position=what.position, error=type(error).__name__)
                event = quarantined("record", what.position, what.programme, seen_at, error, original=what.raw)
                heard.append((UNKEYED, sealed_original(event, self._erasures)))
        self._suspects.done()
        return heard

    def _item(self, shard: int, what: Judged | Action | Tick | Restate, seen_at: Instant) -> Item:
        return Item(
            shard=shard,
            what=what,
            rules=self.book.sets,
            seen_at=seen_at,
            outages=self._outages.known,
            keys=self._keys,
            names=self._known,
        )

    def _watch(self, fact: WindowFact, response: Response, seen_at: Instant) -> Heard:
        by = self._windows.by_id[fact.window].by
        fact = as_remembered(fact, by, response.customer_key, self._erasures)
        shard, at = self._layout.shard_of_drawer(self._lane, drawer_of(fact.place, DRAWERS)), fact.received_at
        item = self._item(shard, Tick(shard=shard, at=at), seen_at)
        return watch_key(shard), Watch(fact=fact, at=at, windows=self._windows, item=item, arrived=response.arrived)

    def _for_shard(self, shard: int, what: Action | Tick | Restate, at: Instant, seen_at: Instant) -> Heard:
        """An item on its way to its shard; one of systemic cases lies with its windows."""
        item = self._item(shard, what, seen_at)
        if self._layout.is_systemic(shard):
            return watch_key(shard), Watch(at=at, windows=self._windows, item=item)
        return shard_key(shard), item

    def _hear_one(self, envelope: Envelope, seen_at: Instant, heard: list[Heard]) -> None:
        record = self._decoder.decode(envelope)
        match record:
            case Response():
                self._hear_response(record, envelope, seen_at, heard)
            case Action():
                self._hear_action(record, seen_at, heard)
            case Rejected():
                self._meter.responses("rejected")
                event = rejected(record, seen_at, envelope.received_at)
                heard.append((UNKEYED, sealed_original(event, self._erasures)))
            case Control():
                self._obey(record, heard)
            case Outcome():
                pass  # kept in the input stream, for the models that learn from it

    def _hear_response(self, response: Response, envelope: Envelope, seen_at: Instant, heard: list[Heard]) -> None:
        layout, partition = self._layout, part_of(envelope.position)
        if layout.lanes > 1 and partition is None:
            lane = layout.lane_of_customer(response.programme, response.customer_key)
            if lane != self._lane:
                self._meter.responses("rejected")
                event = rejected(_astray(response, envelope, lane), seen_at, envelope.received_at)
                heard.append((UNKEYED, sealed_original(event, self._erasures)))
                return
        book = self.book
        reading = book.reader(response.programme).read(response)
        judgement = judge(book.sets[response.programme], response, reading)
        if self._windows.by_id:
            watched = watch(book.sets[response.programme], response, reading)
            failures = (*judgement.failures, *watched.failures)
            heard += [self._watch(fact, response, seen_at) for fact in watched.facts]
        else:
            failures = judgement.failures
        for failure in failures:
            heard.append((UNKEYED, rule_failed(failure, response, seen_at)))
        key = response_key(response.programme, response.source, response.id)
        shard = self._known.shard(key)
        if not judgement.triggers and shard is None:
            self._meter.responses("unfired")
            return
        if shard is None:
            shard = layout.shard(response.programme, response.customer_key, partition)
        if judgement.triggers:
            self._known.add(key, shard)
        self._meter.responses("fired" if judgement.triggers else "update")
        judged = Judged(response=response, reading=reading, triggers=judgement.triggers)
        heard.append((shard_key(shard), self._item(shard, judged, seen_at)))

    def _hear_action(self, action: Action, seen_at: Instant, heard: list[Heard]) -> None:
        shard = self._layout.shard_of_case(action.case)
        lane = None if shard is None else self._layout.lane_of(shard)
        if shard is None or lane != self._lane:
            self._meter.actions("refused")
            refusal = Refusal("unknown_case", f"{action.case[:60]!r} is no case id of this store")
            if lane is not None:
                refusal = Refusal("wrong_lane", f"that case is in lane {lane}, and this came by lane {self._lane}")
            heard.append((UNKEYED, refused(action, refusal, seen_at)))
            return
        self._meter.actions("taken")
        heard.append(self._for_shard(shard, action, action.received_at, seen_at))

    def _obey(self, control: Control, heard: list[Heard]) -> None:
        if control.do == "accept_time":
            self._clock.accept()
            log.warning("engine_time.accepted", by=control.by)
            return
        if control.do in _TELLING:
            data = {**control.data, "detected_at": rfc3339(control.received_at)}
            heard += self._for_all(control, self.book, lambda _: data)
            return
        if control.do != "rules":
            log.error("control.unknown", do=control.do, id=control.id)
            return
        name = str(control.data.get("book", ""))
        try:
            book = self._open_book(name)
        except BookError as error:
            log.error("rules.refused", book=name, error=str(error))
            return
        before = self.book
        self._take_up(book)
        self._changed(book.hash)
        log.info("rules.changed", before=before.hash, after=book.hash)
        heads = {"before": before.hash, "after": book.hash, "by": control.by}
        heard += self._for_all(
            control, book, lambda p: {**heads, "rules": difference(before.sets.get(p), book.sets[p])}, "rules.changed"
        )

    def _for_all(
        self, control: Control, book: Book, data: Callable[[str], dict[str, Any]], type_: str = ""
    ) -> list[Heard]:
        """An event about the engine's own mind, for each programme of *book*."""
        at, occurrence = control.received_at, (control.id,)
        return [(UNKEYED, caseless(type_ or control.do, p, at, occurrence, data(p))) for p in book.sets]


def _astray(response: Response, envelope: Envelope, lane: int) -> Rejected:
    """A response that somebody wrote into another lane's stream."""
    return Rejected(
        reason="wrong_lane",
        detail=f"this customer is in lane {lane}; write to that lane's stream (docs/scaling.md), or by tocsin serve",
        programme=response.programme,
        source=envelope.source,
        position=envelope.position,
        received_at=response.received_at,
        original=envelope.raw,
    )


def rejected(record: Rejected, seen_at: Instant, arrived: float) -> Event:
    """What is said of a record that could not be read. The store moves `original` to the dead letters."""
    data = {
        "reason": record.reason,
        "detail": record.detail,
        "source": record.source,
        "position": record.position,
        "received_at": rfc3339(record.received_at),
        "detected_at": rfc3339(seen_at),
        "original": record.original,
    }
    occurrence = (record.source, record.position)
    return caseless("response.rejected", record.programme, record.received_at, occurrence, data, arrived)


def rule_failed(failure: RuleFailure, response: Response, seen_at: Instant) -> Event:
    """One rule could not be worked out on one response; the others were."""
    data = {
        "rule": failure.rule,
        "rule_version": failure.version,
        "line": failure.line,
        "error": failure.error,
        "source": response.source,
        "response": response.id,
        "detected_at": rfc3339(seen_at),
    }
    return caseless(
        "rule.failed",
        response.programme,
        response.received_at,
        (failure.rule, failure.version, failure.line, response.source, response.id),
        data,
        response.arrived,
    )
