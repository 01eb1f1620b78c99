"""What targets remember of cases, in Redis, beside the queues: an external id, a thread, the event told last.

Keys under the programme's `deliveries:` stem: `to:<endpoint>:case:<case>`, a string that lives for KEPT_S after its
last change (a closed case can be reopened for 90 days), `<event id> <value>`; for a target that says all again and
again, `to:<endpoint>:cases`, a hash of the same by case. Written before the event leaves its queue, so an event that
comes a second time is known; each write may be repeated.
"""

import msgspec
import redis.asyncio

from connectors.delivery_queue import command
from connectors.keyspace import Keys

KEPT_S = 120 * 86_400


class Memory(msgspec.Struct, frozen=True):
    last: str = ""
    """Id of the event told last; empty when the case was never told of."""
    value: str = ""

    def __repr__(self) -> str:
        return f"Memory({self.last!r})"


class Memories:
    """Those of one programme at one endpoint; *together* keeps them so that `all` finds them."""

    def __init__(self, client: "redis.asyncio.Redis", programme: str, endpoint: str, *, together: bool) -> None:
        self._client, self._together = client, together
        stem = f"{Keys(programme).stem}deliveries:to:{endpoint}:"
        self._one, self._all = stem + "case:", stem + "cases"

    async def recall(self, case: str) -> Memory:
        found = await (
            command(self._client, "HGET", self._all, case)
            if self._together
            else command(self._client, "GET", self._one + case)
        )
        return _memory(found)

    async def keep(self, case: str, memory: Memory) -> None:
        said = f"{memory.last} {memory.value}"
        if self._together:
            await command(self._client, "HSET", self._all, case, said)
        else:
            await command(self._client, "SET", self._one + case, said, "EX", KEPT_S)

    async def all(self) -> dict[str, str]:
        """Case to value, of those kept together that have one."""
        found = await command(self._client, "HGETALL", self._all)
        flat = found.items() if isinstance(found, dict) else zip(found[::2], found[1::2], strict=True)
        memories = {case.decode(): _memory(said) for case, said in flat}
        return {case: memory.value for case, memory in memories.items() if memory.value}

    async def forget(self, cases: list[str]) -> None:
        if cases:
            await command(self._client, "HDEL", self._all, *cases)


def _memory(said: bytes | None) -> Memory:
    last, _, value = (said or b"").decode().partition(" ")
    return Memory(last, value)
