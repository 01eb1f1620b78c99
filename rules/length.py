"""How long a promise is: `24 hours`, `10 working days`, `8 weeks`, `6 months`, `4 working hours`.

Elapsed spans are plain seconds and need no calendar. Everything else is counted over local days or hours of a
calendar (`cases/counting.py`), and is never N times 24 hours.
"""

import re
from enum import StrEnum

import msgspec


class Unit(StrEnum):
    SECONDS = "s"
    """Elapsed time, whatever the clocks on the wall do."""
    WORKING_SECONDS = "ws"
    """Elapsed time inside the hours of a calendar."""
    DAYS = "d"
    """Local dates, all of them; weeks are seven."""
    WORKING_DAYS = "wd"
    """Local dates that the calendar counts."""
    MONTHS = "mo"
    """Corresponding dates: a month from the 31st ends on the last day of a shorter month."""


class Length(msgspec.Struct, frozen=True, array_like=True):
    """One length with all that its counting needs. Stored inside clocks: the order of fields is a schema."""

    n: int
    unit: Unit
    calendar: str = ""
    """Key (`name@hash`) of the calendar it counts on; empty for elapsed time."""
    same_day: bool = False
    """Whether the day of the start is day one; else it is day zero, and day one the next that counts."""
    ends_s: int = 0
    """Local time of the last day, seconds from midnight, after which it is late (close of business); 0 for its end."""
    rolls: str = ""
    """`working`: a last day that does not count moves to the next that does. `bank`: off a bank holiday only."""
    cutoff_s: int = 0
    """A start after this local time, or on a day that does not count, is taken as the next day that counts; 0 never."""

    @property
    def in_words(self) -> str:
        """As it was written: `10 working days`."""
        if self.unit in (Unit.SECONDS, Unit.WORKING_SECONDS):
            kind = "working " if self.unit is Unit.WORKING_SECONDS else ""
            for size, word in ((3600, "hour"), (60, "minute"), (1, "second")):
                if self.n % size == 0:
                    return _many(self.n // size, kind + word)
        if self.unit is Unit.DAYS and self.n % 7 == 0:
            return _many(self.n // 7, "week")
        words = {Unit.DAYS: "day", Unit.WORKING_DAYS: "working day", Unit.MONTHS: "month"}
        return _many(self.n, words[self.unit])


def _many(n: int, word: str) -> str:
    return f"{n} {word}" if n == 1 else f"{n} {word}s"


_WORDS: dict[str, tuple[int, Unit]] = {
    "second": (1, Unit.SECONDS), "minute": (60, Unit.SECONDS), "hour": (3600, Unit.SECONDS),
    "working minute": (60, Unit.WORKING_SECONDS), "working hour": (3600, Unit.WORKING_SECONDS),
    "day": (1, Unit.DAYS), "calendar day": (1, Unit.DAYS), "week": (7, Unit.DAYS),
    "working day": (1, Unit.WORKING_DAYS), "business day": (1, Unit.WORKING_DAYS),
    "month": (1, Unit.MONTHS),
}  # fmt: skip
_LENGTH = re.compile(r"(\d{1,6})\s+([a-z ]+?)s?", re.ASCII)
LONGEST = {Unit.DAYS: 3660, Unit.WORKING_DAYS: 2600, Unit.MONTHS: 120}


def parse_length(text: str) -> Length:
    """The length that *text* names, without a calendar yet. Raises ValueError naming the units there are."""
    found = _LENGTH.fullmatch(text.strip())
    word = found[2].strip() if found else ""
    if found is None or word not in _WORDS or int(found[1]) == 0:
        raise ValueError(f"{text!r} is not a length; write it like 24 hours, 10 working days, 8 weeks or 6 months")
    size, unit = _WORDS[word]
    n = int(found[1]) * size
    if n > LONGEST.get(unit, 10 * 366 * 86_400):
        raise ValueError(f"{text!r} is longer than ten years")
    return Length(n, unit)


def estimate_s(length: Length) -> int:
    """About how long that is in seconds: enough to tell a longer from a shorter, never to set a deadline."""
    day = {Unit.DAYS: 86_400, Unit.WORKING_DAYS: 86_400 * 7 // 5, Unit.MONTHS: 86_400 * 30}
    return length.n * day.get(length.unit, 3 if length.unit is Unit.WORKING_SECONDS else 1)
