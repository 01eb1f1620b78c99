"""Facts on their way to another lane: a window counts over all lanes, and lies in one of them.

What a response means to a window that another lane has goes into that lane's stream of facts, through the store's own
writer: what Redis could not take yet waits in the snapshot, as events do. So a fact arrives at least once, and its
window counts a response once. With the facts go the names of cases, so that a systemic case can name those of other
lanes. A record of such a stream holds no text, and nothing of a customer but the id of the response.
"""

from collections.abc import Iterable, Sequence

import msgspec

from cases.events import Event
from feedback.ids import EventId
from feedback.instants import Instant
from feedback.layout import DRAWERS, Layout
from rules.kinds import WindowFact
from rules.kinds.drawer import drawer_of

STREAM = "facts"
"""Last part of the name of the reader of such a stream, as of its key."""


class Onward(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One record of a stream of facts."""

    kind: str = "facts"
    facts: tuple[WindowFact, ...] = ()
    """All of one response."""
    arrived: float = 0.0
    """When the response did, for measuring latency."""
    history: bool = False
    cases: tuple[tuple[int, int], ...] = ()
    """Keys of responses (`feedback.ids.response_key`) and the numbers of their cases."""


_decode = msgspec.json.Decoder(Onward).decode


def is_of_facts(source: str) -> bool:
    """Whether the reader *source* reads a stream of facts; people's inputs have no colon in their names."""
    return source.endswith(":" + STREAM)


def read_facts(raw: bytes) -> Onward:
    """Raises msgspec.DecodeError for what no engine of ours has written."""
    return _decode(raw)


def shared_out(raw: bytes, layout: Layout) -> list[tuple[int, bytes]]:
    """The facts of the record *raw* by the lane of *layout* that has their windows; names go unsaid."""
    told = read_facts(raw)
    theirs: dict[int, list[WindowFact]] = {}
    for fact in told.facts:
        lane = layout.lane_of(layout.shard_of_drawer(0, drawer_of(fact.place, DRAWERS)))
        theirs.setdefault(lane, []).append(fact)
    return [
        (lane, msgspec.json.encode(msgspec.structs.replace(told, facts=tuple(facts), cases=())))
        for lane, facts in theirs.items()
    ]


def facts_for(
    lane: int, programme: str, facts: Sequence[WindowFact], at: Instant, *, arrived: float, history: bool
) -> Event:
    """*facts* of one response for *lane*."""
    return _onward(lane, programme, at, Onward(facts=tuple(facts), arrived=arrived, history=history))


def names_for(lanes: Iterable[int], programme: str, cases: Sequence[tuple[int, int]]) -> list[Event]:
    """Names of *cases* for each of *lanes*."""
    return [_onward(lane, programme, Instant(0), Onward(cases=tuple(cases))) for lane in lanes]


def _onward(lane: int, programme: str, at: Instant, record: Onward) -> Event:
    return Event(id=EventId(""), type=STREAM, programme=programme, time=at, data={"record": record}, onward=lane)
