"""What one engine knows of its store: a name for itself, and how far it has seen that store's disk.

Each engine counts a key of its own up in Redis and, once that is on disk, notes the number here. A store whose number
is lower than the note is not the one that was known: it was wiped, or is an older copy. The note lies in a mapped page,
which survives kill -9 and costs nothing; a loss of power may leave an older one, which only notices less.
"""

import mmap
import os
import struct
import uuid
from pathlib import Path


class StoreMark:
    """The note in *folder*; without one it lasts as long as this object. Any thread may ask; the store writes."""

    def __init__(self, folder: Path | None = None) -> None:
        self.id = uuid.uuid4().hex[:16]
        """Names the engine's state, not its process."""
        self._page: mmap.mmap | None = None
        self._number = 0
        if folder is None:
            return
        folder.mkdir(parents=True, exist_ok=True)
        named = folder / "id"
        if named.exists():
            self.id = named.read_text(encoding="ascii").strip()
        else:
            draft = named.with_suffix(".draft")
            draft.write_text(self.id + "\n", encoding="ascii")
            draft.replace(named)
        descriptor = os.open(folder / "marker", os.O_RDWR | os.O_CREAT, 0o644)
        try:
            os.ftruncate(descriptor, 8)
            self._page = mmap.mmap(descriptor, 8)
        finally:
            os.close(descriptor)
        self._number = struct.unpack("<q", self._page[:8])[0]

    @property
    def number(self) -> int:
        """The highest number that the store certainly has; 0 before the first."""
        return self._number

    def note(self, number: int) -> None:
        """From now on *number* is what the store must have."""
        self._number = number
        if self._page is not None:
            self._page[:8] = struct.pack("<q", number)
