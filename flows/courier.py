"""One courier carries one programme's queue to one endpoint; couriers of an endpoint share a `Receiver`.

A courier has no list of its own: what waits is in Redis, at most `concurrency` events are in its hands, and it
settles in one call what ended since the last. `deliveries.py` starts couriers and tells them when something came.
"""

import asyncio
import time
from collections.abc import Callable, Iterable

import structlog

from connectors.delivery_queue import DeliveryQueue, Head, Link, Settled, Turned, is_well, save_state
from connectors.endpoint_state import WELL, EndpointState, note, opens_at, room
from connectors.targets.loading import Ready
from connectors.vault import VaultError
from connectors.webhooks import Dead, Delivered, Disable, Endpoint, Outcome, Retry
from flows.carriers import carrier_for
from flows.delivery_metrics import DeliveryMetrics

log = structlog.get_logger()

TICK_S = 0.25
"""Longest nap: then the clock is read again, which may have been set."""
REFRESH_S = 2.0
"""How often a quiet queue is looked at: for what a person replayed, and for what has expired."""
VAULT_AWAY_S = 30.0
"""An event that cannot be opened waits this long: somebody has to bring the vault."""
GRACE_S = 5.0
"""How long attempts under way may take to end when the flow stops; then they are cut, and made again later."""


class Receiver:
    """An endpoint or a target as this process knows it: how it does, and what is under way to it."""

    def __init__(
        self,
        endpoint: Endpoint | Ready,
        state: EndpointState,
        link: Link,
        metrics: DeliveryMetrics,
        now: Callable[[], float],
    ) -> None:
        self.endpoint, self.state = endpoint, state
        self.carrier = carrier_for(endpoint, link)
        self.under_way = 0
        self.is_paused = False
        """Somebody paused all notices: what comes in waits."""
        self.couriers: list[Courier] = []
        self._link, self._metrics, self._now = link, metrics, now
        self._unsaved = 0
        metrics.begin(endpoint.name)
        metrics.disabled(endpoint.name, state.is_disabled)

    async def note(self, outcomes: Iterable[Outcome]) -> None:
        """Take in how attempts ended, in that order."""
        state = self.state
        for outcome in outcomes:
            state = note(state, outcome, self._now())
        await self._become(state)

    def pause(self, is_paused: bool) -> None:
        """Hold what waits, or send it again."""
        self.is_paused = is_paused
        for courier in self.couriers:
            courier.wake()

    async def look(self) -> None:
        """Start afresh if somebody enabled the endpoint."""
        if self.state != WELL and not self._unsaved:
            before = self.state
            well = await self._link.patiently(lambda: is_well(self._link.client, self.endpoint.name))
            if well and self.state is before:
                await self._become(WELL)

    async def _become(self, state: EndpointState) -> None:
        before, self.state = self.state, state
        if state == before:
            return
        name = self.endpoint.name
        if state.is_disabled != before.is_disabled:
            self._metrics.disabled(name, state.is_disabled)
            if state.is_disabled:
                log.error("endpoint.disabled", endpoint=name, reason=state.reason)
            else:
                log.info("endpoint.enabled", endpoint=name)
        elif state.is_probed != before.is_probed:
            if state.is_probed:
                log.warning("endpoint.failed", endpoint=name, reason=state.reason, failures=state.failures)
            else:
                log.info("endpoint.recovered", endpoint=name)
        if state == WELL:
            for courier in self.couriers:
                courier.resume(hasten=before.is_probed or before.is_disabled)
        self._unsaved += 1
        try:
            await self._link.patiently(lambda: save_state(self._link.client, name, self.state))
        finally:
            self._unsaved -= 1


