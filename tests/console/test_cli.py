"""The command line as its user types it: a file to its end, the next run goes on, mistakes say what to do."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from connectors.keyspace import Keys
from connectors.redis_link import client
from feedback.instants import parse_instant
from tests.leftovers import shut_down

ROOT = Path(__file__).resolve().parent.parent.parent


@pytest.fixture
def house(tmp_path: Path) -> Path:
    """A directory of one's own, with somebody's feedback in it."""
    lines = [
        {"id": "1", "customer": "c1", "language": "en", "scores": {"nps": 2}, "text": "Nobody rang back."},
        {"id": "2", "customer": "c2", "scores": {"nps": 11}},
    ]
    topic = "{servers: 'x:1', topic: t, settings: {%s}}"
    (tmp_path / "wrong-kafka.yaml").write_text("inputs: {kafka: {in: %s}}" % (topic % "no.such.name: 1"))
    (tmp_path / "wrong-output.yaml").write_text("outputs: {kafka: %s}" % (topic % "acks: 0"))
    (tmp_path / "in.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines) + '{"id": "3"')
    return tmp_path


def tocsin(folder: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    env, words = environment(), tuple(command(*words))
    return subprocess.run(words, cwd=folder, env=env, capture_output=True, text=True, timeout=60, check=False)


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), "TOCSIN_METRICS_PORT": "0"}


def command(*words: str) -> list[str]:
    return [sys.executable, "-c", "from console.cli import main; main()", *words]


def until(claim: Callable[[], object]) -> None:
    limit = time.monotonic() + 60
    while not claim():
        assert time.monotonic() < limit
        time.sleep(0.02)


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
        (("run", "--kafka", "localhost:9092"), 2, "expected SERVERS/TOPIC"),
        (("run", "--input", "in.jsonl", "--kafka", "localhost:9092/t"), 2, "add --follow"),
        (("run", "--settings", "wrong-kafka.yaml"), 2, "No such configuration property"),
        (("run", "--settings", "wrong-output.yaml"), 2, "outputs.kafka: Kafka settings: acks cannot be set"),
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


SET = """
set: mine
roster: mine
rules:
  - id: detractor
    when: {all: ['bands.nps == "detractor"']}
    case: {type: detractor, owner: lead, clocks: {first_response: {within: WITHIN}}}
