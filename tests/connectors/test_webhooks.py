import base64
from email.utils import format_datetime
from typing import Any

import msgspec
import pytest
from cloudevents.core.bindings.http import HTTPMessage, from_structured_event
from cloudevents.core.formats.json import JSONFormat
from hypothesis import given
from hypothesis import strategies as st

from cases.events import Event, encode
from connectors.signing import Secret, verify
from connectors.webhooks import (
    RETRY_AFTER_MAX_S,
    SCHEDULE_S,
    Answered,
    Dead,
    Delivered,
    Disable,
    Endpoint,
    Failed,
    Outcome,
    Retry,
    after,
    body,
    jitter,
    matching,
    request_headers,
    retry_after_s,
)
from feedback.ids import CaseId, EventId
from feedback.instants import Instant, as_datetime

SECRET = "whsec_" + base64.b64encode(b"s" * 32).decode()
AT = 1_780_000_000.0


def endpoint(**changes: Any) -> Endpoint:
    return Endpoint(**{"name": "crm", "url": "https://crm.example.com/hook", "secrets": (Secret(SECRET),)} | changes)


def event() -> bytes:
    return encode(
        Event(
            id=EventId("e-1"),
            type="case.opened",
            programme="default",
            time=Instant(int(AT)),
            case=CaseId("c-1-a"),
            sequence=1,
            data={"rule": "detractor"},
        )
    )


def answered(status: int, attempt: int = 1, retry_after: str = "") -> Outcome:
    return after(Answered(status, retry_after), event_id="e-1", attempt=attempt, now=AT)


# -- answers ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
def test_2xx_is_delivered(status: int) -> None:
    assert answered(status) == Delivered()


def test_410_disables_the_endpoint() -> None:
    assert answered(410) == Disable(reason="gone")


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504, 301, 302, 307, 101, 600])
def test_what_may_pass_is_tried_again(status: int) -> None:
    assert isinstance(answered(status), Retry)


@pytest.mark.parametrize("status", [400, 413, 422])
def test_a_message_that_is_refused_is_dead_at_once_and_does_not_blame_the_endpoint(status: int) -> None:
    assert answered(status) == Dead(reason="refused", detail=f"http_{status}", blames_endpoint=False)


@pytest.mark.parametrize("status", [401, 403, 404, 405, 418])
def test_an_endpoint_that_refuses_everything_is_blamed(status: int) -> None:
    assert answered(status) == Dead(reason="refused", detail=f"http_{status}", blames_endpoint=True)


@pytest.mark.parametrize("attempt", range(1, len(SCHEDULE_S)))
def test_no_answer_is_tried_again_after_the_wait_of_the_schedule(attempt: int) -> None:
    found = after(Failed("timeout"), event_id="e-1", attempt=attempt, now=AT)

    assert isinstance(found, Retry)
    assert 0.8 * SCHEDULE_S[attempt] <= found.at - AT <= 1.2 * SCHEDULE_S[attempt]
    assert found.reason == "timeout"
    assert found.pause_until == 0


def test_after_the_last_attempt_the_event_is_dead() -> None:
    assert answered(500, attempt=len(SCHEDULE_S)) == Dead(reason="exhausted", detail="http_500")


@given(id_=st.text(min_size=1, max_size=30), attempt=st.integers(1, 20))
def test_jitter_is_a_fifth_either_way_and_can_be_foretold(id_: str, attempt: int) -> None:
    assert 0.8 <= jitter(id_, attempt) <= 1.2
    assert jitter(id_, attempt) == jitter(id_, attempt)


def test_events_that_failed_together_do_not_come_back_together() -> None:
    assert len({round(jitter(f"e-{n}", 3), 3) for n in range(100)}) > 80


def test_retry_after_in_seconds_is_honoured_for_all_events() -> None:
    assert answered(429, retry_after="90") == Retry(at=AT + 90, reason="http_429", pause_until=AT + 90)


def test_retry_after_shorter_than_the_schedule_does_not_use_up_attempts_early() -> None:
    found = answered(503, attempt=5, retry_after="1")

    assert isinstance(found, Retry)
    assert found.at - AT >= 0.8 * SCHEDULE_S[5]
    assert found.pause_until == AT + 1


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("120", 120),
        (" 7 ", 7),
        ("0", 0),
        ("999999999999999999999999", RETRY_AFTER_MAX_S),
        (format_datetime(as_datetime(Instant(int(AT) + 60)), usegmt=True), 60),
        (format_datetime(as_datetime(Instant(int(AT) - 60)), usegmt=True), 0),
        (format_datetime(as_datetime(Instant(int(AT) + 10**6)), usegmt=True), RETRY_AFTER_MAX_S),
        ("-5", 0), ("soon", 0), ("", 0), ("Wed, 99 Foo 2026 00:00:00 GMT", 0), ("٣", 0),
    ],
)  # fmt: skip
def test_retry_after_is_read_in_both_forms_and_bounded(header: str, seconds: float) -> None:
    assert retry_after_s(header, AT) == seconds


