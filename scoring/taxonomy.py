"""Themes and intents by their phrases, found in one pass over the text however many phrases there are.

A phrase is words in lower case; a `*` at its end takes any ending of the last word (`leak*`: leaks, leaking).
It matches on word boundaries, whatever the case, whether an apostrophe is straight or curly, and over any
single white space. `except` phrases of a theme silence its own matches that they overlap ("mould" in "mould
my own career"). Of a theme and its sub-theme only the deeper is reported: it implies the other.
The files are read by `rules/taxonomies.py`; this module knows values and text only.
"""

from collections.abc import Iterable

import ahocorasick
import msgspec

from scoring.reading import Found


class Node(msgspec.Struct, frozen=True, kw_only=True):
    """A theme, sub-theme or topic, by its path from the top, or an intent by its name."""

    path: str
    title: str
    phrases: tuple[str, ...] = ()
    excepts: tuple[str, ...] = ()
    regulated: bool = False
    """A law sets deadlines for it; rules fire on it whatever the score."""


class Taxonomy(msgspec.Struct, frozen=True, kw_only=True):
    """One file of themes and intents."""

    name: str
    themes: tuple[Node, ...] = ()
    intents: tuple[Node, ...] = ()


_FOLD = str.maketrans({"’": "'", "‘": "'", "ʼ": "'", "\n": " ", "\t": " ", "\r": " ", "\xa0": " "})


def fold(text: str) -> str:
    """*text* in lower case with plain apostrophes and blanks, each character at its old place."""
    low = text.lower()
    if len(low) != len(text):  # a few letters grow in lower case
        low = "".join(c.lower() if len(c.lower()) == 1 else c for c in text)
    return low.translate(_FOLD)


class _Entry(msgspec.Struct, frozen=True):
    path: str
    length: int
    open_ended: bool
    """The phrase ended in `*`."""
    silences: bool
    """It is an `except` phrase."""


class Matcher:
    """Finds the phrases of some nodes. Immutable after `build`; safe to share."""

    def __init__(self, nodes: Iterable[Node]) -> None:
        entries: dict[str, list[_Entry]] = {}
        for node in nodes:
            for phrases, silences in ((node.phrases, False), (node.excepts, True)):
                for phrase in phrases:
                    bare = fold(phrase).rstrip("*").strip()
                    if bare:
                        entry = _Entry(node.path, len(bare), phrase.endswith("*"), silences)
                        entries.setdefault(bare, []).append(entry)
        self._automaton = ahocorasick.Automaton()
        for bare, found in entries.items():
            self._automaton.add_word(bare, tuple(found))
        self._empty = not entries
        if entries:
            self._automaton.make_automaton()

    def find(self, text: str, folded: str) -> tuple[Found, ...]:
        """What *text* (and *folded*, the same folded) speaks of: deepest paths, each once, by first appearance."""
        if self._empty:
            return ()
        hits: list[tuple[int, int, str]] = []
        silent: list[tuple[int, int, str]] = []
        size = len(folded)
        for last, entries in self._automaton.iter(folded):
            end = last + 1
            word_ends = end == size or not folded[end].isalnum()
            for entry in entries:
                start = end - entry.length
                if start and folded[start - 1].isalnum():
                    continue
                if not word_ends:
                    if not entry.open_ended:
                        continue
                    end_of_word = end
                    while end_of_word < size and folded[end_of_word].isalnum():
                        end_of_word += 1
                else:
                    end_of_word = end
                (silent if entry.silences else hits).append((start, end_of_word, entry.path))
        if not hits:
            return ()
        if silent:
            hits = [hit for hit in hits if not any(_silences(other, hit) for other in silent)]
        return _deepest(hits, text)


def _silences(other: tuple[int, int, str], hit: tuple[int, int, str]) -> bool:
    start, end, path = other
    within = hit[2] == path or hit[2].startswith(path + "/")
    return within and hit[0] < end and start < hit[1]


def _deepest(hits: list[tuple[int, int, str]], text: str) -> tuple[Found, ...]:
    first: dict[str, tuple[int, int]] = {}
    for start, end, path in sorted(hits, key=lambda hit: (hit[0], -hit[1])):
        first.setdefault(path, (start, end))
    if len(first) > 1:
        for path in [p for p in first if any(other.startswith(p + "/") for other in first)]:
            del first[path]
    return tuple(Found(path, text[start:end]) for path, (start, end) in first.items())


def with_ancestors(path: str) -> list[str]:
    """*path* and every theme above it, deepest first."""
    parts = path.split("/")
    return ["/".join(parts[:n]) for n in range(len(parts), 0, -1)]
