"""What a label is worth: by its scale, and by how many its source gave already."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from feedback.instants import Instant
from feedback.metrics import STANDARD, Direction, thirds
from scoring.labels import Allowance, Limit, label_of
from tests.builders import response

EFFORT = thirds("effort", 0, 9, Direction.LOWER_IS_BETTER)
METRICS = {**STANDARD, "effort": EFFORT}
FEW = {"person": Limit(3, 1), "source": Limit(100, 100)}


@pytest.mark.parametrize(
    ("scores", "negative"),
    [
        ({"nps": 6}, True), ({"nps": 7}, False), ({"csat": 2}, True), ({"csat": 3}, False), ({"effort": 8}, True),
        ({"effort": 1}, False), ({"nps": 9, "csat": 1}, True), ({}, None), ({"unheard_of": 1}, None),
    ],
)  # fmt: skip
def test_the_worst_band_of_any_scale_is_negative(scores: dict[str, float], negative: bool | None) -> None:
    assert label_of(response(scores=scores), METRICS) is negative


def test_a_source_that_says_much_is_limited_and_others_are_not() -> None:
    allowance = Allowance(FEW)
    given = [allowance.take({"person": who}, Instant(0)) for who in ("a", "a", "a", "a", "b")]
    assert given == [True, True, True, False, True]
    assert allowance.limited == {"person": 1, "source": 0}
    assert allowance.take({"person": "a"}, Instant(3600))
    assert not allowance.take({"person": "a"}, Instant(3600))


def test_a_refused_label_costs_its_other_sources_nothing() -> None:
    allowance = Allowance({"person": Limit(1, 0), "source": Limit(2, 0)})
    for _ in range(5):
        allowance.take({"person": "a", "source": "s"}, Instant(0))
    assert allowance.take({"person": "b", "source": "s"}, Instant(0))


@given(st.lists(st.integers(min_value=0, max_value=100_000), max_size=200))
def test_no_source_gets_more_than_its_burst_and_its_hours(times: list[int]) -> None:
    allowance = Allowance(FEW)
    taken = sum(allowance.take({"person": "a"}, Instant(at)) for at in times)
    assert taken <= 3 + max(times, default=0) / 3600
