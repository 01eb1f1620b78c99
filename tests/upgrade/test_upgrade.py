"""A state directory that an earlier release left is taken up by this one with everything in it.

`before-checksums.tar.xz` is one with the embedded server's data: eight unhappy customers of the contact centre's
set, sixteen cases, one of them acknowledged, one refused action; its engine and server ended by kill -9. It was made at
commit 294b851 with these settings. When the stored form changes, a store of the release before it joins it here.
"""

import json
import tarfile
from pathlib import Path
from typing import Any

import pytest

from cases import shard as shards
from tests.console.test_cli import tocsin

HERE = Path(__file__).parent
STORES = sorted(HERE.glob("*.tar.xz"))
SETTINGS = "programmes: {default: {rules: contact-centre}}\nengine: {shards: 64}\n"


@pytest.fixture(params=STORES, ids=lambda path: path.name.partition(".")[0])
def house(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    with tarfile.open(request.param) as store:
        store.extractall(tmp_path, filter="data")
    (tmp_path / "tocsin.yaml").write_text(SETTINGS)
    return tmp_path


def cases(house: Path, *words: str) -> list[dict[str, Any]]:
    told = tocsin(house, "cases", "--json", *words)
    assert told.returncode == 0, told.stderr
    found: list[dict[str, Any]] = json.loads(told.stdout)
    return found


def test_its_cases_go_on_with_owners_clocks_trails_and_customers(house: Path) -> None:
    (house / "more.jsonl").write_text(
        '{"id": "new", "customer": "somebody else", "scores": {"nps": 1}, "language": "en"}\n'
        '{"id": "again", "customer": "cu1", "scores": {"nps": 0}, "text": "Still nobody.", "language": "en"}\n'
    )
    ran = tocsin(house, "run", "--input", "more.jsonl", "--output", "jsonl")
    assert ran.returncode == 0, ran.stderr
    said = [json.loads(line) for line in ran.stdout.splitlines()]
    found = {case["id"]: case for case in cases(house)}
    old = [case for case in found.values() if case["customer"].startswith("cu") or case["type"] == "systemic"]
    assert len(old) == 16
    assert all(case["owner"] for case in old)
    assert len([case for case in found.values() if case["customer"] == "somebody else"]) >= 1
    joined = [event for event in said if event["data"].get("response", {}).get("id") == "again"]
    assert {event["subject"] for event in joined} & {case["id"] for case in old}
    # Their promises were due in November 2026: each breach is told once, and says that it is late.
    breached = [event for event in said if event["type"] == "tocsin.clock.breached"]
    told = [(event["subject"], event["data"]["clock"], event["data"].get("issue", "")) for event in breached]
    assert len(told) == len(set(told))
    verified = tocsin(house, "verify")
    assert verified.returncode == 0, verified.stdout
    acknowledged = [case for case in old if case["status"] == "acknowledged"]
    assert len(acknowledged) == 1
    log = tocsin(house, "cases", acknowledged[0]["id"]).stdout
    assert "not_pausable" in log or "may not be paused" in log


def test_it_is_left_as_it_was_when_this_release_is_too_old_for_it(house: Path) -> None:
    """The way back is refused, instead of half read: the release before must not guess at what a later one wrote."""
    shape = json.loads((house / ".tocsin" / "store.json").read_text())
    (house / ".tocsin" / "store.json").write_text(json.dumps({**shape, "form": shards.VERSION + 1}))
    (house / "more.jsonl").write_text("")
    before = sorted(path.stat().st_mtime_ns for path in (house / ".tocsin" / "recovery").iterdir())
    ran = tocsin(house, "run", "--input", "more.jsonl")
    assert ran.returncode == 2
    assert "Run with the release that made it" in ran.stderr
    assert sorted(path.stat().st_mtime_ns for path in (house / ".tocsin" / "recovery").iterdir()) == before
