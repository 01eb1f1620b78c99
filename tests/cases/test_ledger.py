"""The ledger, walked stretch by stretch, held against the deadline that the engine moved: whatever happened to it."""

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cases import clocks, counting, ledger
from cases.clocks import State
from cases.events import encode
from cases.ledger import Change, History, Kind
from feedback.instants import Instant, parse_instant
from rules.length import Length, Unit
from rules.model import ClockSpec
from rules.shipped import law
from tests.cases.test_second_thoughts import World

_, CALENDARS = law()
LENGTHS = [
    (Length(36_000, Unit.SECONDS), None),
    (Length(30_000, Unit.WORKING_SECONDS, "contact-centre"), "contact-centre"),
    (Length(10, Unit.WORKING_DAYS, "england-and-wales"), "england-and-wales"),
    (Length(5, Unit.WORKING_DAYS, "scotland", same_day=True), "scotland"),
    (Length(1, Unit.WORKING_DAYS, "scotland"), "scotland"),
    (Length(14, Unit.DAYS, "england-and-wales"), "england-and-wales"),
    (Length(1, Unit.MONTHS, "england-and-wales", same_day=True), "england-and-wales"),
]
BEGINNING = parse_instant("2026-03-20T08:00:00Z")

steps = st.lists(
    st.tuples(st.sampled_from(["pause", "resume", "extend", "stop"]), st.integers(1, 3 * 86_400)), max_size=8
)


@settings(max_examples=400, deadline=None)
@given(
    start=st.integers(0, 280 * 86_400),
    which=st.sampled_from(LENGTHS),
    steps=steps,
    last=st.integers(1, 20 * 86_400),
)
def test_what_is_used_and_left_is_what_the_deadline_says(
    start: int, which: tuple[Length, str | None], steps: list[tuple[str, int]], last: int
) -> None:
    length, name = which
    calendar = CALENDARS[name] if name else None
    at = Instant(BEGINNING + start)
    spec = ClockSpec("c", length.n, ("resolve",), length=None if name is None else length)
    clock = clocks.arm(spec, at, calendar=calendar)
    history = History(
        name="c", occurrence=1, issue="", law="", length=length,
        started_at=at, due_at=clock.due_at, first_due_at=clock.due_at,
    )  # fmt: skip
    for what, after in steps:
        at = Instant(at + after)
        if clock.state is State.RUNNING and at >= clock.due_at:
            break  # it would have breached
        if what == "pause" and clock.state is State.RUNNING:
            clock = clocks.paused(clock, at)
            history.changes = [*history.changes, Change(Kind.PAUSED, at, "paused by ann: away")]
        elif what == "resume" and clock.state is State.PAUSED:
            clock = clocks.resumed(clock, at, calendar)
            history.changes = [*history.changes, Change(Kind.RESUMED, at, "", clock.due_at)]
        elif what == "extend" and clock.state is State.RUNNING:
            by = Length(2 if length.unit not in (Unit.SECONDS, Unit.WORKING_SECONDS) else 7200, length.unit)
            if by.unit is Unit.MONTHS:
                by = Length(2, Unit.DAYS)
            due = counting.furthest(length, clock.due_at, by, calendar)
            clock = clocks.extended(clock, due, at, calendar)
            history.changes = [*history.changes, Change(Kind.EXTENDED, at, "extended by ann: more", due)]
        elif what == "stop" and clock.state is State.RUNNING:
            clock = clocks.restored(clocks.ended(clock, at, calendar), Instant(at + after), calendar)
            history.changes = [*history.changes, Change(Kind.STOPPED, at, "resolved")]
            at = Instant(at + after)
            history.changes = [*history.changes, Change(Kind.RESTORED, at, "reopened", clock.due_at)]
    until = Instant(at + last)
    account = ledger.account(history, calendar, until)
    assert sum(span.counted for span in account.spans) == account.used
    assert account.used + account.left == account.total
    begins = history.started_at
    for span in account.spans:
        assert span.begins == begins, "no second is left out, and none is told twice"
        begins = span.ends
    assert begins == until
    assert all(span.why for span in account.spans)
    if clock.state is State.PAUSED:
        return
    if account.unit == "seconds":
        if calendar is None:
            assert account.left == clock.due_at - until
        elif until < clock.due_at:
            assert account.left == counting.working_seconds(until, clock.due_at, calendar)
        else:
            assert account.left <= 0
        return
    assert calendar is not None
    today = counting.local_date(Instant(until - 1), calendar).toordinal()
    ends = counting.last_day(length, clock.due_at, calendar)
    ahead = range(max(today, counting.day_zero(length, history.started_at, calendar)) + 1, ends + 1)
    past = range(ends + 1, today + 1)
    left = sum(counting.counts(length, day, calendar) for day in ahead)
    assert account.left == left - sum(counting.counts(length, day, calendar) for day in past)


def test_the_ledger_of_a_story_told_from_its_log() -> None:
    world = World()
    world.says("0", "damp")
    world.does("1h", "acknowledge")
    world.does("2h", "pause", clock="resolve")
    world.does("5h", "resume", clock="resolve")
    world.does("6h", "extend", clock="resolve", by="1h")
    world.does("7h", "resolve")
    world.does("9h", "reopen")
    log = [msgspec.json.decode(encode(event)) for event in world.said]
    found = [h for h in ledger.histories(log) if h.name == "resolve"]
    assert [h.occurrence for h in found] == [1, 2]
    account = ledger.account(found[1], None, Instant(found[1].started_at + 10 * 3600))
    assert [(s.ends - s.begins, s.counted, s.why) for s in account.spans] == [
        (7200, 7200, "running"),
        (10_800, 0, "paused by ann: why"),
        (7200, 7200, "running"),
        (7200, 0, "met"),
        (3600, 3600, "running"),
    ]
    assert (account.total, account.used, account.left) == (11 * 3600, 5 * 3600, 6 * 3600)
    assert found[1].due_at == found[1].started_at + 16 * 3600


@pytest.mark.parametrize(
    ("until", "used", "reasons"),
    [
        ("2026-12-29T12:00:00Z", 3, ["day zero", "day 1", "day 2", "Christmas Day", "Boxing Day", "weekend",
                                     "Boxing Day (observed)", "day 3"]),
    ],
)  # fmt: skip
def test_days_name_their_causes(until: str, used: int, reasons: list[str]) -> None:
    calendar = CALENDARS["england-and-wales"]
    length = Length(10, Unit.WORKING_DAYS, calendar.key)
    start = parse_instant("2026-12-22T21:00:00Z")
    due = counting.due(length, start, calendar).at
    history = History(
        name="stage1-response", occurrence=1, issue="", law="", length=length,
        started_at=start, due_at=due, first_due_at=due,
    )  # fmt: skip
    account = ledger.account(history, calendar, parse_instant(until))
    assert account.used == used
    assert [span.why for span in account.spans] == reasons
