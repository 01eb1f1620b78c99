"""A drawer answers as its keys would one by one, stays within its limit, and says what it forgot."""

from hypothesis import given
from hypothesis import strategies as st

from feedback.instants import Instant
from rules.kinds import Absence, Count, Dropped, Event, Finding, Track, Window, WindowFact, step, wake, wake_at
from rules.kinds.drawer import Drawer, drawer_of
from tests.rules.kinds.arrivals import START, Arrival, fact, window

TWO = window(Count(count=2, within_s=20), stay_open_s=15)
SILENT = window(Absence(longer_than_s=9), id="s/silent/0", keep_s=60)
BOTH = {w.id: w for w in (TWO, SILENT)}


def facts(at: int, key: str, number: int) -> list[WindowFact]:
    arrival = Arrival(at, at, number)
    return [fact(arrival, key), fact(arrival, key, window=SILENT.id)]


def names(events: list[Event]) -> list[tuple[str, str, str, int]]:
    return sorted((e.window, e.key, e.kind, e.until) for e in events if isinstance(e, Finding))


moves = st.lists(st.tuples(st.sampled_from([0, 1, 4, 12, 40]), st.sampled_from("abc"), st.booleans()), max_size=20)


@given(moves)
def test_it_answers_as_each_key_alone_would_whatever_is_packed_or_woken_between(
    drawn: list[tuple[int, str, bool]],
) -> None:
    drawer, alone = Drawer(), dict[tuple[str, str, str], Track | None]()
    together: list[Event] = []
    apart: list[Event] = []
    clock = 0
    for number, (pause, key, between) in enumerate(drawn):
        clock += pause
        if between:
            together += drawer.wake(BOTH, Instant(START + clock))
            drawer = Drawer(drawer.pack())
        for one in facts(clock, key, number):
            together += drawer.step(BOTH, one, one.received_at)
            alone[one.place], found = step(BOTH[one.window], alone.get(one.place), one, one.received_at)
            apart += found
    end = Instant(START + clock + 1000)
    while (due := drawer.wake_at()) is not None:
        together += drawer.wake(BOTH, due)
    for place, track in alone.items():
        apart += wake(BOTH[place[0]], track, end)[1]
    assert names(together) == names(apart)
    assert drawer.pack() is None


@given(moves)
def test_it_asks_to_be_woken_when_the_first_of_its_keys_does(drawn: list[tuple[int, str, bool]]) -> None:
    drawer, alone = Drawer(), dict[tuple[str, str, str], Track | None]()
    clock = 0
    for number, (pause, key, _) in enumerate(drawn):
        clock += pause
        for one in facts(clock, key, number):
            drawer.step(BOTH, one, one.received_at)
            alone[one.place] = step(BOTH[one.window], alone.get(one.place), one, one.received_at)[0]
    wanted = [wake_at(BOTH[place[0]], track) for place, track in alone.items()]
    assert drawer.wake_at() == min((due for due in wanted if due is not None), default=None)


def limited(keys: int, **fields: object) -> dict[str, Window]:
    of = window(TWO.kind, max_keys=keys, stay_open_s=15, **fields)
    return {of.id: of}


def test_past_its_limit_it_forgets_the_key_that_was_touched_least_recently_and_says_so() -> None:
    drawer, of = Drawer(), limited(2)
    events = []
    for number, key in enumerate("abac"):
        events += drawer.step(of, fact(Arrival(number, number, number, score=0), key), Instant(START + number))
    assert [(e.what, e.key) for e in events if isinstance(e, Dropped)] == [("keys", "b")]
    assert len(drawer) == 2


def test_a_key_with_an_alert_open_is_not_forgotten_for_want_of_room() -> None:
    drawer, of = Drawer(), limited(1)
    events = []
    for number, key in enumerate("aab"):
        events += drawer.step(of, fact(Arrival(number, number, number), key), Instant(START + number))
    assert [(e.what, e.key) for e in events if isinstance(e, Dropped)] == [("keys", "b")]
    assert [e.kind for e in drawer.wake(of, Instant(START + 100)) if isinstance(e, Finding)] == ["ended"]


def test_the_limit_is_shared_out_among_the_drawers() -> None:
    drawer, of = Drawer(drawers=4), limited(8)
    for number in range(5):
        drawer.step(of, fact(Arrival(0, 0, number), f"k{number}"), Instant(START))
    assert len(drawer) == 2


def test_least_recently_touched_is_remembered_across_a_restart() -> None:
    of = limited(2)
    drawer = Drawer()
    for number, key in enumerate("aba"):
        drawer.step(of, fact(Arrival(number, number, number * 9), key), Instant(START + number))
    drawer = Drawer(drawer.pack())
    (gone,) = [e for e in drawer.step(of, fact(Arrival(3, 3, 99), "c"), Instant(START + 3)) if isinstance(e, Dropped)]
    assert gone.key == "b"


def test_alerts_of_a_rule_that_is_gone_end_and_say_why() -> None:
    drawer = Drawer()
    for number in (1, 2):
        drawer.step(BOTH, fact(Arrival(0, 0, number)), Instant(START))
    (event,) = drawer.retire({}, Instant(START + 3))
    assert isinstance(event, Finding)
    assert (event.kind, event.why, event.rule) == ("ended", "the rule is no longer in force", "r")
    assert drawer.pack() is None


def test_after_catching_up_every_key_wants_what_it_wanted() -> None:
    drawer = Drawer()
    drawer.step(BOTH, facts(0, "a", 1)[1], Instant(START), catching_up=True)
    assert drawer.wake_at() is None
    drawer.caught_up(BOTH)
    assert drawer.wake_at() == START + 9 + SILENT.late_s


def test_places_are_spread_over_the_drawers() -> None:
    assert {drawer_of(("w", "p", str(n)), 8) for n in range(200)} == set(range(8))


def test_a_heap_of_instants_does_not_grow_with_the_responses() -> None:
    drawer = Drawer()
    for number in range(500):
        drawer.step(BOTH, facts(number, "a", number)[1], Instant(START + number))
    assert len(drawer._due) <= 2
