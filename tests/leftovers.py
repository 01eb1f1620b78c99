"""What a test that kills an engine has to clear away: the embedded server outlives its starter, on purpose."""

import json
import os
from pathlib import Path

from connectors.redis_link import client


def shut_down(state: Path) -> None:
    """End the embedded server that runs on the state directory *state*, if one does."""
    address = state / "redis.json"
    if address.exists():
        with client(json.loads(address.read_text())["url"]) as connection:
            connection.shutdown(nosave=True)
        address.unlink()


def running_in(folder: Path) -> list[str]:
    """The command lines of processes that work in *folder*, as far as this machine tells (`/proc`)."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            where = os.readlink(process / "cwd").removesuffix(" (deleted)")
            words = (process / "cmdline").read_bytes().split(b"\0")
        except OSError:  # it has ended, or is not ours
            continue
        if Path(where).is_relative_to(folder):
            found.append(f"{process.name}: {b' '.join(words).decode(errors='replace')} in {where}")
    return found
