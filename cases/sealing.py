"""Sealing: what is personal in events, records and stored cases, under the key of the customer whom it is about.

What leaves the engine for good (the log, the case records, snapshots, dead letters) holds a customer's words and the
words that people wrote about them only as a token; who did what and when stays readable. Whoever has the vault opens
the token. An erasure destroys the key (`erasing.py`), and with it every copy, wherever it lies; the trail is a chain
over the sealed form, so it still verifies. The keys come from outside (`connectors/vault.py`): here nothing is kept.

AES-SIV (RFC 5297): sealing the same words at the same place gives the same token, which a replay needs, and a token
that was altered or moved to another place does not open. A token also holds a commitment to what is sealed: with the
words and their salt (`reveal`) anybody can check, without a key, that they are what the trail was made over.
"""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from hashlib import blake2b
from hmac import compare_digest
from itertools import count
from typing import Any, Protocol

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV

SEALED = "sealed"
"""The member that holds a token, beside what is public."""
ERASED = "erased"
"""The member that stands in the place of what can never be read again."""
_VAULT, _LEAF, _COMMIT, _SALT = 4, 8, 20, 16
_HEAD = _VAULT + _LEAF + _COMMIT
"""A token is the vault's id, the key's place in it, the commitment, and the ciphertext; URL-safe base64."""

PUBLIC = frozenset(
    {
        "action", "alert", "before", "by", "calendar", "cases", "change", "channel", "clock", "count", "counting",
        "detected_at", "do", "due_at", "earlier", "fallback", "finding", "hash", "hazard", "history", "issue", "issues",
        "decided", "joined", "last_moment", "late", "late_by_s", "law", "length", "level", "linked", "missed", "name",
        "next_best_action", "occurrence", "of", "owner", "point", "previous", "principal", "priority", "reading",
        "reason", "recorded_at", "remaining_s", "reopened", "responses", "restored_from", "role", "rule",
        "rule_version", "rules", "started_at", "template", "to", "took_place_at", "type", "until", "was_due_at",
    }
)  # fmt: skip
"""Of an event's data what says who, what kind and when. Everything else is sealed, whatever it may come to hold."""
OWN_WORDS = frozenset({"action.refused", "case.erased", "clock.ended"})
"""Events whose `reason` is ours, or must outlive an erasure, although a person caused them."""
PRIVATE_CASE = ("customer", "subject", "about", "outcome")
"""Of a case's record what is the customer's. The subject may be a property or an account."""
PRIVATE_RESPONSE = ("customer", "text", "attributes")

Where = tuple[str, str]
"""What a token is bound to: (case or event id, place)."""


class Keys(Protocol):
    """The vault, as sealing needs it."""

    @property
    def id(self) -> bytes:
        """Which vault: four bytes that its tokens carry."""

    def leaf(self, *parts: str) -> int:
        """The place of the key of whom *parts* name; tells nobody who that is. 64 bits."""

    def key(self, leaf: int) -> bytes | None:
        """32 bytes; None when it was destroyed."""


class UnknownVault(Exception):
    """Sealed under the keys of another vault. Whose turn: the operator's, to name the right one."""


_plain = msgspec.json.Encoder(order="sorted").encode  # whoever reads it as JSON can write it again, byte for byte
_read = msgspec.json.decode


@lru_cache(maxsize=4096)
def _cipher(key: bytes) -> AESSIV:
    return AESSIV(key)  # 3 us to make, 2 us to use


def seal(keys: Keys, leaf: int, where: Where, private: Mapping[str, Any]) -> dict[str, Any]:
    """What stands in the place of *private*: a token, or, under a destroyed key, that it was erased."""
    if not private:
        return {}
    key = keys.key(leaf)
    if key is None:
        return {ERASED: True}
    plain = _plain(private)
    commitment = _commitment(_salt(key, where), plain)
    text = _cipher(key).encrypt(plain, [part.encode() for part in where])
    return {SEALED: urlsafe_b64encode(keys.id + leaf.to_bytes(_LEAF, "big") + commitment + text).decode()}


def _salt(key: bytes, where: Where) -> bytes:
    return blake2b("\0".join(where).encode(), digest_size=_SALT, key=key, person=b"tocsin salt").digest()


def _commitment(salt: bytes, plain: bytes) -> bytes:
    return blake2b(plain, digest_size=_COMMIT, key=salt, person=b"tocsin commit").digest()


