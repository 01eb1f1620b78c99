"""The scorers put together: one response in, its `Reading` out.

A text that is read again (a survey's set phrases, a retry, a storm of the same message) costs a look-up: short
texts are kept with what was found in them, in two halves. When the newer is full the older is dropped, and what
is asked for in the older moves to the newer; so the most asked for stay, and no eviction ever searches.
"""

from collections.abc import Mapping, Sequence

from feedback.metrics import Metric
from feedback.records import Response
from scoring.language import declared, detector
from scoring.reading import Found, Reading, Sentiment
from scoring.taxonomy import Matcher, Taxonomy, fold
from scoring.vader import vader

REMEMBERED = 4096
"""Texts at most, in both halves; with their findings some 5 MB."""
REMEMBERED_LENGTH = 400
"""Characters; longer texts are hardly ever said twice."""

_Findings = tuple[str, Sentiment | None, str, tuple[Found, ...], tuple[Found, ...]]
"""Of a text: language, sentiment, why there is none, themes, intents."""


class Reader:
    """Reads responses by the given taxonomies and metrics. One caller at a time: it remembers texts."""

    def __init__(self, taxonomies: Sequence[Taxonomy], metrics: Mapping[str, Metric]) -> None:
        self._matcher = Matcher(
            [node for taxonomy in taxonomies for node in taxonomy.themes],
            [node for taxonomy in taxonomies for node in taxonomy.intents],
        )
        self._metrics = metrics
        self._vader, self._detector = vader(), detector()
        self._newer: dict[tuple[str, str], _Findings] = {}
        self._older: dict[tuple[str, str], _Findings] = {}

    def read(self, response: Response) -> Reading:
        """Bands of its declared metrics; of its text the language, sentiment, themes and intents."""
        bands = {}
        for name, score in response.scores.items():
            metric = self._metrics.get(name)
            if metric is not None:
                bands[name] = metric.band(score)
        text = response.text
        if not text or text.isspace():
            return Reading(language=declared(response.language), unscored="no_text", bands=bands)
        language, sentiment, unscored, themes, intents = self._findings(text, response.language)
        return Reading(
            language=language, sentiment=sentiment, unscored=unscored, themes=themes, intents=intents, bands=bands
        )

    def _findings(self, text: str, language: str) -> _Findings:
        if len(text) > REMEMBERED_LENGTH:
            return self._look(text, language)
        key = (text, language)
        known = self._newer.get(key)
        if known is not None:
            return known
        findings = self._older.get(key) or self._look(text, language)
        if len(self._newer) >= REMEMBERED // 2:
            self._older, self._newer = self._newer, {}
        self._newer[key] = findings
        return findings

    def _look(self, text: str, language: str) -> _Findings:
        folded = fold(text)
        # Themes are looked for whatever the language: a loan word or a name may still show one.
        themes, intents = self._matcher.find_both(text, folded)
        spoken = declared(language) or self._detector.detect(folded)
        if spoken == "en":
            return spoken, self._vader.score(text), "", themes, intents
        return spoken, None, f"language_{spoken or 'unknown'}", themes, intents
