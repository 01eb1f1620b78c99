"""Opens many cases through the engine itself, for the benchmarks that run beside them; a process of its own.

Arguments: folder of the house, URL of its Redis, how many, channel (it chooses the rule), when they were received
(Unix seconds; 0 is now). Of each case Redis is given the record as it stands, not its history: a million histories
would be 25 GB there, and the engine never reads them.
"""

import sys
import time
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from unittest.mock import patch

import msgspec

from benchmarks.common import texts
from cases.events import Event
from connectors.reading import Theirs
from connectors.redis_store import RedisStore
from feedback.ids import DEFAULT_SHARDS, shard_of
from feedback.records import Envelope
from flows.engine import run_engine
from flows.run import Stop
from flows.settings import load

WORDS = 1000


class Standing:
    """A reader of made-up responses, customers of one shard after another: each drawer is opened a few times only."""

    trouble = ""
    caught_up = True
    lag = 0

    def __init__(self, name: str, cases: int, channel: str, received_at: float, shards: int) -> None:
        self.name = name
        self._received_at = received_at
        self._records = self._made(cases, channel, shards)
        self.finished = False

    def _made(self, cases: int, channel: str, shards: int) -> Iterator[bytes]:
        words = texts(WORDS, seed=3)
        order = sorted((shard_of("default", f"{self.name}{n}", shards), n) for n in range(cases))
        for _, number in order:
            name = f"{self.name}{number}"
            yield msgspec.json.encode(
                {"id": name, "customer": name, "language": "en", "channel": channel, "text": words[number % WORDS],
                 "scores": {"nps": 7}}
            )  # fmt: skip

    def poll(self, limit: int) -> Sequence[Envelope]:
        found = [
            Envelope(raw=raw, source=self.name, position="1", received_at=self._received_at)
            for raw in islice(self._records, limit)
        ]
        self.finished = len(found) < limit
        return found

    def release(self, place: str) -> None:
        """There is nothing to let go of."""

    def forget(self, is_theirs: Theirs) -> int:
        """Nothing is kept."""
        return 0

    def close(self) -> None:
        """Nothing is held."""


class RecordsOnly(RedisStore):
    """Writes how each case stands, as after a loss of the store (`cases/restating.py`), and no event."""

    def write(self, events: Sequence[Event]) -> None:
        newest = {event.case: event for event in events if event.record is not None}
        super().write([msgspec.structs.replace(event, restates=True) for event in newest.values()])


def main() -> None:
    folder, url, cases, channel, received_at = sys.argv[1:]
    settings = load(Path(folder) / "tocsin.yaml", {})
    settings = msgspec.structs.replace(settings, state=Path(folder) / "state", redis=url, metrics_port=0)
    at = float(received_at) or time.time()
    reader = Standing(channel, int(cases), channel, at, settings.engine.shards or DEFAULT_SHARDS)
    with patch("flows.engine.RedisStore", RecordsOnly):
        ended = run_engine(settings, {channel: lambda _: reader}, ends=True, stop=Stop())
    if ended.open_cases < int(cases):
        sys.exit(f"{ended.open_cases} cases are open; expected {cases} at least")


if __name__ == "__main__":
    main()
