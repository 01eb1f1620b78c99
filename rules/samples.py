"""A made-up response that has everything a set declares, on which every condition is tried when it is loaded."""

from collections.abc import Mapping
from typing import Any

from feedback.instants import Instant
from feedback.metrics import Metric
from feedback.records import Response, Scalar
from rules.facts import Facts, Vocabulary
from scoring.reading import Found, Reading, Sentiment
from scoring.taxonomy import Matcher

_OF_KIND: Mapping[str, Scalar] = {"number": 1.0, "text": "sample", "flag": True}


def full_facts(words: Vocabulary, patterns: Mapping[str, Any], metrics: Mapping[str, Metric]) -> Facts:
    """Facts in which every declared name is present, with a value of its kind."""
    attributes = {
        path.removeprefix("attributes."): _OF_KIND[kind]
        for path, kind in words.kinds.items()
        if path.startswith("attributes.")
    }
    response = Response(
        programme="sample",
        source="sample",
        id="sample",
        customer="sample",
        occurred_at=Instant(0),
        received_at=Instant(0),
        arrived=0.0,
        channel="sample",
        touchpoint="sample",
        language="en",
        text="sample text",
        scores={name: metric.low for name, metric in metrics.items()},
        attributes=attributes,
    )
    reading = Reading(
        language="en",
        sentiment=Sentiment(0.0, 0.0, 1.0, 0.0),
        themes=(Found("sample", "sample"),),
        intents=(Found("sample", "sample"),),
        bands={name: metric.band(metric.low) for name, metric in metrics.items()},
        risk=0.5,
        scored_by="sample",
    )
    return Facts(response, reading, patterns, Matcher(()))
