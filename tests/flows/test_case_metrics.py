"""What a team lead's page counts is what the events and the store's indexes say."""

from collections import Counter
from typing import Any

import msgspec
from prometheus_client import CollectorRegistry

from connectors.records import Records
from connectors.redis_store import RedisStore
from feedback.instants import Instant, parse_instant, parse_span
from flows import case_metrics
from flows.case_metrics import CHANGES, CaseGauges, CaseMetrics
from flows.delivery_metrics import DeliveryMetrics
from flows.health import Readiness
from flows.metrics import EngineMetrics
from tests.builders import START
from tests.cases.test_second_thoughts import World
from tests.wire.story import events

EVENTS = events()


def opened_about(themes: list[str]) -> Any:
    one = next(event for event in EVENTS if event.type == "case.opened")
    return msgspec.structs.replace(one, data={**one.data, "reading": {**one.data["reading"], "themes": themes}})


def test_every_change_of_a_case_is_counted_once() -> None:
    registry = CollectorRegistry()
    metrics = CaseMetrics(registry)
    for event in EVENTS:
        metrics.note(event)
    said = Counter(CHANGES[event.type] for event in EVENTS if event.type in CHANGES)
    for change in CHANGES.values():
        labels = {"programme": "default", "change": change}
        assert registry.get_sample_value("tocsin_case_changes_total", labels) == said[change] > 0


def test_false_alarms_are_counted_by_the_rule_and_version_that_raised_them() -> None:
    registry = CollectorRegistry()
    metrics = CaseMetrics(registry)
    wanted: Counter[tuple[str, str, str]] = Counter()
    for event in EVENTS:
        metrics.note(event)
        if event.type == "case.opened":
            wanted.update((rule["id"], rule["version"], "opened") for rule in event.data["rules"])
        elif event.type in ("case.invalidated", "case.closed"):
            rules = msgspec.json.decode(event.record or b"")["rules"]
            wanted.update((rule["id"], rule["version"], event.type.removeprefix("case.")) for rule in rules)
        elif event.data.get("correction", {}).get("field", "priority") != "priority":
            rules = msgspec.json.decode(event.record or b"")["rules"]
            wanted.update((rule["id"], rule["version"], "corrected") for rule in rules)
    said = {
        (sample.labels["rule"], sample.labels["version"], sample.labels["outcome"]): sample.value
        for family in registry.collect()
        for sample in family.samples
        if sample.name == "tocsin_rule_cases_total"
    }
    assert said == wanted
    assert {outcome for _, _, outcome in said} >= {"opened", "closed", "invalidated"}


def test_ages_and_times_of_clocks_are_those_of_the_events() -> None:
    registry = CollectorRegistry()
    metrics = CaseMetrics(registry)
    taken: Counter[tuple[str, str]] = Counter()
    for event in EVENTS:
        metrics.note(event)
        if event.type in ("case.acknowledged", "case.resolved", "case.closed"):
            assert event.standing is not None
            taken["age", event.type.removeprefix("case.")] += event.time - event.standing.opened_at
        if event.type == "clock.met" and event.data["clock"] == "first_response":
            taken["clock", "first_response"] += event.time - parse_instant(event.data["started_at"])
    for (what, name), seconds in taken.items():
        metric, label = ("case_age", "until") if what == "age" else ("clock_met", "clock")
        labels = {"programme": "default", label: name}
        assert registry.get_sample_value(f"tocsin_{metric}_seconds_sum", labels) == seconds > 0
    assert len(taken) == 4


def test_themes_past_the_limit_are_counted_together(monkeypatch: Any) -> None:
    monkeypatch.setattr(case_metrics, "NAMES", 2)
    registry = CollectorRegistry()
    metrics = CaseMetrics(registry)
    for themes in (["a", "b"], ["c"], ["d", "a"]):
        metrics.note(opened_about(themes))
    counted = {
        sample.labels["theme"]: sample.value
        for family in registry.collect()
        for sample in family.samples
        if sample.name == "tocsin_case_themes_total"
    }
    assert counted == {"a": 2, "b": 1, "other": 2}


def test_gauges_say_what_is_open_due_and_whose(store_url: str) -> None:
    store, records = RedisStore(store_url, ["default"]), Records(store_url)
    world = World()
    store.write(world.says("0", "quick"))  # due in ten minutes
    store.write(world.until("1m"))
    roster = ["ann", "bob"]
    registry = CollectorRegistry()
    gauges = CaseGauges(registry, records, ["default"], lambda _: roster)

    def value(name: str, **labels: str) -> float | None:
        return registry.get_sample_value(f"tocsin_{name}", {"programme": "default", **labels})

    owner = next(event.standing.owner for event in world.said if event.standing is not None)
    assert owner in roster
    gauges.refresh(Instant(START + 60))
    assert (value("open_cases"), value("overdue_cases"), value("due_cases", within="1h")) == (1, 0, 1)
    assert value("owner_open_cases", owner=owner) == 1
    gauges.refresh(Instant(START + parse_span("10m")))
    assert (value("overdue_cases"), value("due_cases", within="7d")) == (1, 0)
    assert {name: value("owner_overdue_cases", owner=name) for name in ("", *roster)} == {
        "": 0.0, **{name: float(name == owner) for name in roster}
    }  # fmt: skip
    roster.remove(owner)
    gauges.refresh(Instant(START + parse_span("11m")))
    assert value("owner_open_cases", owner=owner) is None
    store.close()
    records.close()


def test_the_first_of_anything_is_a_rise_of_a_series_that_was_there() -> None:
    registry = CollectorRegistry()
    EngineMetrics(registry, "0", ["default"])
    rare = {"tocsin_events_total": {"type": "store.lost"}}
    rare["tocsin_case_changes_total"] = {"programme": "default", "change": "reopened"}
    assert [registry.get_sample_value(name, labels) for name, labels in rare.items()] == [0, 0]
    deliveries = DeliveryMetrics(registry)
    deliveries.begin("crm")
    assert registry.get_sample_value("tocsin_deliveries_total", {"endpoint": "crm", "outcome": "dead"}) == 0


def test_whether_a_process_is_ready_is_a_number_too() -> None:
    registry, reasons = CollectorRegistry(), dict[str, str]()
    registry.register(Readiness(lambda: reasons))
    assert registry.get_sample_value("tocsin_ready") == 1
    reasons["store"] = "Redis is away"
    assert registry.get_sample_value("tocsin_ready") == 0
