"""The mood in which a theme is named: scores of its turns against the segment's own, watched by river's ADWIN.

The detector is never stored: it is fed again from the scores that are kept, so what it knows always follows from them.
What a fall is worth saying for is in `spikes.py`; who asks is `segments.py`.
"""

from array import array

from river.drift import ADWIN

from scoring.spikes import CLOCK, DELTA, KEPT_SCORES, SCORES, STRETCH


class Mood:
    """Scores of one theme in one segment, the last ones, and the hours in which they came."""

    __slots__ = ("_detector", "hours", "scores")

    def __init__(self, scores: bytes = b"", hours: bytes = b"") -> None:
        self.scores, self.hours = bytearray(scores), array("I", hours)
        self._detector: ADWIN | None = None

    def take(self, hour: int, off: float) -> bool:
        """Take one more score, by how much it is off the segment's; True where there was a change."""
        if self._detector is None:
            self._detector = _fed(self.scores)
        self.scores.append(round(bounded(0.5 + STRETCH * off) * 255))
        self.hours.append(hour)
        self._detector.update(self.scores[-1] / 255)  # type: ignore[no-untyped-call]  # river has no types here
        if len(self.scores) > SCORES:
            self._keep(KEPT_SCORES)
            return False
        return bool(self._detector.drift_detected)

    def turned(self) -> tuple[float, float, int, int]:
        """After a change: by how much the scores before it and those since were off, and since which hour, how many.

        Those of before are forgotten.
        """
        assert self._detector is not None
        recent = max(1, min(int(self._detector.width), len(self.scores) - 1))
        before, after = self.scores[:-recent], self.scores[-recent:]
        was, is_now = ((sum(part) / len(part) / 255 - 0.5) / STRETCH for part in (before, after))
        since = self.hours[-recent]
        self._keep(recent)
        return was, is_now, since, recent

    def _keep(self, count: int) -> None:
        del self.scores[:-count], self.hours[:-count]
        self._detector = _fed(self.scores)


def bounded(score: float) -> float:
    """*score* on the scale from 0 to 1."""
    return min(1.0, max(0.0, score))


def _fed(scores: bytes | bytearray) -> ADWIN:
    """The detector as it stands after these."""
    detector = ADWIN(delta=DELTA, clock=CLOCK)  # type: ignore[no-untyped-call]  # river has no types here
    for score in scores:
        detector.update(score / 255)  # type: ignore[no-untyped-call]
    return detector
