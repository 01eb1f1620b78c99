"""What people think better of: records made late, pauses, extensions, reopenings, and the promises they touch."""

from typing import Any

import pytest

from cases.events import Event
from cases.shard import unpack as opened
from feedback.instants import Instant, parse_span, rfc3339
from tests.builders import START, book, engine, envelope

FILES = {
    "sets/s.yaml": """
set: s
roster: r
rules:
  - id: damp
    title: Damp
    when: {all: ['text.contains("damp")']}
    case:
      type: hazard
      owner: lead
      reopen_for: 7d
      clocks:
        resolve: {within: 10h, warn: [50%], pausable: true, extendable: 20h, escalate: [{to: lead}]}
        plan: {within: 5h, starts: acknowledged, met_by: ["milestone:plan"]}
        idle: {after: 20h, pausable: true}
  - id: call
    title: Call
    when: {all: ['text.contains("call")']}
    case:
      type: callback
      owner: lead
      clocks:
        update: {every: 2h, met_by: [contact], pausable: true}
        first: {within: 3h, met_by: [contact]}
  - id: quick
    title: Quick
    when: {all: ['text.contains("quick")']}
    case:
      type: quick
      owner: quick
      acknowledge_within: 10m
  - id: grave
    title: Grave
    when: {all: ['text.contains("grave")']}
    case:
      type: hazard
      owner: lead
      clocks:
        confirm: {within: 3h, starts: resolved}
        plan: {within: 1h, starts: acknowledged, met_by: ["milestone:plan"]}
""",
    "rosters/r.yaml": """
roster: r
people: {ann: {name: Ann}, bob: {name: Bob}, eve: {name: Eve}}
roles: {lead: {default: [ann]}, quick: {default: [ann, bob]}, head: {default: [eve]}}
""",
}
RULES = book({"default": FILES})


class World:
    """One customer's life with the engine; a record's time is a span since the start."""

    def __init__(self) -> None:
        self.engine = engine(RULES)
        self.said: list[Event] = []
        self.cases: list[str] = []

    def _give(self, at: str, record: dict[str, Any]) -> list[Event]:
        number = str(len(self.said))
        when = START if at == "0" else Instant(START + parse_span(at))
        return self._keep(self.engine.hear([envelope({"id": number, **record}, when, number)]))

    def _keep(self, events: list[Event]) -> list[Event]:
        self.said += events
        self.cases += [str(e.case) for e in events if e.type == "case.opened"]
        return events

    def says(self, at: str, text: str) -> list[Event]:
        return self._give(at, {"customer": "c1", "language": "en", "text": text})

    def does(self, at: str, verb: str, *, as_of: str = "", who: str = "ann", case: int = 0, **data: Any) -> list[Event]:
        record = {"kind": "action", "case": self.cases[case], "do": verb, "by": who, "reason": "why", "data": data}
        if as_of:
            record["at"] = rfc3339(Instant(START + parse_span(as_of)))
        return self._give(at, record)

    def until(self, at: str) -> list[Event]:
        return self._keep(self.engine.advance(Instant(START + parse_span(at))))

    def live(self, name: str) -> list[Any]:
        drawers = [opened(body) for body in self.engine.bodies.values()]
        known = [drawer.case(entry) for drawer in drawers for entry in drawer.entries]
        return [c for case in known for c in case.clocks if c.name == name and c.is_live]


@pytest.fixture
def world() -> World:
    begun = World()
    begun.says("0", "damp")
    return begun


def of(events: list[Event], type_: str, clock: str = "") -> list[Event]:
    return [e for e in events if e.type == type_ and (not clock or e.data["clock"] == clock)]


def only(events: list[Event], type_: str) -> dict[str, Any]:
    found = of(events, type_)
    assert len(found) == 1, [e.type for e in events]
    return found[0].data


def test_a_breach_after_a_disproved_one_is_an_event_of_its_own_and_escalates_again(world: World) -> None:
    world.until("10h")
    world.does("11h", "pause", as_of="9h", clock="resolve")
    world.does("12h", "resume", clock="resolve")
    again = world.until("13h")
    assert [e.data["due_at"] for e in of(again, "clock.breached")] == ["2026-11-02T22:00:00Z"]
    assert only(again, "case.escalated")["level"] == 2
    assert len({e.id for e in world.said}) == len(world.said)


def test_an_extended_clock_warns_again_and_says_so_under_another_id(world: World) -> None:
    first = world.until("5h")
    world.does("6h", "extend", clock="resolve", by="10h")
    second = world.until("15h")
    points = [only(events, "clock.warned")["point"] for events in (first, second)]
    assert points == [1, 1]
    assert len({e.id for e in world.said}) == len(world.said)


def test_a_late_pause_of_a_recurring_clock_that_began_anew_is_refused() -> None:
    world = World()
    world.says("0", "call")
    world.until("2h")
    assert only(world.does("3h", "pause", as_of="1h", clock="update"), "action.refused")["reason"] == "before_the_clock"


