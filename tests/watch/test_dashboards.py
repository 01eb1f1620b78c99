"""The dashboards' files are what their source says, and nothing on a page hides another thing."""

import runpy
from itertools import combinations
from typing import Any

import pytest

from tests.watch.files import GRAFANA, dashboards

SOURCE = runpy.run_path(str(GRAFANA / "build.py"))
WHOLE = [pytest.param(name, one, id=name) for name, one in dashboards().items()]


def test_the_files_are_what_the_source_writes() -> None:
    written = {name: (GRAFANA / name).read_text(encoding="utf-8") for name in dashboards()}
    assert written == {name: SOURCE["text"](made) for name, made in SOURCE["DASHBOARDS"].items()}, (
        "run .venv/bin/python deploy/grafana/build.py"
    )


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
