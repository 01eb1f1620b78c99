"""A deadline that the engine sets is the one that `tocsin due` answers, to the second: every clock of every pack."""

from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cases.shard import unpack as entries_of
from console.due import DueError, question
from feedback.instants import Instant, parse_instant, rfc3339
from flows.books import Book
from rules.shipped import law
from tests.builders import book, engine, envelope

PACKS, _ = law()
STARTS = sorted({(p.name, m) for p in PACKS.values() for c in p.clocks.values() for m in c.starts if ":" in m})
STARTS = [(pack, m.removeprefix("milestone:")) for pack, m in STARTS if m.startswith("milestone:")]
LAST = parse_instant("2030-12-31T23:59:59Z")


def rules() -> Book:
    lines = ["set: s", "roster: r", "rules:"]
    for number, (pack, start) in enumerate(STARTS):
        levels = ", ".join(f"{level}: lead" for level in sorted(PACKS[pack].levels))
        lines.append(
            f"  - {{id: r{number}, when: {{all: ['text == \"start {number}\"']}}, "
            f"case: {{type: t{number}, owner: lead, "
            f"packs: {{{pack}: {{reaches: ['{start}'], roles: {{{levels}}}}}}}}}}}"
        )
    roster = "roster: r\npeople: {ann: {name: Ann}}\nroles: {lead: {default: [ann]}}\n"
    return book({"default": {"sets/s.yaml": "\n".join(lines), "rosters/r.yaml": roster}})


RULES = rules()


def armed(number: int, at: Instant) -> Iterator[tuple[str, str]]:
    """(clock, due_at) of what starts with the moment of that number."""
    record = {"id": "1", "customer": "c1", "language": "en", "text": f"start {number}"}
    for event in engine(RULES, at).hear([envelope(record, at)]):
        if event.type == "clock.armed":
            yield event.data["clock"], event.data["due_at"]


@pytest.mark.parametrize("number", range(len(STARTS)), ids=lambda n: " ".join(STARTS[n]))
@settings(max_examples=12, deadline=None)
@given(at=st.integers(parse_instant("2026-10-27T00:00:00Z"), LAST).map(Instant))
def test_the_flow_and_the_answer_agree(number: int, at: Instant) -> None:
    pack, start = STARTS[number]
    found = dict(armed(number, at))
    finding = start.partition(":")[2]
    for clock in PACKS[pack].clocks.values():
        if f"milestone:{start}" not in clock.starts:
            continue
        said = [f"hazard={finding}"] if clock.reading.length_by == "hazard" else []
        try:
            answer = question(pack, clock.name, rfc3339(at), "", said, None)
        except DueError as error:
            answered = str(error)
            answer = {"notes": [answered.replace("is in force", "was in force")]}
        if any("was in force" in note for note in answer["notes"]):
            assert clock.name not in found
        else:
            assert found.pop(clock.name) == answer["due_at"]
    assert found == {}


def test_a_case_under_the_law_stays_small() -> None:
    """Every clock of Awaab's Law waits in it, in two or three thousand bytes."""
    world = engine(RULES)
    number = STARTS.index(("awaabs-law", "aware"))
    record = {"id": "1", "customer": "c1", "language": "en", "text": f"start {number}"}
    world.hear([envelope(record, world.at)])
    (entry,) = [e for body in world.bodies.values() for e in entries_of(body).entries]
    assert len(entry.packed) < 3000
