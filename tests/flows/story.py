"""A small world for flow tests: rules with clocks of minutes, a story of records, and the real dataflow over it.

Time is moved by the reader, five seconds a poll, so a run of twenty minutes takes a second; what the sinks get is
kept by event id, as an idempotent store would.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
from bytewax.outputs import DynamicSink, StatelessSinkPartition
from bytewax.recovery import RecoveryConfig, init_db_dir
from bytewax.testing import cluster_main, run_main

from cases.events import Event
from connectors.reading import Reader
from feedback.decode import Decoder
from feedback.instants import Instant
from feedback.layout import Layout
from feedback.metrics import STANDARD
from feedback.records import Envelope
from flows.alerts import build
from flows.books import Book
from flows.engine_time import EngineClock
from flows.hearing import Hearing
from flows.indexes import DueIndex, KnownResponses
from flows.lane import Input, Lane, LaneSource, State, in_force
from flows.order import OrderLog
from flows.outages import Outages
from flows.spikes import Scout
from flows.timetable import InForce
from flows.virtual import Uncounted
from rules.parse import load_text
from scoring.models import Models
from scoring.spikes import SpikeSettings

START = Instant(1_793_610_000)  # 2026-11-02T09:00:00Z
STEP_S = 5
SHARDS = 16

RULES = {
    "sets/story.yaml": """
set: story
roster: story
attributes: {site: text}
rules:
  - id: detractor
    title: Detractor
    when: {all: ['bands.nps == "detractor"']}
    case:
      type: detractor
      priority: high
      owner: lead
      fallback: duty
      acknowledge_within: 2m
      clocks:
        first_response: {within: 5m, warn: [50%, 1m before], escalate: [{to: duty}, {after: 2m, to: head}]}
        update: {every: 4m}
        resolve: {within: 12m, warn: [50%], pausable: true, extendable: 3h, escalate: [{to: head}]}
        idle: {after: 6m}
  - id: risky
    title: Risky
    when: {all: ['risk >= 0.9']}
    case: {type: risky, priority: normal, owner: lead}
  - id: late
    title: Says late
    when: {all: ['text.contains("late")']}
    case: {type: delay, priority: normal, owner: lead, clocks: {resolve: {within: 10m}}}
""",
    "rosters/story.yaml": """
roster: story
people: {ann: {name: Ann}, bob: {name: Bob}, cat: {name: Cat}, dan: {name: Dan}}
roles: {lead: {default: [ann, bob]}, duty: {default: [cat]}, head: {default: [dan]}}
""",
}


WINDOWS = """
  - id: many-late
    title: Several say late
    when: {all: ['text.contains("late")']}
    window: {kind: count, by: none, count: 3, within: 4m, late: 20s, stay_open: 3m}
    case: {type: systemic, owner: duty, clocks: {resolve: {within: 6m, escalate: [{to: head}]}}}
  - id: share
    title: Detractors among the answers
    when: {all: ['has(scores.nps)']}
    window: {kind: share, by: programme, part: {all: ['bands.nps == "detractor"']}, share: 50%, at_least: 3,
             within: 6m, late: 20s, open_after: 2, stay_open: 2m}
    case: {type: systemic-share, owner: duty}
  - id: no-thanks
    title: A complaint that no good word followed
    when: {all: ['bands.nps == "detractor"']}
    window: {kind: sequence, by: customer, without: {all: ['text.contains("well")']}, within: 3m, late: 20s}
    case: {type: unmended, owner: lead, clocks: {resolve: {within: 5m}}}
"""
"""Rules with memory, for the end of the set."""

MORE_WINDOWS = """
  - id: brisk
    title: Responses come fast
    when: {all: ['has(scores.nps)']}
    window: {kind: rate, by: programme, per_hour: 60, within: 4m, late: 20s}
    case: {type: systemic-rate, owner: duty}
  - id: silent
    title: Nobody says anything
    when: {all: ['has(scores.nps)']}
    window: {kind: absence, by: programme, longer_than: 3m, late: 20s}
    case: {type: systemic-silence, owner: duty, clocks: {resolve: {within: 5m, escalate: [{to: head}]}}}
  - id: unheard-of
    title: A channel that was never seen
    when: {all: ['channel != ""']}
    window: {kind: new_value, by: none, value: channel, learn: 2m, late: 20s}
    case: {type: systemic-new, owner: duty}
  - id: falls
    title: A customer's score falls
    when: {all: ['has(scores.nps)']}
    window: {kind: change, by: customer, score: scores.nps, falls: 4, within: 10m, late: 20s}
    case: {type: falling, owner: lead, clocks: {resolve: {within: 5m}}}
  - id: mended
    title: A complaint, and then a good word
    when: {all: ['bands.nps == "detractor"']}
    window: {kind: sequence, by: customer, then: {all: ['text.contains("well")']}, within: 6m, late: 20s}
    case: {type: mended, owner: lead}
"""
"""Of the kinds that `WINDOWS` has none of; but for `spike`, which takes days to learn what is usual."""

NOTICES = """
notices:
  group: {by: [rule], wait: 20s, interval: 2m}
  quiet: [{name: tea, from: "09:10", to: "09:12", zone: UTC}]
  caps: [{per: receiver, most: 4, within: 5m}]
  inhibit: [{rule: many-late, mutes: [late, detractor]}]
"""
"""Noise control, for the end of the set after `WINDOWS`."""


def book(more: str = "") -> Book:
    """The story's rules, and *more* of them."""
    texts = {**RULES, "sets/story.yaml": RULES["sets/story.yaml"] + more}
    return Book("story", {"default": load_text(texts, "story", STANDARD)}, STANDARD)


