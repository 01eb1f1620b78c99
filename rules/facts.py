"""What a condition can ask about: one response and its reading, under the names that rule files use.

Absent things are left out, never null: a line that asks for one is "not applicable". Numbers are doubles.
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from feedback.records import Response
from scoring.reading import Reading
from scoring.taxonomy import with_ancestors

SENTIMENT = ("compound", "positive", "neutral", "negative", "label")
PLAIN = ("channel", "touchpoint", "language", "text", "source", "programme", "customer", "staff")
"""Texts by their own name; `staff` is the employee whom the response is about."""
LISTS = ("themes", "intents")
MAPS = ("scores", "bands", "sentiment", "match", "attributes")


class Vocabulary(msgspec.Struct, frozen=True):
    """The names that a set's conditions may use, and the kind of each: `number`, `text`, `flag` or `list`."""

    kinds: dict[str, str]
    themes: frozenset[str]
    intents: frozenset[str]

    def is_map(self, path: str) -> bool:
        return path in MAPS


class Facts:
    """One response, ready to be asked. `get` is the hot path: a dict look-up by dotted name."""

    def __init__(self, response: Response, reading: Reading, patterns: Mapping[str, Any], staff: str) -> None:
        known: dict[str, Any] = {}
        for metric, score in response.scores.items():
            known["scores." + metric] = float(score)
        for metric, band in reading.bands.items():
            known["bands." + metric] = band
        for name, value in response.attributes.items():
            known["attributes." + name] = float(value) if type(value) is int else value
        self._known = known
        self._patterns = patterns
        self.themes: tuple[str, ...] = ()
        if reading.themes:
            self.themes = tuple(
                dict.fromkeys(path for found in reading.themes for path in with_ancestors(found.path))
            )
        self.intents: tuple[str, ...] = tuple(found.path for found in reading.intents) if reading.intents else ()
        known["themes"], known["intents"] = self.themes, self.intents
        known["source"], known["programme"] = response.source, response.programme
        for name, value in (
            ("channel", response.channel),
            ("touchpoint", response.touchpoint),
            ("language", reading.language),
            ("text", response.text),
            ("customer", response.customer),
            ("staff", staff),
        ):
            if value:
                known[name] = value
        mood = reading.sentiment
        if mood is not None:
            known["sentiment.compound"], known["sentiment.label"] = mood.compound, mood.label
            known["sentiment.positive"], known["sentiment.neutral"] = mood.positive, mood.neutral
            known["sentiment.negative"] = mood.negative

    def get(self, path: str) -> Any:
        """The value under a dotted name; None when it is absent."""
        value = self._known.get(path)
        if value is None and path.startswith("match."):
            value = self._match(path)
        return value

    def _match(self, path: str) -> bool | None:
        pattern = self._patterns.get(path[6:])
        if pattern is None:
            return None
        found = pattern.search(self._known.get("text", "")) is not None
        self._known[path] = found
        return found

    def tree(self) -> dict[str, Any]:
        """Everything as the nested maps that CEL is given; patterns worked out."""
        for name in self._patterns:
            self.get("match." + name)
        tree: dict[str, Any] = {}
        for path, value in self._known.items():
            head, _, rest = path.partition(".")
            plain = list(value) if isinstance(value, tuple) else value
            if rest:
                tree.setdefault(head, {})[rest] = plain
            else:
                tree[head] = plain
        for name in MAPS:
            tree.setdefault(name, {})
        return tree
