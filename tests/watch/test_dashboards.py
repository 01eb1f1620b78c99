"""The dashboards' files are what their source says, and nothing on a page hides another thing."""

import json
import runpy
from collections.abc import Iterator
from itertools import combinations
from typing import Any

import pytest
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard

from tests.watch.files import GRAFANA, dashboards

SOURCE = runpy.run_path(str(GRAFANA / "build.py"))
WHOLE = [pytest.param(name, one, id=name) for name, one in dashboards().items()]


def test_the_files_are_what_the_source_writes() -> None:
    written = {name: (GRAFANA / name).read_text(encoding="utf-8") for name in dashboards()}
    assert written == {name: SOURCE["text"](made) for name, made in SOURCE["DASHBOARDS"].items()}, (
        "run .venv/bin/python deploy/grafana/build.py"
    )


def lost(found: Any, kept: Any, where: str = "") -> Iterator[str]:
    """Where *kept* lacks something of *found*, or says something else."""
    if isinstance(found, dict) and isinstance(kept, dict):
        for name, value in found.items():
            yield from lost(value, kept.get(name), f"{where}.{name}")
    elif isinstance(found, list) and isinstance(kept, list) and len(found) == len(kept):
        for number, pair in enumerate(zip(found, kept, strict=True)):
            yield from lost(*pair, f"{where}[{number}]")
    elif found != kept:
        yield where


def through_grafanas_types(dashboard: dict[str, Any]) -> Any:
    """*dashboard* read as the types that Grafana publishes and written again; they know nothing of a misspelt name."""
    register_default_plugins()
    return json.loads(JSONEncoder().encode(Dashboard.from_json(dashboard)))


@pytest.mark.parametrize(("name", "dashboard"), WHOLE)
def test_everything_on_a_page_is_something_that_grafana_knows(name: str, dashboard: dict[str, Any]) -> None:
    assert list(lost(dashboard, through_grafanas_types(dashboard))) == []


def test_a_misspelt_name_would_be_noticed() -> None:
    dashboard = json.loads((GRAFANA / "flow.json").read_text(encoding="utf-8"))
    dashboard["panels"][1]["fieldConfig"]["defaults"]["untt"] = "s"
    assert list(lost(dashboard, through_grafanas_types(dashboard))) == [".panels[1].fieldConfig.defaults.untt"]


@pytest.mark.parametrize(("name", "dashboard"), WHOLE)
def test_panels_lie_beside_each_other_and_have_their_own_ids(name: str, dashboard: dict[str, Any]) -> None:
    panels = dashboard["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    cells = [
        {(x, y) for x in range(p["x"], p["x"] + p["w"]) for y in range(p["y"], p["y"] + p["h"])}
        for p in (panel["gridPos"] for panel in panels)
    ]
    assert all(not one & other for one, other in combinations(cells, 2))
    assert all(x < 24 for one in cells for x, _ in one)


@pytest.mark.parametrize(("name", "dashboard"), WHOLE)
def test_every_panel_says_what_it_shows_and_only_names_variables_it_has(name: str, dashboard: dict[str, Any]) -> None:
    variables = {variable["name"] for variable in dashboard["templating"]["list"]}
    for panel in dashboard["panels"]:
        if panel["type"] == "row":
            continue
        assert panel["description"].endswith(".")
        assert panel["targets"]
        for target in panel["targets"]:
            assert "$programme" not in target["expr"] or "programme" in variables
