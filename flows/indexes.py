"""Two small memories of one process, rebuilt by loading the shards and never stored themselves.

`DueIndex` tells the source which shards have something due; `KnownResponses` tells the judging step which
responses some case remembers, so that only those (and the ones that fire) need to touch keyed state.
Both are shared by the workers of a process, hence the locks.
"""

import heapq
from collections import OrderedDict
from collections.abc import Iterable
from threading import Lock

from cases.shard import Known
from feedback.ids import case_of_number, number_in, shard_of_number
from feedback.instants import Instant

ELSEWHERE = 100_000
"""Responses of other lanes whose case is remembered, the newest."""


class DueIndex:
    """The earliest instant at which each shard has something due."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._at: dict[int, Instant] = {}
        self._heap: list[tuple[Instant, int]] = []

    def register(self, shard: int, at: Instant | None) -> None:
        """From now on *shard* is next due at *at*; None when it has nothing to wait for."""
        with self._lock:
            if at is None:
                self._at.pop(shard, None)
            elif self._at.get(shard) != at:
                self._at[shard] = at
                heapq.heappush(self._heap, (at, shard))
                if len(self._heap) > 4 * len(self._at) + 64:  # entries that were overtaken pile up
                    self._heap = [(when, key) for key, when in self._at.items()]
                    heapq.heapify(self._heap)

    def take_due(self, now: Instant, limit: int) -> list[int]:
        """At most *limit* shards due at or before *now*, oldest first; each has to register again."""
        taken: list[int] = []
        with self._lock:
            while self._heap and len(taken) < limit and self._heap[0][0] <= now:
                at, shard = heapq.heappop(self._heap)
                if self._at.get(shard) == at:
                    del self._at[shard]
                    taken.append(shard)
        return taken

    def earliest(self) -> Instant | None:
        """The earliest instant of all; None when nothing waits."""
        with self._lock:
            while self._heap and self._at.get(self._heap[0][1]) != self._heap[0][0]:
                heapq.heappop(self._heap)
            return self._heap[0][0] if self._heap else None


class KnownResponses:
    """Which shard's cases remember a response. May know too many for a moment, never too few."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._case: dict[int, int] = {}
        """Key to `case_number`; with 48 zeros at its end while only the shard is known."""
        self._elsewhere: OrderedDict[int, int] = OrderedDict()
        """The same of other lanes' cases: for naming them only."""
        self._news: list[tuple[int, int]] | None = None

    def __len__(self) -> int:
        return len(self._case)

    def shard(self, key: int) -> int | None:
        """The shard that remembers the response of this *key*."""
        number = self._case.get(key)
        return None if number is None else shard_of_number(number)

    def case(self, key: int) -> str | None:
        """The case that remembers the response of this *key*, the oldest if several do; another lane's if it told."""
        number = self._case.get(key) or self._elsewhere.get(key)
        return None if number is None or number == number_in(shard_of_number(number)) else case_of_number(number)

    def add(self, key: int, shard: int) -> None:
        """The response is on its way to *shard*, which will remember it."""
        with self._lock:
            self._case.setdefault(key, number_in(shard))

    def load(self, knows: Iterable[Known]) -> None:
        """A shard that was stored remembers these: no news."""
        with self._lock:
            self._case.update(reversed(list(knows)))

    def change(self, shard: int, before: Iterable[Known], after: Iterable[Known]) -> None:
        """*shard* remembered *before* and now remembers *after*."""
        with self._lock:
            kept = dict(reversed(list(after)))
            if self._news is not None:
                had = dict(before)
                self._news += [(key, number) for key, number in kept.items() if key not in had]
            for key, _ in before:
                number = self._case.get(key)
                if key not in kept and number is not None and shard_of_number(number) == shard:
                    del self._case[key]
            self._case.update(kept)

    def tell(self) -> None:
        """From now on keep for `take_news` which responses cases come to remember."""
        with self._lock:
            self._news = self._news or []

    def take_news(self) -> list[tuple[int, int]]:
        """Keys of responses and the numbers of their cases since the last time."""
        if not self._news:
            return []
        with self._lock:
            news, self._news = self._news, []
        return news

    def learn(self, cases: Iterable[tuple[int, int]]) -> None:
        """What another lane told of its cases."""
        with self._lock:
            for key, number in cases:
                self._elsewhere[key] = number
                self._elsewhere.move_to_end(key)
            while len(self._elsewhere) > ELSEWHERE:
                self._elsewhere.popitem(last=False)
