"""What is removed from the store because of its age: entries of streams, and closed cases. Pure rules, real commands.

What an engine or a consumer group has not read is not removed, whatever its age. The readers trim the streams that
they read themselves (`redis_stream.py`).
"""

from typing import Any

import msgspec

from connectors.keyspace import Keys
from connectors.redis_link import client
from feedback.instants import Instant, parse_instant

PAGE = 500
"""Cases looked at in one go."""


class Kept(msgspec.Struct, frozen=True):
    """How long things are kept, in seconds; None for ever."""

    events: int | None
    dead_letters: int | None
    closed_cases: int | None


class Removed(msgspec.Struct):
    """How many went."""

    events: int = 0
    dead_letters: int = 0
    closed_cases: int = 0


class Retention:
    """Looks after one store's programmes. `look` is called now and then, by one thread."""

    def __init__(self, url: str, kept: Kept, lanes: int = 1) -> None:
        self._redis = client(url, timeout_s=30.0)
        self._kept, self._lanes = kept, range(lanes)
        self._from: dict[str, int] = {}
        """Programme to the place, in the order of opening, at which the next look at its cases goes on."""

    def look(self, programme: str, now: Instant) -> Removed:
        """Remove what is past its time; of cases a page at a time. Raises redis.RedisError."""
        keys, removed = Keys(programme), Removed()
        if self._kept.events is not None:
            removed.events = self._trim(keys.events, now - self._kept.events)
        if self._kept.dead_letters is not None:
            removed.dead_letters = self._trim(keys.dead, now - self._kept.dead_letters)
        if self._kept.closed_cases is not None:
            removed.closed_cases = self._remove_cases(keys, programme, now - self._kept.closed_cases)
        return removed

    def lengths(self, programme: str) -> dict[str, int]:
        """Entries of each stream, those of all lanes together, and cases of any standing, by name."""
        keys = Keys(programme)
        streams = [
            *(("in", keys.of_lane(keys.inbox, lane)) for lane in self._lanes),
            *(("actions", keys.of_lane(keys.actions, lane)) for lane in self._lanes),
            *(("facts", keys.of_lane(keys.facts, lane)) for lane in self._lanes if len(self._lanes) > 1),
            ("events", keys.events),
            ("dead", keys.dead),
        ]
        pipe = self._redis.pipeline(transaction=False)
        for _, key in streams:
            pipe.xlen(key)
        pipe.zcard(keys.cases)
        *lengths, cases = pipe.execute()
        found = {"cases": int(cases)}
        for (name, _), length in zip(streams, lengths, strict=True):
            found[name] = found.get(name, 0) + int(length)
        return found

    def close(self) -> None:
        self._redis.close()

    def _trim(self, key: str, before: int) -> int:
        behind = min([(max(0, before) * 1000, 0), *self._unread(key)])
        return int(self._redis.xtrim(key, minid=f"{behind[0]}-{behind[1]}", approximate=True))

    def _unread(self, key: str) -> list[tuple[int, int]]:
        """For each consumer group the first entry that it has not acknowledged, or may yet be given."""
        if not self._redis.exists(key):
            return []
        found = []
        for group in self._redis.xinfo_groups(key):
            found.append(_id(group["last-delivered-id"]))
            if group["pending"]:
                found.append(_id(self._redis.xpending(key, group["name"])["min"]))
        return found

    def _remove_cases(self, keys: Keys, programme: str, before: int) -> int:
        """Cases that were closed before *before*; their opening was earlier, and that is what they are found by."""
        start = self._from.get(programme, 0)
        page: list[tuple[bytes, float]] = self._redis.zrange(keys.cases, start, start + PAGE - 1, withscores=True)
        names = [name.decode() for name, opened_at in page if opened_at < before]
        if not names:
            self._from[programme] = 0
            return 0
        pipe = self._redis.pipeline(transaction=False)
        for name in names:
            pipe.hget(keys.case(name), "record")
            pipe.zscore(keys.open, name)
        replies = pipe.execute()
        gone = [
            name
            for name, record, is_open in zip(names, replies[::2], replies[1::2], strict=True)
            if is_open is None and _closed_before(record, before)
        ]
        for name in gone:
            each = self._redis.pipeline(transaction=True)
            each.delete(keys.case(name), keys.log(name), keys.notices(name))
            each.zrem(keys.cases, name)
            each.execute()
        self._from[programme] = start + len(names) - len(gone) if len(names) == PAGE else 0
        return len(gone)


def _closed_before(record: bytes | None, before: int) -> bool:
    if record is None:
        return True  # nothing is left of it but its name
    said = msgspec.json.decode(record)
    return parse_instant(said.get("closed_at") or said["status_at"]) < before


def _id(text: Any) -> tuple[int, int]:
    ms, _, sequence = (text.decode() if isinstance(text, bytes) else str(text)).partition("-")
    return int(ms), int(sequence or 0)
