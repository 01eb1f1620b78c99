"""How much one caller may do: token buckets, bounded in number. Pure: time is passed in."""

from collections import OrderedDict
from collections.abc import Hashable


class Rates:
    """A bucket for each caller: *rate* tokens a second flow in, *burst* fit; *callers* are remembered at most."""

    def __init__(self, rate: float, burst: float, callers: int = 10_000) -> None:
        self._rate, self._burst, self._callers = rate, burst, callers
        self._buckets: OrderedDict[Hashable, tuple[float, float]] = OrderedDict()

    def take(self, who: Hashable, tokens: float, now: float) -> float:
        """Take *tokens*; 0, or the seconds to wait, in which case nothing is taken.

        More than fits at all is let through when the bucket is full, and owed.
        """
        left, at = self._buckets.pop(who, (self._burst, now))
        left = min(self._burst, left + max(0.0, now - at) * self._rate)
        wanted = min(tokens, self._burst)
        taken = left >= wanted
        self._buckets[who] = (left - tokens if taken else left, now)
        if len(self._buckets) > self._callers:
            self._buckets.popitem(last=False)
        return 0.0 if taken else (wanted - left) / self._rate
