"""Themes and intents by their phrases, found in one pass over the text however many phrases there are.

A phrase is words. It is found as whole words, whatever the case, whether an apostrophe is straight or curly, and
over any white space, hyphen or dash. A `*` at its end takes any ending of the last word (`leak*`: leaks,
leaking); brackets list forms (`leak(s|ed|)`, `(no|without) heating`). What counts when phrases meet:

1. An `except` phrase silences the matches of its node, and of those below it, that it overlaps, unless the
   match is longer: with `no mould` excepted, "no mould treatment" may still be a phrase.
2. Of two overlapping matches within one theme (or one intent) the longer counts.
3. Of a node and one below it only the deeper is reported: it implies the other. Each path is reported once.

The files are read by `rules/taxonomies.py`; this module knows values and text only.
"""

import re
from bisect import bisect_right
from collections.abc import Iterable
from itertools import product
from math import prod

import ahocorasick
import msgspec

from scoring.reading import Found

MAX_FORMS = 512
"""That one phrase may stand for, so that a slip in a file cannot fill the memory (some 200 B a form)."""


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


_FOLDED = (
    dict.fromkeys("’‘ʼ＇`´", "'")
    | dict.fromkeys("-‐‑‒–—―", " ")
    | dict.fromkeys((chr(c) for c in range(0x3001) if chr(c).isspace() and c != 0x20), " ")
)
_OF_ASCII = bytes(ord(_FOLDED.get(chr(c), chr(c))) if c < 128 else c for c in range(256))
_TO_FOLD = re.compile("[" + re.escape("".join(_FOLDED)) + "]")


def fold(text: str) -> str:
    """*text* in lower case, apostrophes straight, white space, hyphens and dashes blank; no letter moves."""
    low = text.lower()
    if low.isascii():
        return low.encode().translate(_OF_ASCII).decode()  # a fifth of the time of str.translate
    if len(low) != len(text):
        low = text.replace("İ", "i").lower()  # the one letter that grows in lower case
    return _TO_FOLD.sub(lambda found: _FOLDED[found[0]], low)


_BRACKETS = re.compile(r"\(([^()]*)\)")


def forms(phrase: str) -> tuple[str, ...]:
    """Every form that *phrase* stands for, folded, a `*` left at the end of those that are open.

    Raises ValueError saying what is wrong: brackets that do not pair, a star before the end, no letters, or too
    many forms.
    """
    pieces = _BRACKETS.split(fold(phrase))  # text and inside of brackets, by turns
    if any(letter in piece for piece in pieces[::2] for letter in "()|"):
        raise ValueError("a bracket or bar that has no partner; write (one|other), not nested")
    choices = [piece.split("|") if n % 2 else [piece] for n, piece in enumerate(pieces)]
    if prod(map(len, choices)) > MAX_FORMS:
        raise ValueError(f"more than {MAX_FORMS} forms in one phrase")
    found: dict[str, None] = {}
    for chosen in product(*choices):
        form = " ".join("".join(chosen).split())
        if "*" in form[:-1]:
            raise ValueError("a star before the end; a star stands at the end of the last word")
        if not form[:1].isalnum():
            raise ValueError("a phrase, or one of its forms, that does not begin with a letter or digit")
        found[form] = None
        if "n't" in form:
            found[form.replace("n't", "nt")] = None  # as many people write it
    return tuple(found)


def _forms_or_itself(phrase: str) -> tuple[str, ...]:
    try:
        return forms(phrase)
    except ValueError:
        plain = " ".join(fold(phrase).split())
        return (plain,) if plain.strip("*") else ()


class _Place:
    """A node, as matches refer to it."""

    __slots__ = ("above", "is_intent", "path", "theme")

    def __init__(self, path: str, is_intent: bool) -> None:
        self.path = path
        self.is_intent = is_intent
        self.theme = (is_intent, path.split("/", 1)[0])
        self.above = frozenset(with_ancestors(path))
        """Its path and those above it."""


_Entry = tuple[int, bool, bool, _Place]
"""Length in letters; ends in a star; is an `except`; of which node."""
_Hit = tuple[int, int, _Place]
"""Start and end in the text, half-open; where the star's ending is included."""
_REST_OF_WORD = re.compile(r"[^\W_]*")
_NOTHING: tuple[tuple[Found, ...], tuple[Found, ...]] = ((), ())


