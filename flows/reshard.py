"""`tocsin reshard`: a stopped store is cut into another number of lanes.

New lanes are made beside the old ones, and hold at once, by one rename of `store.json`; whatever stops this before then
leaves the old cut as it was. Meanwhile nobody may write to a lane's stream: whoever tries is told to come again, and
what was written before and not read yet goes over with its shards, received when it was received.
"""

import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import msgspec
import structlog

from cases import shard as shards
from connectors.journal import Journal, envelope_of, recorded
from connectors.keyspace import Keys
from connectors.records import Records
from connectors.redis_link import client
from connectors.redis_stream import entries
from connectors.store_mark import StoreMark
from feedback.decode import Decoder
from feedback.layout import Layout, LayoutError, checked, conflict
from feedback.records import Action, Envelope, Outcome, Response
from flows.facts import STREAM as FACTS
from flows.facts import is_of_facts, shared_out
from flows.keyed import upgrade
from flows.outages import merge
from flows.recut import MODELS, LaneState, read_state, regroup, write_state
from flows.run import StateError
from flows.settings import Settings
from flows.stores import StoreFile, alone, folder_of, mark_begun, read_shape, write_shape

log = structlog.get_logger()

Tell = Callable[[str], None]


class Resharded(msgspec.Struct, frozen=True):
    """What was carried over."""

    cases: int
    shards: int
    carried: int
    """Records that no engine had read yet."""
    old: str
    """Where the lanes before lie; nothing reads them any more."""


def reshard(settings: Settings, url: str, before: int, after: int, tell: Tell) -> Resharded:
    """Cut the store of *settings* from *before* into *after* lanes. Raises StateError, RedisError."""
    base = settings.state
    with alone(base):
        shape = read_shape(base)
        if shape is None:
            raise StateError(f"there is no store in {base}; tocsin run --processes {after} makes one")
        if shape.lanes != before:
            raise StateError(f"the store in {base} has {shape.lanes} lanes, not {before}; say --from {shape.lanes}")
        if after == before and shape.spread:
            raise StateError(f"the store in {base} has {after} lanes already")
        try:
            new = checked(
                msgspec.structs.replace(shape.layout, lanes=after, generation=shape.generation + 1, spread=True)
            )
        except LayoutError as error:
            raise StateError(f"{error}; the number of {'partitions' if shape.slots else 'shards'} is fixed") from None
        return _Cut(settings, url, shape, new, tell).make()


