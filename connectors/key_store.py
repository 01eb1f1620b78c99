"""API keys in Redis: one hash a programme, id to JSON. The command line writes it, the HTTP door reads it."""

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from connectors.api_keys import ApiKey, mint
from connectors.keyspace import Keys
from connectors.redis_link import client

_decode = msgspec.json.Decoder(ApiKey).decode


class UnknownKey(Exception):
    """No key of that id or name; the text says what was looked for."""


def read(kept: Mapping[bytes, bytes] | Iterable[bytes]) -> list[ApiKey]:
    """Keys out of a hash as Redis gives it (a map, or flat), oldest first. Raises msgspec.DecodeError."""
    values = kept.values() if isinstance(kept, Mapping) else list(kept)[1::2]
    return sorted((_decode(value) for value in values), key=lambda key: (key.made_at, key.id))


class KeyStore:
    """The keys of a store, for people. Raises what redis-py raises."""

    def __init__(self, url: str) -> None:
        self._redis = client(url)

    def add(self, name: str, programme: str, allow: Iterable[str], now: int) -> tuple[ApiKey, str]:
        """A new key, kept, and its text. Raises ValueError for a bad name or role."""
        key, text = mint(name, programme, allow, now)
        self._keep(key)
        return key, text

    def all(self, programmes: Iterable[str]) -> list[ApiKey]:
        """Every key of *programmes*, those that have ended, too."""
        return [key for name in programmes for key in read(self._redis.hgetall(Keys(name).api_keys))]

    def revoke(self, which: str, programmes: Iterable[str], now: int) -> list[ApiKey]:
        """End the key of that id, or every key of that name, now; those that it ended. Raises UnknownKey."""
        found = self._find(which, programmes, now)
        return [self._keep(msgspec.structs.replace(key, ends_at=now)) for key in found]

    def rotate(self, which: str, programmes: Iterable[str], now: int, overlap_s: int) -> tuple[ApiKey, str]:
        """A new key in the place of the newest of that id or name; the older ones end after *overlap_s*.

        Raises UnknownKey.
        """
        found = self._find(which, programmes, now)
        newest = found[-1]
        made = self.add(newest.name, newest.programme, newest.allow, now)
        for key in found:
            ends_at = now + overlap_s
            self._keep(msgspec.structs.replace(key, ends_at=min(ends_at, key.ends_at or ends_at)))
        return made

    def refusals(self, programme: str, limit: int) -> list[dict[str, Any]]:
        """What the door turned away, newest first."""
        found = self._redis.xrevrange(Keys(programme).refusals, count=limit)
        return [{k.decode(): v.decode("utf-8", "replace") for k, v in fields.items()} for _, fields in found]

    def _find(self, which: str, programmes: Iterable[str], now: int) -> list[ApiKey]:
        found = [k for k in self.all(programmes) if which in (k.id, k.name) and not 0 < k.ends_at <= now]
        if not found:
            raise UnknownKey(f"no key in force has the id or name {which[:64]!r}; `tocsin keys list` shows them")
        if len({key.programme for key in found}) > 1:
            names = ", ".join(sorted({key.programme for key in found}))
            raise UnknownKey(f"keys of several programmes are named {which!r}; add --programme, one of {names}")
        return found

    def _keep(self, key: ApiKey) -> ApiKey:
        self._redis.hset(Keys(key.programme).api_keys, key.id, msgspec.json.encode(key))
        return key

    def close(self) -> None:
        self._redis.close()