class Matcher:
    """Finds the phrases of some themes and intents. Immutable once built; safe to share."""

    def __init__(self, themes: Iterable[Node], intents: Iterable[Node] = ()) -> None:
        """A phrase that `forms` refuses is taken as it stands: whoever reads files asks `forms`, and tells."""
        entries: dict[str, list[_Entry]] = {}
        for is_intent, nodes in ((False, themes), (True, intents)):
            for node in nodes:
                place = _Place(node.path, is_intent)
                for phrases, silences in ((node.phrases, False), (node.excepts, True)):
                    for form in dict.fromkeys(form for phrase in phrases for form in _forms_or_itself(phrase)):
                        bare = form.removesuffix("*")
                        entries.setdefault(bare, []).append((len(bare), bare != form, silences, place))
        self._automaton = ahocorasick.Automaton()
        for bare, of_bare in entries.items():
            self._automaton.add_word(bare, tuple(of_bare))
        if entries:
            self._automaton.make_automaton()
        self._is_empty = not entries
        self._longest = max(map(len, entries), default=0)

    def find(self, text: str, folded: str) -> tuple[Found, ...]:
        """The themes that *text* speaks of; *folded* is `fold(text)`, which callers need elsewhere too."""
        return self.find_both(text, folded)[0]

    def find_both(self, text: str, folded: str) -> tuple[tuple[Found, ...], tuple[Found, ...]]:
        """The themes and the intents of *text*, each by first appearance. Linear in its length."""
        if self._is_empty:
            return _NOTHING
        gaps: list[tuple[int, int]] = []
        if "  " in folded:
            folded, gaps = _squeeze(folded)
        hits: list[_Hit] = []
        silences: list[_Hit] = []
        for last, entries in self._automaton.iter(folded):
            end = last + 1
            follows = folded[end : end + 1].isalnum()
            for length, is_open, is_silence, place in entries:
                start = end - length
                if (follows and not is_open) or (start and folded[start - 1].isalnum()):
                    continue
                if is_silence:
                    silences.append((start, end, place))
                elif follows:
                    rest = _REST_OF_WORD.match(folded, end)
                    hits.append((start, rest.end() if rest else end, place))
                else:
                    hits.append((start, end, place))
        if not hits:
            return _NOTHING
        if silences:
            hits = self._unsilenced(hits, silences)
        if len(hits) > 1:
            hits = _deepest(_longest_of_each_theme(hits))
        if gaps:
            hits = [(_unsqueezed(start, gaps), _unsqueezed(end - 1, gaps) + 1, place) for start, end, place in hits]
        return (
            tuple([Found(place.path, text[start:end]) for start, end, place in hits if not place.is_intent]),
            tuple([Found(place.path, text[start:end]) for start, end, place in hits if place.is_intent]),
        )

    def _unsilenced(self, hits: list[_Hit], silences: list[_Hit]) -> list[_Hit]:
        """The *hits* that no except phrase overlaps and outweighs. Silences come ascending by their end."""
        ends = [end for _, end, _ in silences]
        kept = []
        for hit in hits:
            start, end, place = hit
            for n in range(bisect_right(ends, start), len(silences)):
                silent_start, silent_end, by = silences[n]
                if silent_end - self._longest >= end:
                    kept.append(hit)  # this one, and all after it, begin beyond the hit
                    break
                if (
                    silent_start < end
                    and silent_end - silent_start >= end - start
                    and by.is_intent == place.is_intent
                    and by.path in place.above
                ):
                    break
            else:
                kept.append(hit)
        return kept


def _squeeze(folded: str) -> tuple[str, list[tuple[int, int]]]:
    """*folded* with each run of blanks as one, and the gaps: from which place on how many letters are missing."""
    gaps = []
    missing = 0
    for run in _BLANKS.finditer(folded):
        missing += run.end() - run.start() - 1
        gaps.append((run.end() - missing, missing))
    return _BLANKS.sub(" ", folded), gaps


_BLANKS = re.compile(r" {2,}")


def _unsqueezed(place: int, gaps: list[tuple[int, int]]) -> int:
    """Where in the whole text a *place* of the squeezed one is."""
    n = bisect_right(gaps, (place, 1 << 62))
    return place + gaps[n - 1][1] if n else place


def _longest_of_each_theme(hits: list[_Hit]) -> list[_Hit]:
    """*hits* in order of appearance, of those that overlap within a theme the longest only."""
    hits.sort(key=lambda hit: (hit[0], -hit[1]))
    latest: dict[tuple[bool, str], list[_Hit]] = {}
    """Theme to the stretch kept last: one hit, or several of the same words."""
    lost: set[int] = set()
    for hit in hits:
        kept = latest.get(hit[2].theme)
        if kept is None or hit[0] >= kept[0][1]:
            latest[hit[2].theme] = [hit]
        elif hit[:2] == kept[0][:2]:
            kept.append(hit)
        elif hit[1] - hit[0] > kept[0][1] - kept[0][0]:
            lost.update(map(id, kept))
            latest[hit[2].theme] = [hit]
        else:
            lost.add(id(hit))
    return [hit for hit in hits if id(hit) not in lost] if lost else hits


def _deepest(hits: list[_Hit]) -> list[_Hit]:
    """The first hit of each path, without those of which something deeper was found."""
    first: dict[_Place, _Hit] = {}
    for hit in hits:
        first.setdefault(hit[2], hit)
    if len(first) > 1:
        implied = {(place.is_intent, path) for place in first for path in place.above if path != place.path}
        return [hit for place, hit in first.items() if (place.is_intent, place.path) not in implied]
    return list(first.values())


def with_ancestors(path: str) -> list[str]:
    """*path* and every theme above it, deepest first."""
    parts = path.split("/")
    return ["/".join(parts[:n]) for n in range(len(parts), 0, -1)]
