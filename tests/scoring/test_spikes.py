"""A theme that is named more often, or in a worse mood, is found; weeks in which nothing happened raise nothing."""

import math
import random
from collections.abc import Callable, Iterator

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feedback.instants import Instant
from scoring.segments import Segment, pack, unpack
from scoring.spikes import Said, Spike, SpikeSettings
from scoring.weeks import HALF_LIFE, PART_OF, Fading, Usual, share

SETTINGS = SpikeSettings()
WEEK = 168
BEGAN = 2960 * WEEK
"""An hour in which a week begins."""
SHARES = {"billing": 0.2, "delivery": 0.1, "staff": 0.05, "parking": 0.02, "website": 0.01}
TAXONOMY = frozenset(SHARES)


def usually(theme: str, hour: int, weekend: bool) -> float:
    """Parking is a matter of weekends, billing of the night."""
    return {"parking": 3.0 if weekend else 1.0, "billing": 1.5 if hour < 7 else 1.0}.get(theme, 1.0)


def weeks(
    seed: int,
    count: int,
    a_day: float,
    growth: float = 1.0,
    changed: Callable[[str, int], float] = lambda theme, hour: 1.0,
    sad: Callable[[str, int], float] = lambda theme, hour: 0.0,
) -> Iterator[tuple[int, Said]]:
    """(hours since the start, response): quiet nights and weekends, *growth* in all from week to week."""
    dice = random.Random(seed)
    number = 0
    for hour in range(count * WEEK):
        clock, weekend = hour % 24, PART_OF[hour % WEEK] >= 4
        rate = a_day / 24 * growth ** (hour / WEEK) * (0.2 if clock < 7 else 1.3) * (0.5 if weekend else 1.2)
        at, end = 0.0, 3600.0
        while (at := at - math.log(1 - dice.random()) * 3600 / rate) < end:
            number += 1
            when = Instant((BEGAN + hour) * 3600 + int(at))
            themes = tuple(
                theme
                for theme, usual in SHARES.items()
                if dice.random() < usual * usually(theme, clock, weekend) * changed(theme, hour)
            )
            score = 0.7 + dice.gauss(0, 0.2) - (0.1 if clock < 7 else 0) - sum(sad(theme, hour) for theme in themes)
            yield hour, said(number, when, *themes, score=min(1.0, max(0.0, score)))


def said(number: int, at: Instant, *themes: str, score: float | None = None, who: int | None = None) -> Said:
    return Said(at, at, number if who is None else who, themes, score, "survey", f"r{number}", TAXONOMY)


def found(given: Iterator[tuple[int, Said]]) -> list[tuple[int, Spike]]:
    segment: Segment | None = None
    spikes = []
    for hour, one in given:
        segment = segment or Segment(SETTINGS, one.at)
        spikes += [(hour, spike) for spike in segment.take(one)]
    return spikes


@pytest.mark.parametrize("a_day", [30, 300, 1000])
def test_ten_weeks_in_which_only_the_number_of_responses_grows_raise_nothing(a_day: int) -> None:
    for seed in range(3):
        assert found(weeks(seed, 10, a_day, growth=1.15)) == []


@pytest.mark.parametrize(("theme", "within"), [("billing", 12), ("delivery", 24), ("staff", 48)])
def test_a_theme_that_doubles_is_found_within_hours(theme: str, within: int) -> None:
    for seed in range(3):
        doubled = weeks(seed, 5, 1000, changed=lambda t, hour: 2.0 if t == theme and hour >= 4 * WEEK else 1.0)
        hour, spike = found(doubled)[0]
        assert (spike.theme, spike.measure) == (theme, "volume")
        assert 0 <= hour - 4 * WEEK <= within
        assert abs(spike.since / 3600 - (BEGAN + 4 * WEEK)) < within
        assert 1.5 < spike.count / spike.expected < 5.0
        assert 1.5 < spike.now / spike.usual < 5.0
        assert len(spike.responses) == 5


def test_a_rare_theme_that_everybody_names_is_found_by_a_dozen_customers() -> None:
    flood = weeks(1, 5, 1000, changed=lambda t, hour: 30.0 if t == "website" and hour >= 4 * WEEK + 10 else 1.0)
    hour, spike = found(flood)[0]
    assert spike.theme == "website"
    assert hour - 4 * WEEK - 10 <= 1
    assert spike.count <= 15


