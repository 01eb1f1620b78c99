"""The books of the webhooks: each event at least once, under one id, unaltered, in the order of its case."""

import asyncio
from typing import Any

import msgspec
import pytest

from connectors.delivery_queue import Head
from connectors.webhooks import Delivered
from feedback.instants import Instant
from flows.carriers import Carried, WebhookCarrier
from tests.storm import broken
from tests.storm.accounting import Said
from tests.storm.receiver import DeliveriesAccount, Got, deliveries_account, digest

COUNT = 4


def event(sequence: int) -> Said:
    at = Instant(1_793_610_000 + sequence)
    return Said(
        id=f"e-{sequence}", type="tocsin.clock.warned", case="c-1", sequence=sequence, at=at, detected_at=at,
        response="", due="", late=False, by_person=False, action="",
    )  # fmt: skip


STREAM = [event(n) for n in range(1, COUNT + 1)]
GOT = [Got(e.id, e.case, e.sequence, e.id.encode()) for e in STREAM]


def files(account: DeliveriesAccount) -> set[str]:
    return {name for name in ("lost", "disordered", "altered") if getattr(account, name)}


def test_webhooks_that_came_again_balance() -> None:
    account = deliveries_account([*GOT, *GOT], STREAM)
    assert files(account) == set()
    assert account.repeats == COUNT


@pytest.mark.parametrize("which", range(COUNT))
def test_any_single_webhook_that_was_not_sent_is_missed(which: int) -> None:
    assert files(deliveries_account(GOT[:which] + GOT[which + 1 :], STREAM)) == {"lost"}


def test_a_case_told_out_of_order_is_found_out() -> None:
    assert files(deliveries_account([GOT[1], GOT[0], *GOT[2:]], STREAM)) == {"disordered"}


def test_one_id_with_two_contents_is_found_out() -> None:
    other = msgspec.structs.replace(GOT[2], body=b"other")
    assert files(deliveries_account([*GOT, other], STREAM)) == {"altered"}


def test_a_webhook_of_no_event_is_found_out() -> None:
    assert files(deliveries_account(GOT, STREAM[:-1])) == {"altered"}


def test_what_a_wipe_took_before_it_was_sent_is_counted_and_is_no_loss() -> None:
    account = deliveries_account(GOT[2:], STREAM[2:], wiped=[STREAM[:2]])
    assert files(account) == set()
    assert account.wiped == 2


def test_what_was_told_before_a_wipe_may_have_another_link_after_it_and_no_other_may() -> None:
    again = [msgspec.structs.replace(webhook, body=b"linked anew") for webhook in GOT]
    assert files(deliveries_account([*GOT[:2], *again[:2], *GOT[2:]], STREAM, wiped=[STREAM[:2]])) == set()
    assert files(deliveries_account([*GOT[:3], again[2], GOT[3]], STREAM, wiped=[STREAM[:2]])) == {"altered"}


def test_the_build_that_drops_deliveries_drops_one_in_so_many(monkeypatch: pytest.MonkeyPatch) -> None:
    posted: list[str] = []

    async def carry(self: Any, programme: str, head: Head, event: bytes, now: Any) -> Carried:
        posted.append(head.line)
        return Carried(Delivered(), 200)

    monkeypatch.setattr(WebhookCarrier, "carry", carry)
    monkeypatch.setattr(broken, "EVERY", 3)
    broken.forgetting()
    heads: list[Any] = [type("H", (), {"line": str(n)})() for n in range(6)]
    carrier = WebhookCarrier.__new__(WebhookCarrier)
    outcomes = [asyncio.run(carrier.carry("default", head, b"", lambda: 0.0)) for head in heads]
    assert posted == ["0", "1", "3", "4"]
    assert all(isinstance(carried.outcome, Delivered) for carried in outcomes)


def test_when_it_was_noticed_may_differ_and_what_is_said_may_not() -> None:
    def body(level: int, detected_at: str) -> bytes:
        return msgspec.json.encode({"id": "e-1", "data": {"level": level, "detected_at": detected_at, "late": False}})

    assert digest(body(1, "09:00")) == digest(body(1, "09:07"))
    assert digest(body(1, "09:00")) != digest(body(2, "09:00"))
