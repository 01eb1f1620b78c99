"""Secrets of targets: fetched by reference, never shown. `show` is what a dry run prints in their place."""

import base64
from collections.abc import Callable, Mapping
from pathlib import Path


class Hidden:
    """A secret. Its text and its repr never show it."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """The secret; called only where the bytes of a request are made, so that no variable elsewhere holds it."""
        return self._text

    def behind(self, prefix: str) -> "Hidden":
        return type(self)(prefix + self._text)

    def bearer(self) -> "Hidden":
        """The value of an `Authorization` header."""
        return self.behind("Bearer ")

    def basic(self, user: str) -> "Hidden":
        """The same for *user* and a password."""
        return Hidden("Basic " + base64.b64encode(f"{user}:{self._text}".encode()).decode())

    def __repr__(self) -> str:
        return "Hidden(...)"

    def __bool__(self) -> bool:
        return bool(self._text)


class Shown(Hidden):
    """Stands for a secret in a dry run: the reference, in place of what it refers to."""

    __slots__ = ()

    def basic(self, user: str) -> Hidden:
        return self.behind(f"Basic {user}:")


Fetch = Callable[[str], Hidden]
"""From a reference to the secret. Raises ValueError, whose text never holds the secret."""


def fetching(environ: Mapping[str, str]) -> Fetch:
    """Fetches from `env:NAME` and `file:/path`."""

    def fetch(reference: str) -> Hidden:
        kind, _, where = _parts(reference)
        if kind == "env":
            if not environ.get(where, "").strip():
                raise ValueError(f"the environment has no {where}, which a secret refers to")
            return Hidden(environ[where].strip())
        try:
            text = Path(where).read_text(encoding="utf-8").strip()
        except OSError as error:
            raise ValueError(f"the secret's file cannot be read: {error}") from None
        except UnicodeDecodeError:
            raise ValueError(f"the secret's file is no text: {where}") from None
        if not text:
            raise ValueError(f"the secret's file is empty: {where}")
        return Hidden(text)

    return fetch


def masked(reference: str) -> Hidden:
    """Fetches nothing: a dry run needs no secret, so it has none that it could print."""
    _parts(reference)
    return Shown(f"<{reference}>")


def _parts(reference: str) -> tuple[str, str, str]:
    kind, colon, where = reference.partition(":")
    if kind not in ("env", "file") or not where:
        raise ValueError("a secret is given as env:NAME or file:/path, never as itself")
    return kind, colon, where
