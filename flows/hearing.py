"""Hearing: a record becomes a response or an action, is scored and judged, and goes to the shard it concerns.

The rules and the models in force are the only memory here, and only a control item of the stream changes them, so
a resume judges each response by what it was judged by before. What fails here fails for one record: it becomes an
`item.quarantined` event with its traceback, the original goes to the dead letters, and the next record is read.
"""

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any, Protocol

import msgspec
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
from flows.facts import facts_for, is_of_facts, names_for, read_facts
from flows.indexes import KnownResponses
from flows.lane import Given
from flows.models import ModelError
from flows.noticing import Look, asked_of, notice_key, quieted_by
from flows.outages import Outages
from flows.spikes import Noted, Scout
from flows.suspects import Suspects
from flows.timetable import LEARNING, InForce, Timetable
from flows.watching import Watch, Windows, as_remembered, watch_key
from rules.judge import context_of, judge
from rules.kinds import WindowFact
from rules.kinds.drawer import drawer_of
from rules.model import RuleFailure
from rules.ruleset import difference
from rules.watching import watch
from scoring.models import VADER, Models
from scoring.reading import Reading

log = structlog.get_logger()

UNKEYED = ""
"""The key of events that concern no shard."""

_TELLING = frozenset({"store.lost", "store.rewritten", "rules.refused", "heartbeat", "outage.over"})
"""Controls that change nothing here and are told as events."""

Heard = tuple[str, Item | Event | Watch | Look | Noted]


class ProcessDied(Exception):
    """A record that the process did not survive (`suspects.py`)."""


class Meter(Protocol):
    """What hearing counts; `flows/metrics.py` keeps the numbers."""

    def responses(self, outcome: str) -> None: ...
    def actions(self, outcome: str) -> None: ...


