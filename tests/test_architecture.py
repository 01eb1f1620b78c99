"""The picture of the folders, held against the imports: arrows point one way, and pure rooms stay pure."""

import ast
import importlib
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
ROOMS = ("feedback", "scoring", "rules", "cases", "connectors", "insights", "flows", "console")
MAY_IMPORT = {
    "feedback": set(),
    "scoring": {"feedback"},
    "rules": {"feedback", "scoring"},
    "cases": {"feedback", "scoring", "rules"},
    # A sink knows events; the metrics are for the columns of a CSV.
    "connectors": {"feedback", "cases.events", "cases.sealing"},
    # What is folded from events is also counted and verified again.
    "insights": {"feedback", "cases", "rules.calendar"},
    "flows": {"feedback", "scoring", "rules", "cases", "connectors", "insights"},
    # The command line is the one place above the flows.
    "console": {"feedback", "scoring", "rules", "cases", "connectors", "insights", "flows"},
}
LIBRARIES = {
    "feedback": {"msgspec", "re2"},
    # numpy: one text against forty themes at once, in the time that a loop takes for two of them.
    "scoring": {"msgspec", "vaderSentiment", "river", "ahocorasick", "py3langid", "numpy"},
    "rules": {"msgspec", "cel", "ruamel", "re2", "holidays"},
    "cases": {"msgspec", "cryptography"},
}
"""What the four pure rooms may import besides the standard library: the one thing that each is about."""


def modules(room: str) -> list[Path]:
    return sorted((ROOT / room).rglob("*.py"))


def imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


@pytest.mark.parametrize("room", ROOMS)
def test_arrows_point_one_way(room: str) -> None:
    for path in modules(room):
        for name in imported(path):
            top = name.split(".")[0]
            if top in ROOMS and top != room:
                allowed = any(name == ok or name.startswith(ok + ".") or ok == top for ok in MAY_IMPORT[room])
                assert allowed, f"{path.relative_to(ROOT)} imports {name}"


@pytest.mark.parametrize("room", sorted(LIBRARIES))
def test_pure_rooms_import_only_what_they_are_about(room: str) -> None:
    for path in modules(room):
        for name in imported(path):
            top = name.split(".")[0]
            known = top in sys.stdlib_module_names or top in ROOMS or top in LIBRARIES[room]
            assert known, f"{path.relative_to(ROOT)} imports {name}"


@pytest.mark.parametrize("room", sorted(LIBRARIES))
def test_pure_rooms_never_ask_what_time_it_is(room: str) -> None:
    for path in modules(room):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Attribute) and node.attr in ("now", "utcnow", "today", "time", "monotonic"):
                owner = node.value
                asked = isinstance(owner, ast.Name) and owner.id in ("time", "datetime", "date")
                assert not asked, f"{path.relative_to(ROOT)}:{node.lineno} asks for the time"


@pytest.mark.parametrize("room", ROOMS)
def test_every_room_is_ours_and_is_listed(room: str) -> None:
    found = importlib.import_module(room).__file__
    assert found is not None
    assert Path(found).is_relative_to(ROOT)
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    assert room in listed


def test_every_folder_of_tests_is_a_package() -> None:
    folders = [p for p in (ROOT / "tests").rglob("*") if p.is_dir() and p.name != "__pycache__"]
    missing = [p for p in folders if list(p.glob("*.py")) and not (p / "__init__.py").exists()]
    assert not missing
