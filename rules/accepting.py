"""Accepting a phrase into a taxonomy file: the text of the file as it is after, comments and all."""

from io import StringIO
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq

from rules.problems import Problem
from rules.taxonomies import parse_taxonomy
from rules.yaml import Sheet
from scoring.taxonomy import forms

WIDEST = 1_000_000
"""Columns of a line: none is broken that was whole."""


class AcceptError(ValueError):
    """The phrase cannot be accepted so. Whose turn: who accepts."""


def with_phrase(text: str, name: str, theme: str, phrase: str, note: str) -> str:
    """*text* of the taxonomy *name* with *phrase* under *theme*, which is made where it is new.

    *note* (who, and when) is written as a comment at the end. Raises AcceptError when the phrase is there already, or
    the file would not be read afterwards.
    """
    try:
        forms(phrase)
    except ValueError as error:
        raise AcceptError(f"{phrase!r} is no phrase: {error}") from None
    yaml = YAML(typ="rt")
    yaml.width, yaml.preserve_quotes = WIDEST, True
    tree = yaml.load(text)
    if not isinstance(tree, CommentedMap):
        raise AcceptError(f"{name} is no taxonomy")
    node, below = tree, "themes"
    for key in theme.split("/"):
        inner = node.setdefault(below, CommentedMap())
        if not isinstance(inner, CommentedMap):
            raise AcceptError(f"{name}: {below} is no map")
        node, below = _entry(inner, key), "topics"
    phrases = node.setdefault("phrases", _flow(CommentedSeq()))
    if phrase in phrases:
        raise AcceptError(f"{phrase!r} is a phrase of {theme} already")
    phrases.append(phrase)
    written = StringIO()
    yaml.dump(tree, written)
    after = written.getvalue().rstrip("\n") + f"\n# {note}\n"
    problems: list[Problem] = []
    parse_taxonomy(Sheet(f"{name}.yaml", problems), name, after)
    if problems:
        raise AcceptError("; ".join(str(problem) for problem in problems))
    return after


def _entry(inner: CommentedMap, key: str) -> CommentedMap:
    if key not in inner:
        inner[key] = _flow(CommentedMap())
    found = inner[key]
    if not isinstance(found, CommentedMap):
        raise AcceptError(f"{key} is no theme")
    return found


def _flow(made: Any) -> Any:
    """*made*, to be written on one line."""
    made.fa.set_flow_style()
    return made