def test_a_spike_that_goes_on_is_said_once_and_again_when_it_comes_back() -> None:
    def twice(theme: str, hour: int) -> float:
        return 4.0 if theme == "staff" and (hour // WEEK, hour % WEEK // 48) in ((4, 0), (6, 0)) else 1.0

    hours = [hour for hour, spike in found(weeks(2, 8, 1000, changed=twice)) if spike.theme == "staff"]
    assert [hour // WEEK for hour in hours] == [4, 6]


def test_a_score_that_falls_is_found_and_one_that_only_differs_by_night_is_not() -> None:
    sadder = weeks(3, 6, 300, sad=lambda theme, hour: 0.3 if theme == "delivery" and hour >= 5 * WEEK else 0.0)
    spikes = found(sadder)
    assert [(spike.theme, spike.measure) for _, spike in spikes] == [("delivery", "score")]
    hour, spike = spikes[0]
    assert 5 * WEEK <= hour <= 5 * WEEK + 168
    assert 0.1 <= spike.usual - spike.now <= 0.4


def quiet(count: int = 5) -> Segment:
    segment: Segment | None = None
    for _, one in weeks(4, count, 300):
        segment = segment or Segment(SETTINGS, one.at)
        segment.take(one)
    assert segment is not None
    return segment


def test_one_customer_who_says_it_a_thousand_times_is_no_spike_and_a_thousand_who_say_it_once_are() -> None:
    one, many = quiet(), quiet()
    at = Instant(one.at + 60)
    assert [s for n in range(1000) for s in one.take(said(n, Instant(at + n), "staff", who=7))] == []
    assert [s for n in range(1000) for s in many.take(said(n + 10**6, Instant(at + n), "staff"))] != []


def test_what_is_history_is_learned_from_and_raises_nothing() -> None:
    segment = quiet()
    at, later = Instant(segment.at + 60), Instant(segment.at + 10 * 86_400)
    old = (msgspec.structs.replace(said(n + 10**6, at, "staff"), received_at=later) for n in range(100))
    assert [spike for one in old for spike in segment.take(one)] == []


def test_a_theme_that_is_new_to_the_taxonomy_is_no_spike() -> None:
    segment = quiet()
    more = TAXONOMY | {"lifts"}
    at = Instant(segment.at + 60)
    new = (msgspec.structs.replace(said(n + 10**6, at, "lifts"), taxonomy=more) for n in range(100))
    assert [spike for one in new for spike in segment.take(one)] == []


def test_a_response_that_is_days_late_is_counted_as_late_only() -> None:
    segment = quiet()
    before = pack(segment)
    assert segment.take(said(10**6, Instant(segment.at - 3 * 86_400), "staff")) == []
    assert (segment.late, pack(segment)) == (1, before)


def test_themes_past_the_limit_are_not_watched_and_counted() -> None:
    segment = Segment(SpikeSettings(themes=2), Instant(BEGAN * 3600))
    segment.take(said(1, Instant(BEGAN * 3600), "billing", "staff", "parking"))
    assert (len(segment), segment.untold) == (2, 1)


def test_memory_of_a_segment_is_bounded() -> None:
    segment = Segment(SETTINGS, Instant(BEGAN * 3600))
    for number in range(20_000):
        segment.take(said(number, Instant(BEGAN * 3600 + number * 60), *SHARES, score=0.5))
    assert len(pack(segment)) < 8000 + len(SHARES) * 7000


STORY = list(weeks(5, 4, 150, changed=lambda theme, hour: 5.0 if theme == "staff" and hour > 3 * WEEK else 1.0))


@settings(max_examples=10, deadline=None)
@given(st.sets(st.integers(0, len(STORY) - 1), max_size=6))
def test_stored_and_taken_up_again_anywhere_it_says_the_same(cuts: set[int]) -> None:
    whole, cut = Segment(SETTINGS, STORY[0][1].at), Segment(SETTINGS, STORY[0][1].at)
    spikes = []
    for number, (_, one) in enumerate(STORY):
        if number in cuts:
            cut = unpack(pack(cut), SETTINGS)
        expected = whole.take(one)
        assert cut.take(one) == expected
        spikes += expected
    assert pack(cut) == pack(whole)
    assert spikes


def test_damaged_bytes_are_refused() -> None:
    whole = pack(quiet(1))
    with pytest.raises(ValueError, match="form 9"):
        unpack(whole[:1] + b"\x09" + whole[2:], SETTINGS)


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"by": ("customer",)}, "by: 'customer'"),
        ({"times": 1.0}, "times is 1"),
        ({"learn_days": 0}, "learn_days is 0"),
        ({"segments": 1}, "segments is 1"),
    ],
)
def test_settings_that_make_no_sense_are_refused(wrong: dict[str, object], told: str) -> None:
    assert SpikeSettings().problem() == ""
    assert told in SpikeSettings(**wrong).problem()  # type: ignore[arg-type]


@given(st.lists(st.tuples(st.integers(0, 5000), st.booleans()), max_size=200))
def test_a_share_is_a_share_and_outlives_the_fading(heard: list[tuple[int, bool]]) -> None:
    fading, of, among = Fading(0), Usual(), Usual()
    for hour, named in sorted(heard):
        among.add(hour, fading.weight(hour))
        if named:
            of.add(hour, fading.weight(hour))
    now = 25 * HALF_LIFE
    before = share(of, among, now, fading.weight(now))
    assert 0 < before < 1
    scale = fading.rebased(now)
    assert scale < 1
    for usual in (of, among):
        usual.scale(scale)
    assert share(of, among, now, fading.weight(now)) == pytest.approx(before, rel=1e-4)
