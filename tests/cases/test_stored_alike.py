"""Cases of one drawer share most of what they say, and are stored like one of them."""

from typing import Any

from cases import case as cases
from cases import shard as shards
from feedback.decode import Decoder
from feedback.instants import Instant
from feedback.metrics import STANDARD
from flows.erasures import Erasures
from flows.virtual import VirtualEngine
from tests.builders import START, FixedKeys, book, envelope

RULES = book(
    {
        "default": {
            "sets/x.yaml": """
set: x
roster: x
rules:
  - id: detractor
    title: Somebody is unhappy and waits for a call
    when: {all: ['scores.nps <= 6']}
    case: {type: detractor, owner: lead, acknowledge_within: 30m,
           clocks: {first_response: {within: 4h, warn: [50%], escalate: [{to: lead}]}, resolve: {within: 48h}}}
""",
            "rosters/x.yaml": "roster: x\npeople: {ann: {name: Ann}}\nroles: {lead: {default: [ann]}}\n",
        }
    }
)


def drawer_of(count: int, keys: FixedKeys | None) -> tuple[VirtualEngine, shards.Drawer]:
    erasures = Erasures(keys) if keys is not None else None
    engine = VirtualEngine(
        RULES, Decoder(STANDARD, frozenset(RULES.sets)), start=START, shard_count=1, erasures=erasures
    )
    engine.hear(_response(n) for n in range(count))
    (body,) = engine.bodies.values()
    return engine, shards.unpack(body)


def _response(number: int) -> Any:
    record = {"id": f"r{number}", "customer": f"customer-{number}", "scores": {"nps": 1}, "text": "Nobody rang."}
    return envelope({**record, "attributes": {"site": f"site-{number}"}}, START, str(number))


def test_a_few_cases_are_stored_each_for_itself() -> None:
    _, drawer = drawer_of(shards.FEW, FixedKeys())
    assert drawer.like == b""
    assert [drawer.case(entry, FixedKeys()).customer for entry in drawer.entries] == [
        f"customer-{number}" for number in range(shards.FEW)
    ]


def test_more_are_stored_in_half_the_room_and_read_as_they_were() -> None:
    for keys in (FixedKeys(), None):
        _, drawer = drawer_of(40, keys)
        for number, entry in enumerate(drawer.entries):
            case = drawer.case(entry, keys)
            assert (case.customer, case.routing, case.rules[0].title) == (
                f"customer-{number}", {"site": f"site-{number}"}, "Somebody is unhappy and waits for a call",
            )  # fmt: skip
        last = drawer.entries[-1]
        assert len(last.packed) < 0.5 * len(cases.pack(drawer.case(last, keys), keys))


def test_the_sample_says_nothing_of_a_customer_and_goes_with_the_last_case() -> None:
    engine, drawer = drawer_of(40, None)
    assert drawer.like
    assert [word for word in (b"customer-", b"site-") if word in drawer.like] == []
    close = [
        {"kind": "action", "id": f"{do}{entry.id}", "case": entry.id, "do": do, "by": "ann", "reason": "a test"}
        for entry in drawer.entries
        for do in ("invalidate",)
    ]
    for number, action in enumerate(close):
        engine.hear([envelope(action, Instant(START + 60), f"a{number}")])
    engine.advance(Instant(START + 365 * 86_400))
    assert [body for body in engine.bodies.values() if body] == []
