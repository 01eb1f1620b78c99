"""The lifecycle driven by a machine: whatever people, customers and clocks do, the promises about a case hold."""

from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from cases import case as cases
from cases import shard as shards
from cases import trail
from cases.clocks import State
from cases.events import Event, encode
from cases.lifecycle import ENDINGS, TABLE, Ending, Status
from cases.shard import Item, Judged
from feedback.ids import shard_of
from feedback.instants import Instant
from feedback.records import Action, Tick, Verb
from rules.judge import judge
from rules.model import OUTCOME_FIELDS
from rules.shipped import law
from scoring.reading import Reading
from tests import builders
from tests.builders import START, response
from tests.flows.story import RULES, SHARDS, book

BOOK = book()
MILESTONES = {name for pack in ("awaabs-law", "housing-ombudsman") for c in law()[0][pack].clocks.values()
              for m in (*c.starts, *c.meets) if m.startswith("milestone:") for name in [m.split(":")[1]]}  # fmt: skip
SHARD = shard_of("default", "c1", SHARDS)
OUTCOME = dict.fromkeys(OUTCOME_FIELDS, "said")


LAWFUL = builders.book(
    {
        "default": {
            "sets/law.yaml": """
set: law
roster: law
calendar: england-and-wales
rules:
  - id: damp
    when: {all: ['text.contains("late")']}
    case:
      type: hazard
      owner: lead
      acknowledge_within: 4h
      clocks: {update: {every: 5 working days}, idle: {after: 40h}}
      packs: {awaabs-law: {hazard: damp-and-mould, roles: {supervisor: duty, director: head}}}
  - id: pests
    when: {all: ['text.contains("so")']}
    case:
      type: hazard
      owner: lead
      packs: {awaabs-law: {hazard: pests, roles: {supervisor: duty, director: head}}}
  - id: complaint
    when: {all: ['bands.nps == "detractor"']}
    case:
      type: complaint
      owner: lead
      packs: {housing-ombudsman: {roles: {supervisor: duty, director: head}}}
""",
            "rosters/law.yaml": RULES["rosters/story.yaml"].replace("roster: story", "roster: law"),
        }
    }
)


class Life(RuleBasedStateMachine):
    """One shard, one customer, time that only moves forward."""

    book = BOOK
    longest = 4000
    """Bytes of a case."""

    def judged(self, id_: str, nps: float, text: str) -> Judged:
        at = self.at
        bands = {"nps": "detractor" if nps <= 6 else "promoter"}
        said = response(id=id_, received_at=at, occurred_at=at, arrived=float(at), scores={"nps": nps}, text=text)
        reading = Reading(language="en", bands=bands)
        triggers = judge(self.book.sets["default"], said, reading).triggers
        return Judged(response=said, reading=reading, triggers=triggers)

    @initialize()
    def begin(self) -> None:
        self.at = START
        self.body: bytes | None = None
        self.ticked: bytes | None = None
        """The same shard, looked at by a tick before every item: it must say the same."""
        self.said: list[Event] = []
        self.also: list[Event] = []
        self.number = 0
        self.outages: tuple[tuple[Instant, Instant], ...] = ()

    def give(self, what: Judged | Action | Tick) -> list[Event]:
        item = Item(shard=SHARD, what=what, rules=self.book.sets, seen_at=self.at, outages=self.outages)
        tick = Item(
            shard=SHARD, what=Tick(shard=SHARD, at=self.at), rules=self.book.sets, seen_at=self.at, outages=self.outages
        )
        stepped = shards.step(SHARD, self.body, [item])
        again = shards.step(SHARD, self.ticked, [tick, item])
        self.body, self.ticked = stepped.body, again.body
        self.said += stepped.events
        self.also += again.events
        return stepped.events

    @rule(seconds=st.integers(1, 50))
    def time_passes(self, seconds: int) -> None:
        self.at = Instant(self.at + seconds)
        self.give(Tick(shard=SHARD, at=self.at))

    @rule(minutes=st.integers(2, 40))
    def an_outage(self, minutes: int) -> None:
        before, self.at = self.at, Instant(self.at + 60 * minutes)
        self.outages = (*self.outages, (before, self.at))
        self.give(Tick(shard=SHARD, at=self.at))

    @rule(id_=st.sampled_from("abc"), nps=st.sampled_from([1.0, 9.0]), text=st.sampled_from(["", "late", "so late"]))
    def a_response(self, id_: str, nps: float, text: str) -> None:
        self.give(self.judged(id_, nps, text))

    @rule(id_=st.sampled_from("abc"))
    def the_same_response_twice(self, id_: str) -> None:
        self.give(self.judged(id_, 1.0, "late"))
        assert self.give(self.judged(id_, 1.0, "late")) == []

    @rule(
        verb=st.sampled_from(list(Verb)),
        by=st.sampled_from(["ann", "bob", "cat"]),
        ago=st.integers(0, 400),
        which=st.integers(0, 3),
        reason=st.sampled_from(["", "why"]),
        data=st.sampled_from(
            [
                {},
                {"outcome": OUTCOME},
                {"to": "bob"},
                {"to": "head"},
                {"name": "x"},
                {"clock": "resolve", "by": "1h"},
                {"clock": "resolve"},
                {"clock": "update"},
            ]
        ),
    )
    def an_action(self, verb: Verb, by: str, ago: int, which: int, reason: str, data: dict[str, Any]) -> None:
        drawer = shards.unpack(self.body)
        entries = drawer.entries
        case = entries[which % len(entries)].id if entries else "c-1-000000000000"
        self.number += 1
        action = Action(
            id=f"a{self.number}", programme="default", case=case, do=verb, by=by, at=Instant(self.at - ago),
            received_at=self.at, arrived=float(self.at), reason=reason, data=data,
        )  # fmt: skip
        before = {entry.id: entry for entry in entries}
        events = self.give(action)
        assert events, "every action is answered"
        if entries:
            assert [e for e in self.give(action) if e.data.get("action") == action.id] == [], "the same id acts once"
        if events[-1].type == "action.refused" and case in before:
            after = shards.unpack(self.body)
            now = next(e for e in after.entries if e.id == case)
            was = drawer.case(before[case])
            if len(events) == 1:
                assert after.case(now).status == was.status, "a refusal changes nothing"

    @invariant()
    def nothing_broke(self) -> None:
        assert not [e.data for e in getattr(self, "said", ()) if e.type == "item.quarantined"]

    @invariant()
    def a_tick_more_or_less_changes_nothing(self) -> None:
        if hasattr(self, "said"):
            assert sorted(e.id for e in self.said) == sorted(e.id for e in self.also)

    @invariant()
    def events_are_told_apart_and_in_order(self) -> None:
        said = getattr(self, "said", [])
        assert len({e.id for e in said}) == len(said)
        last: dict[Any, int] = {}
        for event in said:
            if event.case is not None:
                assert event.sequence == last.get(event.case, 0) + 1
                last[event.case] = event.sequence

    @invariant()
    def trails_are_whole(self) -> None:
        logs: dict[str, list[Any]] = {}
        for event in getattr(self, "said", ()):
            if event.case is not None:
                logs.setdefault(str(event.case), []).append(msgspec.json.decode(encode(event)))
        assert [flaw for log in logs.values() if (flaw := trail.verify(log)) is not None] == []

    @invariant()
    def cases_keep_their_promises(self) -> None:
        drawer = shards.unpack(getattr(self, "body", None))
        entries = drawer.entries
        still_open = [e.identity for e in entries if e.open]
        assert len(set(still_open)) == len(still_open), "one open case for each identity"
        for entry in entries:
            case = drawer.case(entry)
            packed_alike = entry.packed[:1] == b"d"
            assert cases.pack(case, like=drawer.like if packed_alike else b"") == entry.packed
            assert len(entry.packed) < self.longest
            assert case.owner, "never without a name while the roster has one"
            live = [
                (c.name, c.issue)
                for c in case.clocks
                if c.state in (State.RUNNING, State.PAUSED) and not c.spec.again_each
            ]
            assert len(set(live)) == len(live), "one running clock of each name, for each issue"
            for clock in case.clocks:
                assert clock.state is not State.BREACHED or clock.due_at <= self.at
            if case.status is Status.CLOSED:
                assert not [c for c in case.clocks if c.is_live]
                assert case.ending == Ending.INVALIDATED or all(case.outcome.get(name) for name in OUTCOME_FIELDS)


