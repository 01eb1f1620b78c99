"""Rules with a window: what their files may say, what is refused and where, and which facts a response gives."""

from pathlib import Path

import pytest

from feedback.metrics import STANDARD
from feedback.records import Response
from rules.kinds import Absence, Change, Count, NewValue, Role, Sequence, Share, Spike, WindowFact
from rules.parse import load_text
from rules.problems import Problem, RuleFileErrors
from rules.ruleset import RuleSet
from rules.watching import Watched, watch
from scoring.reader import Reader
from tests.builders import response

ROSTER = "roster: r\npeople: {ann: {name: Ann}}\nroles: {lead: {default: [ann]}}\n"
THEMES = """taxonomy: t
themes:
  billing: {phrases: [billing], topics: {refund: {phrases: [refund]}}}
  heating: {phrases: [no heating]}
"""
FILES = {"rosters/r.yaml": ROSTER, "taxonomies/t.yaml": THEMES}
HEAD = "set: s\nroster: r\ntaxonomies: [t]\nattributes: {product: text, value: number}\nrules:\n"
COUNT = """  - id: many
    title: Many detractors
    when: {all: ['bands.nps == "detractor"']}
    window: {kind: count, by: site, count: 3, within: 1h}
    mutes: [other]
    case: {type: systemic, owner: lead}
"""
OTHER = """  - id: other
    when: {all: ['bands.nps == "detractor"']}
    case: {type: detractor, owner: lead}
"""
KINDS = {
    "count": "count: 3, within: 1h",
    "rate": "per_hour: 4, within: 1h",
    "share": "part: {all: ['scores.nps < 3']}, share: 40%, at_least: 5, last: 20",
    "spike": "within: 1h, at_least: 5",
    "absence": "longer_than: 6h",
    "new_value": "value: themes",
    "change": "score: scores.nps, falls: 4, within: 30d",
    "sequence": "without: {all: ['scores.nps > 8']}, within: 4h",
}


def load(rules: str) -> RuleSet:
    return load_text(
        {"sets/s.yaml": HEAD + rules, "rosters/r.yaml": ROSTER, "taxonomies/t.yaml": THEMES}, "s", STANDARD
    )


def problems(rules: str) -> list[Problem]:
    with pytest.raises(RuleFileErrors) as caught:
        load(rules)
    return caught.value.problems


def of(kind: str, settings: str = "", by: str = "site") -> str:
    return COUNT.replace(
        "kind: count, by: site, count: 3, within: 1h", f"kind: {kind}, by: {by}, {settings or KINDS[kind]}"
    )


def facts(rules: str, **said: object) -> tuple[WindowFact, ...]:
    return watched(rules, response(**said)).facts


def watched(rules: str, one: Response) -> Watched:
    loaded = load(rules + OTHER)
    return watch(loaded, one, Reader(loaded.taxonomies, STANDARD).read(one))


# -- parsing ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "read"),
    [
        ("count", Count(count=3, within_s=3600)),
        ("rate", Count(per_hour=4.0, within_s=3600)),
        ("share", Share(share=0.4, at_least=5, last=20)),
        ("spike", Spike(within_s=3600, at_least=5, zone="Europe/London")),
        ("absence", Absence(longer_than_s=6 * 3600)),
        ("new_value", NewValue(path="themes", learn_s=14 * 86_400)),
        ("change", Change(path="scores.nps", by=4.0, within_s=30 * 86_400)),
        ("sequence", Sequence(within_s=4 * 3600, without=True)),
    ],
)
def test_each_kind_is_read(kind: str, read: object) -> None:
    (rule,) = load(of(kind) + OTHER).windows
    assert rule.window.kind == read
    assert (rule.window.rule, rule.window.by, rule.case.type, rule.mutes) == (
        "many", "attributes.site", "systemic", ("other",),
    )  # fmt: skip


def test_a_rule_with_a_window_is_no_ordinary_rule() -> None:
    rules = load(COUNT + OTHER)
    assert [rule.id for rule in rules.rules] == ["other"]


