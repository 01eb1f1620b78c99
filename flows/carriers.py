"""How an event gets to its receiver: posted as it is (a webhook), or told in the words of a tool (a target).

A courier asks a `Carrier` for one attempt and is told what came of it; it knows nothing of what was said.
"""

from collections.abc import Callable
from typing import Protocol

import msgspec
import structlog

from connectors.delivery_memory import Memories, Memory
from connectors.delivery_queue import Head, Link
from connectors.posting import Poster
from connectors.targets.alertmanager import Alertmanager
from connectors.targets.loading import Ready
from connectors.targets.sending import Sender
from connectors.webhooks import Answered, Dead, Delivered, Endpoint, Outcome, after, body, request_headers

log = structlog.get_logger()


class Carried(msgspec.Struct, frozen=True):
    """One attempt."""

    outcome: Outcome
    status: int | None
    """Of the answer, 0 when there was none; None when nothing had to be said."""


class Carrier(Protocol):
    async def carry(self, programme: str, head: Head, event: bytes, now: Callable[[], float]) -> Carried:
        """One attempt at *event*, the body of *head*. Raises only mistakes of ours, and Redis's errors at the stop."""

    async def close(self) -> None: ...


class WebhookCarrier:
    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint, self._poster = endpoint, Poster(endpoint)

    async def carry(self, programme: str, head: Head, event: bytes, now: Callable[[], float]) -> Carried:
        payload = body(self._endpoint, event)
        headers = request_headers(self._endpoint, head.id, payload, now())
        answer = await self._poster.post(headers, payload)
        outcome = after(
            answer, event_id=head.id, attempt=head.attempts + 1, now=now(), schedule_s=self._endpoint.schedule_s
        )
        return Carried(outcome, answer.status if isinstance(answer, Answered) else 0)

    async def close(self) -> None:
        await self._poster.close()


class TargetCarrier:
    def __init__(self, target: Ready, link: Link) -> None:
        self._target, self._link = target, link
        self._sender = Sender(target)

    @property
    def repeat_s(self) -> float:
        """How often all that is remembered is said again; 0 for most tools."""
        declared = self._target.declared
        return declared.repeat_s if isinstance(declared, Alertmanager) else 0.0

    def _memories(self, programme: str) -> Memories:
        together = self._target.declared.repeats
        return Memories(self._link.client, programme, self._target.name, together=together)

    async def carry(self, programme: str, head: Head, event: bytes, now: Callable[[], float]) -> Carried:
        try:
            plain = msgspec.json.decode(event)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            plain = None
        if not isinstance(plain, dict):
            return Carried(Dead(reason="refused", detail="not_an_event", blames_endpoint=False), None)
        first = self._target.hear(plain)
        memories = self._memories(programme)
        memory = await self._link.patiently(lambda: memories.recall(first.case)) if first.case else Memory()
        if memory.last == first.id or not self._target.cares(plain, bool(memory.last)):
            return Carried(Delivered(), None)
        talk = self._target.talk(self._target.hear(plain, memory.value))
        ended = await self._sender.converse(talk, event_id=head.id, attempt=head.attempts + 1, now=now())
        if isinstance(ended.outcome, Delivered) and ended.said and first.case:
            kept = Memory(first.id, ended.remember or memory.value)
            await self._link.patiently(lambda: memories.keep(first.case, kept))
        return Carried(ended.outcome, ended.status if ended.said else None)

    async def again(self, programme: str, now: float) -> None:
        """Say again what is remembered, for a tool that asks for it. A failure is mended by the next time."""
        declared = self._target.declared
        if not isinstance(declared, Alertmanager):
            return
        memories = self._memories(programme)
        known = await self._link.patiently(memories.all)
        request, past = declared.again(known, now, self._target.kit)
        if request is not None and not await self._sender.say(request):
            log.warning("target.repeat_failed", target=self._target.name, programme=programme)
        await self._link.patiently(lambda: memories.forget(past))

    async def close(self) -> None:
        await self._sender.close()


def carrier_for(addressee: Endpoint | Ready, link: Link) -> WebhookCarrier | TargetCarrier:
    return WebhookCarrier(addressee) if isinstance(addressee, Endpoint) else TargetCarrier(addressee, link)
