"""Builders with good defaults, so that a test shows only what matters to it."""

from collections.abc import Iterable, Mapping
from hashlib import blake2b
from typing import Any

import msgspec

from feedback.decode import Decoder
from feedback.instants import Instant, parse_instant
from feedback.metrics import STANDARD
from feedback.records import Envelope, Response
from flows.books import Book
from flows.erasures import Erasures
from flows.virtual import VirtualEngine
from rules.parse import load_text
from rules.shipped import law_of, law_texts

START = parse_instant("2026-11-02T09:00:00Z")


def response(**fields: Any) -> Response:
    """A response with an id, a customer and nothing to say."""
    whole: dict[str, Any] = {
        "programme": "default",
        "source": "test",
        "id": "r1",
        "customer": "c1",
        "occurred_at": START,
        "received_at": START,
        "arrived": float(START),
    }
    return Response(**{**whole, **fields})


def envelope(record: dict[str, Any] | bytes, at: Instant = START, position: str = "1", **fields: Any) -> Envelope:
    """*record* as it comes through a door at *at*."""
    raw = record if isinstance(record, bytes) else msgspec.json.encode(record)
    return Envelope(raw=raw, source="test", position=position, received_at=float(at), **fields)


def book(sets: Mapping[str, Mapping[str, str]]) -> Book:
    """A book of programme to (path to text); the set's name is taken from its path."""
    loaded = {}
    for programme, texts in sets.items():
        name = next(path for path in texts if path.startswith("sets/")).removeprefix("sets/").removesuffix(".yaml")
        law = law_of(texts[f"sets/{name}.yaml"], law_texts(None))
        loaded[programme] = load_text({**law, **texts}, name, STANDARD)
    return Book("test", loaded, STANDARD)


def engine(rules: Book, start: Instant = START, erasures: Erasures | None = None) -> VirtualEngine:
    """An engine under virtual time, with no case open."""
    return VirtualEngine(rules, Decoder(STANDARD, frozenset(rules.sets)), start=start, erasures=erasures)


class FixedKeys:
    """A vault whose keys are the same in every run."""

    id = b"test"

    def __init__(self) -> None:
        self.destroyed: set[int] = set()

    def leaf(self, *parts: str) -> int:
        return int.from_bytes(blake2b("\0".join(parts).encode(), digest_size=8).digest(), "big")

    def key(self, leaf: int) -> bytes | None:
        return None if leaf in self.destroyed else blake2b(leaf.to_bytes(8, "big"), digest_size=32).digest()

    def destroy(self, leaves: Iterable[int]) -> None:
        self.destroyed |= set(leaves)
