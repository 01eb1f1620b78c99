"""What a condition can ask about: one response and its reading, under the names that rule files use.

Absent things are left out, never null: a line that asks for one is "not applicable". Numbers are doubles.
"""

from collections.abc import Callable, Collection, Mapping
from typing import Any

import msgspec

from feedback.records import Response
from scoring.reading import Reading
from scoring.taxonomy import Matcher, fold, with_ancestors

SENTIMENT = ("compound", "positive", "neutral", "negative", "label")
PLAIN = ("channel", "touchpoint", "language", "text", "source", "programme", "customer", "staff")
"""Texts by their own name; `staff` is the employee whom the response is about."""
LISTS = ("themes", "intents", "suggested")
RISK = "risk"
"""How likely the response is a negative one, 0 to 1, by what was learned; by VADER until then."""
LEARNED = frozenset({RISK, "suggested"})
"""What the learned models are asked for only when a rule does, because it costs as much again as the reading."""
MAPS = ("scores", "bands", "sentiment", "match", "attributes")


class Vocabulary(msgspec.Struct, frozen=True):
    """The names that a set's conditions may use, and the kind of each: `number`, `text`, `flag` or `list`."""

    kinds: dict[str, str]
    themes: frozenset[str]
    intents: frozenset[str]

    def is_map(self, path: str) -> bool:
        return path in MAPS


class Facts:
    """One response, ready to be asked. Made for every response, so what few rules ask for is found on demand."""

    def __init__(self, response: Response, reading: Reading, patterns: Mapping[str, Any], staff: Matcher) -> None:
        known: dict[str, Any] = {}
        for metric, score in response.scores.items():
            known["scores." + metric] = float(score)
        for metric, band in reading.bands.items():
            known["bands." + metric] = band
        for name, value in response.attributes.items():
            known["attributes." + name] = float(value) if type(value) is int else value
        known["themes"] = known["intents"] = known["suggested"] = ()
        if reading.themes:
            paths = [path for found in reading.themes for path in with_ancestors(found.path)]
            known["themes"] = tuple(dict.fromkeys(paths))
        if reading.intents:
            known["intents"] = tuple(found.path for found in reading.intents)
        if reading.suggested:
            paths = [path for found in reading.suggested for path in with_ancestors(found.path)]
            known["suggested"] = tuple(dict.fromkeys(paths))
        self._known = known
        self._patterns = patterns
        self._response, self._reading, self._staff = response, reading, staff

    def get(self, path: str) -> Any:
        """The value under a dotted name; None when it is absent."""
        value = self._known.get(path)
        if value is None and (how := _ON_DEMAND.get(path)) is not None:
            return how(self)
        if value is None and path.startswith("match."):
            return self._match(path)
        return value

    def risk_told(self) -> str:
        """The risk for a person, and by which version of the models; the customer's words for it are in the reading."""
        return f"risk = {self._reading.risk:g}, scored by {self._reading.scored_by}"

    def _praised(self) -> str | None:
        """The employee whom the response is about: `attributes.agent`, else one whom the text names."""
        agent = self._known.get("attributes.agent")
        if agent:
            return str(agent)
        text = self._response.text
        named = self._staff.find(text, fold(text)) if text else ()
        return named[0].path if named else None

    def _match(self, path: str) -> bool | None:
        pattern = self._patterns.get(path[6:])
        if pattern is None:
            return None
        found = pattern.search(self._response.text) is not None
        self._known[path] = found
        return found

    def tree(self, roots: Collection[str] | None = None) -> dict[str, Any]:
        """Everything, or what is below *roots*, as the nested maps that CEL is given; patterns worked out."""
        whole = dict(self._known)
        for path in (*_ON_DEMAND, *("match." + name for name in self._patterns)):
            if (roots is None or path.partition(".")[0] in roots) and (value := self.get(path)) is not None:
                whole[path] = value
        tree: dict[str, Any] = {}
        for path, value in whole.items():
            head, _, rest = path.partition(".")
            if roots is not None and head not in roots:
                continue
            plain = list(value) if isinstance(value, tuple) else value
            if rest:
                tree.setdefault(head, {})[rest] = plain
            else:
                tree[head] = plain
        for name in MAPS:
            if roots is None or name in roots:
                tree.setdefault(name, {})
        return tree


def _mood(field: str) -> Callable[[Facts], Any]:
    def read(facts: Facts) -> Any:
        mood = facts._reading.sentiment
        return None if mood is None else getattr(mood, field)

    return read


_ON_DEMAND: Mapping[str, Callable[[Facts], Any]] = {
    "channel": lambda facts: facts._response.channel or None,
    "touchpoint": lambda facts: facts._response.touchpoint or None,
    "language": lambda facts: facts._reading.language or None,
    "text": lambda facts: facts._response.text or None,
    "source": lambda facts: facts._response.source,
    "programme": lambda facts: facts._response.programme,
    "customer": lambda facts: facts._response.customer or None,
    "staff": lambda facts: facts._praised(),
    "risk": lambda facts: facts._reading.risk,
    **{f"sentiment.{name}": _mood(name) for name in SENTIMENT},
}
