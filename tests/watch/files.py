"""What lies in `deploy/prometheus`, `deploy/grafana` and `docs/runbooks`, read."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry
from ruamel.yaml import YAML

from connectors.records import Records
from console.supervisor import Supervisor
from flows.capture_metrics import CaptureMetrics
from flows.case_metrics import CaseGauges
from flows.delivery_metrics import DeliveryMetrics
from flows.erasures import ErasureFigures, Erasures
from flows.health import Readiness
from flows.keeping import Keeping
from flows.learning import Learning
from flows.learning_figures import LearningFigures
from flows.metrics import EngineMetrics
from flows.models import ModelShelf
from flows.run import Stop

ROOT = Path(__file__).parents[2]
PROMETHEUS = ROOT / "deploy" / "prometheus"
GRAFANA = ROOT / "deploy" / "grafana"
RUNBOOKS = ROOT / "docs" / "runbooks"

METRIC = re.compile(r"\btocsin[_:][a-z0-9_:]+")
SUFFIXES = ("_bucket", "_sum", "_count", "_total", "_created")


def load_yaml(path: Path) -> Any:
    return YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))


def rules(name: str) -> list[dict[str, Any]]:
    """The rules of `deploy/prometheus/<name>.yml`."""
    return [rule for group in load_yaml(PROMETHEUS / f"{name}.yml")["groups"] for rule in group["rules"]]


def dashboards() -> dict[str, dict[str, Any]]:
    """File name to dashboard."""
    return {path.name: json.loads(path.read_text(encoding="utf-8")) for path in sorted(GRAFANA.glob("*.json"))}


def expressions() -> Iterator[tuple[str, str]]:
    """(where, PromQL) of everything that is asked of Prometheus."""
    for file in ("recording", "alerts"):
        for rule in rules(file):
            yield f"{file}: {rule.get('alert') or rule.get('record')}", rule["expr"]
    for name, dashboard in dashboards().items():
        for panel in dashboard["panels"]:
            for target in panel.get("targets", ()):
                yield f"{name}: {panel['title']}", target["expr"]


def names_in_code() -> set[str]:
    """The names of every series that a process of ours can have."""
    registry = CollectorRegistry()
    EngineMetrics(registry, "0")
    CaseGauges(registry, Records("redis://127.0.0.1:1"), [], lambda _: ())
    Keeping(registry, None, ROOT, [])
    DeliveryMetrics(registry)
    CaptureMetrics(registry)
    registry.register(Readiness(dict))
    registry.register(ErasureFigures(Erasures()))
    registry.register(LearningFigures(Learning(ModelShelf(ROOT), {}, lambda *_: None)))
    supervised = Supervisor({}, lambda _: ROOT, Stop(), lambda _: None).registry
    families = [family for found in (registry, supervised) for family in found.collect()]
    by_type = {
        "counter": ("_total",),
        "histogram": ("_bucket", "_sum", "_count"),
        "gauge": ("",),
    }
    return {family.name + suffix for family in families for suffix in by_type[family.type]}
