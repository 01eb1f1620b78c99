"""Where something lies in a tool's JSON: `form_response.answers[field.type=opinion_scale].number`. Pure.

Names separated by dots; after a name of a list `[N]` (the item of that number), `[path=value]` (the first item of
which that holds) or `[*]` (every item). A path is read once; following it never fails: what is not there is None.
"""

import re
from typing import Any

_STEP = re.compile(r"([^.\[\]]+)((?:\[[^\[\]]*\])*)", re.ASCII)
_PICK = re.compile(r"\[([^\[\]]*)\]")
MANY = 64
"""Items that `[*]` takes at most."""


class Path:
    """A path. Equal texts are equal paths."""

    __slots__ = ("_steps", "text")

    def __init__(self, text: str) -> None:
        """Raises ValueError naming *text* when it is no path."""
        self.text = text
        self._steps: list[str | int | tuple[tuple[str, ...], str] | None] = []
        place = 0
        while place < len(text) or not text:
            match = _STEP.match(text, place)
            if match is None:
                raise ValueError(f"{text[:80]!r} is no path; written like answers[field.type=nps].number")
            self._steps.append(match[1])
            self._steps += [_pick(pick, text) for pick in _PICK.findall(match[2])]
            place = match.end()
            if place < len(text):
                if text[place] != "." or place + 1 == len(text):
                    raise ValueError(f"{text[:80]!r} is no path; names are separated by dots")
                place += 1

    def find(self, document: Any) -> list[Any]:
        """Everything that lies there, nothing that is null."""
        found = [document]
        for step in self._steps:
            found = [below for value in found for below in _follow(value, step) if below is not None]
        return found

    def first(self, document: Any) -> Any:
        """What lies there first, or None."""
        found = self.find(document)
        return found[0] if found else None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Path) and other.text == self.text

    def __hash__(self) -> int:
        return hash(self.text)

    def __repr__(self) -> str:
        return f"Path({self.text!r})"


def _pick(pick: str, text: str) -> int | tuple[tuple[str, ...], str] | None:
    if pick == "*":
        return None
    if pick.isascii() and pick.isdigit():
        return int(pick)
    names, equals, value = pick.partition("=")
    if not equals or not names:
        raise ValueError(f"{text[:80]!r}: [{pick[:40]}] is neither a number, nor *, nor path=value")
    return tuple(names.split(".")), value


def _follow(value: Any, step: str | int | tuple[tuple[str, ...], str] | None) -> list[Any]:
    if isinstance(step, str):
        return [value.get(step)] if isinstance(value, dict) else []
    if not isinstance(value, list):
        return []
    if step is None:
        return value[:MANY]
    if isinstance(step, int):
        return value[step : step + 1]
    names, wanted = step
    return [item for item in value if _plain(item, names) == wanted][:1]


def _plain(item: Any, names: tuple[str, ...]) -> str | None:
    for name in names:
        item = item.get(name) if isinstance(item, dict) else None
    return item if isinstance(item, str) else str(item) if isinstance(item, int) else None