"""


def test_a_change_of_rules_between_runs_is_told_and_leaves_open_cases_alone(tmp_path: Path) -> None:
    (tmp_path / "rules" / "sets").mkdir(parents=True)
    (tmp_path / "rules" / "rosters").mkdir()
    (tmp_path / "rules" / "rosters" / "mine.yaml").write_text(
        "roster: mine\npeople: {ann: {name: Ann}}\nroles: {lead: {default: [ann]}}\n"
    )
    (tmp_path / "tocsin.yaml").write_text("programmes: {default: {rules: mine}}\nrules: rules\n")
    rules, feed = tmp_path / "rules" / "sets" / "mine.yaml", tmp_path / "in.jsonl"
    rules.write_text(SET.replace("WITHIN", "4h"))
    feed.write_text('{"id": "1", "customer": "c1", "scores": {"nps": 1}, "language": "en"}\n')
    assert tocsin(tmp_path, "run", "--input", "in.jsonl").returncode == 0
    rules.write_text(SET.replace("WITHIN", "1h"))
    with feed.open("a") as file:
        file.write('{"id": "2", "customer": "c2", "scores": {"nps": 1}, "language": "en"}\n')
    second = tocsin(tmp_path, "run", "--input", "in.jsonl", "--output", "jsonl")
    events = [json.loads(line) for line in second.stdout.splitlines()]
    assert events[0]["type"] == "tocsin.rules.changed"
    armed = [e["data"]["length"] for e in events if e["type"] == "tocsin.clock.armed"]
    assert armed == ["1h"]
    cases = {c["customer"]: c for c in json.loads(tocsin(tmp_path, "cases", "--json").stdout)}
    lengths = {who: _seconds(c["clocks"][0]) for who, c in cases.items()}
    assert lengths == {"c1": 4 * 3600, "c2": 3600}
    assert cases["c1"]["rules"][0]["version"] != cases["c2"]["rules"][0]["version"]


def _seconds(clock: dict[str, str]) -> int:
    return parse_instant(clock["due_at"]) - parse_instant(clock["started_at"])


def test_export_and_verify_and_due_as_a_regulator_would(house: Path) -> None:
    assert tocsin(house, "run", "--input", "in.jsonl").returncode == 0
    (case,) = json.loads(tocsin(house, "cases", "--json").stdout)
    written = tocsin(house, "export", case["id"], "--out", "files")
    assert written.returncode == 0, written.stderr
    file = house / "files" / f"{case['id']}.json"
    assert file.with_suffix(".html").read_text().startswith("<!doctype html>")
    assert "1 cases" in tocsin(house, "verify").stdout
    assert tocsin(house, "verify", "--file", str(file)).returncode == 0
    file.write_text(file.read_text().replace("Nobody rang back.", "All is well."))
    altered = tocsin(house, "verify", "--file", str(file), "--json")
    assert altered.returncode == 1
    assert json.loads(altered.stdout)["flaws"][0]["sequence"] == 1
    assert "no case c-1-0" in tocsin(house, "export", "c-1-0").stderr
    answer = tocsin(house, "due", "awaabs-law", "standard-investigation", "--start", "2026-11-03T21:15:00Z", "--json")
    assert json.loads(answer.stdout)["due_at"] == "2026-11-18T00:00:00Z"


@contextmanager
def serving(house: Path) -> "Iterator[subprocess.Popen[str]]":
    """`tocsin run` without an input, in a process group of its own as a shell gives it one."""
    process = subprocess.Popen(
        command("run", "--output", "jsonl"), cwd=house, env=environment(), stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    try:
        yield process
    finally:
        if process.poll() is None:
            process.terminate()
        try:
            process.communicate(timeout=60)
        finally:
            process.kill()
            process.wait()
            shut_down(house / ".tocsin")


def test_a_signal_to_the_whole_group_stops_the_server_after_the_engine(house: Path) -> None:
    """Ctrl-C in a terminal, `timeout`: the embedded server hears it too, and what was said last must still reach it."""
    with serving(house) as process:
        until(lambda: (house / ".tocsin" / "recovery").exists() and (house / ".tocsin" / "redis.json").exists())
        with client(json.loads((house / ".tocsin" / "redis.json").read_text())["url"]) as redis:
            redis.xadd(Keys("default").inbox, {"record": '{"id":"1","scores":{"nps":1}}'})
            until(lambda: redis.xlen(Keys("default").events))
        os.killpg(process.pid, signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    assert "stream.away" not in errors
    assert not (house / ".tocsin" / "redis.json").exists(), "the server was stopped by its starter"


def test_what_an_earlier_run_read_is_erased_by_a_later_one(house: Path) -> None:
    assert tocsin(house, "run", "--input", "in.jsonl").returncode == 0
    (case,) = json.loads(tocsin(house, "cases", "--json").stdout)
    journal = house / ".tocsin" / "journals" / "in.jsonl"
    assert b"Nobody rang back." in next(journal.iterdir()).read_bytes()
    with serving(house):
        until(lambda: (house / ".tocsin" / "redis.json").exists())
        erased = tocsin(house, "act", case["id"], "erase", "--reason", "asked in writing", "--wait", "30")
        assert erased.returncode == 0, erased.stderr
        until(lambda: b"Nobody rang back." not in next(journal.iterdir()).read_bytes())
        until(lambda: "erased on request" in tocsin(house, "cases", case["id"]).stdout)


def test_what_was_read_goes_from_the_streams_in_its_time(house: Path) -> None:
    (house / "tocsin.yaml").write_text("retention: {streams: 1h, dead_letters: forever}\n")
    with serving(house):
        until(lambda: (house / ".tocsin" / "redis.json").exists())
        with client(json.loads((house / ".tocsin" / "redis.json").read_text())["url"]) as redis:
            keys = Keys("default")
            hours_ago = int((time.time() - 7200) * 1000)
            for number, id_ in enumerate((f"{hours_ago}-0", f"{hours_ago}-1", "*")):
                redis.xadd(keys.inbox, {"record": f'{{"id":"{number}","scores":{{"nps":9}}}}'}, id=id_)
            until(lambda: redis.xlen(keys.inbox) == 1)


def test_a_time_that_is_none_is_refused_with_its_name(house: Path) -> None:
    for wrong in ("soon", "10m"):
        (house / "tocsin.yaml").write_text(f"retention: {{events: {wrong}}}\n")
        told = tocsin(house, "check")
        assert told.returncode == 2
        assert "retention.events" in told.stderr
