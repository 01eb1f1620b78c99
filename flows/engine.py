"""The engine put together: settings in, a running process out. The only place that picks real parts.

`run_engine` owns the state directory, finds or starts Redis, takes up the rules (a change of them is an item of
the stream), opens the lane's readers and runs the flow until its input ends or a stop is asked for.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import structlog
from bytewax.outputs import Sink
from prometheus_client import CollectorRegistry

from cases.events import Event
from connectors.embedded import Embedded
from connectors.journal import Journal, JournalReader, Shelved
from connectors.kafka_reader import KafkaReader
from connectors.kafka_sink import KafkaOutlet, KafkaSink
from connectors.keyspace import Keys
from connectors.reading import Reader
from connectors.records import Records, RedisError
from connectors.redis_sink import RedisSink
from connectors.redis_store import RedisStore
from connectors.redis_stream import RedisStreamReader
from connectors.retaining import Retention
from connectors.store_mark import StoreMark
from connectors.vault import Vault, VaultError
from feedback.decode import Decoder
from feedback.layout import DRAWERS
from flows.alerts import build
from flows.auditor import GRACE_S, Auditor
from flows.books import Book, BookShelf
from flows.case_metrics import CaseGauges
from flows.catching_up import CatchUp
from flows.dead_letters import customer_of
from flows.engine_time import EngineClock
from flows.erasures import ErasureFigures, Erasures
from flows.facts import STREAM as FACTS
from flows.health import HealthServer, Labelled, Readiness
from flows.hearing import Hearing
from flows.heart import Heart
from flows.indexes import DueIndex, KnownResponses
from flows.keeping import Keeping, kept
from flows.lane import Input, Lane, LaneSource, State, in_force
from flows.learning import Learning
from flows.learning_figures import LearningFigures
from flows.metrics import EngineMetrics
from flows.model_feed import ModelFeed
from flows.models import ModelShelf
from flows.order import OrderLog
from flows.outages import Outages
from flows.placing import Placing, Topics, agree, check_inputs, tell_where
from flows.reloading import Controls, RuleWatch
from flows.rewriting import Rewriting
from flows.rounds import Rounds
from flows.run import StateError, Stop, run_flow
from flows.settings import Settings, SettingsError
from flows.spikes import Scout
from flows.stores import Store, owned, read_shape
from flows.suspects import Suspects
from flows.timetable import InForce
from flows.topics import TopicWatch
from rules.problems import RuleFileErrors

log = structlog.get_logger()

VERSION = "0.1.0"
STUCK_S = 10.0
"""A source not polled for this long means that its worker is stuck (a sink that waits, a step that loops)."""
GAUGES_EVERY_S = 1.0
AUDIT_EVERY_S = 5.0

OpenReader = Callable[[str | None], Reader]
"""Builds a reader from the position of the last record taken."""


class Ended(msgspec.Struct, frozen=True):
    """How a run ended."""

    open_cases: int
    clocks: int
    """Open cases with a clock that goes on running in the next run."""
    stopped: bool
    """Whether a stop was asked for before the input ended."""
    withheld: Mapping[str, int] = {}
    """Of a history: rules, and how often each would have opened a case."""


def run_engine(
    settings: Settings,
    inputs: Mapping[str, OpenReader],
    *,
    ends: bool,
    stop: Stop,
    sinks: Sequence[Sink[tuple[str, Event]]] = (),
    started: Callable[["Running"], None] = lambda _: None,
    watched: Callable[[list[Event]], None] = lambda _: None,
    workers: int = 1,
    topics: Topics | None = None,
    lane: int | None = None,
    ticks: bool = True,
) -> Ended:
    """Run until *stop*, or with *ends* until *inputs* are exhausted. Without *inputs* the streams are read.

    *started* is told of the addresses once everything is open, *watched* of events once they are readable.
    *topics* says which of *inputs* are Kafka's; *lane* which one is run of a store of several (`stores.py`). Without
    *ticks* no clock is looked at (`tocsin backfill`).
    Raises StateError, SettingsError, RuleFileErrors, EmbeddedError: whose turn it is stands in their text.
    """
    topics = topics or Topics()
    shard_count, lanes = settings.engine.shards, settings.engine.lanes
    with (
        owned(settings.state, shard_count=shard_count, lane=lane, lanes=lanes) as store,
        redis_at(settings) as url,
        ExitStack() as opened,
    ):
        check_inputs(store, inputs, topics)
        vault = vault_of(settings)
        store.seal(vault.id.hex() if vault else "")
        engine = _Engine(settings, url, store, dict(inputs), vault, ends=ends, stop=stop, watched=watched, ticks=ticks)
        try:
            health = HealthServer(engine.told, engine.reasons, host=settings.metrics_host, port=settings.metrics_port)
        except OSError as error:
            raise StateError(
                f"port {settings.metrics_port} for metrics is taken ({error.strerror}); "
                "set TOCSIN_METRICS_PORT to another (0 takes a free one)"
            ) from None
        opened.callback(health.close)
        opened.enter_context(engine.gauges())
        with stop.on_signals():
            tell_where(store, health.port)
            started(Running(redis=url, health_port=health.port))
            if engine.settle(topics):
                flow = build(
                    engine.source(),
                    engine.hearing,
                    [*engine.sinks(), *sinks],
                    due=engine.due,
                    known=engine.known,
                    meter=engine.metrics,
                    erasures=engine.erasures,
                    spikes=settings.spikes,
                )
                store.begin([step.step_id for step in flow.substeps])
                opened.callback(engine.close)
                epoch = timedelta(milliseconds=settings.engine.epoch_ms)
                run_flow(flow, store.folder, epoch=epoch, workers=workers)
        return engine.ended()


class Running(msgspec.Struct, frozen=True):
    """Where a running engine is."""

    redis: str
    health_port: int


@contextmanager
def redis_at(settings: Settings) -> Iterator[str]:
    """The URL of the Redis to use: the configured one, or the embedded one, started if it does not run."""
    if settings.redis:
        yield settings.redis
        return
    server = Embedded(settings.state)
    try:
        yield server.url
    finally:
        server.close()


def vault_of(settings: Settings) -> Vault | None:
    """The vault of an engine, made with its state. Raises StateError when it is gone: then nothing could be read."""
    if not settings.privacy.seal:
        return None
    shape = read_shape(settings.state)
    try:
        return Vault(settings.vault, create=shape is None or not shape.vault)
    except VaultError as error:
        raise StateError(str(error)) from None


class _Engine:
    def __init__(
        self,
        settings: Settings,
        url: str,
        store: Store,
        inputs: dict[str, OpenReader],
        vault: Vault | None,
        *,
        ends: bool,
        stop: Stop,
        watched: Callable[[list[Event]], None],
        ticks: bool = True,
    ) -> None:
        self._ticks = ticks
        self._settings, self._url, self._inputs, self._ends, self._stop = settings, url, inputs, ends, stop
        self._watched = watched
        self._place = store
        self._placing = Placing(settings.engine.placed_by, stop)
        state = store.folder
        self.registry = CollectorRegistry()
        several = store.layout.lanes > 1
        self.told = Labelled(self.registry, {"lane": str(store.lane)}) if several else self.registry
        self.metrics = EngineMetrics(self.registry, VERSION, settings.programmes)
        self.registry.register(Readiness(self.reasons))
        self.due, self.known = DueIndex(), KnownResponses()
        self.erasures = Erasures(vault, customer_of)
        self.registry.register(ErasureFigures(self.erasures))
        self._clock = EngineClock()
        self._jumped = False
        self._outages = Outages(state / "time")
        self._shelf = BookShelf(state / "books", settings.metrics)
        self._models = ModelShelf(state / "models")
        self._taught = Records(url, vault)  # of its own, for the thread that learns
        topics = TopicWatch(state / "topics")
        self._learning = Learning(self._models, settings.metrics, self._taught.case, topics=topics)
        self.registry.register(LearningFigures(self._learning))
        self.erasures.memories.append(self._learning)
        self._rules = {name: programme.rules for name, programme in settings.programmes.items()}
        self._programmes = sorted(settings.programmes)
        self._lane: Lane | None = None
        self._store: RedisStore | None = None
        self._topic = settings.outputs.kafka
        if self._topic is not None:
            try:
                KafkaOutlet.check(self._topic)
            except ValueError as error:
                raise SettingsError(f"{settings.file}: outputs.kafka: {error}") from None
        self._outlet: KafkaOutlet | None = None
        self._mark = StoreMark(state / "known")
        self._own: Journal | None = None
        every = settings.engine.shards + DRAWERS  # those of customers, then those of systemic cases
        self._rewriting = Rewriting(state / "known" / "rewriting.json", every, self._announce)
        self._records = Records(url)
        self._rounds = Rounds(self._refresh, GAUGES_EVERY_S, name="gauges")
        self._cases = CaseGauges(self.registry, self._records, self._programmes, self._people)
        self._streams: list[tuple[str, RedisStreamReader]] = []
        retention = Retention(url, kept(settings.retention), store.layout.lanes) if store.lane == 0 else None
        self._keeping = Keeping(self.registry, retention, state, self._programmes)
        self._auditor = Auditor(self._records.due_before, settings.programmes, self._is_mine)
        self._uncalled = 0
        self._unwritable = ""
        """Why Redis takes no writes, though it may answer."""
        self._heart: Heart | None = None
        self._catch_up: CatchUp | None = None
        self._audited_at = time.monotonic() + GRACE_S  # what fell due while nobody ran is being called first
        self._first = self._read_rules()
        self._rule_watch = RuleWatch(self._shelf, settings.rules, self._rules, self.metrics)
        self.hearing = Hearing(
            Decoder(settings.metrics, frozenset(settings.programmes), settings.privacy.redactor()),
            self._shelf.open,
            shards=settings.engine.shards,
            known=self.known,
            clock=self._clock,
            meter=self.metrics,
            outages=self._outages,
            suspects=Suspects(state / "time"),
            erasures=self.erasures,
            open_models=self._models.open,
            pupil=self._learning,
            scout=Scout(settings.spikes, settings.metrics),
        )

    def _read_rules(self) -> Book | None:
        """The book of the files, before anything is started. Raises RuleFileErrors with every problem of every file.

        None when they are wrong and there may be state: it then goes on with the rules that it was judged by.
        """
        try:
            return self._shelf.put(self._settings.rules, self._rules)
        except RuleFileErrors:
            if self._shelf.is_empty:
                raise
            return None

    # -- the cut of the store -----------------------------------------------------------------------------

    def settle(self, topics: Topics) -> bool:
        """Fix the shape of the store and go by it; False when a stop came first. Raises StateError."""
        if not self._placing.settle(self._place, topics, self._inputs):
            return False
        self.hearing.lay_out(self._place.layout, self._place.lane)
        self.metrics.lanes.set(self._place.layout.lanes)
        per_lane = self._place.layout.lanes > 1 and not self._place.layout.spread
        if per_lane and self._first and any(r.windows for r in self._first.sets.values()):
            how = f"tocsin reshard --from {self._place.layout.lanes} --to {self._place.layout.lanes} ends it"
            log.warning(
                "windows.per_lane", why="an earlier release made this store: each lane counts for itself", how=how
            )
        agree(self._place, self._records, self._programmes)
        return True

    def _is_mine(self, case: str) -> bool:
        return self._place.layout.lane_of_case(case) in (self._place.lane, None)

    # -- parts of the flow ----------------------------------------------------------------------------------

    def source(self) -> LaneSource:
        return LaneSource(self._open_lane)

    def sinks(self) -> list[Sink[tuple[str, Event]]]:
        """The store, and always after it the topic: what a sink keeps is stored under its number."""
        found: list[Sink[tuple[str, Event]]] = [RedisSink(self._open_store)]
        return found if self._topic is None else [*found, KafkaSink(self._open_outlet)]

    def _open_outlet(self, restored: list[bytes]) -> KafkaOutlet:
        assert self._topic is not None
        self._outlet = KafkaOutlet(self._topic, stopping=self._stop, restored=restored)
        return self._outlet

    def _open_store(self) -> RedisStore:
        self._store = RedisStore(
            self._url,
            self._programmes,
            written=self._written,
            stopping=self._stop,
            timeout_s=5.0,
            mark=self._mark,
            lost=self._rewriting.begin,
            layout=self._place.layout,
        )
        return self._store

    def _written(self, events: list[Event]) -> None:
        said = [event for event in events if event.is_told]
        if again := sum(event.restates for event in events):
            self.metrics.rewritten.inc(again)
            self._rewriting.written(again)
        self.metrics.written(said)
        self._watched(said)

    def _announce(self, id_: str, do: str, data: dict[str, Any]) -> None:
        """A control record of the engine itself. The worker's thread: the journal has one writer."""
        assert self._own is not None
        control = {"kind": "control", "id": id_, "do": do, "by": "engine", "data": data}
        self._own.append([(msgspec.json.encode(control), "control", self._programmes[0], "", "engine")])

    def _open_lane(self, state: State | None) -> Lane:
        positions: dict[str, str] = state["positions"] if state else {}
        retain_s = self._settings.journals_retain_s
        controls = Journal(self._place.folder / "journals" / "control", retain_s=retain_s)
        self._own = Journal(self._place.folder / "journals" / "engine", retain_s=retain_s)
        self._controls = Controls("control", controls, positions.get("control"), self._programmes[0])
        self._own_controls = Controls("engine", self._own, positions.get("engine"), self._programmes[0])
        self._heart = Heart(self._settings.engine.heartbeat_s, self._place.lane, self._own_controls.put)
        self._catch_up = CatchUp(self._outages, self._place.lane, self._own_controls.put)
        before = in_force(state) if state else None
        book = self._take_up_rules(before.book if before else None, controls)
        judged_by = before or InForce(book.hash)
        self.hearing.begin(judged_by)
        versions = Journal(self._place.folder / "journals" / ModelFeed.name, retain_s=retain_s)
        place = positions.get(ModelFeed.name)
        self._learning.begin(_announced(versions, place) or judged_by.models.newest)
        feed = ModelFeed(versions, place, self._learning.announced, self._programmes[0])
        inputs = [
            Input(feed, place, binding=True),
            Input(self._controls, positions.get("control"), binding=True),
            Input(self._own_controls, positions.get("engine"), binding=True),
        ]
        carried = self._place.folder / "journals" / "carried"
        if carried.exists():  # what waited unread when the store was cut anew
            place = positions.get("carried")
            inputs.append(Input(JournalReader("carried", Journal(carried), place), place, binding=True))
        lane = self._place.lane
        for programme in self._programmes:
            keys = Keys(programme)
            name = f"{programme}:actions"
            self._add_stream(inputs, name, keys.of_lane(keys.actions, lane), programme, positions, binding=True)
            if self._place.layout.lanes > 1:
                name = f"{programme}:{FACTS}"
                self._add_stream(inputs, name, keys.of_lane(keys.facts, lane), programme, positions, binding=False)
            if not self._inputs:
                name = f"{programme}:in"
                self._add_stream(inputs, name, keys.of_lane(keys.inbox, lane), programme, positions, binding=False)
        for name, open_reader in self._inputs.items():
            inputs.append(Input(open_reader(positions.get(name)), positions.get(name), binding=False))
        self._lane = Lane(
            inputs,
            in_force=judged_by,
            due=self.due,
            clock=self._clock,
            stopping=self._stop,
            ends=self._ends,
            meter=self.metrics,
            outages=self._outages,
            rewriting=self._rewriting,
            foresee=self.hearing.foresee,
            erasures=self.erasures,
            order=OrderLog(self._place.folder / "order"),
            since=state.get("order") if state else 0,
            apart=self.hearing.is_apart,
            ticks=self._ticks,
        )
        # A reader that is not opened this time keeps its place for the next.
        self._lane.elsewhere = {n: p for n, p in positions.items() if n not in {i.reader.name for i in inputs}}
        for name, position in self._lane.elsewhere.items():
            folder = journal_of(self._settings.state, name)
            if folder.is_dir():
                self._lane.shelved.append(Shelved(folder, int(position)))
        return self._lane

    def _add_stream(
        self, inputs: list[Input], name: str, key: str, programme: str, positions: dict[str, str], *, binding: bool
    ) -> None:
        reader = RedisStreamReader(
            name,
            self._url,
            key,
            positions.get(name),
            programme=programme,
            keep_s=self._settings.retention.seconds("streams"),
        )
        self._streams.append((programme, reader))
        inputs.append(Input(reader, positions.get(name), binding=binding))

    def _take_up_rules(self, before: str | None, controls: Journal) -> Book:
        """The book to begin with; when the files say otherwise by now, the change goes into the stream."""
        book = self._shelf.open(before) if before is not None else self._first
        if book is None:
            book = self._shelf.put(self._settings.rules, self._rules)  # raises: no snapshot yet that could go on
        announced = {"book": book.hash}
        if before is not None and controls.last is not None:
            announced = msgspec.json.decode(controls.last.raw)["data"]
        self._rule_watch.begin(announced, self._controls.put)
        return book

    # -- watching -------------------------------------------------------------------------------------------

    def reasons(self) -> dict[str, str]:
        """What keeps the engine from keeping its promises now."""
        why: dict[str, str] = {}
        lane, store = self._lane, self._store
        if lane is None:
            return {"engine": self._placing.waits or "starting"}
        if store is not None and store.trouble:  # it is opened when there is something to write
            why["store"] = store.trouble
        elif self._unwritable:
            why["store"] = self._unwritable
        if self._rewriting.trouble:
            why["records"] = self._rewriting.trouble
        if self._outlet is not None and self._outlet.trouble:
            why["output kafka"] = self._outlet.trouble
        for source in lane.inputs:
            if source.reader.trouble:
                why[f"source {source.reader.name}"] = source.reader.trouble
        if self._clock.trouble:
            why["clock"] = self._clock.trouble
        if self._uncalled:
            why["auditor"] = f"{self._uncalled} clocks are past their deadline and uncalled; see audit.not_called"
        silent = time.monotonic() - self.metrics.polled_at
        if silent > STUCK_S:
            why["worker"] = f"the source was not polled for {silent:.0f} s"
        if self._rounds.trouble:
            why["rounds"] = self._rounds.trouble
        if self._stop():
            why["engine"] = "stopping"
        return why

    @contextmanager
    def gauges(self) -> Iterator[None]:
        """Gauges that are looked up, not counted, kept fresh by a thread while this is entered."""
        try:
            with self._rounds.going():
                yield
        finally:
            self._rule_watch.close()
            self._keeping.close()

    def _refresh(self) -> None:
        now = time.time()
        if self._lane is not None:
            for source in self._lane.inputs:
                waiting = len(source.waiting) + source.reader.lag
                self.metrics.lag.labels(source.reader.name).set(waiting)
                oldest = source.waiting[0].received_at if source.waiting else now
                self.metrics.lag_seconds.labels(source.reader.name).set(max(0.0, now - oldest))
                if isinstance(source.reader, KafkaReader):
                    for partition, behind in source.reader.lags().items():
                        self.metrics.partition_lag.labels(source.reader.name, partition).set(behind)
        if self._outlet is not None:
            self.metrics.kafka_waiting.set(self._outlet.waiting)
            self.metrics.kafka_refused.set(self._outlet.refused)
        self.metrics.skew.set(self._clock.skew_s)
        if bool(jumped := self._clock.trouble) != self._jumped:
            self._jumped = bool(jumped)
            if jumped:
                log.error("clock.jumped", skew_s=round(self._clock.skew_s), trouble=jumped)
            else:
                log.warning("clock.agreed", skew_s=round(self._clock.skew_s))
        if self._heart is not None:
            self._heart.look(self.reasons)
        if self._lane is not None and self._catch_up is not None:
            self._catch_up.look(self._lane.inputs, self._clock.instant())
        try:
            self._records.probe(self._programmes[0])
            self._unwritable = ""
            self._audit()
            self._records.keep_calendars(self._calendars())
            for programme, reader in self._streams:
                self._keeping.read(reader.name, programme, reader)
            self._keeping.look(self._clock.instant())
            if self._place.lane == 0:  # of the whole store, so one lane tells: a sum over the lanes must be right
                self._cases.refresh(int(now))
        except RedisError as error:
            self._unwritable = f"{type(error).__name__}: {error}"[:200]

    def _audit(self) -> None:
        if time.monotonic() < self._audited_at + AUDIT_EVERY_S:
            return
        self._audited_at = time.monotonic()
        self._uncalled = self._auditor.look(self._clock.instant())
        self.metrics.uncalled.set(self._uncalled)

    def _calendars(self) -> dict[str, str]:
        return {key: calendar.text for key, calendar in list(self._shelf.calendars.items())}

    def _people(self, programme: str) -> Iterable[str]:
        rules = self._shelf.open(self._lane.in_force.book).sets.get(programme) if self._lane is not None else None
        return rules.roster.people if rules is not None else ()

    def close(self) -> None:
        """Stop learning; what was learned since the last version is announced to the next run."""
        self._learning.close()
        self._taught.close()
        if self._learning.announced:
            journal = Journal(self._place.folder / "journals" / ModelFeed.name)
            feed = ModelFeed(journal, None, self._learning.announced, self._programmes[0])
            feed.announce()
            feed.close()

    def ended(self) -> Ended:
        self._records.keep_calendars(self._calendars())
        counted = [self._records.counts(p, int(time.time()))[0] for p in self._programmes]
        clocks = [self._records.clocks(p) for p in self._programmes]
        self._records.close()
        withheld = dict(self.hearing.withheld)
        return Ended(open_cases=sum(counted), clocks=sum(clocks), stopped=self._stop(), withheld=withheld)


def _announced(journal: Journal, place: str | None) -> str:
    """The version that the stream is told of next, from which learning goes on; empty when it knows all."""
    if journal.last is None or int(place or 0) >= journal.end:
        return ""
    return str(msgspec.json.decode(journal.last.raw)["data"]["model"])


def journal_of(state: Path, name: str) -> Path:
    """Where the journal of an input of that name lies."""
    return state / "journals" / name
