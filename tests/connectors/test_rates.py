"""A caller gets its rate, and no other's."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.rates import Rates


def test_a_burst_and_then_the_rate() -> None:
    rates = Rates(rate=2, burst=5)
    assert [rates.take("a", 1, 0.0) for _ in range(6)] == [0, 0, 0, 0, 0, 0.5]
    assert rates.take("b", 5, 0.0) == 0
    assert rates.take("a", 1, 0.5) == 0


def test_more_than_fits_is_let_through_when_rested_and_owed() -> None:
    rates = Rates(rate=1, burst=5)
    assert rates.take("a", 8, 0.0) == 0
    assert rates.take("a", 1, 0.0) == 4
    assert rates.take("a", 1, 4.0) == 0


@given(st.lists(st.tuples(st.floats(0, 10), st.floats(0.1, 5)), max_size=60))
def test_nobody_takes_more_than_the_burst_and_the_rate(steps: list[tuple[float, float]]) -> None:
    rates, now, taken = Rates(rate=3, burst=5), 0.0, 0.0
    for pause, tokens in steps:
        now += pause
        if rates.take("a", tokens, now) == 0:
            taken += tokens
        assert taken <= 5 + 3 * now + 1e-6


def test_callers_are_forgotten_so_that_memory_is_bounded() -> None:
    rates = Rates(rate=0.001, burst=1, callers=10)
    for number in range(1000):
        rates.take(number, 1, 0.0)
    assert rates.take(0, 1, 0.0) == 0
    assert rates.take(999, 1, 0.0) == pytest.approx(1000)
