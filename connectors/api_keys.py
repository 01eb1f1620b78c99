"""API keys: who may come in by HTTP, to which programme, and what for. Pure; `key_store.py` keeps them.

A key is `tk_<id>_<secret>`. The id finds it; of the secret (256 random bits) only the SHA-256 is kept, which is
enough for what nobody can guess. Several keys may carry one name, so one can be changed without downtime; the name is
the principal of what is done with it.
"""

import hmac
import re
import secrets
from collections.abc import Iterable
from hashlib import sha256

import msgspec

from feedback.records import Verb

CAPTURE = "capture"
"""Hand in responses and outcomes."""
ACT = "act:"
"""And a verb, or `*`: hand in actions of that verb."""

_TEXT = re.compile(r"tk_([0-9a-f]{12})_([0-9a-f]{64})", re.ASCII)
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}", re.ASCII)
_NOBODY = sha256(b"").hexdigest()


class ApiKey(msgspec.Struct, frozen=True, kw_only=True):
    """A key as it is kept. Times are Unix seconds."""

    id: str
    name: str
    programme: str
    allow: tuple[str, ...]
    """`capture`, `act:<verb>`, `act:*`; nothing else is allowed."""
    digest: str
    """SHA-256 of the secret, in hex."""
    made_at: int
    ends_at: int = 0
    """First second in which it is no longer good; 0 for never. A rotation sets it, a revocation to the present."""

    @property
    def principal(self) -> str:
        """Who acts, for the record."""
        return f"key:{self.name}"

    def may_capture(self) -> bool:
        return CAPTURE in self.allow

    def may(self, verb: str) -> bool:
        """Whether an action of this *verb* may come in by this key."""
        return f"{ACT}*" in self.allow or ACT + verb in self.allow

    def may_act(self) -> bool:
        """Whether any action may."""
        return any(role.startswith(ACT) for role in self.allow)


def check_roles(allow: Iterable[str]) -> tuple[str, ...]:
    """*allow*, sorted. Raises ValueError naming what is no role."""
    found = tuple(sorted(set(allow)))
    known = {CAPTURE, f"{ACT}*", *(ACT + verb for verb in Verb)}
    if wrong := [role for role in found if role not in known]:
        raise ValueError(f"{wrong[0][:40]!r} is no role; expected capture, act:* or act:VERB ({', '.join(Verb)})")
    if not found:
        raise ValueError("a key that allows nothing is no use; expected capture, act:* or act:VERB")
    return found


def mint(name: str, programme: str, allow: Iterable[str], now: int) -> tuple[ApiKey, str]:
    """A new key, and its text, which is shown once and kept nowhere. Raises ValueError."""
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name[:64]!r} cannot name a key: letters, digits, '.', '_', '@' and '-', 64 at most")
    id_, secret = secrets.token_hex(6), secrets.token_hex(32)
    key = ApiKey(
        id=id_,
        name=name,
        programme=programme,
        allow=check_roles(allow),
        digest=sha256(secret.encode()).hexdigest(),
        made_at=now,
    )
    return key, f"tk_{id_}_{secret}"


class KeyRing:
    """The keys in force."""

    def __init__(self, keys: Iterable[ApiKey] = ()) -> None:
        self._keys = {key.id: key for key in keys}

    def who(self, text: str, now: float) -> ApiKey | str:
        """The key that *text* is, or why it is none.

        That is `no_key`, `malformed_key`, `unknown_key`, `wrong_key` or `ended_key`. Takes as long for a key that
        there is not as for one with another secret.
        """
        if not text:
            return "no_key"
        match = _TEXT.fullmatch(text)
        if match is None:
            return "malformed_key"
        key = self._keys.get(match[1])
        good = hmac.compare_digest(sha256(match[2].encode()).hexdigest(), _NOBODY if key is None else key.digest)
        if key is None:
            return "unknown_key"
        if not good:
            return "wrong_key"
        if key.ends_at and now >= key.ends_at:
            return "ended_key"
        return key

    def __len__(self) -> int:
        return len(self._keys)
