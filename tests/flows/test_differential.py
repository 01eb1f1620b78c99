"""The two drivers agree: on generated histories the dataflow says, event for event, what virtual time says.

Responses, corrections, anonymous ones, repeats, actions that are allowed and that are not, silence; at one worker
and at two, whole and cut anywhere and resumed. Only `detected_at` and `late`, which tell of the telling, may differ.
"""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

import pytest
from bytewax.errors import BytewaxRuntimeError
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from cases.events import Event
from feedback.decode import Decoder
from feedback.ids import case_id, shard_of
from feedback.instants import Instant
from feedback.metrics import STANDARD
from feedback.records import Envelope
from flows import lane
from flows.books import Book
from flows.virtual import VirtualEngine
from tests.flows.story import (
    MORE_WINDOWS,
    NOTICES,
    SHARDS,
    START,
    WINDOWS,
    Store,
    World,
    action,
    book,
    envelope,
    response,
    run,
    said,
)

END = Instant(START + 1200)
"""Both drivers have gone past it; what becomes true later, one of them may not have reached."""
ALL_RULES = book(WINDOWS)
"""Rules with memory among them, which count over all customers."""
QUIETER = book(WINDOWS + NOTICES)
"""The same, with notices that are grouped, held back and told in digests."""
OTHER_KINDS = book(MORE_WINDOWS)
"""The other kinds of rules with memory."""
CUSTOMERS = ("c1", "c2", "c3", None)
TEXTS = ("", "late again", "all well", "fine, but late")
OUTCOME = {"problem": "p", "action_taken": "a", "customer_told": "yes", "satisfied": "no"}
DEEDS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("acknowledge", {}),
    ("assign", {"data": {"to": "bob"}}),
    ("assign", {"data": {"to": "nobody"}}),
    ("start", {}),
    ("wait", {"reason": "parts"}),
    ("note", {"reason": "rang twice"}),
    ("contact", {}),
    ("pause", {"reason": "away", "data": {"clock": "resolve"}}),
    ("pause", {"data": {"clock": "resolve"}}),
    ("resume", {"data": {"clock": "resolve"}}),
    ("extend", {"reason": "agreed", "data": {"clock": "resolve", "by": "1h"}}),
    ("resolve", {"data": {"outcome": OUTCOME}}),
    ("close", {}),
    ("reopen", {"reason": "not mended"}),
    ("invalidate", {"reason": "a test"}),
    ("escalate", {"reason": "grave", "data": {"to": "head"}}),
)


@st.composite
def histories(draw: st.DrawFn) -> list[Envelope]:
    """Records of some twenty minutes, seconds to minutes apart."""
    made: list[Envelope] = []
    heard: list[tuple[str, int]] = []
    at = 0
    for number in range(1, draw(st.integers(1, 14)) + 1):
        at += draw(st.sampled_from((0, 1, 7, 30, 60, 119, 120, 240)))
        what = draw(st.sampled_from(("response", "response", "again", "action", "action", "broken")))
        nps = draw(st.sampled_from((None, 0, 4, 9)))
        text = draw(st.sampled_from(TEXTS))
        if what == "broken":
            made.append(envelope(number, at, {"scores": {"nps": 11}}))
        elif what == "response" or not heard:
            customer = draw(st.sampled_from(CUSTOMERS))
            channel = draw(st.sampled_from(("sms", "web", "post")))
            made.append(response(number, at, nps=nps, text=text, customer=customer, channel=channel))
            heard.append((customer or f"anonymous story {number}", number))
        elif what == "again":
            customer, first = draw(st.sampled_from(heard))
            known = {} if customer.startswith("anonymous") else {"customer": customer}
            scores = {} if nps is None else {"scores": {"nps": nps}}
            again = {"id": str(first), "language": "en", "text": text, **known, **scores}
            made.append(envelope(number, at, again))
        else:
            customer, first = draw(st.sampled_from(heard))
            type_ = draw(st.sampled_from(("detractor", "delay")))
            do, more = draw(st.sampled_from(DEEDS))
            case = case_id(shard_of("default", customer, SHARDS), "default", customer, type_, "", "story", str(first))
            made.append(action(number, at, case, do, draw(st.sampled_from(("ann", "bob"))), **more))
    return [one for one in made if one.received_at < END]