def test_a_contact_recorded_late_begins_the_next_period_when_it_took_place() -> None:
    world = World()
    world.says("0", "call")
    world.until("2h")
    events = world.does("150m", "contact", as_of="90m")
    assert [e.data["occurrence"] for e in of(events, "clock.corrected", "update")] == [1]
    assert [e.data["occurrence"] for e in of(events, "clock.met", "update")] == [1]
    assert [e.data["occurrence"] for e in of(events, "clock.ended", "update")] == [2]
    (armed,) = of(events, "clock.armed", "update")
    assert (armed.data["occurrence"], armed.data["due_at"]) == (3, rfc3339(Instant(START + parse_span("210m"))))


def test_a_paused_clock_that_is_met_was_not_late(world: World) -> None:
    world.does("9h", "pause", clock="resolve")
    world.does("10h", "start")
    (met,) = of(world.does("30h", "resolve"), "clock.met", "resolve")
    assert "late_by_s" not in met.data
    assert met.data["due_at"] == rfc3339(Instant(START + parse_span("31h")))


def test_a_paused_clock_met_and_reopened_has_the_hour_it_had_left(world: World) -> None:
    world.does("9h", "pause", clock="resolve")
    world.does("10h", "start")
    world.does("30h", "resolve")
    (armed,) = of(world.does("31h", "reopen"), "clock.armed", "resolve")
    assert armed.data["due_at"] == rfc3339(Instant(START + parse_span("32h")))


def test_a_paused_clock_can_be_extended_and_stays_paused(world: World) -> None:
    world.does("9h", "pause", clock="resolve")
    assert only(world.does("12h", "extend", clock="resolve", by="2h"), "clock.extended")
    assert not of(world.until("13h"), "clock.breached", "resolve")
    (resumed,) = of(world.does("14h", "resume", clock="resolve"), "clock.resumed")
    assert resumed.data["due_at"] == rfc3339(Instant(START + parse_span("17h")))


def test_what_a_resolution_recorded_late_ends_is_no_longer_a_breach() -> None:
    world = World()
    world.says("0", "call")
    world.does("10m", "acknowledge")
    world.until("3h")
    events = world.does("4h", "resolve", as_of="1h")
    assert {e.data["clock"] for e in of(events, "clock.corrected")} == {"update", "first"}
    assert not world.live("first")


def test_the_pause_of_an_idle_clock_is_not_undone_by_being_an_activity(world: World) -> None:
    world.does("1h", "pause", clock="idle")
    world.does("2h", "note", note="still waiting")
    assert [c.state for c in world.live("idle")] == ["paused"]
    assert not of(world.until("40h"), "clock.breached", "idle")


def test_a_second_acknowledgement_does_not_begin_the_first_ones_promise_again(world: World) -> None:
    world.does("1h", "acknowledge")
    world.does("2h", "assign", to="bob")
    world.does("3h", "acknowledge", who="bob")
    assert [c.due_at - START for c in world.live("plan")] == [parse_span("6h")]


def test_an_end_cannot_lie_before_what_it_ends(world: World) -> None:
    world.does("1h", "acknowledge")
    world.does("4h", "resolve")
    outcome = dict.fromkeys(("problem", "action_taken", "customer_told", "satisfied"), "yes")
    for verb in ("close", "confirm", "reopen"):
        data = only(world.does("5h", verb, as_of="3h", outcome=outcome), "action.refused")
        assert data["reason"] == "before_the_resolution"


def test_a_rule_that_joins_brings_its_later_promises_too(world: World) -> None:
    world.does("1h", "acknowledge")
    events = world.says("2h", "grave")
    assert only(events, "case.updated")["change"] == "joined"
    (armed,) = of(events, "clock.armed", "plan")
    assert armed.data["due_at"] == rfc3339(Instant(START + parse_span("3h")))
    assert of(world.does("4h", "resolve"), "clock.armed", "confirm")


def test_an_assignment_recorded_late_gives_the_new_owner_the_full_time() -> None:
    world = World()
    world.says("0", "quick")
    (armed,) = of(world.does("8m", "assign", as_of="1m", to="bob"), "clock.armed")
    assert armed.data["due_at"] == rfc3339(Instant(START + parse_span("18m")))


def test_rebasing_moves_an_open_case_to_the_rules_in_force_and_says_so() -> None:
    """Only when somebody says so, with a reason; the clock counts from the same start."""
    world = World()
    world.says("0", "call")
    changed = FILES["sets/s.yaml"].replace("first: {within: 3h", "first: {within: 5h")
    world.engine.judge_by(book({"default": {**FILES, "sets/s.yaml": changed}}))
    assert only(world.does("1h", "rebase", case=0), "case.updated")["change"] == "rebased"
    assert [(c.due_at - START, c.occurrence) for c in world.live("first")] == [(parse_span("5h"), 2)]
    ended = of(world.said, "clock.ended", "first")
    assert ended[0].data["reason"] == "re-based on the rules in force"
    assert [c.due_at - START for c in world.live("update")] == [parse_span("2h")]


def test_a_closed_case_is_not_reopened_beside_one_that_opened_since(world: World) -> None:
    world.does("1h", "invalidate")
    world.says("2h", "damp again")
    assert len(world.cases) == 2
    data = only(world.does("3h", "reopen", case=0), "action.refused")
    assert data["reason"] == "open_already"
    assert world.cases[1] in data["detail"]
    world.does("4h", "invalidate", case=1)
    assert of(world.does("5h", "reopen", case=0), "case.reopened")
