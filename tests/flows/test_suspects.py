"""A record that kills the process below Python is found out, quarantined with an alarm, and the stream goes on."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from connectors.redis_link import client
from flows.suspects import STRIKES, Suspects
from tests.console.test_cli import ROOT

DEADLY = """
import os
from scoring.reader import Reader
whole = Reader.read
def read(self, response):
    if "deadly" in response.text:
        os.abort()
    return whole(self, response)
Reader.read = read
from console.cli import main
main()
"""


def run(folder: Path) -> "subprocess.CompletedProcess[str]":
    env = {**os.environ, "PYTHONPATH": str(ROOT), "TOCSIN_METRICS_PORT": "0"}
    command = [sys.executable, "-c", DEADLY, "run", "--input", "in.jsonl", "--output", "jsonl"]
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture
def house(tmp_path: Path) -> Iterator[Path]:
    """A directory whose embedded server, which its dead starter left running, is stopped in the end."""
    yield tmp_path
    url = json.loads((tmp_path / ".tocsin" / "redis.json").read_text())["url"]
    with client(url) as connection:
        connection.shutdown(nosave=True)


def test_a_record_that_the_process_does_not_survive_is_quarantined_at_last(house: Path) -> None:
    texts = ["slow and rude", "deadly", "rude and slow"]
    lines = [{"id": str(n), "customer": f"c{n}", "language": "en", "scores": {"nps": 1}, "text": t} for n, t in
             enumerate(texts)]  # fmt: skip
    (house / "in.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    for _ in range(STRIKES):
        assert run(house).returncode == -signal.SIGABRT
    last = run(house)
    assert last.returncode == 0, last.stderr
    events = [json.loads(line) for line in last.stdout.splitlines()]
    (quarantined,) = [e["data"] for e in events if e["type"] == "tocsin.item.quarantined"]
    assert (quarantined["error"], quarantined["kind"]) == ("ProcessDied", "record")
    cases = json.loads(
        subprocess.run(
            [sys.executable, "-c", "from console.cli import main; main()", "cases", "--json"],
            cwd=house, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=True,
        ).stdout
    )  # fmt: skip
    assert sorted(case["customer"] for case in cases) == ["c0", "c2"]


def test_only_deaths_in_the_same_record_add_up(tmp_path: Path) -> None:
    for position in ("a 1", "a 1", "a 2", "a 1", "a 1"):
        suspects = Suspects(tmp_path)
        assert not suspects.is_guilty(position)
        suspects.begin(position)
    Suspects(tmp_path).begin("a 1")
    assert Suspects(tmp_path).is_guilty("a 1")
    assert Suspects(tmp_path).is_guilty("a 1"), "a resume may meet it again before it is behind us"
    assert not Suspects(tmp_path).is_guilty("a 2")


def test_a_short_position_after_a_long_one_is_told_apart(tmp_path: Path) -> None:
    for _ in range(STRIKES):
        suspects = Suspects(tmp_path)
        suspects.begin("file.jsonl a-long-position-that-went-well")
        suspects.begin("file.jsonl 7")
    assert Suspects(tmp_path).is_guilty("file.jsonl 7")


def test_a_position_longer_than_the_page_is_cut_at_a_character(tmp_path: Path) -> None:
    position = "ü" * 5000
    for _ in range(STRIKES):
        Suspects(tmp_path).begin(position)
    assert Suspects(tmp_path).is_guilty(position)
