"""What learning does, for Prometheus: lessons by what became of them, how good the models are, and what no
source may teach more of.
"""

from collections.abc import Iterable

from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from flows.learning import Learning


class LearningFigures(Collector):
    """Of one engine, since its start."""

    def __init__(self, learning: Learning) -> None:
        self._learning = learning

    def collect(self) -> Iterable[Metric]:
        lessons = CounterMetricFamily(
            "tocsin_lessons", "What the stream taught, by what became of it.", labels=["outcome"]
        )
        for outcome, count in self._learning.became.items():
            lessons.add_metric([outcome], count)
        yield lessons
        limited = CounterMetricFamily(
            "tocsin_labels_limited", "Labels not learned because one source had given enough, by its kind.",
            labels=["kind"],
        )  # fmt: skip
        for kind, count in self._learning.allowance.limited.items():
            limited.add_metric([kind], count)
        yield limited
        yield CounterMetricFamily(
            "tocsin_topics_passed_over", "Responses whose phrases were not counted, for want of room.",
            self._learning.passed_over,
        )  # fmt: skip
        quality = GaugeMetricFamily(
            "tocsin_risk_auc", "Area under the curve on recent labels, each judged before it was learned from.",
            labels=["programme", "language", "scorer"],
        )  # fmt: skip
        say = GaugeMetricFamily(
            "tocsin_risk_learned_weight", "What say the learned risk has beside VADER's; 0 where it is set aside.",
            labels=["programme", "language"],
        )  # fmt: skip
        for (programme, language), standing in self._learning.standings().items():
            quality.add_metric([programme, language, "learned"], standing.learned_auc)
            quality.add_metric([programme, language, "vader"], standing.vader_auc)
            say.add_metric([programme, language], standing.weight)
        yield quality
        yield say
        yield GaugeMetricFamily("tocsin_lessons_waiting", "Lessons not learned yet.", self._learning.waiting)
