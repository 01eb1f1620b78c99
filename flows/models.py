"""The shelf of models: versions by hash in the state directory, as the rule books are kept beside them.

A version is put here before the stream is told of it, and a snapshot names the one in force, so that a resume scores
as before. The newest `KEPT` stay, the last of each day, and always the one in force.
"""

import os
import threading
from pathlib import Path

import msgspec

from scoring.learned import VersionUnknown
from scoring.models import VADER, Models, unpack

KEPT = 40
"""Versions at least, the newest; some hours of a busy stream. And besides, for who wants to go further back:"""
KEPT_DAYS = 60
"""Of so many days the last version of each."""
OPENED = 4
"""Kept in memory."""


class ModelError(Exception):
    """A version that cannot be opened. Whose turn: the operator's."""


class Version(msgspec.Struct, frozen=True, kw_only=True):
    """One version on the shelf."""

    version: str
    made_at: float
    """Unix seconds."""
    bytes: int


class ModelShelf:
    """Versions by hash, in a folder of one engine's state directory. May be used by several threads."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._opened: dict[str, Models] = {}
        self._lock = threading.Lock()

    def put(self, version: str, data: bytes) -> None:
        """Keep *data*, whole or not at all, and open it, so that taking it up costs the stream nothing."""
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._path(version)
        if not path.exists():
            draft = path.with_suffix(".draft")
            with draft.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            draft.replace(path)
        self.open(version)

    def data(self, version: str) -> bytes:
        """The bytes of a version. Raises ModelError when it is not on the shelf."""
        try:
            return self._path(version).read_bytes()
        except FileNotFoundError:
            raise ModelError(
                f"{self._path(version)} is gone; restore it, or go back to another with `tocsin models rollback`"
            ) from None

    def open(self, version: str) -> Models:
        """The models of that version; of the empty one, VADER alone. Raises ModelError."""
        if not version:
            return Models()
        with self._lock:
            known = self._opened.pop(version, None)
            if known is None:
                try:
                    known = Models(version, *unpack(self.data(version)))
                except (VersionUnknown, msgspec.DecodeError, ValueError) as error:
                    raise ModelError(f"{self._path(version)} is not readable by this release ({error})") from None
                if len(self._opened) >= OPENED:
                    del self._opened[next(iter(self._opened))]
            self._opened[version] = known
            return known

    def mark(self, version: str) -> None:
        """Say which version scores now, for whoever looks at the shelf."""
        self._folder.mkdir(parents=True, exist_ok=True)
        draft = self._folder / "in_force.draft"
        draft.write_text(version, encoding="ascii")
        draft.replace(self._folder / "in_force")

    @property
    def marked(self) -> str:
        """The version that scores, as last said; empty for VADER alone."""
        try:
            return (self._folder / "in_force").read_text(encoding="ascii")
        except FileNotFoundError:
            return ""

    def versions(self) -> list[Version]:
        """What is on the shelf, the newest first."""
        found = []
        for path in self._folder.glob("*.model"):
            known = path.stat()
            found.append(Version(version=path.stem, made_at=known.st_mtime, bytes=known.st_size))
        return sorted(found, key=lambda version: (-version.made_at, version.version))

    def prune(self, *in_use: str) -> None:
        """Drop what is past the newest `KEPT` and no day's last, but for those *in_use*."""
        found = self.versions()
        last_of_day: dict[int, str] = {}
        for one in found:
            last_of_day.setdefault(int(one.made_at // 86_400), one.version)
        kept = {*in_use, *list(last_of_day.values())[:KEPT_DAYS]}
        for old in found[KEPT:]:
            if old.version not in kept:
                self._path(old.version).unlink(missing_ok=True)

    def _path(self, version: str) -> Path:
        if not version.isalnum():
            raise ModelError(f"{version[:40]!r} is no version of the models")
        return self._folder / f"{version}.model"


def rollback_to(shelf: ModelShelf, version: str) -> str:
    """The version that a command means, opened once to show that it can be. Raises ModelError."""
    if not version:
        raise ModelError("say which version; `tocsin models` lists them, and vader means none")
    wanted = "" if version == VADER else version
    shelf.open(wanted)
    return wanted
