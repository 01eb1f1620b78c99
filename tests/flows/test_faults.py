"""Disks that fail: the run ends with words that say what to do, and the next one loses nothing."""

import errno
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest

from cases import shard as shards
from connectors.keyspace import Keys
from flows.erasures import Erasures
from flows.indexes import DueIndex
from flows.keyed import SnapshotError, checksum, upgrade
from flows.run import StateError, recovery, trouble_of
from flows.virtual import Uncounted
from flows.watching import WindowStep
from tests.storm import house

MISUSE = 2
FEW_BYTES = 400_000
"""More than the records take, less than the snapshots do."""
COUNT = 1000


@pytest.fixture
def feed(tmp_path: Path) -> Path:
    """A thousand responses, each of which opens a case."""
    path = tmp_path / "feed.jsonl"
    records = ({**house.record(5), "id": f"b{n}", "customer": f"b{n}"} for n in range(COUNT))
    path.write_bytes(b"".join(msgspec.json.encode(record) + b"\n" for record in records))
    return path


SOUND = "from console.cli import main; main()"
FULL = f"""
import resource
from flows import engine
run_flow = engine.run_flow
def run_limited(*parts, **named):
    resource.setrlimit(resource.RLIMIT_FSIZE, ({FEW_BYTES}, {FEW_BYTES}))
    run_flow(*parts, **named)
engine.run_flow = run_limited
{SOUND}
"""
"""Once all is open, no file takes more than `FEW_BYTES`: a disk that is full, without needing to be root."""


def tocsin_run(feed: Path, url: str = "", program: str = SOUND) -> subprocess.CompletedProcess[str]:
    settings = house.furnish(feed.parent)
    words = ["run", "--input", str(feed), "--settings", str(settings), "--state", str(feed.parent / "state")]
    return subprocess.run(
        [sys.executable, "-c", program, *words, *(["--redis", url] if url else [])],
        env={**os.environ, "PYTHONPATH": str(Path.cwd()), "TOCSIN_METRICS_PORT": "0", "RUST_BACKTRACE": "0"},
        capture_output=True,
        text=True,
        timeout=120,
    )


def opened(redis: Any) -> int:
    entries = redis.xrange(Keys("default").events)
    return sum(fields[b"type"] == b"tocsin.case.opened" for _, fields in entries)


def flip(file: Path) -> None:
    """One bit of the newest snapshot of some shard is another, as a disk without checksums may have it."""
    with closing(sqlite3.connect(file)) as store:
        rowid, blob = store.execute(
            "SELECT rowid, ser_change FROM snaps WHERE step_id LIKE '%shards%' AND ser_change IS NOT NULL "
            "ORDER BY snap_epoch DESC, length(ser_change) DESC LIMIT 1"
        ).fetchone()
        turned = bytearray(blob)
        turned[len(turned) // 2] ^= 1
        store.execute("UPDATE snaps SET ser_change = ? WHERE rowid = ?", (bytes(turned), rowid))
        store.commit()


def test_a_disk_that_was_full_before_the_start_ends_it_with_words(feed: Path, store_url: str, redis: Any) -> None:
    """As when the engine is started again and again before anybody has made room."""
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (1, 1)); "
    full = tocsin_run(feed, store_url, limit + SOUND)
    assert full.returncode == MISUSE, full.stderr
    assert "Make room or make it writable, and start again" in full.stderr
    assert "Traceback" not in full.stderr


def test_a_store_that_takes_no_more_ends_the_run_with_words_and_the_next_one_loses_nothing(
    feed: Path, store_url: str, redis: Any
) -> None:
    full = tocsin_run(feed, store_url, FULL)
    assert full.returncode == MISUSE, full.stderr
    assert "Make room or make it writable, and start again" in full.stderr
    assert "Traceback" not in full.stderr
    assert tocsin_run(feed, store_url).returncode == 0
    assert opened(redis) == COUNT


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda file: file.write_bytes(b"\xff" * file.stat().st_size), "is damaged"),
        (lambda file: os.truncate(file, 100), "is damaged"),
        (lambda file: flip(file), "is not what was written"),
        (lambda file: file.unlink(), "is not whole"),
        (lambda file: file.write_bytes(b""), "is not whole"),
    ],
    ids=["overwritten", "cut short", "a bit turned", "removed", "emptied"],
)
def test_a_damaged_recovery_file_is_refused_and_a_backup_of_it_goes_on(
    feed: Path, store_url: str, redis: Any, damage: Callable[[Path], Any], words: str
) -> None:
    assert tocsin_run(feed, store_url).returncode == 0
    (file,) = (feed.parent / "state" / "recovery").glob("*.sqlite3")
    kept = file.read_bytes()
    damage(file)
    refused = tocsin_run(feed, store_url)
    assert refused.returncode == MISUSE
    assert words in refused.stderr
    assert "Traceback" not in refused.stderr
    file.write_bytes(kept)
    assert tocsin_run(feed, store_url).returncode == 0
    assert opened(redis) == COUNT


def test_a_recovery_directory_that_cannot_be_written_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recovery(tmp_path)
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # root may write what is read-only
    with pytest.raises(StateError, match="not writable"):
        recovery(tmp_path)


def test_a_full_disk_is_told_from_a_mistake_of_ours(tmp_path: Path) -> None:
    full = 'error: SqliteFailure(Error { code: DiskFull, extended_code: 13 }, Some("database or disk is full"))'
    assert "database or disk is full" in str(trouble_of(RuntimeError(full), tmp_path))
    assert "No space left" in str(trouble_of(OSError(errno.ENOSPC, "No space left on device"), tmp_path))
    assert trouble_of(ValueError("a mistake"), tmp_path) is None
    assert trouble_of(OSError(errno.ECONNREFUSED, "refused"), tmp_path) is None


def test_a_state_directory_that_was_put_back_goes_on_and_ends_where_the_lost_one_was(feed: Path) -> None:
    """As docs/operating.md has it: with the embedded server the directory holds recovery store and Redis."""
    state, whole = feed.parent / "state", feed.read_bytes().splitlines(keepends=True)
    feed.write_bytes(b"".join(whole[:300]))
    assert "300 cases are open" in tocsin_run(feed).stderr
    shutil.copytree(state, feed.parent / "backup")
    feed.write_bytes(b"".join(whole))
    assert f"{COUNT} cases are open" in tocsin_run(feed).stderr
    shutil.rmtree(state)
    shutil.copytree(feed.parent / "backup", state)
    again = tocsin_run(feed)
    assert again.returncode == 0, again.stderr
    assert f"{COUNT} cases are open, the clocks of {COUNT} run on" in again.stderr


def test_what_was_stored_before_there_were_checksums_is_read_and_what_was_altered_since_is_not() -> None:
    body = shards.step(5, None, []).body or b""
    assert upgrade((shards.VERSION, 5, body or None)) == (5, body or None)
    stored = (shards.VERSION, 5, b"as it was", checksum(b"as it was"))
    with pytest.raises(SnapshotError, match="shard 5"):
        upgrade((*stored[:2], b"as it is", stored[3]))


def test_windows_that_a_disk_has_altered_are_not_believed() -> None:
    version, shard, form, keys, cases, *crc = WindowStep(None, DueIndex(), Uncounted(), Erasures()).stored()
    with pytest.raises(SnapshotError, match="the windows of shard"):
        WindowStep((version, shard, form, keys, cases, crc[0] ^ 1), DueIndex(), Uncounted(), Erasures())
