"""Spikes: a theme that people of one segment (a site, a product) suddenly name more often, or in a worse mood.

*How often* is a share: of the customers heard in the segment, those who name the theme, held against the share that is
usual in that hour of the week (`weeks.py`). More responses in all, nights and weekends change nothing in it. The
shares are summed up as Page's CUSUM does (Biometrika 41, 1954), once for a change by `times` and once for a sudden one:
each customer who names the theme adds the log of the change, each who was expected to takes some of it off again.
*What mood* is the score against the segment's own in such hours, watched by river's ADWIN (Bifet & Gavaldà 2007).
A customer counts once a day for a theme, and once among those who are heard.

Pure: one response at a time, in order, decides everything, so the same responses raise the same spikes at any time.
Here are the values, the settings and one sum; `segments.py` puts them to work.
"""

from collections.abc import Set as AbstractSet
from math import log

import msgspec

from feedback.instants import Instant

DAY_S = 86_400
ENOUGH = 14.0
"""Sum at which a share has spiked. By chance it comes about once in e^14 mentions, a million of them."""
CALM = 5.0
"""The same for its return to what was usual."""
SUDDEN = 2.5
"""A sudden change is one by so many times the change that is looked for."""
LEAST = 200
"""Customers heard in a segment before anything is said of it."""
ACCEPTED_S = 7 * DAY_S
"""A spike that lasts longer is what is usual now."""
NEWS_S = DAY_S
"""What came in longer after it was said is history: it is learned from, and raises nothing."""
HEARD, NAMED = 256, 128
"""Customers remembered of a segment and of a theme, so that nobody counts twice in a day; the last ones."""
TURN = 2
"""Mentions that are weighed together: two thirds of the work, for a spike that is found a mention later."""
SCORES, KEPT_SCORES = 256, 128
"""Scores of a theme, each the mean of a turn, at most, and what is left of them when they are so many."""
DELTA = 0.002
"""ADWIN's: how likely a change is seen where there is none."""
STRETCH = 1.4
"""The mean of a turn lies so much nearer to the usual score than one of its scores does."""
CLOCK = 4
"""Turns after which it looks."""
WORSE = 0.1
"""Of the scale from 0 to 1, by which a score must have fallen."""
SHOWN = 5
"""Responses named with a spike."""


class SpikeSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is watched; `spikes` in the settings."""

    watch: bool = True
    by: tuple[str, ...] = ("programme", "attributes.site")
    """What a segment is: `programme`, `channel`, `touchpoint`, `source`, `language`, or an attribute."""
    score: str = "sentiment"
    """Whose fall is watched: VADER's compound, or a declared metric."""
    times: float = 2.0
    """The change that is looked for."""
    learn_days: int = 14
    """Days in which a segment, and a theme that is new to the taxonomy, is only learned from."""
    segments: int = 256
    """Of all programmes, about; past some twice as many the one heard of least recently is forgotten, and counted."""
    themes: int = 40
    """Of one segment at most; one more is not watched, and counted."""

    def problem(self) -> str:
        """What is wrong with them; empty when nothing is."""
        plain = {"programme", "channel", "touchpoint", "source", "language"}
        for by in self.by:
            if by not in plain and not (by.startswith("attributes.") and len(by) > len("attributes.")):
                return f"by: {by[:60]!r}; expected {', '.join(sorted(plain))} or attributes.<name>"
        if not 1.2 <= self.times <= 10:
            return f"times is {self.times:g}; expected 1.2 to 10"
        if not 1 <= self.learn_days <= 90:
            return f"learn_days is {self.learn_days}; expected 1 to 90"
        if self.segments < 32 or not 1 <= self.themes <= 500:
            return f"segments is {self.segments} and themes {self.themes}; expected 32 or more, and 1 to 500"
        return ""


class Said(msgspec.Struct, frozen=True, array_like=True):
    """What one response says to the segments that it belongs to."""

    at: Instant
    """When it was said; never after it was received."""
    received_at: Instant
    who: int
    """Stands for the customer."""
    themes: tuple[str, ...]
    score: float | None
    """0 the worst to 1 the best; None without one."""
    source: str
    id: str
    taxonomy: AbstractSet[str] = frozenset()
    """Every theme that could have been found."""


class Spike(msgspec.Struct, frozen=True, kw_only=True):
    """Something changed."""

    theme: str
    measure: str
    """`volume` or `score`."""
    since: Instant
    at: Instant
    now: float
    """Share of the customers heard since then, or mean score since then."""
    usual: float
    """The same, as it is usual in such hours; or the mean score of before."""
    count: int
    """Customers who named the theme since then."""
    expected: float
    """How many would have been usual; 0 for a score."""
    responses: tuple[tuple[str, str], ...]
    """The last of them: source and id."""


class Run(msgspec.Struct, array_like=True):
    """A sum on its way to `ENOUGH`."""

    times: float
    sum: float = 0.0
    since: Instant = Instant(0)
    count: int = 0
    expected: float = 0.0
    heard: int = 0

    def take(self, expected: float, heard: int, count: int, since: Instant) -> None:
        """*count* mentions, the first at *since*, where *expected* were usual of the *heard*."""
        self.sum += count * log(self.times) - expected * (self.times - 1)
        if self.sum <= 0:
            self.clear()
            return
        if not self.count:
            self.since = since
        self.count += count
        self.expected += expected
        self.heard += heard

    @property
    def room(self) -> float:
        """How many mentions may be expected until the sum is nothing."""
        return self.sum / (self.times - 1)

    def clear(self) -> None:
        self.sum, self.since, self.count, self.expected, self.heard = 0.0, Instant(0), 0, 0.0, 0
