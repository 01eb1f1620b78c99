"""Prometheus and Alertmanager themselves on a live Tocsin: rules hold, every expression answers, faults arrive."""

import math
import re
import time
from collections.abc import Iterator
from typing import Any

import pytest

from connectors.embedded import Embedded
from connectors.key_store import KeyStore
from connectors.redis_link import client
from tests.connectors.outage import Outage
from tests.watch.files import PROMETHEUS, dashboards, expressions
from tests.watch.stage import Stage, amtool, promtool, until

pytestmark = pytest.mark.watch

SELECTOR = re.compile(r"\btocsin[_:][a-z0-9_:]+(?:\{[^}]*\})?")
NOT_HERE = {
    "tocsin_kafka_lag_records": "no topic is read on this stage",
    "tocsin_fetch_attempts_total": "no tool is fetched from",
    'tocsin_http_requests_total{status=~"5.."}': "the door made no mistake",
    "tocsin_clock_lateness_seconds": "no clock spoke in these seconds",
    'tocsin_clock_met_seconds_bucket{programme=~".+", clock="first_response"}': "looked at by its own name below",
}
"""Selector, or name, of what cannot be there, and why."""


@pytest.fixture(scope="module")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Embedded]:
    server = Embedded(tmp_path_factory.mktemp("redis"))
    yield server
    server.close()