class Pupil(Protocol):
    """Who learns from the stream; returns at once (`learning.py`)."""

    def heard(self, response: Response, reading: Reading) -> None: ...
    def acted(self, action: Action) -> None: ...
    def ended(self, outcome: Outcome) -> None: ...
    def restart(self, version: str) -> None: ...
    def scored_by(self, version: str) -> None: ...


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
        erasures: Erasures | None = None,
        open_models: Callable[[str], Models] = lambda _: Models(),
        pupil: Pupil | None = None,
        scout: Scout | None = None,
    ) -> None:
        """*pupil* is told what the stream teaches; nothing of what it makes of it comes back but as a control.

        *scout* notes what is watched for change; without one nothing is.
        """
        self._decoder, self._open_book = decoder, open_book
        self._layout, self._lane = Layout(shards=shards), 0
        self._known, self._clock, self._meter = known, clock, meter
        self._outages, self._suspects = outages, suspects or Suspects()
        self._erasures = erasures or Erasures()
        self._keys: Keys | None = self._erasures.vault
        self._open_models, self._pupil = open_models, pupil
        self._scout = scout
        self._book: Book | None = None
        self._windows = Windows({})
        self._timetable = Timetable()
        self._opened = "", Models()
        self.withheld: Counter[str] = Counter()
        """Rules that fired on a history, and what they would have opened was not."""

    def begin(self, in_force: InForce) -> None:
        """Judge by what a resume begins with. Raises BookError; a version that is gone is told of when it scores."""
        self._take_up(self._open_book(in_force.book))
        self._timetable = in_force.models

    def _take_up(self, book: Book) -> None:
        self._book, self._windows = book, Windows(book.sets)
        if self._scout is not None:
            self._scout.take_up(book.sets)

    def lay_out(self, layout: Layout, lane: int) -> None:
        """From now on customers lie where *layout* has them, and *lane* is ours."""
        self._layout, self._lane = layout, lane
        if self._shares:
            self._known.tell()

    @property
    def _shares(self) -> bool:
        """Whether windows count over several lanes."""
        return self._layout.spread and self._layout.lanes > 1

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
                for shard in self._layout.shards_of_drawer(self._lane, drawer):
                    heard.append(self._for_shard(shard, Restate(shard=shard, at=what.at), what.at, seen_at))
                continue
            if isinstance(what, Tick | Restate):
                heard.append(self._for_shard(what.shard, what, what.at, seen_at))
                continue
            kept, noted = len(heard), self._scout.mark() if self._scout is not None else 0
            try:
                if self._suspects.is_guilty(f"{what.source} {what.position}"):
                    raise ProcessDied("the process died in this record each time that it was heard")
                self._suspects.begin(f"{what.source} {what.position}")
                self._hear_one(what, seen_at, heard)
            except Exception as error:
                del heard[kept:]
                if self._scout is not None:
                    self._scout.undo(noted)
                self._meter.responses("quarantined")
                log.error("record.quarantined", position=what.position, error=type(error).__name__)
                event = quarantined("record", what.position, what.programme, seen_at, error, original=what.raw)
                heard.append((UNKEYED, sealed_original(event, self._erasures)))
        self._suspects.done()
        if self._scout is not None:
            heard += self._scout.give()
        return heard

    def foresee(self, envelope: Envelope, in_force: InForce) -> InForce:
        """What will be judged by once *envelope* has been heard, if it was *in_force* before. Changes nothing."""
        if b'"control"' not in envelope.raw:
            return in_force
        record = self._decoder.decode(envelope)
        if not isinstance(record, Control):
            return in_force
        try:
            if record.do == "rules":
                return msgspec.structs.replace(in_force, book=self._open_book(str(record.data.get("book", ""))).hash)
            if record.do == "model":
                return msgspec.structs.replace(in_force, models=self._follow(in_force.models, record))
        except (BookError, ModelError):
            return in_force  # it will be refused, with its reason, when it is heard
        return in_force

    def _follow(self, timetable: Timetable, control: Control) -> Timetable:
        """The timetable after a change of version. Raises ModelError."""
        after = timetable.obey(control)
        if after is None:
            raise ModelError("it was learned on from a version that is no longer the newest")
        self._open_models(after.newest)
        return after

    def _models_at(self, received_at: Instant) -> Models:
        """What scores a response that was received then."""
        version = self._timetable.at(received_at)
        if version != self._opened[0]:
            try:
                self._opened = version, self._open_models(version)
            except ModelError as error:
                log.error("model.gone", model=version, scored_by=VADER, error=str(error))
                self._opened = version, Models()
        return self._opened[1]

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

    def _count(self, facts: Iterable[WindowFact], response: Response, seen_at: Instant) -> Iterable[Heard]:
        """What *facts* of *response* are for: windows of ours, and of other lanes."""
        onward: dict[int, list[WindowFact]] = {}
        at, arrived, history = response.received_at, response.arrived, response.history
        for fact in facts:
            by = self._windows.by_id[fact.window].by
            fact = as_remembered(fact, by, response.customer_key, self._erasures)
            shard = self._layout.shard_of_drawer(self._lane, drawer_of(fact.place, DRAWERS))
            if (lane := self._layout.lane_of(shard)) == self._lane:
                yield self._watch(fact, shard, at, seen_at, arrived, history)
            else:
                onward.setdefault(lane, []).append(fact)
        for lane, theirs in onward.items():
            yield UNKEYED, facts_for(lane, response.programme, theirs, at, arrived=arrived, history=history)

    def _watch(
        self, fact: WindowFact, shard: int, at: Instant, seen_at: Instant, arrived: float, history: bool
    ) -> Heard:
        item = self._item(shard, Tick(shard=shard, at=at), seen_at)
        found = Watch(fact=fact, at=at, windows=self._windows, item=item, arrived=arrived, history=history)
        return watch_key(shard), found

    def _hear_facts(self, envelope: Envelope, seen_at: Instant, heard: list[Heard]) -> None:
        """What another lane heard and windows of ours count; received here when it came into our stream."""
        told = read_facts(envelope.raw)
        self._known.learn(told.cases)
        at = Instant(int(envelope.received_at))
        for fact in told.facts:
            shard = self._layout.shard_of_drawer(self._lane, drawer_of(fact.place, DRAWERS))
            heard.append(self._watch(fact, shard, at, seen_at, told.arrived, told.history))

    def name(self, events: list[tuple[str, Event]]) -> list[tuple[str, Event]]:
        """*events* of cases, and for the other lanes, which responses those cases have."""
        news = self._known.take_news()
        if not news or not self._windows.by_id:
            return events
        others = [lane for lane in range(self._layout.lanes) if lane != self._lane]
        return [*events, *((UNKEYED, told) for told in names_for(others, min(self.book.sets), news))]

    def _for_shard(self, shard: int, what: Action | Tick | Restate, at: Instant, seen_at: Instant) -> Heard:
        """An item on its way to its shard; one of systemic cases lies with its windows."""
        if self._layout.is_of_notices(shard):
            return notice_key(shard), self._look(shard, at, seen_at)
        item = self._item(shard, what, seen_at)
        if self._layout.is_systemic(shard):
            windows = self._windows if self._layout.counts_in(shard) else Windows({})
            return watch_key(shard), Watch(at=at, windows=windows, item=item)
        return shard_key(shard), item

    def _look(self, shard: int, at: Instant, seen_at: Instant) -> Look:
        return Look(shard=shard, at=at, seen_at=seen_at, rules=self.book.sets, keys=self._keys)

    def is_apart(self, shard: int) -> bool:
        """Whether a tick for *shard* comes when all that was given out before it has been worked off."""
        return self._layout.is_of_notices(shard)

    def heed(self, events: Iterable[tuple[str, Event]]) -> list[tuple[str, Look]]:
        """What noise control is to know of what was said of cases."""
        found = [asked for _, event in events if event.heed is not None and (asked := asked_of(event)) is not None]
        if not found:
            return []
        shard = self._layout.shard_of_notices(self._lane)
        look = self._look(shard, Instant(0), Instant(0))
        return [(notice_key(shard), msgspec.structs.replace(look, asked=asked)) for asked in found]

    def _hear_one(self, envelope: Envelope, seen_at: Instant, heard: list[Heard]) -> None:
        if is_of_facts(envelope.source):
            self._hear_facts(envelope, seen_at, heard)
            return
        record = self._decoder.decode(envelope)
        match record:
            case Response():
                self._hear_response(record, envelope, seen_at, heard)
            case Action() | Control() if envelope.history:
                self._learn_from(record)
            case Action():
                self._hear_action(record, seen_at, heard)
            case Rejected():
                self._meter.responses("rejected")
                event = rejected(record, seen_at, envelope.received_at)
                heard.append((UNKEYED, sealed_original(event, self._erasures)))
            case Control():
                self._obey(record, heard)
            case Outcome():
                if self._pupil is not None:
                    self._pupil.ended(record)

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
        rules = book.sets[response.programme]
        if self._pupil is not None:
            self._pupil.heard(response, reading)
        if self._scout is not None:
            self._scout.note(response, reading, seen_at)
        if rules.asks_learned:
            reading = self._models_at(response.received_at).read(response, reading)
        context = context_of(rules, response, reading)
        judgement = judge(rules, response, reading, context)
        if response.history:  # what the law asks for does not lapse because it was overlooked
            fired, judgement = judgement.triggers, judgement.statutory()
            self.withheld.update(trigger.rule for trigger in fired if trigger not in judgement.triggers)
        if self._windows.by_id:
            watched = watch(rules, response, reading, context=context)
            failures = (*judgement.failures, *watched.failures)
            heard += self._count(watched.facts, response, seen_at)
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
        if not reading.scored_by:
            reading = self._models_at(response.received_at).read(response, reading)
        judged = Judged(response=response, reading=reading, triggers=judgement.triggers)
        heard.append((shard_key(shard), self._item(shard, judged, seen_at)))

    def _learn_from(self, record: Action | Control) -> None:
        """An action of long ago is done; what it said of a response is still true. A control of long ago is over."""
        if isinstance(record, Action):
            self._meter.actions("history")
            if self._pupil is not None:
                self._pupil.acted(record)

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
        if self._pupil is not None:
            self._pupil.acted(action)
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
        if control.do in ("silence", "unsilence"):
            shard, at = self._layout.shard_of_notices(self._lane), control.received_at
            look = msgspec.structs.replace(self._look(shard, at, at), quieted=quieted_by(control))
            heard.append((notice_key(shard), look))
            return
        if control.do == "model":
            self._take_up_model(control, heard)
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
        log.info("rules.changed", before=before.hash, after=book.hash)
        heads = {"before": before.hash, "after": book.hash, "by": control.by}
        heard += self._for_all(
            control, book, lambda p: {**heads, "rules": difference(before.sets.get(p), book.sets[p])}, "rules.changed"
        )

    def _take_up_model(self, control: Control, heard: list[Heard]) -> None:
        """Score by another version from its time on; say so, and where it sets the learned risk aside."""
        before = self._timetable.newest
        try:
            after = self._follow(self._timetable, control)
            models = self._open_models(after.newest)
        except ModelError as error:
            log.error("model.refused", model=control.data.get("model"), by=control.by, error=str(error))
            if self._pupil is not None:
                self._pupil.restart(before)  # what it learns on from must be what scores
            return
        self._timetable = after
        if self._pupil is not None:
            self._pupil.scored_by(after.newest)
            if control.by != LEARNING:
                self._pupil.restart(after.newest)
        log.info("model.changed", before=before, after=after.newest, by=control.by)
        versions = {"before": before or VADER, "after": after.newest or VADER}
        since = rfc3339(after.changes[-1][0])
        for programme in self.book.sets:
            told: dict[str, Any] = {**versions, "by": control.by, "since": since}
            event = caseless("model.changed", programme, control.received_at, (control.id,), told)
            heard.append((UNKEYED, event))
        for (programme, language), standing in models.set_aside_since(self._earned(before)).items():
            if programme in self.book.sets:
                told = {
                    **versions, "language": language, "reason": standing.reason, "labels": standing.labels,
                    "learned_auc": round(standing.learned_auc, 4), "vader_auc": round(standing.vader_auc, 4),
                    "since": since,
                }  # fmt: skip
                event = caseless("model.set_aside", programme, control.received_at, (control.id, language), told)
                heard.append((UNKEYED, event))

    def _earned(self, version: str) -> Models:
        try:
            return self._open_models(version)
        except ModelError:
            return Models()  # told of when it was to score

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