def leaf_of_customer(keys: Keys, programme: str, customer_key: str, given_up: Callable[[int], bool]) -> int:
    """Where the key of that customer is now: after an erasure (*given_up*, or destroyed) another than before."""
    return next(
        leaf
        for generation in count()
        if not given_up(leaf := keys.leaf(programme, customer_key, str(generation))) and keys.key(leaf) is not None
    )


def leaves_before(keys: Keys, programme: str, customer_key: str, now: int) -> Iterator[int]:
    """The places of the keys that the customer had before the one at *now*."""
    for generation in count():
        leaf = keys.leaf(programme, customer_key, str(generation))
        if leaf == now:
            return
        yield leaf


def leaf_of(keys: Keys, token: str) -> int:
    """Under which key *token* is sealed. Raises UnknownVault, ValueError when it is no token."""
    return _parts(keys, token)[0]


def _parts(keys: Keys, token: str) -> tuple[int, bytes]:
    """(the key's place, the ciphertext)."""
    raw = urlsafe_b64decode(token)
    if len(raw) <= _HEAD:
        raise ValueError("too short for a sealed token")
    if raw[:_VAULT] != keys.id:
        raise UnknownVault(
            f"sealed under the keys of vault {raw[:_VAULT].hex()}, and this one is {keys.id.hex()}; "
            "name the vault of the engine that wrote it (TOCSIN_VAULT)"
        )
    return int.from_bytes(raw[_VAULT : _VAULT + _LEAF], "big"), raw[_HEAD:]


def unseal(keys: Keys, where: Where, token: str) -> dict[str, Any] | None:
    """What *token* holds; None when its key was destroyed. Raises UnknownVault, ValueError when it was altered."""
    leaf, held = _parts(keys, token)
    key = keys.key(leaf)
    if key is None:
        return None
    try:
        text = _cipher(key).decrypt(held, [part.encode() for part in where])
    except InvalidTag:
        raise ValueError(f"what is sealed in {' '.join(where)} was altered, or belongs elsewhere") from None
    opened: dict[str, Any] = _read(text)
    return opened


def reveal(keys: Keys, where: Where, token: str) -> dict[str, Any] | None:
    """`private` and `salt`: what *token* holds, so that `is_revealed` can be asked by whoever has no key."""
    private = unseal(keys, where, token)
    key = keys.key(leaf_of(keys, token))
    if private is None or key is None:
        return None
    return {"private": private, "salt": _salt(key, where).hex()}


def is_revealed(token: str, private: Mapping[str, Any], salt: str) -> bool:
    """Whether *token* was made of *private*. Raises ValueError when it is no token, or that no salt."""
    commitment = urlsafe_b64decode(token)[_VAULT + _LEAF : _HEAD]
    return compare_digest(commitment, _commitment(bytes.fromhex(salt), _plain(private)))


def opened(keys: Keys | None, where: Where, held: Mapping[str, Any]) -> dict[str, Any]:
    """*held* with what is sealed in it in its place, or marked as erased; without *keys* as it is."""
    token = held.get(SEALED)
    if token is None or keys is None:
        return dict(held)
    rest = {name: value for name, value in held.items() if name != SEALED}
    private = unseal(keys, where, str(token))
    return {**rest, ERASED: True} if private is None else {**rest, **private}


def opened_event(keys: Keys | None, event: Mapping[str, Any]) -> dict[str, Any]:
    """A CloudEvent as it would have been without sealing; `data.erased` where it cannot be read any more."""
    return each_place(event, lambda where, held: opened(keys, where, held))


def each_place(
    event: Mapping[str, Any], change: Callable[[Where, Mapping[str, Any]], dict[str, Any]]
) -> dict[str, Any]:
    """*event* with *change* made wherever something may be sealed in it: in `data`, its `case`, its `response`."""
    case = str(event.get("subject", ""))
    # What was asked for is told in the same words, under the same token (`flows/noticing.py`).
    data = change((case, str(event["data"].get("asked", event["id"]))), event["data"])
    for place in ("case", "response"):
        if isinstance(data.get(place), Mapping):
            data[place] = change((case, place), data[place])
    return {**event, "data": data}


def private_names(type_: str, data: Mapping[str, Any]) -> list[str]:
    """The members of an event's *data* that are sealed; `case` and `response` are sealed in themselves."""
    names = [name for name in data if name not in PUBLIC and name != "response"]
    if "by" in data and "reason" in data and type_ not in OWN_WORDS:
        names.append("reason")  # what a person wrote
    if "to" in data and type_.startswith("customer."):
        names.append("to")
    return names
