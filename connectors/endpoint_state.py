"""What we make of a receiver from its answers: well, failing and only probed, asked to pause, disabled.

Pure values; `flows/deliveries.py` keeps one for each endpoint and writes it to Redis for people to see.
"""

import msgspec

from connectors.webhooks import Dead, Delivered, Disable, Outcome, Retry

OPENS_AFTER = 5
"""This many failures in a row, and the endpoint is probed, one attempt at a time."""
PROBE_S = (1.0, 2.0, 5.0, 15.0, 30.0, 60.0)
"""Wait before a probe; the last repeats."""
DISABLED_AFTER_S = 5 * 86_400.0
"""Nothing but failures for this long, and the endpoint is disabled (Svix does the same)."""


class EndpointState(msgspec.Struct, frozen=True, kw_only=True):
    """Instants are Unix seconds; 0 means none."""

    failures: int = 0
    """In a row."""
    failing_since: float = 0.0
    reason: str = ""
    """Of the last failure."""
    probes: int = 0
    """Probes that failed since. Attempts that were under way when the probing began are none: they tell of one and the
    same outage, which eight at once made to look like eight."""
    probe_at: float = 0.0
    paused_until: float = 0.0
    """The receiver asked for it (`Retry-After`)."""
    disabled_at: float = 0.0
    """Nothing is sent any more until somebody enables it; what comes in waits, and expires."""

    @property
    def is_probed(self) -> bool:
        return self.failures >= OPENS_AFTER

    @property
    def is_disabled(self) -> bool:
        return self.disabled_at > 0


WELL = EndpointState()


def note(state: EndpointState, outcome: Outcome, now: float) -> EndpointState:
    """*state* after an attempt that ended in *outcome* at *now*."""
    match outcome:
        case Delivered():
            return state if state.is_disabled else WELL
        case Dead(blames_endpoint=False):
            return state if state.is_disabled else WELL
        case Disable(reason=reason):
            return msgspec.structs.replace(
                state, disabled_at=state.disabled_at or now, reason=reason, failures=state.failures + 1
            )
        case Retry(reason=reason, pause_until=pause):
            return _failed(state, reason, pause, now)
        case Dead(detail=detail):
            return _failed(state, detail, 0.0, now)


def _failed(state: EndpointState, reason: str, pause_until: float, now: float) -> EndpointState:
    failures = state.failures + 1
    since = state.failing_since or now
    probes, probe_at = state.probes, state.probe_at
    if failures >= OPENS_AFTER and now >= probe_at:
        probes += state.is_probed
        probe_at = now + PROBE_S[min(probes, len(PROBE_S) - 1)]
    given_up = failures >= OPENS_AFTER and now - since >= DISABLED_AFTER_S
    return EndpointState(
        failures=failures,
        failing_since=since,
        reason=reason,
        probes=probes,
        probe_at=probe_at,
        paused_until=max(state.paused_until, pause_until),
        disabled_at=state.disabled_at or (now if given_up else 0.0),
    )


def room(state: EndpointState, now: float, concurrency: int, flying: int, flying_anywhere: int) -> int:
    """How many more attempts may start now, with *flying* under way here and *flying_anywhere* in all programmes."""
    if state.is_disabled or now < state.paused_until:
        return 0
    if state.is_probed:
        return 0 if flying_anywhere or now < state.probe_at else 1
    return max(concurrency - flying, 0)


def opens_at(state: EndpointState, now: float) -> float:
    """When `room` may change by itself; *now* when nothing but the attempts under way limits it."""
    if state.is_disabled:
        return float("inf")
    return max(now, state.paused_until, state.probe_at if state.is_probed else 0.0)