def envelope(number: int, at: int, record: dict[str, Any]) -> Envelope:
    raw = msgspec.json.encode({"id": f"{number}", **record})
    return Envelope(raw=raw, source="story", position=str(number), received_at=START + at + 0.25)


def response(number: int, at: int, nps: int | None = None, **more: Any) -> Envelope:
    scores = {} if nps is None else {"scores": {"nps": nps}}
    return envelope(number, at, {"customer": f"c{number}", "language": "en", **scores, **more})


def action(number: int, at: int, case: str, do: str, by: str, **more: Any) -> Envelope:
    return envelope(number, at, {"kind": "action", "case": case, "do": do, "by": by, **more})


@dataclass
class World:
    """Virtual time, shared by a reader and the engine's clock."""

    at: float = float(START)
    until: float = START + 1500.0


class Cut(Exception):
    """The process dies here."""


class ListReader:
    """Hands out envelopes when their time has come. Dies after `cut` of them."""

    name = "story"
    trouble = ""
    lag = 0

    def __init__(self, world: World, envelopes: Sequence[Envelope], resume: str | None, cut: int | None) -> None:
        self._world, self._cut = world, cut
        self._left = list(envelopes)
        if resume is not None:
            after = [e.position for e in envelopes].index(resume) + 1
            self._left = self._left[after:]
        self._given = len(envelopes) - len(self._left)

    @property
    def caught_up(self) -> bool:
        return not self._left or self._left[0].received_at > self._world.at

    @property
    def finished(self) -> bool:
        return not self._left and self._world.at >= self._world.until

    def poll(self, limit: int) -> Sequence[Envelope]:
        if self._cut is not None and self._given >= self._cut:
            raise Cut
        self._world.at += STEP_S
        ready = [e for e in self._left if e.received_at <= self._world.at][:1]
        self._left = self._left[len(ready) :]
        self._given += len(ready)
        return ready

    def release(self, position: str) -> None:
        """Nothing is kept."""

    def close(self) -> None:
        """Nothing is open."""


@dataclass
class Store(DynamicSink[tuple[str, Event]]):
    """Events by id, the first of each kept: what an idempotent store ends up with."""

    events: dict[str, Event] = field(default_factory=dict)
    order: list[Event] = field(default_factory=list)

    def build(self, step_id: str, worker_index: int, worker_count: int) -> "_Part":
        return _Part(self)


class _Part(StatelessSinkPartition[tuple[str, Event]]):
    def __init__(self, store: Store) -> None:
        self._store = store

    def write_batch(self, items: list[tuple[str, Event]]) -> None:
        for _, event in items:
            self._store.order.append(event)
            self._store.events.setdefault(event.id, event)


def run(
    store: Store,
    envelopes: Sequence[Envelope],
    folder: Path,
    *,
    world: World | None = None,
    cut: int | None = None,
    workers: int = 1,
    open_models: Callable[[str], Models] = lambda _: Models(),
    layout: Layout | None = None,
    lane: int = 0,
    reader_of: "Callable[[World, Sequence[Envelope], str | None], Reader] | None" = None,
    jumped_s: "Callable[[float], float]" = lambda at: 0.0,
    rules: Book | None = None,
    spikes: SpikeSettings | None = None,
) -> None:
    """Run the dataflow over *envelopes*, resuming what *folder* holds. With *cut* it dies after so many of them.

    *lane* of a store cut as *layout*, its records from what *reader_of* makes. *jumped_s*: by how much the wall clock
    is wrong at an instant of the world.
    """
    world = world or World()
    if not folder.exists():
        folder.mkdir(parents=True)
        init_db_dir(folder, 1)
    due, known = DueIndex(), KnownResponses()
    clock = EngineClock(wall=lambda: world.at + jumped_s(world.at), boot=lambda: world.at)
    outages = Outages(folder.parent / "time")
    hearing = Hearing(
        Decoder(STANDARD, frozenset({"default"})),
        lambda _: rules or book(),
        shards=SHARDS,
        known=known,
        clock=clock,
        meter=Uncounted(),
        outages=outages,
        open_models=open_models,
        scout=Scout(spikes or SpikeSettings(), STANDARD),
    )
    if layout is not None:
        hearing.lay_out(layout, lane)

    def open_lane(state: State | None) -> Lane:
        judged_by = in_force(state) if state else InForce("story")
        hearing.begin(judged_by)
        position = state["positions"].get("story") if state else None
        reader: Reader = (
            ListReader(world, envelopes, position, cut) if reader_of is None else reader_of(world, envelopes, position)
        )
        return Lane(
            [Input(reader, position, binding=False)],
            in_force=judged_by,
            due=due,
            clock=clock,
            stopping=lambda: False,
            ends=True,
            meter=Uncounted(),
            outages=outages,
            foresee=hearing.foresee,
            order=OrderLog(folder.parent / f"order-{folder.name}"),
            since=state.get("order") if state else 0,
            apart=hearing.is_apart,
        )

    flow = build(LaneSource(open_lane), hearing, [store], due=due, known=known, meter=Uncounted(), spikes=spikes)
    config = RecoveryConfig(folder)
    if workers == 1:
        run_main(flow, epoch_interval=timedelta(0), recovery_config=config)
    else:
        cluster_main(flow, [], 0, epoch_interval=timedelta(0), recovery_config=config, worker_count_per_proc=workers)


def said(event: Event) -> dict[str, Any]:
    """What an event says, but for when we noticed."""
    return {k: v for k, v in event.data.items() if k not in ("detected_at", "late")}


def case_of(store: Store, customer: str) -> str:
    """The id of the case that *customer*'s response opened."""
    return next(
        str(e.case)
        for e in store.events.values()
        if e.type == "case.opened" and e.data["response"]["customer"] == customer
    )