@given(st.text(max_size=60))
def test_no_retry_after_raises(header: str) -> None:
    assert 0 <= retry_after_s(header, AT) <= RETRY_AFTER_MAX_S


# -- requests -----------------------------------------------------------------------------------------------


def test_a_cloudevents_body_is_the_bytes_of_the_log() -> None:
    sent = body(endpoint(), event())

    assert sent == event()
    parsed = from_structured_event(
        HTTPMessage(headers={"content-type": "application/cloudevents+json"}, body=sent), JSONFormat()
    )
    assert (parsed.get_id(), parsed.get_type(), parsed.get_subject()) == ("e-1", "tocsin.case.opened", "c-1-a")


def test_a_standard_body_has_type_timestamp_and_data() -> None:
    assert msgspec.json.decode(body(endpoint(format="standard"), event())) == {
        "type": "tocsin.case.opened",
        "timestamp": "2026-05-28T20:26:40Z",
        "data": {"rule": "detractor"},
    }


def test_headers_are_signed_over_what_is_sent_and_carry_the_events_id() -> None:
    one = endpoint(headers={"Authorization": "Bearer t"})
    headers = request_headers(one, "e-1", b"body", AT + 0.9)

    assert verify(one.secrets, headers, b"body", AT) == ""
    assert headers["webhook-id"] == "e-1"
    assert headers["webhook-timestamp"] == str(int(AT))
    assert headers["content-type"] == "application/cloudevents+json"
    assert headers["Authorization"] == "Bearer t"


# -- endpoints ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("globs", "type_", "wanted"),
    [
        (("*",), "tocsin.case.opened", True),
        (("case.*",), "tocsin.case.opened", True),
        (("case.*",), "case.opened", True),
        (("tocsin.case.*",), "tocsin.case.opened", True),
        (("case.*",), "tocsin.clock.breached", False),
        (("case.*", "clock.breached"), "tocsin.clock.breached", True),
        (("clock.breached",), "tocsin.clock.met", False),
        ((), "tocsin.case.opened", False),
    ],
)
def test_globs_choose_event_types(globs: tuple[str, ...], type_: str, wanted: bool) -> None:
    assert endpoint(events=globs).wants("default", type_) is wanted


def test_an_endpoint_gets_the_programmes_it_names() -> None:
    assert endpoint(programmes=("a", "b")).wants("a", "case.opened")
    assert not endpoint(programmes=("a", "b")).wants("c", "case.opened")


def test_matching_names_all_that_want_a_type() -> None:
    both = matching([endpoint(name="x", events=("case.*",)), endpoint(name="y")], "default")

    assert both("tocsin.case.opened") == ("x", "y")
    assert both("tocsin.clock.met") == ("y",)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"name": "a b"}, "name"),
        ({"name": ""}, "name"),
        ({"url": "ftp://x/y"}, "http"),
        ({"url": "https:///path"}, "host"),
        ({"url": "http://[::1"}, "url"),
        ({"url": "http://host:99999/"}, "url"),
        ({"url": "https://user:hunter2@crm.example.com/"}, "headers"),
        ({"secrets": ()}, "secret"),
        ({"format": "xml"}, "format"),
        ({"timeout_s": 0}, "timeout_s"),
        ({"schedule_s": ()}, "schedule_s"),
        ({"schedule_s": (5.0,)}, "schedule_s"),
        ({"schedule_s": (0.0, -1.0)}, "schedule_s"),
        ({"max_age_s": 0}, "max_age_s"),
        ({"concurrency": 0}, "concurrency"),
        ({"headers": {"X-A": "a\r\nHost: b"}}, "X-A"),
        ({"headers": {"bad name": "a"}}, "bad name"),
        ({"headers": {"Webhook-Id": "a"}}, "Webhook-Id"),
    ],
)
def test_an_endpoint_that_could_not_work_is_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said) as caught:
        endpoint(**changes)

    assert "hunter2" not in str(caught.value)


def test_an_endpoint_shows_its_name_only() -> None:
    shown = repr(endpoint(url="https://hooks.example.com/secret-part", headers={"Authorization": "Bearer t"}))

    assert shown == "Endpoint('crm')"
