"""Themes watched for change: what each response says is counted under its segments, and what changed is an event.

    hear -> what it says, by segment -> spikes (drawers of segments) -> theme.spiked -> sinks

A second stage, as the rules with memory are (`watching.py`), but without cases and without ticks: a response decides
everything, so a crash and a replay find the same. The arithmetic is in `scoring/spikes.py` and `segments.py`.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Protocol
from zlib import crc32

import msgspec
import structlog
from bytewax.operators import StatefulBatchLogic

from cases.events import Event, caseless
from cases.shard import quarantined
from feedback.instants import Instant, rfc3339
from feedback.metrics import Direction, Metric
from feedback.records import Response
from flows.keyed import SnapshotError, check, checksum
from rules.ruleset import RuleSet
from scoring.reading import Reading
from scoring.segments import Segment, pack, unpack
from scoring.spikes import Said, Spike, SpikeSettings
from scoring.weeks import HOUR_S

log = structlog.get_logger()

DRAWERS = 32
"""Keys of the dataflow that segments are hashed into; one is written anew when a segment of it hears something.
A stored number: another one loses what was learned."""
SPARE = 4
"""Segments that a drawer may hold past twice its part of the limit, for the hash shares them out unevenly."""
VERSION = 1
"""Of the stored form of a drawer; a segment's bytes have their own."""
MAX_VALUE = 200
"""Characters of a segment's name; what is longer is cut."""
_KEYS = 8192
"""Segments whose drawer is remembered, so that it is not worked out again."""

Place = tuple[str, str, str]
"""(programme, what it is a segment by, which one)."""
Stored = tuple[int, int, bytes, int]
"""(version, drawer, segments, checksum of these)."""


class Note(msgspec.Struct, frozen=True, array_like=True):
    """What one response says to one of its segments."""

    place: Place
    said: Said
    seen_at: Instant
    arrived: float


class Noted(msgspec.Struct, frozen=True):
    """What a batch of responses says to one drawer, in their order."""

    drawer: int
    notes: tuple[Note, ...]


class Meter(Protocol):
    """What is told of it; `flows/metrics.py` keeps the numbers."""

    def unwatched(self, what: str, count: int) -> None:
        """So many responses were too `late`, mentions of `themes` too many, `segments` forgotten for want of room."""

    def segments(self, drawer: int, count: int) -> None:
        """How many segments *drawer* holds now."""


def spike_key(drawer: int) -> str:
    """The key of the dataflow for a drawer. A stored name."""
    return f"s{drawer:02d}"


class Scout:
    """Hearing's part: notes what responses say, and gives it on by drawer at the end of a batch."""

    def __init__(self, settings: SpikeSettings, metrics: Mapping[str, Metric]) -> None:
        self._settings = settings
        self._by = tuple(by.removeprefix("attributes.") if by.startswith("attributes.") else by for by in settings.by)
        self._metric = metrics.get(settings.score)
        self._taxonomies: dict[str, frozenset[str]] = {}
        self._drawers: dict[Place, int] = {}
        self._notes: list[Note] = []

    def take_up(self, sets: Mapping[str, RuleSet]) -> None:
        """Watch the themes that these can find. The same themes stay the same set, so that nothing begins anew."""
        for programme, rules in sets.items():
            found = frozenset(node.path for taxonomy in rules.taxonomies for node in taxonomy.themes)
            if found != self._taxonomies.get(programme):
                self._taxonomies[programme] = found

    def note(self, response: Response, reading: Reading, seen_at: Instant) -> None:
        """Remember what *response* says until the batch is given on; nothing when it has no text."""
        if reading.unscored == "no_text" or not self._settings.watch:
            return
        said = Said(
            min(response.occurred_at, response.received_at), response.received_at,
            crc32(response.customer_key.encode("utf-8", "surrogatepass")),
            tuple([found.path for found in reading.themes]), self._score(response, reading),
            response.source, response.id, self._taxonomies.get(response.programme, frozenset()),
        )  # fmt: skip
        for by, field in zip(self._settings.by, self._by, strict=True):
            value = _value(response, reading, by, field)
            if value is not None:
                self._notes.append(Note((response.programme, by, value), said, seen_at, response.arrived))

    def mark(self) -> int:
        """Where the notes are, for `undo`."""
        return len(self._notes)

    def undo(self, mark: int) -> None:
        """Forget what was noted since: the record could not be heard to its end."""
        del self._notes[mark:]

    def give(self) -> list[tuple[str, Noted]]:
        """All that was noted, by drawer."""
        if not self._notes:
            return []
        found: dict[int, list[Note]] = {}
        for note in self._notes:
            found.setdefault(self._drawer(note.place), []).append(note)
        self._notes = []
        return [(spike_key(drawer), Noted(drawer, tuple(notes))) for drawer, notes in found.items()]

    def _drawer(self, place: Place) -> int:
        drawer = self._drawers.get(place)
        if drawer is None:
            if len(self._drawers) >= _KEYS:
                self._drawers.clear()
            drawer = self._drawers[place] = crc32("\0".join(place).encode("utf-8", "surrogatepass")) % DRAWERS
        return drawer

    def _score(self, response: Response, reading: Reading) -> float | None:
        """0 the worst to 1 the best."""
        metric = self._metric
        if metric is None:
            return None if reading.sentiment is None else (reading.sentiment.compound + 1) / 2
        score = response.scores.get(metric.name)
        if score is None:
            return None
        part = (score - metric.low) / (metric.high - metric.low)
        return part if metric.direction is Direction.HIGHER_IS_BETTER else 1 - part