Life.TestCase.settings = settings(
    max_examples=60, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
)
TestLife = Life.TestCase


class LifeUnderTheLaw(Life):
    """The same with statutory packs, milestones in any order, issues, days that pass."""

    book = LAWFUL
    longest = 8_000

    @rule(days=st.integers(1, 20))
    def days_pass(self, days: int) -> None:
        for _ in range(days):
            self.at = Instant(self.at + 86_400)
            self.give(Tick(shard=SHARD, at=self.at))

    @rule(
        name=st.sampled_from(sorted(MILESTONES)),
        finding=st.sampled_from(["", "none", "significant", "emergency"]),
        issue=st.sampled_from(["", "damp-and-mould", "pests", "bathroom"]),
        ago=st.integers(0, 200_000),
        which=st.integers(0, 3),
    )
    def a_milestone(self, name: str, finding: str, issue: str, ago: int, which: int) -> None:
        data = {k: v for k, v in (("name", name), ("finding", finding), ("issue", issue)) if v}
        self.an_action(Verb.MILESTONE, "ann", ago, which, "why", data)

    @rule(
        clock=st.sampled_from(["stage1-response", "stage2-response", "update", "standard-investigation"]),
        how=st.sampled_from([{"by": "3 working days"}, {"by": "10 working days"}, {"to": "2026-12-31"}]),
        which=st.integers(0, 3),
    )
    def an_extension(self, clock: str, how: dict[str, str], which: int) -> None:
        self.an_action(Verb.EXTEND, "ann", 0, which, "why", {"clock": clock, **how})

    @rule(which=st.integers(0, 3))
    def a_rebase(self, which: int) -> None:
        self.an_action(Verb.REBASE, "ann", 0, which, "why", {})


TestLifeUnderTheLaw = LifeUnderTheLaw.TestCase
TestLifeUnderTheLaw.settings = settings(
    max_examples=40, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
)


@pytest.mark.parametrize("status", list(Status))
def test_every_status_can_be_left_or_corrected(status: Status) -> None:
    assert any(start is status for start, _ in TABLE)


def test_closing_needs_a_resolution_first() -> None:
    assert [status for status, verb in TABLE if verb is Verb.CLOSE] == [Status.RESOLVED]


def test_every_ending_says_which_clocks_it_ends() -> None:
    assert set(ENDINGS) == set(Ending)
