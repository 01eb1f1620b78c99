"""What scoring found in one response. Values only; `reader.py` makes them."""

import msgspec


class Sentiment(msgspec.Struct, frozen=True):
    """VADER's four numbers: `compound` -1 to 1, the others shares of the text, 0 to 1.

    Source: Hutto & Gilbert, ICWSM 2014; `label` uses their thresholds of 0.05 either side of zero.
    """

    compound: float
    positive: float
    neutral: float
    negative: float

    @property
    def label(self) -> str:
        if self.compound >= 0.05:
            return "positive"
        return "negative" if self.compound <= -0.05 else "neutral"


class Found(msgspec.Struct, frozen=True):
    """A theme or an intent, and the words of the text that showed it."""

    path: str
    """`theme`, `theme/sub-theme` or `theme/sub-theme/topic`; for an intent its name."""
    phrase: str
    """As it stands in the text, case and all."""


class Suggested(msgspec.Struct, frozen=True):
    """A theme that a text is likely to be about, though no phrase of the taxonomy shows it."""

    path: str
    sure: float
    """How often so strong a suggestion was right, on texts not yet learned: 0 to 1."""


class Reading(msgspec.Struct, frozen=True, kw_only=True):
    """One response, read."""

    language: str = ""
    """ISO 639-1, declared or detected; empty when there is nothing to tell it by."""
    sentiment: Sentiment | None = None
    unscored: str = ""
    """Why there is no sentiment: `no_text`, `language_fr` …; empty when there is one."""
    themes: tuple[Found, ...] = ()
    """Deepest paths only, each once, in order of their first appearance."""
    intents: tuple[Found, ...] = ()
    bands: dict[str, str] = {}
    """Metric to band, for each score of a declared metric."""
    risk: float | None = None
    """How likely it is a negative one, 0 to 1; None where nothing can tell, or where nobody asked."""
    risk_words: tuple[str, ...] = ()
    """The words that weighed most in the risk, the heaviest first."""
    suggested: tuple[Suggested, ...] = ()
    """Themes that no phrase showed, by what was learned; the surest first."""
    scored_by: str = ""
    """Version of the models that the four above are from; `vader` before there is one, empty when not asked."""