def _value(response: Response, reading: Reading, by: str, field: str) -> str | None:
    """Which segment it belongs to; None for none."""
    if by == "programme":
        return ""
    if field is not by:
        found = response.attributes.get(field)
        if found is None or found == "":
            return None
        return found[:MAX_VALUE] if isinstance(found, str) else f"{found:g}"
    text: str = reading.language if by == "language" else getattr(response, by)
    return text[:MAX_VALUE] or None


class SpikeStep:
    """One drawer: notes in, events out. Under Bytewax and under virtual time alike."""

    def __init__(self, stored: Stored | None, settings: SpikeSettings, meter: Meter) -> None:
        """Raises SnapshotError."""
        self._settings, self._meter = settings, meter
        self._most = 2 * -(-settings.segments // DRAWERS) + SPARE
        self._packed: dict[Place, bytes] = {}
        """Every segment, the one heard of least recently first; those in `_stale` as they were."""
        self._live: dict[Place, Segment] = {}
        self._stale: set[Place] = set()
        self._drawer = 0
        if stored is not None:
            version, self._drawer, body, crc = stored
            if version != VERSION:
                raise SnapshotError(
                    f"segments are stored in form {version} and this release reads {VERSION}; "
                    "run the release that wrote them, or a later one"
                )
            check("the segments", crc, body)
            self._packed = dict(_decode(body))
            meter.segments(self._drawer, len(self._packed))

    def take(self, noted: Noted) -> list[Event]:
        """Count what responses say. Never raises: a mistake of ours costs a segment its memory, and is an event."""
        self._drawer = noted.drawer
        events: list[Event] = []
        for note in noted.notes:
            try:
                segment = self._segment(note.place, note.said)
                events += [spiked(note, spike) for spike in segment.take(note.said)]
                if segment.late or segment.untold:
                    self._tell(segment)
            except Exception as error:
                programme, by, value = note.place
                log.error("segment.quarantined", by=by, segment=value, error=type(error).__name__)
                self._forget(note.place)
                events.append(quarantined("segment", f"{by} {value}", programme, note.seen_at, error))
        self._meter.segments(noted.drawer, len(self._packed))
        return events

    def stored(self) -> Stored:
        for place in self._stale:
            self._packed[place] = pack(self._live[place])
        self._stale.clear()
        body = _encode(list(self._packed.items()))
        return VERSION, self._drawer, body, checksum(body)

    def _segment(self, place: Place, said: Said) -> Segment:
        self._stale.add(place)
        segment = self._live.get(place)
        if segment is None:
            packed = self._packed.get(place)
            if packed is None and len(self._packed) >= self._most:
                self._forget(next(iter(self._packed)))
                self._meter.unwatched("segments", 1)
            segment = Segment(self._settings, said.at) if packed is None else unpack(packed, self._settings)
            self._live[place] = segment
            self._packed.setdefault(place, b"")
        if said.at // HOUR_S > segment.hour:  # once an hour is enough to tell who is heard of least recently
            self._packed[place] = self._packed.pop(place)
        return segment

    def _forget(self, place: Place) -> None:
        self._packed.pop(place, None)
        self._live.pop(place, None)
        self._stale.discard(place)

    def _tell(self, segment: Segment) -> None:
        self._meter.unwatched("late", segment.late)
        self._meter.unwatched("themes", segment.untold)
        segment.late = segment.untold = 0


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[tuple[Place, bytes]]).decode


def spiked(note: Note, spike: Spike) -> Event:
    """What is said of a spike. Ids of responses, and no word of a customer."""
    programme, by, value = note.place
    where = "the programme" if by == "programme" else f"{by.removeprefix('attributes.')} {value}"
    if spike.measure == "volume":
        reason = (
            f"{spike.theme} in {where}: named by {spike.count} customers, where {spike.expected:.1f} are usual among "
            f"as many answers at such hours ({spike.count / max(spike.expected, 0.1):.1f} times)"
        )
    else:
        reason = f"{spike.theme} in {where}: the score fell from {spike.usual:.2f} to {spike.now:.2f}, of 0 to 1"
    data = {
        "theme": spike.theme,
        "measure": spike.measure,
        "segment": {"by": by, "value": value},
        "reason": reason,
        "since": rfc3339(spike.since),
        "now": spike.now,
        "usual": spike.usual,
        "count": spike.count,
        "expected": spike.expected,
        "responses": [{"source": source, "id": id_} for source, id_ in spike.responses],
        "detected_at": rfc3339(note.seen_at),
    }
    occurrence = (by, value, spike.theme, spike.measure, str(spike.since))
    return caseless("theme.spiked", programme, spike.at, occurrence, data, note.arrived)


class SpikeLogic(StatefulBatchLogic[Noted, Event, Stored]):
    """A drawer under Bytewax."""

    def __init__(self, step: SpikeStep) -> None:
        self._step = step

    def on_batch(self, values: list[Noted]) -> tuple[Iterable[Event], bool]:
        return [event for noted in values for event in self._step.take(noted)], False

    def on_notify(self) -> tuple[Iterable[Event], bool]:
        return (), False

    def on_eof(self) -> tuple[Iterable[Event], bool]:
        return (), False

    def notify_at(self) -> None:
        return None

    def snapshot(self) -> Stored:
        return self._step.stored()


def spike_builder(settings: SpikeSettings, meter: Meter) -> Callable[[Stored | None], SpikeLogic]:
    """What builds a drawer's logic from what was stored under its key."""

    def build(stored: Stored | None) -> SpikeLogic:
        return SpikeLogic(SpikeStep(stored, settings, meter))

    return build
