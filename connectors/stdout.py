"""Events on standard output: readable lines for a person, or JSON lines for a program."""

import sys
from collections.abc import Callable
from typing import TextIO

from bytewax.outputs import DynamicSink, StatelessSinkPartition
from msgspec.structs import replace

from cases.events import Event, encode, readable
from feedback.instants import as_datetime

_SAID = ("clock", "due_at", "priority", "reason", "detail", "change", "to", "owner", "by", "level", "late")


def as_line(event: Event) -> str:
    """One line: when, what, which case, who and why. Of the customer's words none.

    What cannot be printed (a line break in a reason, a terminal's escape codes) is shown as an escape.
    """
    said, data = [], readable(event).data
    for name in _SAID:
        value = data.get(name)
        if value not in (None, "", False):
            said.append(f"{name}={value}")
    line = f"{as_datetime(event.time):%Y-%m-%d %H:%M:%SZ}  {event.type:<22} {event.case or '-':<22} {'  '.join(said)}"
    return line if line.isprintable() else "".join(c if c.isprintable() else _escaped(c) for c in line)


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


def as_json(event: Event) -> str:
    """The CloudEvent; what was unreadable stays with the dead letters."""
    event = readable(event)
    if "original" in event.data:
        event = replace(event, data={k: v for k, v in event.data.items() if k != "original"})
    return encode(event).decode()


class _Writer(StatelessSinkPartition[tuple[str, Event]]):
    def __init__(self, stream: TextIO, form: Callable[[Event], str]) -> None:
        self._stream, self._form = stream, form
        self._open = True

    def write_batch(self, items: list[tuple[str, Event]]) -> None:
        if not self._open:
            return
        try:
            self._stream.write("".join(self._form(event) + "\n" for _, event in items if event.is_told))
            self._stream.flush()
        except BrokenPipeError:
            self._open = False  # `tocsin run | head`: the reader has seen enough, the engine goes on


class StdoutSink(DynamicSink[tuple[str, Event]]):
    """Writes to *stream*, standard output unless told otherwise."""

    def __init__(self, *, json: bool, stream: TextIO | None = None) -> None:
        self._form = as_json if json else as_line
        self._stream = stream if stream is not None else sys.stdout

    def build(self, step_id: str, worker_index: int, worker_count: int) -> _Writer:
        return _Writer(self._stream, self._form)
