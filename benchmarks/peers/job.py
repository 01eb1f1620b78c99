"""The job that every peer does: what a record becomes. Knows nothing of any engine, nor of Tocsin.

A response is scored by vaderSentiment; one whose `nps` is in the detractors' band fires; those that fire are counted by
customer; an alert goes out for each.
"""

from typing import Any

from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer

DETRACTOR = 6
"""The highest `nps` that fires."""
ACKNOWLEDGE_WITHIN_S = 1800
"""The timer, where the peer has one by key."""

_analyzer = SentimentIntensityAnalyzer()


def scored(response: dict[str, Any]) -> dict[str, Any]:
    """*response* with its sentiment, -1 to 1."""
    return {**response, "sentiment": _analyzer.polarity_scores(response["text"])["compound"]}


def fires(response: dict[str, Any]) -> bool:
    return bool(response["scores"]["nps"] <= DETRACTOR)


def alert(response: dict[str, Any], count: int) -> dict[str, Any]:
    """What goes out: the *count*-th response of this customer that fired."""
    return {
        "response": response["id"],
        "customer": response["customer"],
        "sentiment": response["sentiment"],
        "count": count,
    }