def virtual(envelopes: list[Envelope], rules: Book) -> dict[str, tuple[Any, ...]]:
    engine = VirtualEngine(rules, Decoder(STANDARD, frozenset({"default"})), start=START, shard_count=SHARDS)
    return facts([*engine.hear(envelopes), *engine.advance(Instant(END + 300))])


def flowed(envelopes: list[Envelope], workers: int, rules: Book, cut: int | None = None) -> dict[str, tuple[Any, ...]]:
    store, world = Store(), World(until=END + 120.0)
    with TemporaryDirectory() as folder:
        place = Path(folder) / "r"
        if cut is not None:
            with pytest.raises(BytewaxRuntimeError):
                run(store, envelopes, place, world=world, cut=cut, workers=workers, rules=rules)
            world.at += 45
        run(store, envelopes, place, world=world, workers=workers, rules=rules)
    for case in {e.case for e in store.events.values() if e.sequence}:
        numbers = sorted(e.sequence for e in store.events.values() if e.case == case and e.sequence)
        assert numbers == list(range(1, len(numbers) + 1)), f"{case} has a gap: two events of one id"
    return facts(list(store.events.values()))


def facts(events: list[Event]) -> dict[str, tuple[Any, ...]]:
    """Id to everything that an event says."""
    return {e.id: (e.type, e.case, e.sequence, e.time, said(e)) for e in events if e.time < END}


EXAMPLES = settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])


RULES = pytest.mark.parametrize("rules", [ALL_RULES, QUIETER, OTHER_KINDS], ids=["loud", "quiet", "others"])


@RULES
@pytest.mark.parametrize("workers", [1, 2])
@EXAMPLES
@given(envelopes=histories())
def test_the_flow_says_what_virtual_time_says(rules: Book, workers: int, envelopes: list[Envelope]) -> None:
    expected = virtual(envelopes, rules)
    event(f"{len(expected) // 10 * 10} events or more")
    event(f"systemic cases: {sum(said[0] == 'case.opened' and 'alert' in said[4] for said in expected.values())}")
    for one in expected.values():
        if "alert" in one[4] and one[0] == "case.opened":
            event(f"alert of {one[4]['rules'][0]['id']}")
    event(f"digests: {sum(said[0] == 'notice.digest' for said in expected.values())}")
    assert flowed(envelopes, workers, rules) == expected


@RULES
@pytest.mark.parametrize("workers", [1, 2])
@EXAMPLES
@given(envelopes=histories().filter(len), data=st.data())
def test_the_flow_cut_and_resumed_says_what_virtual_time_says(
    rules: Book, workers: int, envelopes: list[Envelope], data: st.DataObject
) -> None:
    cut = data.draw(st.integers(1, len(envelopes)), label="cut after")
    with patch.object(lane, "HOLD_AT_MOST_S", 3600.0):  # each poll takes seconds here, and a backlog many polls
        assert flowed(envelopes, workers, rules, cut) == virtual(envelopes, rules)


def test_who_joins_an_alert_after_ticks_no_longer_waited_for_them_is_told_in_an_event_of_its_own() -> None:
    """A backlog that is read more slowly than ticks wait: one record is heard after what its fellows made was told."""
    texts = ["", "", "", "", "", "", "", "", "", "late again", "late again", "late again", "late again"]
    at = [0] * 10 + [1, 2, 2]
    slow = [response(n, at[n - 1], customer="c1", text=text, channel="sms") for n, text in enumerate(texts, 1)]

    told = [said[4] for said in flowed(slow, 1, QUIETER, 1).values() if said[4].get("change") == "affected"]

    assert told[-1]["count"] == 4  # and 3 before it, where the tick came between: `flowed` finds a gap if one is lost
