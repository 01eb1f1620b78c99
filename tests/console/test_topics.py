"""`tocsin themes`: what an engine has heard grow is proposed, and a person accepts it into the taxonomy or not."""

import json
import os
import shutil
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from feedback.instants import Instant
from flows.topics import FILE, TopicWatch, decisions, proposals
from rules.shipped import SHIPPED
from scoring.reading import Found, Reading
from tests.builders import response

WORDS = ("my order came", "thanks for asking", "nothing to add", "all as it should be")


def told(days: int, flooded: int) -> list[dict[str, Any]]:
    """Forty customers a day, and on the last day some who say something new."""
    first = datetime.now(UTC) - timedelta(days=days)
    found = []
    for number in range(days * 40 + flooded):
        day, text = divmod(number, 40)[0], WORDS[number % 4]
        if number >= days * 40:
            day, text = days - 1, "the kiosk swallowed my card"
        at = first + timedelta(days=day, minutes=number % 40)
        found.append({
            "id": f"r{number}", "customer": f"c{number}", "language": "en", "text": text,
            "occurred_at": at.isoformat(timespec="seconds"),
        })  # fmt: skip
    return found


def tocsin(folder: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-c", "from console.cli import main; main()", *words]
    where = {**os.environ, "TOCSIN_STATE": str(folder / "state"), "TOCSIN_METRICS_PORT": "0"}
    where["PYTHONPATH"] = str(SHIPPED.parent)
    return subprocess.run(command, cwd=folder, env=where, capture_output=True, text=True, timeout=120, check=False)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A house with rules of its own, whose engine has heard the feed."""
    folder = tmp_path_factory.mktemp("themes")
    shutil.copytree(SHIPPED, folder / "rules", ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    (folder / "tocsin.yaml").write_text("rules: rules\n")
    (folder / "feed.jsonl").write_bytes(b"".join(msgspec.json.encode(one) + b"\n" for one in told(12, 15)))
    ran = tocsin(folder, "run", "--input", "feed.jsonl")
    assert ran.returncode == 0, ran.stderr
    return folder


def proposed(folder: Path) -> list[dict[str, Any]]:
    asked = tocsin(folder, "themes", "--json")
    assert asked.returncode == 0, asked.stderr
    found: list[dict[str, Any]] = json.loads(asked.stdout)
    return found


def test_what_grew_is_proposed_accepted_by_somebody_and_proposed_no_more(folder: Path) -> None:
    (one,) = proposed(folder)
    assert (one["phrase"], one["count"]) == ("swallowed my card", 15)
    assert [id_ for _, id_ in one["responses"]] == [f"r{number}" for number in range(490, 495)]

    refused = tocsin(folder, "themes", "accept", one["phrase"], "--by", "ann")
    assert refused.returncode == 2
    assert "--theme" in refused.stderr
    nameless = tocsin(folder, "themes", "accept", one["phrase"], "--theme", "kiosks")
    assert nameless.returncode == 2
    assert "--by NAME" in nameless.stderr

    accepted = tocsin(folder, "themes", "accept", one["phrase"], "--theme", "kiosks", "--by", "ann")
    assert accepted.returncode == 0, accepted.stderr
    text = (folder / "rules" / "taxonomies" / "contact-centre.yaml").read_text()
    assert f"'{one['phrase']}' accepted for kiosks by ann, " in text
    assert proposed(folder) == []
    checked = tocsin(folder, "check")
    assert checked.returncode == 0, checked.stdout + checked.stderr
    (decision,) = decisions(folder / "state")
    assert (decision.do, decision.by, decision.theme, decision.into) == ("accept", "ann", "kiosks", "contact-centre")


def watch(folder: Path, days: int = 10) -> TopicWatch:
    watched = TopicWatch(folder / "topics")
    watched.begin()
    for one in told(days, 12):
        at = Instant(int(datetime.fromisoformat(one["occurred_at"]).timestamp()))
        given = response(
            id=one["id"], customer=one["customer"], text=one["text"], occurred_at=at, received_at=at, arrived=float(at)
        )
        watched.heard(given, Reading(themes=(Found("orders", "order"),) if "order" in one["text"] else ()))
    watched.work()
    watched.write()
    return watched


def test_the_lanes_of_a_store_propose_together_and_what_was_dismissed_stays_away(tmp_path: Path) -> None:
    watch(tmp_path / "lanes-1" / "0")
    watch(tmp_path / "lanes-1" / "1")
    (one,) = proposals(tmp_path, "default")
    settled = tocsin(tmp_path, "themes", "dismiss", one.phrase, "--by", "bob", "--state", str(tmp_path))
    assert settled.returncode == 0, settled.stderr
    assert proposals(tmp_path, "default") == []
    assert [(d.do, d.by) for d in decisions(tmp_path)] == [("dismiss", "bob")]


def test_what_was_written_goes_on_and_what_is_torn_begins_anew(tmp_path: Path) -> None:
    watch(tmp_path)
    before = proposals(tmp_path, "default")
    again = TopicWatch(tmp_path / "topics")
    again.begin()
    again.write()
    assert proposals(tmp_path, "default") == before != []
    (tmp_path / "topics" / FILE).write_bytes(b"torn")
    again.begin()
    assert watch(tmp_path).passed_over == 0


def test_what_there_is_no_room_for_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flows.topics.WAITING", 100)
    assert watch(tmp_path).passed_over == 10 * 40 + 12 - 100