@pytest.mark.parametrize(
    ("was", "now", "line", "column", "found", "expected"),
    [
        ("within: 1h", "within: 0h", 9, 55, "'0h'", "from 1s to 92d"),
        ("within: 1h", "within: 365d", 9, 55, "'365d'", "from 1s to 92d"),
        ("within: 1h", "within: soon", 9, 55, "'soon'", "a span"),
        ("by: site", "by: stie", 9, 31, "by stie", "did you mean site?"),
        ("by: site", "by: attributes.vip", 9, 31, "by attributes.vip", "attributes.value"),
        ("by: site, ", "", 9, 13, "no by", "by:"),
        ("kind: count", "kind: cuont", 9, 20, "'cuont'", "did you mean count?"),
        ("count: 3", "cuont: 3", 9, 37, "unknown name 'cuont'", "did you mean count?"),
        ("count: 3", "count: many", 9, 44, "'many'", "a whole number from 1 to 1000"),
        ("count: 3", "count: 0", 9, 44, "'0'", "a whole number from 1"),
        ("count: 3", "count: 3, ids: 2", 9, 44, "'3'", "from 1 to 2"),
        ("count: 3", "count: 3, late: 8d", 9, 53, "'8d'", "from 0s to 7d"),
        ("count: 3", "count: 3, ancestors: true", 9, 58, "ancestors", "by: theme"),
        ("bands.nps", "bands.npx", 8, 18, "unknown name bands.npx", "did you mean bands.nps?"),
        ('bands.nps == "detractor"', 'scores.nps < "a"', 8, 18, "No such overload", "true or false"),
        ("mutes: [other]", "mutes: [othr]", 10, 12, "the rule othr", "did you mean other?"),
        ("mutes: [other]", "mutes: [many]", 10, 12, "mutes itself", "no way back"),
        ("owner: lead", "owner: laed", 11, 35, "the role laed", "did you mean lead?"),
        ("id: many", "id: other", 12, 5, "the rule other a second time", "an id of its own"),
        ("    case: {type: systemic, owner: lead}\n", "", 6, 5, "no case", "case:"),
    ],
)
def test_each_mistake_is_shown_with_its_place(
    was: str, now: str, line: int, column: int, found: str, expected: str
) -> None:
    listed = problems(COUNT.replace(was, now, 1) + OTHER)
    assert any(
        (p.file, p.line, p.column) == ("sets/s.yaml", line, column) and found in p.found and expected in p.expected
        for p in listed
    ), "\n".join(map(str, listed))


@pytest.mark.parametrize(
    ("kind", "settings", "found"),
    [
        ("share", "part: {all: ['scores.nps < 3']}, share: 40%, at_least: 5", "neither within nor last"),
        ("share", KINDS["share"].replace("40%", "140%"), "'140%'"),
        ("share", KINDS["share"].replace("40%", "0%"), "'0%'"),
        ("share", KINDS["share"].replace("last: 20", "last: 4"), "at least 5 of the last 4"),
        ("share", KINDS["share"].replace("scores.nps", "scores.npx"), "unknown name scores.npx"),
        ("spike", "within: 7h, at_least: 5", "7h"),
        ("spike", "within: 1h, at_least: 5, weeks: 2, learn: 30d", "30d"),
        ("spike", "within: 1h, at_least: 5, z: nan", "'nan'"),
        ("absence", "history: 20", "neither longer_than nor times"),
        ("absence", "longer_than: 6h, times: 2", "longer_than and times"),
        ("absence", "times: 2, history: 50, gaps: 20", "a history of 50 of 20"),
        ("absence", "longer_than: 6h, stay_open: 1h", "stay_open on absence"),
        ("absence", "longer_than: 20d, keep: 10d", "20d"),
        ("new_value", "value: scores.nps", "scores.nps"),
        ("change", "score: channel, falls: 4, within: 30d", "channel"),
        ("change", "score: scores.nps, within: 30d", "neither falls nor rises"),
        ("sequence", "within: 4h", "neither then nor without"),
        ("rate", "per_hour: 4000, within: 1h", "4000 responses to a window"),
    ],
)
def test_each_kind_refuses_what_makes_no_sense(kind: str, settings: str, found: str) -> None:
    listed = problems(of(kind, settings) + OTHER)
    assert any(found in p.found and p.line == 9 for p in listed), "\n".join(map(str, listed))


def test_two_rules_that_mute_one_another_are_refused() -> None:
    one = COUNT.replace("id: many", "id: one").replace("[other]", "[two]")
    two = COUNT.replace("id: many", "id: two").replace("[other]", "[one]")
    assert ["mutes itself" in p.found for p in problems(one + two)] == [True, True]


def test_a_window_that_is_no_map_is_a_problem_and_no_traceback() -> None:
    assert problems(COUNT.replace("{kind: count, by: site, count: 3, within: 1h}", "always") + OTHER)


@pytest.mark.parametrize(
    ("was", "now", "same"),
    [
        ("count: 3", "count: 5", True),
        ("Many detractors", "Very many", True),
        ("within: 1h", "within: 1h, late: 5m, open_after: 2, stay_open: 3h", True),
        ("owner: lead", "owner: lead, priority: high", True),
        ("within: 1h", "within: 2h", False),
        ("by: site", "by: product", False),
        ("detractor\"'", "promoter\"'", False),
        ("id: many", "id: plenty", False),
    ],
)
def test_an_edit_of_thresholds_or_texts_keeps_the_window(was: str, now: str, same: bool) -> None:
    (before,), (after,) = load(COUNT + OTHER).windows, load(COUNT.replace(was, now, 1) + OTHER).windows
    assert (before.window.id == after.window.id) is same
    assert before.window.version != after.window.version


