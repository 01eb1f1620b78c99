"""`tocsin notify` as its user types it."""

import asyncio
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.connectors.targets.standins import PagerDutyTool
from tests.connectors.targets.talking import WIRE

SECRET = PagerDutyTool.secret


def notify(folder: Path, *args: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(Path(sys.executable).with_name("tocsin")), "notify", *args, "--settings", str(folder / "tocsin.yaml")],
        capture_output=True, text=True, check=False, timeout=60, env=os.environ | environ,
    )  # fmt: skip


def settings(folder: Path, url: str = "https://events.pagerduty.com/v2/enqueue") -> Path:
    (folder / "tocsin.yaml").write_text(
        "targets:\n"
        f"  - {{kind: pagerduty, name: pager, routing_key: env:PAGER_KEY, url: {url}, allow_private: true}}\n"
        "  - {kind: jira, name: board, url: https://acme.example, user: bot, token: env:JIRA_KEY, project: CX,\n"
        "     min_priority: urgent}\n"
    )
    return folder


@contextmanager
def pagerduty() -> Iterator[PagerDutyTool]:
    """The stand-in on a loop of its own, as the command runs in another process."""
    tool, started, loop = PagerDutyTool(), threading.Event(), asyncio.new_event_loop()
    over = asyncio.Event()

    async def serve() -> None:
        async with tool.running():
            started.set()
            await over.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    started.wait(10)
    yield tool
    loop.call_soon_threadsafe(over.set)
    thread.join(10)
    loop.close()


def test_a_dry_run_prints_what_would_be_sent_and_no_secret(tmp_path: Path) -> None:
    event = WIRE / "case.opened.json"
    done = notify(settings(tmp_path), "--dry-run", "--event", str(event), PAGER_KEY=SECRET, JIRA_KEY=SECRET)

    assert done.returncode == 0, done.stderr
    pager, board = json.loads(done.stdout)
    [sent] = pager["sent"]
    assert sent["request"] == "POST https://events.pagerduty.com/v2/enqueue"
    assert (sent["body"]["routing_key"], sent["body"]["dedup_key"]) == ("<env:PAGER_KEY>", "c-3902-5771b26f9f12")
    assert board["nothing"] == "the priority is below urgent"
    assert SECRET not in done.stdout + done.stderr


def test_a_dry_run_needs_no_secret_and_has_a_sample(tmp_path: Path) -> None:
    done = notify(settings(tmp_path), "--dry-run", "--target", "pager")

    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)[0]["type"] == "case.opened"


def test_a_test_is_sent_and_marked(tmp_path: Path) -> None:
    with pagerduty() as tool:
        url = tool.url + "/v2/enqueue"
        done = notify(settings(tmp_path, url), "--target", "pager", "--test", PAGER_KEY=SECRET)

    assert done.returncode == 0, done.stderr
    [(_, _, _, body)] = tool.requests
    assert body["payload"]["summary"].startswith("[TEST] ")
    assert "pager took the test" in done.stderr


def test_a_test_that_is_refused_says_so_without_the_secret(tmp_path: Path) -> None:
    wrong = "f" * 32
    with pagerduty() as tool:
        url = tool.url + "/v2/enqueue"
        done = notify(settings(tmp_path, url), "--target", "pager", "--test", PAGER_KEY=wrong)

    assert (done.returncode, done.stderr.strip()) == (1, "pager refused the test: http_400")


@pytest.mark.parametrize(
    ("args", "says"),
    [
        ((), "say either --dry-run or --test"),
        (("--test",), "name it with --target"),
        (("--dry-run", "--target", "nobody"), "there are: pager, board"),
        (("--dry-run", "--event", "no-such-file"), "cannot be read"),
        (("--test", "--target", "pager"), "the environment has no PAGER_KEY"),
    ],
)
def test_misuse_is_told_apart(args: tuple[str, ...], says: str, tmp_path: Path) -> None:
    done = notify(settings(tmp_path), *args)

    assert done.returncode == 2
    assert says in done.stderr
