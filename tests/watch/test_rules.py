"""Rules ask only for series that exist, every alert is tested, and leads to a runbook that says what to do."""

import re
from typing import Any

import pytest

from tests.watch.files import METRIC, PROMETHEUS, ROOT, RUNBOOKS, expressions, load_yaml, names_in_code, rules

ALERTS = {rule["alert"]: rule for rule in rules("alerts")}
RECORDED = {rule["record"] for rule in rules("recording")}
PARTS = ("**Means** ", "**Look** ", "**Do** ", "**Wake** ")


def sections() -> dict[str, str]:
    """`docs/runbooks/page.md#anchor` to the section's text."""
    found = {}
    for page in RUNBOOKS.glob("*.md"):
        for title, text in re.findall(r"^## (\w+)\n(.*?)(?=^## |\Z)", page.read_text("utf-8"), re.M | re.S):
            found[f"{page.relative_to(ROOT)}#{title.lower()}"] = text
    return found


def raised_by_tests() -> dict[str, list[Any]]:
    """Alert to what its tests expect."""
    found: dict[str, list[Any]] = {}
    for path in (PROMETHEUS / "tests").glob("*.yml"):
        for test in load_yaml(path)["tests"]:
            for case in test.get("alert_rule_test", ()):
                found.setdefault(case["alertname"], []).append(case.get("exp_alerts"))
    return found


@pytest.mark.parametrize(("where", "expr"), [pytest.param(*one, id=one[0]) for one in expressions()])
def test_an_expression_asks_only_for_series_that_exist(where: str, expr: str) -> None:
    asked = set(METRIC.findall(expr))
    assert asked or "up{" in expr, where
    assert asked <= names_in_code() | RECORDED


@pytest.mark.parametrize("alert", ALERTS)
def test_an_alert_says_how_urgent_it_is_and_leads_to_its_runbook(alert: str) -> None:
    rule = ALERTS[alert]
    assert rule["labels"]["severity"] in ("page", "ticket")
    assert rule["annotations"]["summary"]
    where = rule["annotations"]["runbook"]
    assert where.endswith("#" + alert.lower())
    assert [part for part in PARTS if part not in sections()[where]] == []


def test_every_section_of_a_runbook_belongs_to_an_alert() -> None:
    assert set(sections()) == {rule["annotations"]["runbook"] for rule in ALERTS.values()}


def test_every_alert_is_raised_by_a_test() -> None:
    raised = {alert for alert, expected in raised_by_tests().items() if any(expected)}
    assert raised == set(ALERTS)
