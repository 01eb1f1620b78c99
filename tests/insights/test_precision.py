"""What people called a false alarm counts against the rule and version that opened the case."""

from typing import Any

import pytest

from insights.precision import Precision, Precisions

OPENED = {"id": "damp", "version": "1", "title": "Damp"}


def event(type_: str, at: int = 1, **data: Any) -> dict[str, Any]:
    return {"type": f"tocsin.{type_}", "time": f"2026-11-0{at}T09:00:00Z", "data": data}


def opened(at: int = 1, *rules: dict[str, str]) -> dict[str, Any]:
    return event("case.opened", at, rules=list(rules or (OPENED,)))


def counted(*logs: list[dict[str, Any]]) -> list[Precision]:
    found = Precisions()
    for log in logs:
        found.take("default", log)
    return found.rows


INVALIDATED, CLOSED, REOPENED = event("case.invalidated"), event("case.closed"), event("case.reopened")
THEME = event("case.updated", change="corrected", correction={"field": "theme", "to": "leak"})
PRIORITY = event("case.updated", change="corrected", correction={"field": "priority", "to": "low"})


@pytest.mark.parametrize(
    ("log", "invalidated", "corrected", "decided"),
    [
        ([], 0, 0, 0),
        ([CLOSED], 0, 0, 1),
        ([INVALIDATED], 1, 0, 1),
        ([INVALIDATED, REOPENED], 0, 0, 0),
        ([INVALIDATED, REOPENED, CLOSED], 0, 0, 1),
        ([THEME], 0, 1, 1),
        ([THEME, INVALIDATED], 1, 0, 1),
        ([PRIORITY, CLOSED], 0, 0, 1),
        ([event("case.updated", change="joined", rules=[{"id": "other", "version": "1"}])], 0, 0, 0),
    ],
)
def test_a_case_counts_by_how_it_stands(
    log: list[dict[str, Any]], invalidated: int, corrected: int, decided: int
) -> None:
    (row,) = counted([opened(), *log])
    assert (row.opened, row.invalidated, row.corrected, row.decided) == (1, invalidated, corrected, decided)


def test_precision_is_of_what_is_decided_and_by_version() -> None:
    second = {**OPENED, "version": "2"}
    rows = counted(
        [opened(), CLOSED],
        [opened(2), INVALIDATED],
        [opened(3), CLOSED],
        [opened(4), CLOSED],
        [opened()],
        [opened(5, second)],
    )
    assert [(row.version, row.opened, row.precision) for row in rows] == [("2", 1, None), ("1", 5, 0.75)]
    assert (rows[1].first_at, rows[1].last_at) == ("2026-11-01T09:00:00Z", "2026-11-04T09:00:00Z")


def test_every_rule_that_opened_it_is_counted_and_a_log_without_an_opening_is_none() -> None:
    both = opened(1, OPENED, {"id": "leak", "version": "9"})
    assert [(row.rule, row.invalidated) for row in counted([both, INVALIDATED], [CLOSED])] == [("damp", 1), ("leak", 1)]
