"""What time it is for the engine: the wall clock, anchored to the boot clock, never going backwards.

A breach cannot be taken back, so a wall clock that jumps forward (a bad NTP answer, a resumed snapshot of a
virtual machine) must not fire a day of deadlines in one second. Small drift is followed; a jump of more than
`JUMP_S` against the boot clock holds the ticks until the wall clock comes back or somebody accepts it.
"""

import time
from collections.abc import Callable
from threading import Lock

from feedback.instants import Instant

JUMP_S = 5.0
SLEW = 0.1
"""Share of elapsed time by which drift is followed: 100 ms a second, far above what NTP slews by."""


def boot_seconds() -> float:
    """Seconds since boot, suspended time included, so that a laptop that slept did not "jump"."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class EngineClock:
    """Engine time. `wall` and `boot` give seconds; tests pass their own."""

    def __init__(self, wall: Callable[[], float] = time.time, boot: Callable[[], float] = boot_seconds) -> None:
        self._wall, self._boot = wall, boot
        self._lock = Lock()
        self._time, self._at_boot = wall(), boot()
        self.skew_s = 0.0
        """Wall clock minus engine time at the last look, seconds."""

    def now(self) -> float:
        """Unix seconds. Never less than before; follows the boot clock while the wall clock is in doubt."""
        with self._lock:
            boot = self._boot()
            elapsed = max(0.0, boot - self._at_boot)
            self._at_boot = boot
            engine = self._time + elapsed
            self.skew_s = self._wall() - engine
            if abs(self.skew_s) < JUMP_S:
                # At most SLEW of the time that passed, either way, so it cannot run backwards.
                engine += max(-elapsed * SLEW, min(elapsed * SLEW, self.skew_s))
            self._time = engine
            return engine

    def instant(self) -> Instant:
        """`now` in whole seconds."""
        return Instant(int(self.now()))

    @property
    def is_held(self) -> bool:
        """Whether the wall clock has run ahead of the boot clock, so that ticks must wait."""
        return self.skew_s >= JUMP_S

    @property
    def trouble(self) -> str:
        """What is wrong with the wall clock, in words; empty when it and engine time agree."""
        if self.is_held:
            return (
                f"the wall clock jumped {self.skew_s:.0f} s ahead and deadlines are held; set it right, or "
                'accept it with a control record {"kind":"control","do":"accept_time"} on an actions stream'
            )
        if self.skew_s <= -JUMP_S:
            return (
                f"the wall clock jumped {-self.skew_s:.0f} s back; deadlines go by the time since boot, and what is "
                "received by this machine's time is stamped too early; set it right"
            )
        return ""

    def accept(self) -> None:
        """Somebody says that the wall clock is right: engine time goes on from it, if that is forward."""
        with self._lock:
            self._time = max(self._time, self._wall())
            self._at_boot = self._boot()
            self.skew_s = 0.0
