"""Shapes: bodies with `{{ name }}` in their texts, and no code. What a user changes to change a message.

A shape is plain data (mappings, lists, texts, numbers). Only its texts are filled, each by itself, so no value can
break out of the place that it fills. A placeholder that nothing could fill is a problem when the settings are
loaded. A text that is `{{ name? }}` and nothing else is left out, with its key, when there is no value for it.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

Shape = Any
Escape = Callable[[str], str]
"""Makes a value harmless in the language of its place (Slack's `<`, a card's Markdown)."""

HOLE = re.compile(r"\{\{\s*([^{}]*?)\s*\}\}")
_MAYBE = re.compile(r"\s*\{\{\s*([^{}]*?)\?\s*\}\}\s*")
_CODE = re.compile(r"\{\{|\{%|\}\}|%\}")
MAX_DEPTH = 16


class ShapeError(ValueError):
    """A template cannot be used; the text says where and what was expected."""


class Names:
    """What a shape may ask for: fixed names, and any name below some stems (`scores.`, `attributes.`)."""

    def __init__(self, names: frozenset[str], stems: tuple[str, ...]) -> None:
        self.names, self.stems = names, stems

    def __contains__(self, name: str) -> bool:
        return name in self.names or any(name.startswith(stem) and name != stem for stem in self.stems)


def check(shape: Shape, names: Names, where: str = "template") -> None:
    """Raises ShapeError for a placeholder that is not among *names*, for code, and for what JSON cannot say."""
    for place, text in _texts(shape, where, 0):
        maybe = _MAYBE.fullmatch(text)
        for hole in (maybe,) if maybe else HOLE.finditer(text):
            if hole[1] not in names:
                known = ", ".join(sorted(names.names))
                raise ShapeError(f"{place}: nothing is called {hole[1][:60]!r}; expected one of {known}")
        if _CODE.search(HOLE.sub("", text)):
            raise ShapeError(f"{place}: a brace that is not closed, or code; expected {{{{ name }}}} and text")


def _texts(shape: Shape, where: str, depth: int) -> Iterator[tuple[str, str]]:
    if depth > MAX_DEPTH:
        raise ShapeError(f"{where}: nested deeper than {MAX_DEPTH}")
    if isinstance(shape, str):
        yield where, shape
    elif isinstance(shape, Mapping):
        for key, value in shape.items():
            if not isinstance(key, str):
                raise ShapeError(f"{where}: the key {key!r} is no text")
            yield from _texts(value, f"{where}.{key}", depth + 1)
    elif isinstance(shape, list):
        for number, value in enumerate(shape):
            yield from _texts(value, f"{where}[{number}]", depth + 1)
    elif shape is not None and not isinstance(shape, (bool, int, float)):
        raise ShapeError(f"{where}: {type(shape).__name__} cannot be sent; put it in quotes")


def fill(shape: Shape, values: Mapping[str, str], escape: Escape = str) -> Shape:
    """*shape* with its placeholders filled from *values*; one without a value is empty, or gone if it may be."""
    if isinstance(shape, str):
        maybe = _MAYBE.fullmatch(shape)
        if maybe:
            return escape(values.get(maybe[1], ""))
        return HOLE.sub(lambda hole: escape(values.get(hole[1], "")), shape)
    if isinstance(shape, Mapping):
        return {key: fill(value, values, escape) for key, value in shape.items() if not _absent(value, values)}
    if isinstance(shape, list):
        return [fill(value, values, escape) for value in shape if not _absent(value, values)]
    return shape


def _absent(shape: Shape, values: Mapping[str, str]) -> bool:
    maybe = _MAYBE.fullmatch(shape) if isinstance(shape, str) else None
    return maybe is not None and not values.get(maybe[1])


def cut(text: str, limit: int) -> str:
    """*text* in at most *limit* characters; an ellipsis says that there was more."""
    return text if len(text) <= limit else text[: limit - 1].rstrip() + "…"