class _Cut:
    def __init__(self, settings: Settings, url: str, shape: StoreFile, new: Layout, tell: Tell) -> None:
        self._base, self._shape, self._old, self._new, self._tell = settings.state, shape, shape.layout, new, tell
        self._programmes = sorted(settings.programmes)
        self._decoder = Decoder(settings.metrics, frozenset(settings.programmes), settings.privacy.redactor())
        self._records, self._redis = Records(url), client(url)
        self._from = [folder_of(self._base, self._old, lane) for lane in range(self._old.lanes)]
        self._to = [folder_of(self._base, new, lane) for lane in range(new.lanes)]

    def make(self) -> Resharded:
        self._check()
        self._records.lay_out(self._programmes, msgspec.structs.replace(self._old, closed=True))
        holds = self._old
        try:
            done = self._build()
            layout = {"lanes": self._new.lanes, "generation": self._new.generation, "spread": self._new.spread}
            write_shape(self._base, msgspec.structs.replace(self._shape, form=shards.VERSION, **layout))
            holds = self._new
        finally:
            self._records.lay_out(self._programmes, holds)
        log.info("store.resharded", before=self._old.lanes, after=self._new.lanes, cases=done.cases)
        return done

    def _check(self) -> None:
        """Refuse a store whose Redis is another one, or was lost and not written again yet."""
        for programme in self._programmes:
            found = self._records.layout(programme)
            if found is not None and (why := conflict(self._old, found)):
                raise StateError(f"programme {programme}: {why}")
        for folder in self._from:
            again = "run the engine until /ready says nothing of it, stop it, and come again"
            if (folder / "known" / "rewriting.json").exists():
                raise StateError(f"{folder}: its cases are being written into the store again; {again}")
            if (folder / "lane.json").exists() and not (folder / "recovery").exists():
                raise StateError(f"{folder / 'recovery'} is gone; restore it from a backup")
            if not (folder / "known" / "id").exists():
                continue
            mark = StoreMark(folder / "known")
            if int(self._redis.get(Keys(self._programmes[0]).marker_of(mark.id)) or 0) < mark.number:
                raise StateError(f"{folder}: Redis has lost what it held, or is an older copy; {again}")

    def _build(self) -> Resharded:
        """The new lanes, complete, where nobody looks for them yet."""
        for leftover in {folder.parent for folder in self._to}:
            shutil.rmtree(leftover, ignore_errors=True)  # of one that was stopped half-way
        states = [read_state(folder / "recovery") for folder in self._from]
        self._tell(f"{sum(len(state.drawers) for state in states)} shards are read")
        waiting: list[list[Envelope]] = [[] for _ in self._to]
        for folder, lane, state in zip(self._from, range(self._old.lanes), states, strict=True):
            for envelope in self._unread(folder, lane, state):
                for to, part in self._parts(envelope):
                    waiting[to].append(part)
        ends = [self._ends(lane) for lane in range(self._new.lanes)]
        for lane, state in enumerate(regroup(states, self._new, ends)):
            self._write(lane, state, waiting[lane])
        bodies = [upgrade(stored)[1] for s in states for stored in s.drawers.values()]
        bodies += [shards.upgrade(form, body) for s in states for _, _, form, _, body, *_ in s.windows.values()]
        return Resharded(
            cases=sum(len(shards.unpack(body).entries) for body in bodies),
            shards=len(bodies),
            carried=sum(map(len, waiting)),
            old=", ".join(str(folder) for folder in self._from),
        )

    def _write(self, lane: int, state: LaneState, waiting: Sequence[Envelope]) -> None:
        folder = self._to[lane]
        folder.mkdir(parents=True)
        for old in self._from:
            if (old / "books").exists():
                shutil.copytree(old / "books", folder / "books", dirs_exist_ok=True)
            if (old / "models").exists():
                shutil.copytree(old / "models", folder / "models", dirs_exist_ok=True)
        merge([old / "time" for old in self._from], folder / "time")
        if waiting:
            _put(folder / "journals" / "carried", waiting)
        mark = StoreMark(folder / "known")
        self._redis.set(Keys(self._programmes[0]).marker_of(mark.id), 1)
        mark.note(1)
        if state.source is not None:
            write_state(folder, state)
            mark_begun(folder, lane, self._new)

    # -- what waits unread --------------------------------------------------------------------------------

    def _unread(self, folder: Path, lane: int, state: LaneState) -> Iterator[Envelope]:
        """What the engine of *lane* would have read next, but for topics, which keep their places."""
        for name in ("engine", "carried"):
            journal = folder / "journals" / name
            if journal.exists():
                after = int(state.places.get(name, 0))
                yield from (envelope_of(name, at, entry) for at, entry in recorded(journal) if at > after)
        for programme in self._programmes:
            keys = Keys(programme)
            # Where partitions say whose a customer is, streams of responses are never read.
            kinds = [("actions", keys.actions), (FACTS, keys.facts)]
            kinds += [] if self._old.slots else [("in", keys.inbox)]
            for kind, stream in kinds:
                name = f"{programme}:{kind}"
                stream = keys.of_lane(stream, lane)
                yield from entries(self._redis, stream, state.places.get(name, "0-0"), name, programme)
        for name, position in state.places.items():
            journal = self._base / "journals" / name
            if name != MODELS and journal.is_dir() and _has_more(journal, int(position)):
                raise StateError(f"{name} was read into its journal and not heard to its end; run it to the end first")

    def _parts(self, envelope: Envelope) -> Iterator[tuple[int, Envelope]]:
        """*envelope* with the new lane that is to hear it; facts with each that has windows for them."""
        if not is_of_facts(envelope.source):
            yield self._lane_of(envelope), envelope
            return
        for lane, raw in shared_out(envelope.raw, self._new):
            yield lane, msgspec.structs.replace(envelope, raw=raw)

    def _lane_of(self, envelope: Envelope) -> int:
        """The new lane that is to hear it; what nobody can read is for lane 0 to say so."""
        record = self._decoder.decode(envelope)
        if isinstance(record, Action):
            return self._new.lane_of_case(record.case) or 0
        if isinstance(record, Response):
            return self._new.lane_of_customer(record.programme, record.customer_key)
        return self._new.lane_of_customer(record.programme, record.customer) if isinstance(record, Outcome) else 0

    def _ends(self, lane: int) -> dict[str, str]:
        """Where a new lane goes on in its streams: behind all that is there now."""
        found: dict[str, str] = {}
        for programme in self._programmes:
            keys = Keys(programme)
            for kind, stream in (("actions", keys.actions), (FACTS, keys.facts), ("in", keys.inbox)):
                name = keys.of_lane(stream, lane)
                if self._redis.exists(name):
                    found[f"{programme}:{kind}"] = self._redis.xinfo_stream(name)["last-generated-id"].decode()
        return found


def _put(folder: Path, envelopes: Sequence[Envelope]) -> None:
    """A journal of *envelopes*, each received when it was."""
    at = 0.0
    journal = Journal(folder, now=lambda: at)
    try:
        group: list[Envelope] = []
        for envelope in sorted(envelopes, key=lambda e: e.received_at):
            if group and envelope.received_at != at:
                journal.append((e.raw, e.source, e.programme, "", e.principal) for e in group)
                group = []
            at = envelope.received_at
            group.append(envelope)
        journal.append((e.raw, e.source, e.programme, "", e.principal) for e in group)
    finally:
        journal.close()


def _has_more(journal: Path, position: int) -> bool:
    return any(at > position for at, _ in recorded(journal))
