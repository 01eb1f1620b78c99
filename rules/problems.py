"""A problem in a file that somebody wrote: where it is, what was found, what was expected.

All problems of all files are collected and shown together: nobody should mend a file one error at a time.
"""

from collections.abc import Iterable
from difflib import get_close_matches

import msgspec


class Problem(msgspec.Struct, frozen=True, order=True):
    file: str
    line: int
    """From 1."""
    column: int
    """From 1."""
    found: str
    expected: str
    warning: bool = False
    """Worth a look, but the rules can be used."""

    def __str__(self) -> str:
        word = "warning" if self.warning else "error"
        return f"{self.file}:{self.line}:{self.column}: {word}: found {self.found}; expected {self.expected}"


class RuleFileErrors(Exception):
    """The rules cannot be used. Whose turn: whoever edited the files. `problems` holds every one of them."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = sorted(problems)
        super().__init__("\n".join(map(str, self.problems)))


def one_of(names: Iterable[str], found: str = "") -> str:
    """`one of a, b, c`, with a guess at what *found* was meant to be."""
    known = sorted(names)
    listed = "one of " + ", ".join(known[:12]) + (" …" if len(known) > 12 else "") if known else "nothing here"
    close = get_close_matches(found, known, n=1, cutoff=0.7) if found else []
    return f"{listed} (did you mean {close[0]}?)" if close else listed


def shown(value: object, limit: int = 60) -> str:
    """*value* as a person should see it in an error: quoted, and cut."""
    text = repr(value) if isinstance(value, str) else str(value)
    return text if len(text) <= limit else text[: limit - 1] + "…"
