"""The units say what the documentation says, and their commands exist."""

import configparser
import re
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

from console.cli import app
from tests.watch.files import ROOT

FOLDER = ROOT / "deploy" / "systemd"
UNITS = sorted(FOLDER.glob("*.service"))
EACH = pytest.mark.parametrize("path", UNITS, ids=lambda path: path.name)


def unit(path: Path) -> configparser.ConfigParser:
    read = configparser.ConfigParser(interpolation=None, strict=True)
    read.optionxform = str  # type: ignore[assignment,method-assign]
    read.read_string(path.read_text(encoding="utf-8"))
    return read


@EACH
def test_a_unit_runs_a_command_of_ours_with_options_that_it_has(path: Path) -> None:
    program, name, *words = shlex.split(unit(path)["Service"]["ExecStart"])
    assert program == "/opt/tocsin/.venv/bin/tocsin"
    told = CliRunner().invoke(app, [name, "--help"], env={"COLUMNS": "200", "TERM": "dumb"})
    assert told.exit_code == 0
    shown = re.sub(r"\x1b\[[0-9;]*m", "", told.output)
    assert [word for word in words if word.startswith("--") and word.replace("--no-", "--") not in shown] == []


@EACH
def test_a_unit_is_nobodys_root_and_comes_back(path: Path) -> None:
    service = unit(path)["Service"]
    assert service["User"] == "tocsin"
    assert (service["NoNewPrivileges"], service["ProtectSystem"], service["CapabilityBoundingSet"]) == (
        "yes", "strict", ""
    )  # fmt: skip
    assert (service["Restart"], service["KillSignal"]) == ("always", "SIGTERM")
    assert service["MemoryMax"]
    assert unit(path)["Unit"]["PartOf"] == unit(path)["Install"]["WantedBy"] == "tocsin.target"


def test_the_environment_names_what_the_units_use() -> None:
    lines = (FOLDER / "tocsin.env").read_text(encoding="utf-8").splitlines()
    given = {line.partition("=")[0] for line in lines if line and not line.startswith("#")}
    used = {name for path in UNITS for name in re.findall(r"\$\{(\w+)\}", path.read_text(encoding="utf-8"))}
    assert used == {"TOCSIN_LANES"}
    assert used | {"TOCSIN_SETTINGS", "TOCSIN_STATE", "TOCSIN_REDIS_URL"} == given
