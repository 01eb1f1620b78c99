from connectors.endpoint_state import (
    DISABLED_AFTER_S,
    OPENS_AFTER,
    PROBE_S,
    WELL,
    EndpointState,
    note,
    opens_at,
    room,
)
from connectors.webhooks import Dead, Delivered, Disable, Retry

AT = 1_780_000_000.0
FAILED = Retry(at=AT + 1, reason="timeout")


def failed(times: int, state: EndpointState = WELL) -> EndpointState:
    for _ in range(times):
        state = note(state, FAILED, AT)
    return state


def test_a_few_failures_leave_the_pace_as_it_is() -> None:
    assert room(failed(OPENS_AFTER - 1), AT, 8, 3, 3) == 5


def test_an_endpoint_that_keeps_failing_is_probed_one_attempt_at_a_time() -> None:
    state = failed(OPENS_AFTER)

    assert room(state, AT, 8, 0, 0) == 0
    assert opens_at(state, AT) == AT + PROBE_S[0]
    assert room(state, AT + PROBE_S[0], 8, 0, 0) == 1
    assert room(state, AT + PROBE_S[0], 8, 0, 1) == 0


def test_probes_grow_rarer_up_to_a_minute() -> None:
    state, waits = failed(OPENS_AFTER), []
    for _ in range(8):
        now = state.probe_at
        state = note(state, FAILED, now)
        waits.append(state.probe_at - now)

    assert waits == [2, 5, 15, 30, 60, 60, 60, 60]


def test_attempts_that_were_under_way_together_do_not_put_off_the_first_probe() -> None:
    state = failed(OPENS_AFTER + 8)

    assert (state.failures, state.probe_at) == (OPENS_AFTER + 8, AT + PROBE_S[0])


def test_one_success_makes_it_well() -> None:
    assert note(failed(9), Delivered(), AT) == WELL


def test_a_message_at_fault_does_not_blame_the_endpoint() -> None:
    assert note(failed(2), Dead(reason="refused", blames_endpoint=False), AT) == WELL


def test_refusing_everything_is_failing() -> None:
    assert note(WELL, Dead(reason="refused", detail="http_401"), AT).failures == 1


def test_a_pause_the_receiver_asked_for_holds_all_events() -> None:
    state = note(WELL, Retry(at=AT + 30, reason="http_429", pause_until=AT + 30), AT)

    assert room(state, AT + 29.9, 8, 0, 0) == 0
    assert room(state, AT + 30, 8, 0, 0) == 8
    assert opens_at(state, AT) == AT + 30


def test_gone_disables_until_somebody_enables() -> None:
    state = note(WELL, Disable(reason="gone"), AT)

    assert (state.is_disabled, state.reason, state.disabled_at) == (True, "gone", AT)
    assert room(state, AT + 10**9, 8, 0, 0) == 0
    assert note(state, Delivered(), AT + 1) == state


def test_five_days_of_nothing_but_failures_disable() -> None:
    state = failed(OPENS_AFTER + 3)

    assert not note(state, FAILED, AT + DISABLED_AFTER_S - 1).is_disabled
    assert note(state, FAILED, AT + DISABLED_AFTER_S).is_disabled


def test_two_failures_days_apart_do_not_disable() -> None:
    assert not note(failed(1), FAILED, AT + 2 * DISABLED_AFTER_S).is_disabled
