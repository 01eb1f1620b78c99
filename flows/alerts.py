r"""The engine: responses and actions in, case events out. One Bytewax dataflow with one input step.

    lane -> hear (decode, score, judge) -> shards (cases and clocks) -> sinks
                      \\-> windows (rules with memory, and their cases) -> sinks
                      \\-> spikes (themes watched for change) -> sinks
    shards, windows -> notices (which are told, held back, told in a digest) -> sinks

`hear` is stateless but for the rules in force, which only an item of the stream can change. What needs no case
(a rejected record, a failed rule) goes from there straight to the sinks. The ids of the flow and of its steps
are stored names: renaming one forgets every open case in silence, so `tests/flows/` keeps a golden list.
"""

from collections.abc import Sequence
from typing import Protocol, cast

import bytewax.operators as op
from bytewax.dataflow import Dataflow
from bytewax.operators import KeyedStream
from bytewax.outputs import Sink

from cases.events import Event
from cases.shard import Item
from flows.erasures import Erasures
from flows.hearing import UNKEYED, Heard, Hearing
from flows.indexes import DueIndex, KnownResponses
from flows.keyed import shard_builder
from flows.lane import LaneSource
from flows.noticing import Look, notice_builder
from flows.spikes import Meter as SpikeMeter
from flows.spikes import Noted, spike_builder
from flows.watching import Meter as WindowMeter
from flows.watching import Watch, window_builder
from scoring.spikes import SpikeSettings

FLOW_ID = "tocsin"
FIRST_STATEFUL = ("tocsin.lane", "tocsin.shards", "tocsin.sink_0")
"""The steps that kept state in the first releases, whose stores do not name them."""
STATEFUL = (*FIRST_STATEFUL, "tocsin.windows", "tocsin.notices", "tocsin.spikes")
"""The steps that keep state, as recovery knows them."""


class Meter(WindowMeter, SpikeMeter, Protocol):
    """What the steps count; `flows/metrics.py` keeps the numbers."""

    def notices_held(self, count: int) -> None:
        """So many notices are held back now."""


def build(
    source: LaneSource,
    hearing: Hearing,
    sinks: Sequence[Sink[tuple[str, Event]]],
    *,
    due: DueIndex,
    known: KnownResponses,
    meter: Meter,
    erasures: Erasures | None = None,
    spikes: SpikeSettings | None = None,
) -> Dataflow:
    """The dataflow. Every sink is given (key, event), in the order in which things were said of each case."""
    flow = Dataflow(FLOW_ID)
    given = op.input("lane", flow, source)
    heard = op.flat_map_batch("hear", given, hearing.hear)
    split = op.branch("split", heard, _needs_no_case)
    # Rules with memory are keyed by what they watch, and the cases that they open lie with them.
    noted = op.branch("noted", split.falses, _is_noted)
    changed = op.stateful_batch(
        "spikes", cast("KeyedStream[Noted]", noted.trues), spike_builder(spikes or SpikeSettings(), meter)
    )
    apart = op.branch("apart", noted.falses, _is_watch)
    builder = window_builder(due, meter, erasures or Erasures())
    found = op.stateful_batch("windows", cast("KeyedStream[Watch]", apart.trues), builder)
    aside = op.branch("aside", apart.falses, _is_look)
    keyed = cast("KeyedStream[Item]", aside.falses)
    stepped = op.stateful_batch("shards", keyed, shard_builder(due, known, erasures or Erasures()))
    said = cast("KeyedStream[Event]", op.flat_map_batch("name", stepped, hearing.name))
    # Of what is said of cases, noise control follows what its policy needs; most sets have none.
    heeded = op.flat_map_batch("heed", op.merge("of_cases", found, said), hearing.heed)
    looks = op.merge("looks", cast("KeyedStream[Look]", aside.trues), heeded)
    told = op.stateful_batch("notices", looks, notice_builder(due, meter.notices_held))
    events = op.merge("said", cast("KeyedStream[Event]", split.trues), changed, found, said, told)
    for number, sink in enumerate(sinks):
        op.output(f"sink_{number}", events, sink)
    return flow


def _is_noted(heard: Heard) -> bool:
    return isinstance(heard[1], Noted)


def _is_watch(heard: Heard) -> bool:
    return isinstance(heard[1], Watch)


def _is_look(heard: Heard) -> bool:
    return isinstance(heard[1], Look)


def _needs_no_case(heard: Heard) -> bool:
    return heard[0] == UNKEYED
