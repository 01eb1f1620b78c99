"""Outages: the stretches of engine time in which nobody looked at the clocks.

What falls due in one is told differently: warnings fold into the breach, a recurring clock says how many periods
it missed. So a run that dies and looks again must know the same outages, or it would say other things than were
said before; they are facts kept in the state directory, not a comparison with the time of day. The marks, how far
time was looked at and which outages were told of, lie in a mapped page: it survives kill -9, and costs less than a
microsecond.
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

_MARK = struct.Struct("<q")
_MARKS = struct.Struct("<qq")
"""How far time was looked at, and the end of the last outage that was told of."""

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
        self._told = Instant(0)
        if folder is None or self._file is None:
            return
        folder.mkdir(parents=True, exist_ok=True)
        if self._file.exists():
            kept = json.loads(self._file.read_text(encoding="utf-8"))
            self.known = tuple((Instant(a), Instant(b)) for a, b in kept)
        descriptor = os.open(folder / "seen", os.O_RDWR | os.O_CREAT, 0o644)
        try:
            whole = os.fstat(descriptor).st_size == _MARKS.size
            os.ftruncate(descriptor, _MARKS.size)
            self._mark = mmap.mmap(descriptor, _MARKS.size)
        finally:
            os.close(descriptor)
        seen, told = _MARKS.unpack(self._mark[:])
        self._seen, self._told = Instant(seen), Instant(told)
        if not whole and self.known:  # by a release that told of none: they are no news
            self.tell(self.known[-1])

    def look(self, now: Instant) -> None:
        """The clocks are looked at up to *now*. Called before anything is said, so that it is known if we die."""
        if now <= self._seen:
            return
        if self._seen and now - self._seen >= OUTAGE_S:
            self.known = (*self.known, (self._seen, now))[-KEPT:]
            self._keep()
        self._seen = now
        if self._mark is not None:
            self._mark[:8] = _MARK.pack(now)

    @property
    def untold(self) -> tuple[Stretch, ...]:
        """Outages that are over and were not yet told of, oldest first."""
        return tuple(stretch for stretch in self.known if stretch[1] > self._told)

    def tell(self, stretch: Stretch) -> None:
        """*stretch*, and what was before it, is told of."""
        self._told = max(self._told, stretch[1])
        if self._mark is not None:
            self._mark[8:] = _MARK.pack(self._told)

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
    marks: list[tuple[int, int]] = []
    for folder in folders:
        if (folder / "outages.json").exists():
            kept = json.loads((folder / "outages.json").read_text(encoding="utf-8"))
            known.update((Instant(a), Instant(b)) for a, b in kept)
        if (folder / "seen").exists():
            marks.append(_MARKS.unpack((folder / "seen").read_bytes().ljust(_MARKS.size, b"\0")))
    into.mkdir(parents=True, exist_ok=True)
    (into / "outages.json").write_text(json.dumps(sorted(known)[-KEPT:]), encoding="utf-8")
    seen = min((at for at, _ in marks if at), default=0)
    (into / "seen").write_bytes(_MARKS.pack(seen, min((told for _, told in marks), default=0)))
