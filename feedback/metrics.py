"""What a score means: the scales we know, the bands on them, and those that settings declare besides.

A *metric* is a named question with a scale (`nps`, `csat`, `ces`, `stars`); a *band* is the part of the
scale that people act on (`detractor`). Pure values; nothing here reads a file.
"""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType

import msgspec


class Direction(StrEnum):
    HIGHER_IS_BETTER = "higher_is_better"
    LOWER_IS_BETTER = "lower_is_better"


class Metric(msgspec.Struct, frozen=True, kw_only=True):
    """One scale. Bounds are inclusive; `bands` are (name, highest score in it), ascending."""

    name: str
    low: float
    high: float
    direction: Direction = Direction.HIGHER_IS_BETTER
    bands: tuple[tuple[str, float], ...]

    def holds(self, score: float) -> bool:
        """Whether *score* lies on this scale."""
        return self.low <= score <= self.high

    def band(self, score: float) -> str:
        """The band of a *score* that lies on this scale; between two bands the lower bound decides."""
        for name, top in self.bands:
            if score <= top:
                return name
        return self.bands[-1][0]


def thirds(name: str, low: float, high: float, direction: Direction) -> Metric:
    """A declared metric with no bands of its own: the scale in thirds, `bad`, `middling`, `good`."""
    step = (high - low) / 3
    names = ("bad", "middling", "good")
    if direction is Direction.LOWER_IS_BETTER:
        names = ("good", "middling", "bad")
    tops = (low + step, low + 2 * step, high)
    return Metric(name=name, low=low, high=high, direction=direction, bands=tuple(zip(names, tops, strict=True)))


STANDARD: Mapping[str, Metric] = MappingProxyType(
    {
        # Reichheld, "The One Number You Need to Grow" (2003): 0-6, 7-8, 9-10.
        "nps": Metric(name="nps", low=0, high=10, bands=(("detractor", 6), ("passive", 8), ("promoter", 10))),
        "csat": Metric(name="csat", low=1, high=5, bands=(("dissatisfied", 2), ("neutral", 3), ("satisfied", 5))),
        # CES 2.0 (CEB, 2013): 1 "strongly disagree" to 7 "strongly agree" that it was made easy.
        "ces": Metric(name="ces", low=1, high=7, bands=(("hard", 3), ("neutral", 4), ("easy", 7))),
        "stars": Metric(name="stars", low=1, high=5, bands=(("low", 2), ("middling", 3), ("high", 5))),
    }
)
