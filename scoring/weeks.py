"""Hours of the week, and what is usual in each of them: counts that fade with age, for `spikes.py`.

An hour is an instant divided by 3,600; its slot is one of the 168 of a week, in UTC. A week has eight parts besides
(night, morning, afternoon and evening, of working days and of weekends): where an hour has been seen too rarely to
say anything of its own, its part of the week speaks for it, and where that has not either, all hours together.
"""

from array import array

HOUR_S = 3600
SLOTS = 168
PARTS = 8
HALF_LIFE = 28 * 24
"""Hours after which what was counted weighs half: a season changes what is usual, one bad week does not."""
_REBASE = 20 * HALF_LIFE
"""Hours after which the weights, which grow for what is new instead of shrinking for what is old, begin again at 1."""
_THURSDAY = 3
"""The first hour of 1970 was that of a Thursday; Monday is 0."""


def slot_of(hour: int) -> int:
    """The hour of its week, 0 to 167; 0 begins on a Thursday."""
    return hour % SLOTS


def part_of(slot: int) -> int:
    """The part of the week that a slot lies in, 0 to 7; 4 and more are those of Saturday and Sunday."""
    weekend = (slot // 24 + _THURSDAY) % 7 >= 5
    return slot % 24 // 6 + (4 if weekend else 0)


PART_OF = tuple(part_of(slot) for slot in range(SLOTS))


class Fading:
    """The weight of what is counted in an hour: 1 at its base, twice that a half-life later."""

    def __init__(self, base: int) -> None:
        self.base = base

    def weight(self, hour: int) -> float:
        return float(2.0 ** ((hour - self.base) / HALF_LIFE))

    def rebased(self, hour: int) -> float:
        """What all that was counted is to be multiplied by, now that it is *hour*: 1 but once in a year and a half."""
        if hour - self.base < _REBASE:
            return 1.0
        scale = 1.0 / self.weight(hour)
        self.base = hour
        return scale


class Usual:
    """Counts by hour of the week, part of the week, and in all, each weighed by `Fading`."""

    __slots__ = ("all", "parts", "slots")

    def __init__(self, slots: bytes = b"", parts: bytes = b"", all_: float = 0.0) -> None:
        self.slots = array("f", slots or bytes(4 * SLOTS))
        self.parts = array("d", parts or bytes(8 * PARTS))
        self.all = all_

    def add(self, hour: int, weighed: float) -> None:
        slot = hour % SLOTS
        self.slots[slot] += weighed
        self.parts[PART_OF[slot]] += weighed
        self.all += weighed

    def scale(self, by: float) -> None:
        for counts in (self.slots, self.parts):
            for place, count in enumerate(counts):
                counts[place] = count * by
        self.all *= by

    def saved(self) -> tuple[bytes, bytes, float]:
        return self.slots.tobytes(), self.parts.tobytes(), self.all


_DRAW = 5.0
"""What is usual in all hours stands beside an hour's own as so many mentions would."""


def share(of: Usual, among: Usual, hour: int, weight: float) -> float:
    """The share that *of* usually has of *among* in that hour of the week; never 0. *weight*: of a count of now."""
    slot = hour % SLOTS
    part = PART_OF[slot]
    overall = (of.all / weight + 0.5) / (among.all / weight + 1.0)
    in_part = (of.parts[part] / weight + _DRAW) / (among.parts[part] / weight + _DRAW / overall)
    return (of.slots[slot] / weight + _DRAW) / (among.slots[slot] / weight + _DRAW / in_part)
