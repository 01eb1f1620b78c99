"""Outages: the stretches of engine time in which nobody looked at the clocks.

What falls due in one is told differently: warnings fold into the breach, a recurring clock says how many periods
it missed. So a run that dies and looks again must know the same outages, or it would say other things than were
said before; they are facts kept in the state directory, not a comparison with the time of day. The mark, how far
time was looked at, lies in a mapped page: it survives kill -9, and costs less than a microsecond.
"""

import json
import mmap
import os
import struct
from collections.abc import Iterable
from pathlib import Path

from feedback.instants import Instant

OUTAGE_S = 60
"""A gap at least this long between two looks is an outage; a shorter one is a slow moment."""
KEPT = 64
"""Outages remembered: those within reach of any resume, and then some."""

Stretch = tuple[Instant, Instant]
"""[first instant not looked at, instant of the next look)."""


class Outages:
    """Those known, and the mark. One process owns a state directory (`run.owned`), so nobody else writes here."""

    def __init__(self, folder: Path | None = None) -> None:
        """*folder* keeps them over a restart; without one they last as long as this object."""
        self._file = None if folder is None else folder / "outages.json"
        self._mark: mmap.mmap | None = None
        self.known: tuple[Stretch, ...] = ()
        self._seen = Instant(0)
        if folder is None or self._file is None:
            return
        folder.mkdir(parents=True, exist_ok=True)
        if self._file.exists():
            kept = json.loads(self._file.read_text(encoding="utf-8"))
            self.known = tuple((Instant(a), Instant(b)) for a, b in kept)
        descriptor = os.open(folder / "seen", os.O_RDWR | os.O_CREAT, 0o644)
        try:
            os.ftruncate(descriptor, 8)
            self._mark = mmap.mmap(descriptor, 8)
        finally:
            os.close(descriptor)
        self._seen = Instant(struct.unpack("<q", self._mark[:8])[0])

    def look(self, now: Instant) -> None:
        """The clocks are looked at up to *now*. Called before anything is said, so that it is known if we die."""
        if now <= self._seen:
            return
        if self._seen and now - self._seen >= OUTAGE_S:
            self.known = (*self.known, (self._seen, now))[-KEPT:]
            self._keep()
        self._seen = now
        if self._mark is not None:
            self._mark[:8] = struct.pack("<q", now)

    def _keep(self) -> None:
        if self._file is None:
            return
        draft = self._file.with_suffix(".draft")
        with draft.open("w", encoding="utf-8") as file:
            json.dump(self.known, file)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(self._file)


def merge(folders: Iterable[Path], into: Path) -> None:
    """What was kept in *folders*, for one who takes over from them all: every outage, and the earliest look."""
    known: set[Stretch] = set()
    seen: list[int] = []
    for folder in folders:
        if (folder / "outages.json").exists():
            kept = json.loads((folder / "outages.json").read_text(encoding="utf-8"))
            known.update((Instant(a), Instant(b)) for a, b in kept)
        if (folder / "seen").exists():
            seen.append(struct.unpack("<q", (folder / "seen").read_bytes()[:8])[0])
    into.mkdir(parents=True, exist_ok=True)
    (into / "outages.json").write_text(json.dumps(sorted(known)[-KEPT:]), encoding="utf-8")
    (into / "seen").write_bytes(struct.pack("<q", min((at for at in seen if at), default=0)))
