"""Time as the engine counts it: whole seconds since 1970-01-01T00:00:00Z.

An `Instant` is an int, so it can be neither naive nor in the wrong zone, compares fast, and packs
small. Local time exists only in `cases/calendars.py`; text only at the edges, through this module.
"""

import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import NewType

Instant = NewType("Instant", int)
"""Whole seconds since the epoch, UTC."""

EARLIEST = Instant(0)
LATEST = Instant(253_402_300_799)  # 9999-12-31T23:59:59Z, the last one RFC 3339 can write

_RFC3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(?:\.\d{1,12})?(?:[Zz]|[+-]\d\d:\d\d)", re.ASCII)


@lru_cache(maxsize=4096)  # a history's record is placed by its time, and decoded soon after: 2.6 us becomes 0.05
def parse_instant(text: str) -> Instant:
    """The instant that an RFC 3339 *text* names, its fraction of a second dropped.

    Raises ValueError saying what is wrong: no offset, no such date, before 1970.
    """
    if not _RFC3339.fullmatch(text):
        try:
            naive = datetime.fromisoformat(text).tzinfo is None
        except ValueError:
            naive = False
        if naive:
            raise ValueError(f"{text!r} has no offset from UTC; write it like 2026-11-03T21:15:00+00:00")
        raise ValueError(f"{text[:40]!r} is not an RFC 3339 time; write it like 2026-11-03T21:15:00+00:00")
    # A leap second has no place in a POSIX clock: it is taken as the second before it.
    if text[17:19] == "60":
        text = text[:17] + "59" + text[19:]
    at = datetime.fromisoformat(text.upper().replace(" ", "T"))
    return instant(at)


def instant(at: datetime) -> Instant:
    """*at* (aware) as an Instant; raises ValueError when naive or outside 1970 to 9999."""
    if at.tzinfo is None:
        raise ValueError("a naive datetime does not name an instant")
    seconds = int(at.timestamp() // 1)
    if not EARLIEST <= seconds <= LATEST:
        raise ValueError(f"{at.isoformat()} is outside 1970 to 9999")
    return Instant(seconds)


def as_datetime(at: Instant) -> datetime:
    """*at* as an aware UTC datetime."""
    return datetime.fromtimestamp(at, UTC)


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@lru_cache(maxsize=4096)  # one step writes the same few instants many times: 1.4 us becomes 0.05
def rfc3339(at: Instant) -> str:
    """*at* as `2026-11-03T21:15:00Z`."""
    return (_EPOCH + timedelta(seconds=at)).strftime("%Y-%m-%dT%H:%M:%SZ")


_SPAN = re.compile(r"(\d+(?:\.\d+)?)\s*(s|m|h|d|w)", re.ASCII)
_UNIT_S = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}


def parse_span(text: str) -> int:
    """Seconds in a plain elapsed span such as `45s`, `30m`, `24h`, `1h 30m`, `2d`.

    A day here is 24 elapsed hours; working days are a calendar's business. Raises ValueError.
    """
    compact = text.strip()
    spans = _SPAN.findall(compact)
    if not spans or _SPAN.sub("", compact).strip():
        raise ValueError(f"{text!r} is not a span of time; write it like 30m, 24h or 1h 30m")
    seconds = sum(float(number) * _UNIT_S[unit] for number, unit in spans)
    if seconds != int(seconds) or seconds <= 0:
        raise ValueError(f"{text!r} must be a whole number of seconds above zero")
    return int(seconds)


def span_text(seconds: int) -> str:
    """*seconds* in words short enough for a table: `1d 4h`, `45s`. The two largest units only."""
    sign = "-" if seconds < 0 else ""
    left, parts = abs(seconds), []
    for unit in ("d", "h", "m", "s"):
        whole, left = divmod(left, _UNIT_S[unit])
        if whole:
            parts.append(f"{whole}{unit}")
    return sign + (" ".join(parts[:2]) or "0s")
