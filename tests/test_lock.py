"""What is installed is what was locked: every package of `pyproject.toml`, at one version, by its hashes."""

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
TO_RUN = [Requirement(line) for line in PROJECT["dependencies"]]
TO_TEST = [*TO_RUN, *(Requirement(line) for line in PROJECT["optional-dependencies"]["dev"])]


def locked(name: str) -> dict[str, tuple[Version, int]]:
    """Package -> (its version, how many hashes it may have)."""
    found = {}
    for entry in re.split(r"\n(?=\S)", (ROOT / name).read_text()):
        what = re.match(r"([A-Za-z0-9_.-]+)==([^\s;]+)", entry)
        assert what, f"{name}: {entry[:60]!r} is not pinned"
        found[canonicalize_name(what[1])] = (Version(what[2]), len(re.findall(r"--hash=sha256:[0-9a-f]{64}\b", entry)))
    return found


@pytest.mark.parametrize(("lock", "asked"), [("requirements.lock", TO_RUN), ("requirements-dev.lock", TO_TEST)])
def test_every_dependency_is_locked_at_a_version_that_it_asks_for_and_by_hashes(
    lock: str, asked: list[Requirement]
) -> None:
    held = locked(lock)

    for requirement in asked:
        version, _ = held[canonicalize_name(requirement.name)]
        assert requirement.specifier.contains(version, prereleases=True), requirement
    assert [name for name, (_, hashes) in held.items() if not hashes] == []


def test_what_runs_is_what_was_tested() -> None:
    tested = locked("requirements-dev.lock")

    assert {name: tested.get(name) for name in locked("requirements.lock")} == locked("requirements.lock")


@pytest.mark.parametrize(
    ("file", "lock"), [("Makefile", "requirements-dev.lock"), ("deploy/Dockerfile", "requirements.lock")]
)
def test_nothing_is_installed_past_the_lock(file: str, lock: str) -> None:
    installs = re.findall(r"pip install ([^\n&]*)", (ROOT / file).read_text())
    ours = [line for line in installs if " -e ." in line or ".lock" in line]

    assert len(ours) == 2
    assert all(f"--require-hashes -r {lock}" in line or "--no-deps --no-build-isolation" in line for line in ours)