class Courier:
    """Carries one queue until it is stopped."""

    def __init__(
        self,
        receiver: Receiver,
        queue: DeliveryQueue,
        link: Link,
        metrics: DeliveryMetrics,
        now: Callable[[], float],
        stopping: Callable[[], bool],
        opener: Callable[[bytes], bytes] = lambda event: event,
    ) -> None:
        """*opener* makes an event readable; raises VaultError while it cannot."""
        self._opener = opener
        self._receiver, self._queue, self._link = receiver, queue, link
        self._metrics, self._now, self._stopping = metrics, now, stopping
        self._endpoint = receiver.endpoint
        self._in_hand: dict[str, asyncio.Task[None]] = {}
        """By line: attempts under way, and those that ended and are not settled yet."""
        self._ended: list[tuple[Head, Outcome]] = []
        self._hasten = False
        self._woken = asyncio.Event()
        self._woken.set()
        self._next_due_at: float | None = None
        self._refresh_at = 0.0

    def wake(self) -> None:
        """Something came, or may have changed."""
        self._woken.set()

    def resume(self, *, hasten: bool) -> None:
        """The receiver is well again; *hasten* what waits for a retry, for the reason to wait is gone."""
        self._hasten = self._hasten or hasten
        self.wake()

    async def run(self, group: asyncio.TaskGroup) -> None:
        """Deliver until the flow stops; then wait for the attempts under way, up to the grace, and settle them.

        Attempts run in *group*, so that a mistake of ours in one stops the flow. Raises Fenced when another process
        has taken over.
        """
        self._receiver.couriers.append(self)
        try:
            had_room = False
            while not self._stopping():
                has_room = self._room() > 0
                if self._must_turn(has_room and not had_room, has_room):
                    await self._turn(group)
                had_room = has_room
                await self._nap(has_room)
            if self._in_hand:
                await asyncio.wait(self._in_hand.values(), timeout=GRACE_S)
        finally:
            self._receiver.couriers.remove(self)
            await self._cut()
        if self._ended:
            await self._turn(group)

    async def _cut(self) -> None:
        left = list(self._in_hand.values())
        for attempt in left:
            attempt.cancel()
        await asyncio.gather(*left, return_exceptions=True)

    # -- turning ------------------------------------------------------------------------------------------

    def _room(self) -> int:
        if self._stopping() or self._receiver.is_paused:
            return 0
        receiver, flying = self._receiver, len(self._in_hand) - len(self._ended)
        return room(receiver.state, self._now(), self._endpoint.concurrency, flying, receiver.under_way)

    def _must_turn(self, room_opened: bool, has_room: bool) -> bool:
        if self._woken.is_set() or room_opened or time.monotonic() >= self._refresh_at:
            return True
        return has_room and self._next_due_at is not None and self._next_due_at <= self._now()

    async def _turn(self, group: asyncio.TaskGroup) -> None:
        self._woken.clear()
        ended, self._ended = self._ended, []
        await self._receiver.note(outcome for _, outcome in ended)
        for head, _ in ended:
            del self._in_hand[head.line]
        lines = tuple(self._in_hand)  # what ends while Redis is asked is still among them
        settled = [_settled(head, outcome) for head, outcome in ended]
        hasten, self._hasten = self._hasten, False
        now = self._now()
        want = self._room()
        turned = await self._link.patiently(
            lambda: self._queue.turn(
                self._endpoint.name,
                now_ms=int(now * 1000),
                expire_before_ms=int((now - self._endpoint.max_age_s) * 1000),
                want=want,
                under_way=lines,
                settled=settled,
                hasten=hasten,
            )
        )
        self._refresh_at = time.monotonic() + REFRESH_S
        self._next_due_at = None if turned.next_due_ms is None else turned.next_due_ms / 1000
        self._report(ended, turned)
        for head in turned.heads:
            self._in_hand[head.line] = group.create_task(self._attempt(head))

    async def _nap(self, has_room: bool) -> None:
        until = self._next_due_at if has_room else opens_at(self._receiver.state, self._now())
        wait = TICK_S if until is None else min(TICK_S, until - self._now())
        if wait <= 0:
            if has_room or self._woken.is_set():
                await asyncio.sleep(0)
                return
            wait = TICK_S
        try:
            async with asyncio.timeout(wait):
                await self._woken.wait()
        except TimeoutError:
            return

    # -- one attempt --------------------------------------------------------------------------------------

    async def _attempt(self, head: Head) -> None:
        outcome: Outcome
        self._receiver.under_way += 1
        try:
            if head.body is None:
                outcome = Dead(reason="lost", blames_endpoint=False)
            elif (event := self._opened(head.body)) is None:
                outcome = Retry(at=self._now() + VAULT_AWAY_S, reason="vault")
            else:
                carried = await self._receiver.carrier.carry(self._queue.programme, head, event, self._now)
                if carried.status is not None:
                    self._metrics.attempted(self._endpoint.name, carried.status)
                outcome = carried.outcome
            self._ended.append((head, outcome))
        finally:
            self._receiver.under_way -= 1
            self.wake()

    def _opened(self, event: bytes) -> bytes | None:
        """*event* as a receiver may read it; None while the vault cannot be used."""
        try:
            return self._opener(event)
        except VaultError as error:
            log.error("delivery.sealed", endpoint=self._endpoint.name, error=str(error))
            return None

    def _report(self, ended: list[tuple[Head, Outcome]], turned: Turned) -> None:
        name = self._endpoint.name
        for head, outcome in ended:
            if isinstance(outcome, Delivered):
                self._metrics.delivered(name, self._now() - head.since_ms / 1000)
            elif isinstance(outcome, Dead):
                self._metrics.died(name, outcome.reason)
        if turned.expired:
            self._metrics.died(name, "expired", turned.expired)
        oldest_at = None if turned.oldest_ms is None else turned.oldest_ms / 1000
        self._metrics.queue(name, self._queue.programme, turned.waiting, oldest_at)


def _settled(head: Head, outcome: Outcome) -> Settled:
    made = head.attempts + 1
    match outcome:
        case Delivered():
            return Settled(entry=head.entry, verb="done", attempts=made)
        case Retry(at=at, reason=reason):
            return Settled(entry=head.entry, verb="retry", attempts=made, at_ms=int(at * 1000), reason=reason)
        case Dead(reason=reason, detail=detail):
            return Settled(entry=head.entry, verb="dead", attempts=made, reason=reason, detail=detail)
        case Disable(reason=reason):
            return Settled(entry=head.entry, verb="keep", attempts=made, reason=reason)
