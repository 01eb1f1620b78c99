"""What a team declares about its notices: how they are grouped, when nobody is to be told, and how many are enough.

Values only, and the one question of local time that they raise. What comes of a notice under a policy is decided in
`cases/noise.py`; the YAML is read by `parse_noise.py`.
"""

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import msgspec

from feedback.instants import Instant, as_datetime, instant

GROUPED_BY = ("rule", "site", "theme", "type")
"""What a notice may be grouped by: the rule and the type of its case, and where and what it is about."""


class Grouping(msgspec.Struct, frozen=True, kw_only=True):
    """Notices to one person that are alike are told together."""

    by: tuple[str, ...] = ()
    """Of `GROUPED_BY`; empty: all notices to one person are one group."""
    wait_s: int = 0
    """How long the first of a group waits for others; 0 tells it at once."""
    interval_s: int
    """The least between two messages about one group."""


class Quiet(msgspec.Struct, frozen=True, kw_only=True):
    """Hours that recur in which nobody is told; local time of *zone*, half-open [start, end)."""

    name: str
    zone: str
    days: frozenset[int]
    """Weekdays on which it begins, Monday 0."""
    start_s: int
    end_s: int
    """Seconds since local midnight; an end that is not after the start lies on the next day."""


class Cap(msgspec.Struct, frozen=True, kw_only=True):
    """At most so many messages in any span of that length, for each rule or each receiver."""

    per: str
    """`rule` or `receiver`."""
    most: int
    within_s: int


class Inhibition(msgspec.Struct, frozen=True, kw_only=True):
    """While a case of one rule is open, notices of others wait: an outage mutes its symptoms.

    A case that is about one site mutes them there only; one that is about none mutes them everywhere.
    """

    rule: str
    mutes: tuple[str, ...]


class NoisePolicy(msgspec.Struct, frozen=True, kw_only=True):
    """All that one set says of its notices. One that says nothing lets everything through."""

    group: Grouping | None = None
    quiet: tuple[Quiet, ...] = ()
    caps: tuple[Cap, ...] = ()
    inhibitions: tuple[Inhibition, ...] = ()


def quiet_until(quiet: Quiet, at: Instant) -> Instant | None:
    """The end of the quiet hours in which *at* lies; None outside them. A clock change moves neither local end."""
    zone = ZoneInfo(quiet.zone)
    today = as_datetime(at).astimezone(zone).date()
    for began in (today - timedelta(days=1), today):
        if began.weekday() not in quiet.days:
            continue
        midnight = datetime(began.year, began.month, began.day)  # noqa: DTZ001 (wall time; the zone comes last)
        length_days = 0 if quiet.end_s > quiet.start_s else 1
        start = (midnight + timedelta(seconds=quiet.start_s)).replace(tzinfo=zone)
        end = (midnight + timedelta(days=length_days, seconds=quiet.end_s)).replace(tzinfo=zone)
        if instant(start) <= at < instant(end):
            return instant(end)
    return None
