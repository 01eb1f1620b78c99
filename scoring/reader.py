"""The scorers put together: one response in, its `Reading` out.

A text that is read again (a survey's set phrases, a retry, a storm of the same message) costs a dict look-up:
the newest `REMEMBERED` short texts are kept with what was found in them.
"""

from collections.abc import Mapping, Sequence

from feedback.metrics import Metric
from feedback.records import Response
from scoring.language import FREQUENT, Detector, declared
from scoring.reading import Found, Reading, Sentiment
from scoring.taxonomy import Matcher, Taxonomy, fold
from scoring.vader import analyzer, sentiment

REMEMBERED = 4096
REMEMBERED_LENGTH = 400
"""Longer texts are hardly ever said twice."""

_Text = tuple[str, Sentiment | None, str, tuple[Found, ...], tuple[Found, ...]]


class Reader:
    """Reads responses by the given taxonomies and metrics."""

    def __init__(self, taxonomies: Sequence[Taxonomy], metrics: Mapping[str, Metric]) -> None:
        self._themes = Matcher(node for taxonomy in taxonomies for node in taxonomy.themes)
        self._intents = Matcher(node for taxonomy in taxonomies for node in taxonomy.intents)
        self._metrics = metrics
        self._detector = Detector(FREQUENT | frozenset(word for word in analyzer().lexicon if word.isalpha()))
        self._read: dict[tuple[str, str], _Text] = {}

    def read(self, response: Response) -> Reading:
        """Bands of its declared metrics; of its text the language, sentiment, themes and intents."""
        bands = {}
        for name, score in response.scores.items():
            if (metric := self._metrics.get(name)) is not None:
                bands[name] = metric.band(score)
        text = response.text
        if not text:
            return Reading(language=declared(response.language), unscored="no_text", bands=bands)
        language, mood, unscored, themes, intents = self._text(text, response.language)
        return Reading(
            language=language, sentiment=mood, unscored=unscored, themes=themes, intents=intents, bands=bands
        )

    def _text(self, text: str, language: str) -> _Text:
        key = (text, language)
        found = self._read.get(key)
        if found is not None:
            return found
        found = self._look(text, language)
        if len(text) <= REMEMBERED_LENGTH:
            if len(self._read) >= REMEMBERED:
                del self._read[next(iter(self._read))]  # the oldest
            self._read[key] = found
        return found

    def _look(self, text: str, language: str) -> _Text:
        folded = fold(text)
        said = declared(language) or self._detector.detect(folded)
        themes, intents = self._themes.find(text, folded), self._intents.find(text, folded)
        if said == "en":
            return said, sentiment(text), "", themes, intents
        return said, None, f"language_{said or 'unknown'}", themes, intents