@pytest.fixture(scope="module")
def stage(redis_server: Embedded, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    opened = Stage(tmp_path_factory.mktemp("stage"), redis_server.url)
    try:
        yield opened
    finally:
        opened.close()


def plain(expr: str) -> str:
    """*expr* without Grafana's variables."""
    return expr.replace("$__rate_interval", "1m").replace("$programme", ".+")


def is_excused(selector: str) -> bool:
    name = re.sub(r"_(bucket|sum|count)$", "", selector.partition("{")[0])
    return selector in NOT_HERE or name in NOT_HERE or selector.partition("{")[0] in NOT_HERE


SELECTORS = sorted({s for _, expr in expressions() for s in SELECTOR.findall(plain(expr)) if not is_excused(s)})
PANELS = [
    pytest.param(plain(target["expr"]), id=f"{name}: {panel['title']}: {target['legendFormat']}")
    for name, dashboard in dashboards().items()
    for panel in dashboard["panels"]
    for target in panel.get("targets", ())
    if not any(is_excused(selector) for selector in SELECTOR.findall(plain(target["expr"])))
]


def test_prometheus_and_alertmanager_take_the_files() -> None:
    checked = promtool("check", "config", str(PROMETHEUS / "prometheus.yml"))
    assert checked.returncode == 0, checked.stdout + checked.stderr
    checked = amtool("check-config", str(PROMETHEUS / "alertmanager.yml"))
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_alerts_fire_when_they_should_and_not_before() -> None:
    tests = sorted(str(path) for path in (PROMETHEUS / "tests").glob("*.yml"))
    run = promtool("test", "rules", *tests)
    assert run.returncode == 0, run.stdout + run.stderr


def test_prometheus_reads_every_process_of_the_stage(stage: Stage) -> None:
    until(lambda: len(stage.ask("up == 1")) == 3, "three targets that are up")


@pytest.mark.parametrize("selector", SELECTORS)
def test_what_is_asked_for_is_there(stage: Stage, selector: str) -> None:
    until(lambda: stage.ask(selector), selector)


@pytest.mark.parametrize("expr", PANELS)
def test_a_panel_shows_something(stage: Stage, expr: str) -> None:
    def shown() -> list[dict[str, Any]]:
        return [sample for sample in stage.ask(expr) if not math.isnan(float(sample["value"][1]))]

    if expr.endswith("== 0) or vector(0)") or " > 0" in expr:  # may have nothing to show, and says so
        stage.ask(expr)
        return
    until(shown, expr)


@pytest.mark.parametrize(("where", "expr"), [pytest.param(*one, id=one[0]) for one in expressions()])
def test_prometheus_can_compute_it(stage: Stage, where: str, expr: str) -> None:
    stage.ask(plain(expr))


def test_every_rule_is_evaluated_without_an_error(stage: Stage) -> None:
    until(lambda: not stage.ask("sum(increase(prometheus_rule_evaluation_failures_total[1m])) > 0"), "rules that hold")


def test_a_receiver_that_has_gone_reaches_alertmanager_with_its_runbook(stage: Stage) -> None:
    (alert,) = until(lambda: stage.alerts("TocsinEndpointDisabled"), "the alert")
    assert (alert["labels"]["endpoint"], alert["labels"]["severity"]) == ("old-crm", "page")
    assert alert["annotations"]["runbook"] == "docs/runbooks/deliveries.md#tocsinendpointdisabled"
    assert alert["receivers"] == [{"name": "pages"}]


def test_a_redis_that_hangs_reaches_alertmanager_and_is_over_when_it_answers_again(stage: Stage) -> None:
    assert stage.alerts("TocsinNotReady") == []
    with client(stage.redis) as connection:
        pid = int(connection.info("server")["process_id"])
    with stage.suspended(pid):
        found = {alert["labels"]["job"] for alert in until(lambda: _pair(stage), "an alert of each process")}
    assert found == {"tocsin-engine", "tocsin-door"}
    until(lambda: not stage.ask('ALERTS{alertname="TocsinNotReady"}'), "the end of the alert")


def _pair(stage: Stage) -> list[dict[str, Any]]:
    """Alerts of being not ready, once both processes that promise to be have one."""
    found = stage.alerts("TocsinNotReady")
    return found if len({alert["labels"]["job"] for alert in found}) == 2 else []


def test_a_redis_that_takes_no_writes_reaches_alertmanager_although_it_answers(stage: Stage) -> None:
    """Its memory is full here; a full disk is told in the same way, with other words."""
    until(lambda: not stage.ask('ALERTS{alertname="TocsinNotReady"}'), "no alert")
    with client(stage.redis) as connection:
        connection.config_set("maxmemory", 1)
        try:
            found = {alert["labels"]["job"] for alert in until(lambda: _pair(stage), "an alert of each process")}
            refused = stage.respond("while-full")
        finally:
            connection.config_set("maxmemory", 0)
    assert found == {"tocsin-engine", "tocsin-door"}
    assert refused == 503
    until(lambda: stage.respond("while-full") in (200, 202), "the same response being taken")
    until(lambda: not stage.ask('ALERTS{alertname="TocsinNotReady"}'), "the end of the alert")


def test_a_redis_that_is_killed_reaches_alertmanager_and_is_over_when_it_is_back(
    stage: Stage, redis_server: Embedded
) -> None:
    outage = Outage(redis_server)
    outage.begin()
    try:
        until(lambda: _pair(stage), "an alert of each process")
    finally:
        outage.end()
    until(lambda: stage.respond("after") in (200, 202), "a response being taken")
    until(lambda: not stage.ask('ALERTS{alertname="TocsinNotReady"}'), "the end of the alert")


def test_a_receiver_that_hangs_reaches_alertmanager(stage: Stage) -> None:
    def hung() -> list[dict[str, Any]]:
        return [a for a in stage.alerts("TocsinReceiverFailing") if a["labels"]["endpoint"] == "hung"]

    (alert,) = until(hung, "the alert")
    assert alert["annotations"]["runbook"] == "docs/runbooks/deliveries.md#tocsinreceiverfailing"


def test_a_key_that_was_revoked_and_is_still_in_use_reaches_alertmanager(stage: Stage) -> None:
    keys = KeyStore(stage.redis)
    keys.revoke("test", ["default"], int(time.time()))
    keys.close()
    until(lambda: stage.respond("late") == 401, "the end of the key")
    assert [stage.respond("late") for _ in range(3)] == [401] * 3
    (alert,) = until(lambda: stage.alerts("TocsinSenderRefused"), "the alert")
    assert alert["labels"]["reason"] == "ended_key"
    assert alert["annotations"]["runbook"] == "docs/runbooks/door.md#tocsinsenderrefused"


@pytest.mark.parametrize("name", ["deliveries", "door"])
def test_a_process_that_is_killed_reaches_alertmanager_and_its_return_ends_the_alert(stage: Stage, name: str) -> None:
    assert stage.alerts("TocsinDown") == []
    stage.kill(name)
    (alert,) = until(lambda: stage.alerts("TocsinDown"), "the alert")
    assert alert["labels"]["job"] == f"tocsin-{name}"
    {"deliveries": stage.start_deliveries, "door": stage.start_door}[name]()
    until(lambda: not stage.alerts("TocsinDown"), "the end of the alert")


def test_an_engine_that_is_killed_reaches_alertmanager_and_its_return_ends_the_alert(stage: Stage) -> None:
    assert stage.alerts("TocsinDown") == []
    stage.kill("engine")
    (alert,) = until(lambda: stage.alerts("TocsinDown"), "the alert")
    assert alert["labels"]["job"] == "tocsin-engine"
    stage.start_engine()
    until(lambda: not stage.ask('ALERTS{alertname="TocsinDown"}'), "the end of the alert")
