"""Each kind finds what the slow way finds over the whole history: out of order, late and twice-said ones included.

And whether anybody wakes between, and whether the memory is packed between, changes nothing.
"""

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rules.kinds import Change, Count, NewValue, Role, Sequence, Share, Window
from tests.rules.kinds import reference
from tests.rules.kinds.arrivals import Arrival, Told, arrivals, fact, late, play, told, window

END = 2000
PARTS = (Role.COUNTS, Role.PART)
STEPS = (Role.FIRST, Role.THEN)


def order(arrival: Arrival) -> int:
    return fact(arrival).hash


def agrees(of: Window, came: list[Arrival], slow: Callable[[Window, list[Arrival]], tuple[list[Told], int]]) -> None:
    events = play(of, came, END)
    assert (told(events), late(events)) == slow(of, came)
    assert told(play(of, came, END, wakes=True, packed=False)) == told(events)


settled = st.fixed_dictionaries(
    {"late_s": st.sampled_from([0, 1, 5, 40]), "open_after": st.integers(1, 3), "stay_open_s": st.integers(1, 20)}
)


@given(arrivals(), settled, st.integers(1, 5), st.integers(1, 20))
def test_count(came: list[Arrival], how: dict[str, int], count: int, within: int) -> None:
    agrees(window(Count(count=count, within_s=within), **how), came, reference.count)


@given(arrivals(), settled, st.sampled_from([60.0, 400.0, 719.0, 1000.0]), st.integers(1, 20))
def test_rate(came: list[Arrival], how: dict[str, int], rate: float, within: int) -> None:
    agrees(window(Count(per_hour=rate, within_s=within), **how), came, reference.count)


@given(arrivals(roles=PARTS), settled, st.integers(1, 4), st.integers(1, 20), st.sampled_from([0.3, 0.5, 1.0]))
def test_share_of_a_time(came: list[Arrival], how: dict[str, int], at_least: int, within: int, share: float) -> None:
    agrees(window(Share(share=share, at_least=at_least, within_s=within), **how), came, reference.share_within)


@given(arrivals(roles=PARTS), settled, st.integers(1, 4), st.integers(0, 5), st.sampled_from([0.3, 0.5, 1.0]))
def test_share_of_the_last(came: list[Arrival], how: dict[str, int], at_least: int, more: int, share: float) -> None:
    of = window(Share(share=share, at_least=at_least, last=at_least + more), **how)
    agrees(of, came, lambda w, a: reference.share_last(w, a, order))


@given(arrivals(scores=(0.0, 3.0, 5.0, 8.0, 10.0)), settled, st.sampled_from([1.0, 3.0, 5.0]), st.integers(1, 30))
def test_change(came: list[Arrival], how: dict[str, int], by: float, within: int) -> None:
    agrees(window(Change(path="scores.nps", by=by, within_s=within), **how), came, reference.change)


@given(arrivals(roles=STEPS), settled, st.integers(1, 20))
def test_one_then_another(came: list[Arrival], how: dict[str, int], within: int) -> None:
    agrees(window(Sequence(within_s=within), **how), came, reference.then)


@given(arrivals(roles=STEPS), settled, st.integers(1, 20))
def test_one_without_another(came: list[Arrival], how: dict[str, int], within: int) -> None:
    of = window(Sequence(within_s=within, without=True), **how)
    events = told(play(of, came, END))
    assert events == told(play(of, came, END, wakes=True, packed=False))
    assert events == reference.without(of, came, order, END)


@given(arrivals(values=("a", "b", "c", "d")), settled, st.integers(1, 30))
def test_new_value(came: list[Arrival], how: dict[str, int], learn: int) -> None:
    agrees(
        window(NewValue(path="themes", learn_s=learn), **how),
        came,
        lambda w, a: (reference.new_value(w, a), 0),
    )


@settings(max_examples=50)
@given(arrivals(), st.randoms(), st.integers(2, 5), st.integers(2, 20))
def test_within_the_bound_order_does_not_decide_whether_a_count_is_reached(
    came: list[Arrival], chance: "object", count: int, within: int
) -> None:
    at = max((a.at for a in came), default=0)
    once = list({a.id: a._replace(at=at) for a in came}.values())
    of = window(Count(count=count, within_s=within), late_s=1000)
    shuffled = list(once)
    chance.shuffle(shuffled)  # type: ignore[attr-defined]
    assert bool(told(play(of, once, END))) == bool(told(play(of, shuffled, END)))


@pytest.mark.parametrize("kind", [Count(count=1, within_s=10), Share(share=0.1, at_least=1, within_s=10)])
def test_a_response_said_twice_is_counted_once(kind: Count) -> None:
    came = [Arrival(1, 1, 1, Role.PART), Arrival(2, 1, 1, Role.PART), Arrival(3, 3, 2, Role.PART)]
    assert [t.kind for t in told(play(window(kind), came, END))] == ["raised", "joined", "ended"]
