"""What a label is worth: which scores teach that a text was a negative one, and how many labels one source may give.

Pure: the time of a label is passed in. `flows/learning.py` asks; what is taught is in `learned.py`.
"""

from collections.abc import Mapping

import msgspec

from feedback.instants import Instant
from feedback.metrics import Direction, Metric
from feedback.records import Response

SOURCES = 20_000
"""Buckets at most; past them the one asked least recently is forgotten."""


class Limit(msgspec.Struct, frozen=True):
    """So many labels at once, and so many more each hour."""

    burst: float
    hourly: float


LIMITS: Mapping[str, Limit] = {
    "customer": Limit(4, 0.5),
    "person": Limit(60, 30),
    "source": Limit(20_000, 20_000),
}
"""By kind: who said it, who corrected it, and the connector it came by. One customer's week of anger, or one login
that corrects all night, is not what a thousand others meant."""


def label_of(response: Response, metrics: Mapping[str, Metric]) -> bool | None:
    """Whether its scores say it is a negative one: any in the worst band of its scale; None without one."""
    said = [
        metric.band(score) == worst_band(metric)
        for name, score in response.scores.items()
        if (metric := metrics.get(name)) is not None
    ]
    return any(said) if said else None


def worst_band(metric: Metric) -> str:
    return metric.bands[0 if metric.direction is Direction.HIGHER_IS_BETTER else -1][0]


class Allowance:
    """Counts the labels of each source against `LIMITS`, in bounded memory."""

    def __init__(self, limits: Mapping[str, Limit] = LIMITS) -> None:
        self._limits = limits
        self._buckets: dict[tuple[str, str], tuple[float, Instant]] = {}
        """What is left, and when that was so."""
        self.limited = dict.fromkeys(limits, 0)
        """Labels that were not taken because a source of that kind had given enough, ever."""

    def take(self, sources: Mapping[str, str], at: Instant) -> bool:
        """Whether a label of all these *sources* (kind to name) may be learned; it counts for each only if so."""
        left = {}
        for kind, name in sources.items():
            limit = self._limits[kind]
            had, when = self._buckets.pop((kind, name), (limit.burst, at))
            now = max(at, when)
            left[kind, name] = min(limit.burst, had + (now - when) / 3600 * limit.hourly), now
        allowed = all(count >= 1 for count, _ in left.values())
        for (kind, _), (count, _) in left.items():
            self.limited[kind] += count < 1
        for key, (count, now) in left.items():
            if len(self._buckets) >= SOURCES:
                del self._buckets[next(iter(self._buckets))]
            self._buckets[key] = count - allowed, now
        return allowed
