"""Which record the process died in, if it died in one: a crash below Python leaves no traceback.

The position of the record being heard stands in a mapped page, which survives the process. A record that was being
heard at `STRIKES` deaths is not heard again: it is quarantined, with an alarm, and the stream goes on. Deaths by an
operator's kill hit some record, too, but not the same one three times.
"""

import json
import mmap
import os
from pathlib import Path

STRIKES = 3
KEPT = 64
"""Records remembered as deadly: a resume may meet them once more."""
_BYTES = 1024


class Suspects:
    """The mark and the count. Without a folder nothing is kept, and nothing is suspected."""

    def __init__(self, folder: Path | None = None) -> None:
        self._strikes: dict[str, int] = {}
        self._convicted: list[str] = []
        self._page: mmap.mmap | None = None
        if folder is None:
            return
        folder.mkdir(parents=True, exist_ok=True)
        self._file = folder / "suspects.json"
        if self._file.exists():
            kept = json.loads(self._file.read_text(encoding="utf-8"))
            self._strikes, self._convicted = kept["strikes"], kept["convicted"]
        descriptor = os.open(folder / "hearing", os.O_RDWR | os.O_CREAT, 0o644)
        try:
            os.ftruncate(descriptor, _BYTES)
            self._page = mmap.mmap(descriptor, _BYTES)
        finally:
            os.close(descriptor)
        died_in = self._page[:_BYTES].partition(b"\0")[0].decode("utf-8", "replace")
        # Only what is struck again and again counts: any other death makes the earlier ones accidents.
        self._strikes = {died_in: self._strikes.get(died_in, 0) + 1} if died_in else {}
        if self._strikes.get(died_in, 0) >= STRIKES:
            self._convicted = [*self._convicted, died_in][-KEPT:]
        self._keep()
        self.done()

    def is_guilty(self, position: str) -> bool:
        """Whether the process died in that record too often to try again."""
        return bool(self._convicted) and _cut(position) in self._convicted

    def begin(self, position: str) -> None:
        """The record at *position* is being heard from here on."""
        if self._page is not None:
            name = _cut(position).encode()
            self._page[: len(name) + 1] = name + b"\0"

    def done(self) -> None:
        """Nothing is being heard."""
        if self._page is not None:
            self._page[:_BYTES] = bytes(_BYTES)

    def _keep(self) -> None:
        draft = self._file.with_suffix(".draft")
        with draft.open("w", encoding="utf-8") as file:
            json.dump({"strikes": self._strikes, "convicted": self._convicted}, file)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(self._file)


def _cut(position: str) -> str:
    """As much of *position* as the page holds, whole characters only."""
    return position.encode()[: _BYTES - 1].decode("utf-8", "ignore")
