"""The other driver: the same functions under a clock that is moved by hand.

For scenarios and tests; replay stands on it too. It must agree with the Bytewax flow event for
event, which a differential test checks.
"""

from collections.abc import Iterable, Mapping

from cases import shard as shards
from cases.events import Event
from cases.shard import Drawer, Item, Known
from feedback.decode import Decoder
from feedback.ids import DEFAULT_SHARDS
from feedback.instants import Instant
from feedback.records import Envelope, Tick
from flows.books import Book
from flows.engine_time import EngineClock
from flows.erasures import Erasures
from flows.hearing import Hearing
from flows.indexes import DueIndex, KnownResponses
from flows.noticing import Look, NoticeStep
from flows.outages import Outages
from flows.spikes import Noted, Scout, SpikeStep
from flows.timetable import InForce
from flows.watching import Watch, WindowStep
from scoring.models import Models
from scoring.spikes import SpikeSettings


class Uncounted:
    """A meter for where nobody is watching."""

    def responses(self, outcome: str) -> None:
        """Not counted."""

    def actions(self, outcome: str) -> None:
        """Not counted."""

    def found(self, rule: str, kind: str) -> None:
        """Not counted."""

    def dropped(self, rule: str, what: str, count: int) -> None:
        """Not counted."""

    def keys(self, drawer: int, count: int) -> None:
        """Not counted."""

    def notices_held(self, count: int) -> None:
        """Not counted."""

    def unwatched(self, what: str, count: int) -> None:
        """Not counted."""

    def segments(self, drawer: int, count: int) -> None:
        """Not counted."""

    def polled(self, now: float) -> None:
        """Not counted."""

    def snapshotted(self) -> None:
        """Not counted."""


class VirtualEngine:
    """An engine whose time is what its records and its caller say. Not a thread's business: one caller."""

    def __init__(
        self,
        book: Book,
        decoder: Decoder,
        *,
        start: Instant,
        shard_count: int = DEFAULT_SHARDS,
        erasures: Erasures | None = None,
        models: Models | None = None,
        spikes: SpikeSettings | None = None,
        stores: bool = True,
    ) -> None:
        """With *erasures* what is personal is sealed in its vault, as a running engine does it.

        *models* score everything; what the history says of other versions is not followed. None: VADER alone.
        Without *stores* cases lie as they are worked on, and not as small as a running engine stores them.
        """
        self._erasures = erasures or Erasures()
        scored_by = models or Models()
        self.at = start
        self._cases: dict[int, Drawer] = {}
        self._stores = stores
        self._knows: dict[int, list[Known]] = {}
        self._due, self._known = DueIndex(), KnownResponses()
        self._drawers: dict[int, WindowStep] = {}
        self._notices = NoticeStep(None, self._due)
        self._watched = spikes or SpikeSettings()
        self._segments: dict[int, SpikeStep] = {}
        self._books = {book.hash: book}
        self._hearing = Hearing(
            decoder,
            self._books.__getitem__,
            shards=shard_count,
            known=self._known,
            clock=EngineClock(wall=lambda: float(self.at), boot=lambda: float(self.at)),
            meter=Uncounted(),
            outages=Outages(),
            open_models=lambda _: scored_by,
            erasures=self._erasures,
            scout=Scout(self._watched, decoder.metrics),
        )
        self._hearing.begin(InForce(book.hash))

    @property
    def bodies(self) -> Mapping[int, bytes]:
        """Every shard that holds a case, as stored."""
        return {shard: body for shard, drawer in self._cases.items() if (body := shards.pack(drawer)) is not None}

    @property
    def memories(self) -> list[bytes]:
        """What the windows remember, as stored."""
        return [part for step in self._drawers.values() for part in step.stored() if isinstance(part, bytes)]

    @property
    def open_cases(self) -> int:
        """Cases that are not closed."""
        theirs = sum(entry.open for drawer in self._cases.values() for entry in drawer.entries)
        return theirs + sum(step.open_cases for step in self._drawers.values())

    def judge_by(self, book: Book) -> None:
        """Judge by *book* from here on, as a control item of the stream would have it."""
        self._books[book.hash] = book
        self._hearing.begin(InForce(book.hash))

    def hear(self, envelopes: Iterable[Envelope]) -> list[Event]:
        """Give it records, in order of their received time; time moves to each first."""
        events: list[Event] = []
        for envelope in envelopes:
            events += self.advance(Instant(int(envelope.received_at)))
            events += self._give(envelope)
        return events

    def advance(self, to: Instant) -> list[Event]:
        """Let time pass until *to*; everything that falls due is said at its own instant."""
        events: list[Event] = []
        while (due := self._due.earliest()) is not None and due <= to:
            self.at = Instant(max(self.at, due))
            for shard in self._due.take_due(self.at, 1):
                events += self._give(Tick(shard=shard, at=self.at))
        self.at = Instant(max(self.at, to))
        return events

    def _give(self, what: Envelope | Tick) -> list[Event]:
        events: list[Event] = []
        for _, heard in self._hearing.hear([(what, self.at)]):
            if isinstance(heard, Event):
                events.append(heard)
            elif isinstance(heard, Look):
                events += self._notices.take([heard])
            elif isinstance(heard, Noted):
                events += self._note(heard)
            else:
                said = self._watch(heard) if isinstance(heard, Watch) else self._step(heard)
                if looks := [look for _, look in self._hearing.heed([("", event) for event in said])]:
                    self._notices.take(looks)
                events += said
        return events

    def _watch(self, watch: Watch) -> list[Event]:
        step = self._drawers.get(watch.item.shard)
        if step is None:
            step = self._drawers[watch.item.shard] = WindowStep(None, self._due, Uncounted(), self._erasures)
        return step.take(watch)

    def _note(self, noted: Noted) -> list[Event]:
        step = self._segments.get(noted.drawer)
        if step is None:
            step = self._segments[noted.drawer] = SpikeStep(None, self._watched, Uncounted())
        return step.take(noted)

    def _step(self, item: Item) -> list[Event]:
        shard = item.shard
        held = self._cases.get(shard)
        stored = shards.pack(held) if self._stores and held is not None else held
        stepped = shards.step(shard, stored, [item], alike=self._stores)
        if stepped.drawer.entries or stepped.drawer.erased:
            self._cases[shard] = stepped.drawer
        else:
            self._cases.pop(shard, None)
        self._due.register(shard, stepped.wake_at)
        self._erasures.ask(stepped.erased)
        before = self._knows.get(shard, [])
        if stepped.knows != before:
            self._known.change(shard, before, stepped.knows)
            self._knows[shard] = stepped.knows
        return stepped.events
