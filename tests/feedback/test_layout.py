"""Shard, partition and lane go together, however a store is cut; and numbers that do not are refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from feedback.ids import case_id, shard_of
from feedback.layout import DRAWERS, Layout, LayoutError, checked, conflict, read_layout

CUSTOMERS = st.text(max_size=20)


@st.composite
def layouts(draw: st.DrawFn, *, by_partition: bool | None = None) -> Layout:
    shards = draw(st.integers(1, 5000))
    placed = draw(st.booleans()) if by_partition is None else by_partition
    slots = draw(st.integers(1, min(64, shards))) if placed else 0
    lanes = draw(st.integers(1, slots or min(shards, 64)))
    return checked(Layout(shards=shards, slots=slots, lanes=lanes, spread=draw(st.booleans())))


@given(layouts(by_partition=True), CUSTOMERS, st.integers(0, 200))
def test_the_lane_that_reads_a_partition_has_the_shards_of_its_customers(
    layout: Layout, customer: str, partition: int
) -> None:
    shard = layout.shard("default", customer, partition)
    assert 0 <= shard < layout.shards
    assert layout.lane_of(shard) == layout.lane_of_partition(partition) < layout.lanes
    assert layout.lane_of_case(case_id(shard, customer)) == layout.lane_of(shard)


@given(layouts(by_partition=False), CUSTOMERS)
def test_a_response_by_a_stream_goes_to_the_lane_of_its_shard(layout: Layout, customer: str) -> None:
    shard = layout.shard("default", customer, None)
    assert shard == shard_of("default", customer, layout.shards)
    assert layout.lane_of_customer("default", customer) == layout.lane_of(shard) < layout.lanes


@given(layouts(), st.integers(1, 64), CUSTOMERS, st.integers(0, 200))
def test_another_number_of_lanes_moves_no_customer_to_another_shard(
    layout: Layout, lanes: int, customer: str, partition: int
) -> None:
    other = Layout(shards=layout.shards, slots=layout.slots, lanes=lanes, generation=1)
    assert other.shard("default", customer, partition) == layout.shard("default", customer, partition)


@given(layouts(), st.integers(0, DRAWERS - 1))
def test_a_drawer_is_one_for_all_lanes_or_one_for_each(layout: Layout, drawer: int) -> None:
    shards = {layout.shard_of_drawer(lane, drawer) for lane in range(layout.lanes)}
    assert len(shards) == (1 if layout.spread else layout.lanes)
    for lane in range(layout.lanes):
        shard = layout.shard_of_drawer(lane, drawer)
        assert layout.is_systemic(shard)
        assert layout.counts_in(shard)
        assert layout.spread or layout.lane_of(shard) == lane
        assert shard in layout.shards_of_drawer(layout.lane_of(shard), drawer)


@given(layouts(), st.integers(0, DRAWERS - 1), st.integers(1, 64))
def test_every_shard_of_a_drawer_is_in_one_lane_after_a_cut_too(layout: Layout, drawer: int, lanes: int) -> None:
    after = Layout(shards=layout.shards, slots=layout.slots, lanes=lanes, generation=1, spread=True)
    had = {layout.shard_of_drawer(lane, drawer) for lane in range(layout.lanes)}
    has = [shard for lane in range(lanes) for shard in after.shards_of_drawer(lane, drawer)]
    assert len(has) == len(set(has))
    assert had <= set(has)
    counts = [shard for shard in has if after.counts_in(shard)]
    assert counts == [after.shard_of_drawer(0, drawer)]


@given(layouts())
def test_what_is_written_down_is_read_back(layout: Layout) -> None:
    assert read_layout(layout.text()) == layout


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", '{"shards":0}', '{"shards":16,"lanes":17}', '{"shards":16,"lanes":3,"slots":2}', "\xff",
     '{"shards":2,"slots":3}', '{"shards":70000}', '{"shards":4,"generation":-1}'],
)  # fmt: skip
def test_what_is_no_layout_is_refused(text: str) -> None:
    with pytest.raises(LayoutError):
        read_layout(text.encode("latin-1"))


def test_a_customer_without_a_partition_has_no_place_where_partitions_say_it() -> None:
    with pytest.raises(LayoutError, match="by none"):
        Layout(shards=16, slots=4).shard("default", "c1", None)


def test_a_case_of_no_store_has_no_lane() -> None:
    layout = Layout(shards=16, lanes=2)
    assert [layout.lane_of_case(case) for case in ("c-99999-000000000000", "x", "c-3-000000000000")] == [None, None, 1]


def test_systemic_cases_have_shards_behind_those_of_customers_and_a_lane_whatever_the_cut() -> None:
    layout = Layout(shards=16, lanes=2)
    shards = [layout.shard_of_drawer(lane, drawer) for lane in range(2) for drawer in range(DRAWERS)]
    assert sorted({*shards, *range(16)}) == list(range(16 + 2 * DRAWERS))
    assert [layout.lane_of(shard) for shard in shards] == [0] * DRAWERS + [1] * DRAWERS
    assert {Layout(shards=16).lane_of(shard) for shard in shards} == {0}
    assert layout.lane_of_case(f"c-{shards[-1]}-000000000000") == 1


def test_of_two_cuts_of_one_store_the_later_holds() -> None:
    old, new = Layout(shards=16), Layout(shards=16, lanes=2, generation=1)
    assert conflict(new, old) == ""
    assert conflict(new, Layout(shards=16, lanes=2, generation=1, closed=True)) == ""
    assert "1 of 16" in conflict(old, new)
    assert conflict(old, Layout(shards=8)) != ""
