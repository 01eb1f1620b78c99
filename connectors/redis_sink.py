"""The store as a Bytewax sink: one partition whose snapshot is what Redis may not have on disk yet.

So what a Redis lost in its last second is written again after a resume, with the same ids: written twice is
written once.
"""

from collections.abc import Callable

from bytewax.outputs import FixedPartitionedSink, StatefulSinkPartition

from cases.events import Event
from connectors.redis_store import RedisStore, StoreStopped

Unconfirmed = list[bytes]


class _Partition(StatefulSinkPartition[Event, Unconfirmed]):
    def __init__(self, store: RedisStore) -> None:
        self._store = store

    def write_batch(self, values: list[Event]) -> None:
        try:
            self._store.write(values)
        except StoreStopped:
            return  # the store keeps them, and the last snapshot holds what it keeps

    def snapshot(self) -> Unconfirmed:
        return self._store.unconfirmed()

    def close(self) -> None:
        self._store.close()


class RedisSink(FixedPartitionedSink[Event, Unconfirmed]):
    """Writes events through the store that *open_store* makes."""

    def __init__(self, open_store: Callable[[], RedisStore]) -> None:
        self._open_store = open_store

    def list_parts(self) -> list[str]:
        return ["redis"]

    def build_part(self, step_id: str, for_part: str, resume_state: Unconfirmed | None) -> _Partition:
        store = self._open_store()
        store.restore(resume_state or ())
        return _Partition(store)
