"""What a text is known by to the learned themes: numbers of hashed features, in three groups.

Words and pairs of words; the pieces of its words, by which an ending or a slip of the keys does not hide a word;
and what is not a word: the question, the language, the taxonomy's own matches. `learned_themes.py` learns of them.
"""

from collections.abc import Sequence
from functools import lru_cache
from zlib import crc32

import numpy as np
import numpy.typing as npt

from scoring.learned import LONGEST, Context
from scoring.reading import Found
from scoring.words import words_of

SLOTS = 1 << 16
"""Features of a programme."""
Slots = npt.NDArray[np.uint16]
Groups = tuple[Slots, Slots, Slots]
_MASK = SLOTS - 1
_PIECES = (3, 4, 5)
"""Letters of the pieces of a word, its ends marked. Without pieces a batch SVM has 0.67 in place of 0.72 here."""


def groups_of(text: str, context: Context, found: Sequence[Found]) -> Groups:
    """Distinct words and pairs; the pieces of those words; the question, language and the taxonomy's matches."""
    words = words_of(text[:LONGEST])
    of_words = [of_word(word) for word in dict.fromkeys(words)]
    first = [own for own, _ in of_words] + pairs_of(words)
    second = [slot for _, pieces in of_words for slot in pieces]
    rest = asked_of(context) + found_of(found)
    return np.array(first, np.uint16), np.array(second, np.uint16), np.array(rest, np.uint16)


def pairs_of(words: list[str]) -> list[int]:
    """The slots of the distinct pairs of neighbours, the ends of the text among them."""
    pairs = dict.fromkeys(map("%s %s".__mod__, zip(["^", *words], [*words, "$"], strict=True)))
    return [_hash(pair) for pair in pairs]


def asked_of(context: Context) -> list[int]:
    return [_hash(f"\0question {context.question}"), _hash(f"\0language {context.language}")]


def found_of(found: Sequence[Found]) -> list[int]:
    """Each more than once: a match says more than which question was asked."""
    return [_hash(f"\0found {one.path}") for one in found for _ in range(3)]


def _hash(feature: str) -> int:
    return crc32(feature.encode(errors="replace")) & _MASK


@lru_cache(maxsize=16_384)
def of_word(word: str) -> tuple[int, tuple[int, ...]]:
    """The slot of a word, and those of its pieces. A word past 40 letters has no pieces: it is hardly one."""
    own = _hash(word)
    if len(word) > 40:
        return own, ()
    marked = f"<{word}>"
    pieces = {marked[at : at + size]: None for size in _PIECES for at in range(len(marked) - size + 1)}
    return own, tuple([_hash("\0" + piece) for piece in pieces])
