"""Sentiment of English text by VADER (Hutto & Gilbert, ICWSM 2014), as the vaderSentiment package computes it."""

from functools import lru_cache

from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer

from scoring.reading import Sentiment


@lru_cache(maxsize=1)
def analyzer() -> SentimentIntensityAnalyzer:
    """The package's analyser; reading its lexicon takes 60 ms, so there is one."""
    return SentimentIntensityAnalyzer()


def sentiment(text: str) -> Sentiment:
    """The four numbers of *text*."""
    scores = analyzer().polarity_scores(text)
    return Sentiment(scores["compound"], scores["pos"], scores["neu"], scores["neg"])
