"""Secrets by reference: settings name where a secret is kept, and never hold it."""

from collections.abc import Mapping
from pathlib import Path


def fetch(reference: str, environ: Mapping[str, str]) -> str:
    """What `env:NAME` or `file:/path` names, without the white space around it.

    Raises ValueError, whose text names the reference and never the secret.
    """
    kind, _, where = reference.partition(":")
    if kind == "env":
        if not environ.get(where):
            raise ValueError(f"the environment has no {where}, which a secret refers to")
        return environ[where].strip()
    if kind == "file":
        try:
            return Path(where).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise ValueError(f"the secret's file cannot be read: {error}") from None
    raise ValueError("a secret is given as env:NAME or file:/path, never as itself")
