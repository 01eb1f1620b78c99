r"""The engine: responses and actions in, case events out. One Bytewax dataflow with one input step.

    lane -> hear (decode, score, judge) -> shards (cases and clocks) -> sinks
                      \\-> windows (rules with memory, and their cases) -> sinks

`hear` is stateless but for the rules in force, which only an item of the stream can change. What needs no case
(a rejected record, a failed rule) goes from there straight to the sinks. The ids of the flow and of its steps
are stored names: renaming one forgets every open case in silence, so `tests/flows/` keeps a golden list.
"""

from collections.abc import Sequence
from typing import cast

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
from flows.watching import Meter, Watch, window_builder

FLOW_ID = "tocsin"
FIRST_STATEFUL = ("tocsin.lane", "tocsin.shards", "tocsin.sink_0")
"""The steps that kept state in the first releases, whose stores do not name them."""
STATEFUL = (*FIRST_STATEFUL, "tocsin.windows")
"""The steps that keep state, as recovery knows them."""


def build(
    source: LaneSource,
    hearing: Hearing,
    sinks: Sequence[Sink[tuple[str, Event]]],
    *,
    due: DueIndex,
    known: KnownResponses,
    meter: Meter,
    erasures: Erasures | None = None,
) -> Dataflow:
    """The dataflow. Every sink is given (key, event), in the order in which things were said of each case."""
    flow = Dataflow(FLOW_ID)
    given = op.input("lane", flow, source)
    heard = op.flat_map_batch("hear", given, hearing.hear)
    split = op.branch("split", heard, _needs_no_case)
    # Rules with memory are keyed by what they watch, and the cases that they open lie with them.
    apart = op.branch("apart", split.falses, _is_watch)
    builder = window_builder(due, meter, erasures or Erasures())
    found = op.stateful_batch("windows", cast("KeyedStream[Watch]", apart.trues), builder)
    keyed = cast("KeyedStream[Item]", apart.falses)
    said = op.stateful_batch("shards", keyed, shard_builder(due, known, erasures or Erasures()))
    events = op.merge("said", cast("KeyedStream[Event]", split.trues), found, said)
    for number, sink in enumerate(sinks):
        op.output(f"sink_{number}", events, sink)
    return flow


def _is_watch(heard: Heard) -> bool:
    return isinstance(heard[1], Watch)


def _needs_no_case(heard: Heard) -> bool:
    return heard[0] == UNKEYED