# -- facts -----------------------------------------------------------------------------------------------------


def test_a_response_that_counts_gives_a_fact_under_its_key() -> None:
    (fact,) = facts(COUNT, scores={"nps": 2.0}, attributes={"site": "leeds"}, id="r7")
    assert (fact.rule, fact.scope, fact.key, fact.ref.id, fact.role) == ("many", "default", "leeds", "r7", Role.COUNTS)


@pytest.mark.parametrize("said", [{"scores": {"nps": 9.0}, "attributes": {"site": "leeds"}}, {"scores": {"nps": 2.0}}])
def test_one_that_does_not_hold_or_has_no_key_gives_none(said: dict[str, object]) -> None:
    assert facts(COUNT, **said) == ()


def test_by_theme_a_response_gives_a_fact_for_each_theme_and_for_ancestors_where_asked() -> None:
    text = "No heating for a week, and I want a refund"
    plain = facts(of("count", by="theme"), text=text, scores={"nps": 1.0})
    above = facts(of("count", KINDS["count"] + ", ancestors: true", by="theme"), text=text, scores={"nps": 1.0})
    assert {fact.key for fact in plain} == {"heating", "billing/refund"}
    assert {fact.key for fact in above} == {"heating", "billing/refund", "billing"}


@pytest.mark.parametrize(
    ("by", "place"),
    [
        ("none", ("", "")),
        ("programme", ("default", "")),
        ("customer", ("default", "c1")),
        ("product", ("default", "tv")),
        ("attributes.value", ("default", "12.5")),
    ],
)
def test_the_keys_one_may_choose(by: str, place: tuple[str, str]) -> None:
    (fact,) = facts(of("count", by=by), scores={"nps": 2.0}, attributes={"product": "tv", "value": 12.5})
    assert fact.place[1:] == place


def test_a_share_tells_the_part_from_the_rest() -> None:
    rules = of("share", by="none").replace('bands.nps == "detractor"', "has(scores.nps)", 1)
    roles = [facts(rules, scores={"nps": nps})[0].role for nps in (1.0, 9.0)]
    assert roles == [Role.PART, Role.COUNTS]


def test_a_sequence_has_a_fact_for_either_end() -> None:
    rules = of("sequence", by="customer")
    roles = [[fact.role for fact in facts(rules, scores={"nps": nps})] for nps in (1.0, 7.0, 9.0)]
    assert roles == [[Role.FIRST], [], [Role.THEN]]


def test_a_change_carries_the_score_and_a_new_value_each_value() -> None:
    (fact,) = facts(of("change", by="customer"), scores={"nps": 2.0})
    assert fact.score == 2.0
    found = facts(of("new_value", by="none"), scores={"nps": 2.0}, text="no heating, refund please")
    assert sorted(fact.value for fact in found) == ["billing", "billing/refund", "heating"]


def test_every_response_counts_where_no_condition_is_said() -> None:
    rules = of("absence").replace("    when: {all: ['bands.nps == \"detractor\"']}\n", "")
    assert len(facts(rules, attributes={"site": "leeds"})) == 1


def test_a_rule_limited_to_sites_counts_there_alone() -> None:
    rules = of("sequence", by="customer").replace("    window", "    only: {sites: [leeds]}\n    window")
    for nps in (1.0, 9.0):
        assert facts(rules, scores={"nps": nps}, attributes={"site": "york"}) == ()
        assert len(facts(rules, scores={"nps": nps}, attributes={"site": "leeds"})) == 1


def test_a_rule_that_fails_on_a_response_is_told_and_the_others_go_on() -> None:
    odd = COUNT.replace("id: many", "id: odd").replace('bands.nps == "detractor"', "attributes.value > 1.0")
    one = response(scores={"nps": 1.0}, attributes={"site": "x", "value": "dear"})
    found = watched(odd.replace("[other]", "[]") + COUNT, one)
    assert [failure.rule for failure in found.failures] == ["odd"]
    assert [fact.rule for fact in found.facts] == ["many"]


# -- the documentation -----------------------------------------------------------------------------------------


def test_the_examples_in_the_documentation_are_read() -> None:
    text = Path(__file__).parents[2].joinpath("docs", "windows.md").read_text(encoding="utf-8")
    blocks = [block.split("```")[0] for block in text.split("```yaml\n")[1:]]
    head = HEAD.replace("value: number", "ticket: text")
    roster = ROSTER.replace("lead:", "duty_manager:")
    rules = load_text({**FILES, "sets/s.yaml": head + "".join(blocks), "rosters/r.yaml": roster}, "s", STANDARD)
    kinds = {type(rule.window.kind) for rule in rules.windows}
    assert kinds == {Count, Share, Spike, Absence, NewValue, Change, Sequence}
