"""The command line as its user types it: a file to its end, the next run goes on, mistakes say what to do."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent


@pytest.fixture
def house(tmp_path: Path) -> Path:
    """A directory of one's own, with somebody's feedback in it."""
    lines = [
        {"id": "1", "customer": "c1", "language": "en", "scores": {"nps": 2}, "text": "Nobody rang back."},
        {"id": "2", "customer": "c2", "scores": {"nps": 11}},
    ]
    (tmp_path / "in.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines) + '{"id": "3"')
    return tmp_path


def tocsin(folder: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    env = {**os.environ, "PYTHONPATH": str(ROOT), "TOCSIN_METRICS_PORT": "0"}
    command = [sys.executable, "-c", "from console.cli import main; main()", *words]
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=60, check=False)


def test_a_file_is_read_to_its_end_and_the_next_run_goes_on(house: Path) -> None:
    first = tocsin(house, "run", "--input", "in.jsonl", "--output", "jsonl")
    assert first.returncode == 0, first.stderr
    types = [json.loads(line)["type"] for line in first.stdout.splitlines()]
    assert types.count("tocsin.case.opened") == 1
    assert types.count("tocsin.response.rejected") == 1
    assert "the last line has no newline yet" in first.stderr
    assert "1 cases are open, the clocks of 1 run on" in first.stderr
    with (house / "in.jsonl").open("a") as file:
        file.write(', "customer": "c3", "scores": {"nps": 0}, "language": "en"}\n')
    second = tocsin(house, "run", "--input", "in.jsonl", "--output", "jsonl")
    opened = [json.loads(line) for line in second.stdout.splitlines() if "case.opened" in line]
    assert [event["data"]["response"]["id"] for event in opened] == ["3"]
    shown = json.loads(tocsin(house, "cases", "--json").stdout)
    assert sorted(case["customer"] for case in shown) == ["c1", "c3"]
    dead = json.loads(tocsin(house, "cases", "--dead", "--json").stdout)
    assert [letter["reason"] for letter in dead] == ["score_out_of_range"]


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (("run", "--input", "nowhere.jsonl"), 2, "does not exist"),
        (("run", "--input", "in.jsonl", "--programme", "stranger"), 2, "not declared"),
        (("run", "--settings", "none.yaml"), 2, "none.yaml does not exist"),
        (("check", "nowhere"), 2, "no directory of rules"),
        (("act", "c-1-000000000000", "note"), 1, "no case c-1-000000000000"),
        (("cases", "c-1-000000000000"), 1, "no case c-1-000000000000"),
    ],
)
def test_a_mistake_says_what_to_do(house: Path, words: tuple[str, ...], code: int, told: str) -> None:
    done = tocsin(house, *words)
    assert (done.returncode, told in done.stderr, "Traceback" in done.stderr) == (code, True, False), done.stderr


def test_a_store_of_another_shape_is_refused(house: Path) -> None:
    tocsin(house, "run", "--input", "in.jsonl")
    (house / "tocsin.yaml").write_text("engine: {shards: 16}\n")
    again = tocsin(house, "run", "--input", "in.jsonl")
    assert again.returncode == 2
    assert "shards was 4096 and is now 16" in again.stderr
