"""The lines that are worked out without CEL answer as CEL does, and the index never changes what fires."""

from typing import Any

import cel
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feedback.metrics import STANDARD
from flows.settings import CHECKOUT
from rules.conditions import Line, LineError, Unknown
from rules.judge import Outcome, explain, facts_of, judge
from rules.parse import load
from scoring.reader import Reader
from tests.builders import response

SET = load(CHECKOUT / "rules", "contact-centre", STANDARD)
READER = Reader(SET.taxonomies, STANDARD)

_paths = st.sampled_from(
    ["scores.nps", "scores.csat", "bands.nps", "sentiment.compound", "sentiment.label", "channel", "language",
     "attributes.site", "attributes.account_value", "attributes.vip", "match.swearing", "customer", "staff"]
)  # fmt: skip
_texts = st.sampled_from(["", "a", "sms", "detractor", "leeds", "en", "negative", "c1"])
_literals = st.one_of(
    st.integers(-2, 12).map(str), st.floats(-2, 12).map(lambda f: f"{f:.2f}"), _texts.map(lambda t: f'"{t}"'),
    st.sampled_from(["true", "false"]),
)  # fmt: skip
_compare = st.builds(
    lambda path, sign, literal: f"{path} {sign} {literal}",
    _paths, st.sampled_from(["==", "!=", "<", "<=", ">", ">="]), _literals,
)  # fmt: skip
_lines = st.one_of(
    _compare,
    _texts.map(lambda t: f'"{t}" in intents'),
    st.sampled_from(["staff/rude", "staff", "billing"]).map(lambda t: f'"{t}" in themes'),
    st.builds(lambda path, a, b: f'{path} in ["{a}", "{b}"]', _paths, _texts, _texts),
    st.sampled_from(["match.swearing", "!match.swearing", "attributes.vip", "!attributes.vip", "attributes.site"]),
    st.sampled_from(["size(text) > 3", "size(staff) == 0", "has(scores.nps)", "!has(scores.csat)"]),
    _texts.map(lambda t: f'text.contains("{t}")'),
    st.sampled_from(
        [
            'themes.exists(t, t.startsWith("staff"))',
            'scores.nps < 3.0 || channel == "sms"',
            'text.endsWith("you")',
            "match.swearing || sentiment.compound < 0.0",
            'has(attributes.site) ? attributes.site == "leeds" : false',
        ],
    ),
)
_whole = st.one_of(_lines, st.lists(_lines, min_size=2, max_size=3).map(" && ".join))
_responses = st.builds(
    response,
    channel=st.sampled_from(["", "sms", "phone"]),
    customer=st.sampled_from(["", "c1"]),
    language=st.sampled_from(["en", "fr"]),
    text=st.sampled_from(["", "the agent was rude", "shit", "Priya was lovely, thank you"]),
    scores=st.dictionaries(st.sampled_from(["nps", "csat"]), st.integers(1, 5).map(float), max_size=2),
    attributes=st.fixed_dictionaries(
        {},
        optional={
            "site": st.sampled_from(["leeds", 3.0, True]),
            "account_value": st.sampled_from([10.0, "ten"]),
            "vip": st.sampled_from([True, False, "yes", 1.0]),
        },
    ),
)


def verdict(work_out: Any) -> Any:
    try:
        return work_out()
    except Unknown:
        return "unknown"
    except LineError:
        return "error"


@settings(max_examples=600)
@given(source=_whole, said=_responses)
def test_a_line_says_what_cel_says(source: str, said: Any) -> None:
    facts = facts_of(SET, said, READER.read(said))
    line = Line(source)
    context, some = cel.Context(facts.tree()), cel.Context(facts.tree(line.roots))
    assert verdict(lambda: line.holds(facts, lambda whole: context if whole else some)) == verdict(
        lambda: line.plainly(facts, context)
    )


@settings(max_examples=200)
@given(said=_responses)
def test_the_index_leaves_out_no_rule_that_fires(said: Any) -> None:
    reading = READER.read(said)
    fired = [trigger.rule for trigger in judge(SET, said, reading).triggers]
    assert fired == [rule.id for rule, v in explain(SET, said, reading) if v.outcome is Outcome.FIRED]


@pytest.mark.parametrize("name", ["contact-centre", "housing", "software-service"])
def test_an_empty_response_fires_nothing_and_fails_nothing(name: str) -> None:
    rules = load(CHECKOUT / "rules", name, STANDARD)
    judged = judge(rules, response(), Reader(rules.taxonomies, STANDARD).read(response()))
    assert (judged.triggers, judged.failures) == ((), ())
