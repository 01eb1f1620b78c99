"""What a set says of its notices: read, and refused with its place."""

import pytest

from rules.noise import Cap, Grouping, Inhibition, NoisePolicy, Quiet
from rules.problems import Problem
from tests.rules.test_windows import COUNT, OTHER, load, problems

ALL = """
notices:
  group: {by: [rule, theme], wait: 30s, interval: 10m}
  quiet: [{name: nights, from: "22:00", to: "07:00", days: [fri, sat], zone: Europe/Paris}]
  caps: [{per: rule, most: 5, within: 1h}, {per: receiver, most: 20, within: 1d}]
  inhibit: [{rule: second, mutes: [other]}]
"""
SECOND = OTHER.replace("other", "second")


def test_a_set_that_says_all_there_is_to_say() -> None:
    assert load(COUNT + OTHER + SECOND + ALL).noise == NoisePolicy(
        group=Grouping(by=("rule", "theme"), wait_s=30, interval_s=600),
        quiet=(Quiet(name="nights", zone="Europe/Paris", days=frozenset({4, 5}), start_s=79_200, end_s=25_200),),
        caps=(Cap(per="rule", most=5, within_s=3600), Cap(per="receiver", most=20, within_s=86_400)),
        inhibitions=(Inhibition(rule="many", mutes=("other",)), Inhibition(rule="second", mutes=("other",))),
    )


def test_a_set_that_says_nothing_has_no_policy_and_one_whose_windows_mute_has() -> None:
    assert load(OTHER).noise is None
    assert load(COUNT + OTHER).noise == NoisePolicy(inhibitions=(Inhibition(rule="many", mutes=("other",)),))


def test_quiet_hours_are_in_the_zone_of_the_set() -> None:
    read = load(OTHER + 'zone: Europe/Rome\nnotices: {quiet: [{name: n, from: "20:00", to: "08:00"}]}\n')
    assert read.noise is not None
    assert read.noise.quiet[0].zone == "Europe/Rome"


@pytest.mark.parametrize(
    ("written", "found", "expected"),
    [
        ("group: {by: [colour], interval: 1m}", "by colour", "rule, site, theme, type"),
        ("group: {by: [rule]}", "no interval", "interval: …"),
        ("group: {interval: 0s}", "0s", "a span like 10m, from 1s to 7d"),
        ("group: {interval: 1m, wait: 30d}", "30d", "a span like 10m, from 0s to 7d"),
        ('quiet: [{name: n, from: "25:00", to: "07:00"}]', "25:00", 'a time of day like "22:00"'),
        ('quiet: [{name: n, from: "22:00", to: "07:00", days: [tues]}]', "the day tues", "tue"),
        ('quiet: [{name: n, from: "22:00", to: "07:00", zone: Mars}]', "Mars", "a zone like Europe/London"),
        ("caps: [{per: day, most: 5, within: 1h}]", "day", "receiver, rule"),
        ("caps: [{per: rule, most: 0, within: 1h}]", "0", "a whole number from 1 to 10000"),
        ("inhibit: [{rule: others, mutes: [other]}]", "the rule others", "other"),
        ("inhibit: [{rule: other, mutes: [none]}]", "the rule none", "other"),
        ("inhibit: [{rule: other, mutes: [other]}]", "the rule other, which mutes itself", "no way back"),
        ("mute: []", "the unknown name 'mute'", "caps, group, inhibit, quiet"),
    ],
)
def test_what_is_wrong_is_refused_with_its_place(written: str, found: str, expected: str) -> None:
    refused = problems(f"{OTHER}notices:\n  {written}\n")
    assert len(refused) == 1
    (problem,) = refused
    assert isinstance(problem, Problem)
    assert found in problem.found
    assert expected in problem.expected
    assert problem.line > 5


def test_a_rule_that_mutes_itself_by_way_of_a_window_is_refused() -> None:
    refused = problems(COUNT + OTHER + "notices:\n  inhibit: [{rule: other, mutes: [many]}]\n")
    assert [problem.found for problem in refused] == [
        "the rule many, which mutes itself", "the rule other, which mutes itself",
    ]  # fmt: skip
