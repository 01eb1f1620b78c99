"""Standard Webhooks signatures, made and checked: HMAC-SHA256 over `id.timestamp.body`, version `v1`.

Written for bytes and for several keys, so that a key can be changed while both sides run; the reference
package takes text and one key (and is what our tests verify against). Pure: time is passed in.
Source: standard-webhooks 1.0.0, spec/standard-webhooks.md.
"""

import base64
import binascii
import hmac
from collections.abc import Mapping, Sequence
from hashlib import sha256

PREFIX = "whsec_"
TOLERANCE_S = 300
"""How far a receiver lets `webhook-timestamp` lie from its own clock, in either direction."""


class Secret:
    """One signing key of an endpoint. Its text and its repr never show it."""

    __slots__ = ("_key",)

    def __init__(self, text: str) -> None:
        """*text* is `whsec_` and base64 of 24 to 64 bytes. Raises ValueError, which does not repeat it."""
        if not text.startswith(PREFIX):
            raise ValueError(f"a webhook secret begins with {PREFIX}")
        try:
            self._key = base64.b64decode(text.removeprefix(PREFIX), validate=True)
        except (binascii.Error, ValueError):
            raise ValueError(f"a webhook secret is {PREFIX} and base64; this one is not base64") from None
        if not 24 <= len(self._key) <= 64:
            raise ValueError(f"a webhook secret holds 24 to 64 bytes; this one has {len(self._key)}")

    def signature(self, id_: str, timestamp: int, body: bytes) -> str:
        """`v1,` and the signature of exactly these bytes."""
        signed = b"%b.%d.%b" % (id_.encode(), timestamp, body)
        return "v1," + base64.b64encode(hmac.digest(self._key, signed, sha256)).decode()

    def __repr__(self) -> str:
        return "Secret(...)"


def sign(secrets: Sequence[Secret], id_: str, timestamp: int, body: bytes) -> dict[str, str]:
    """The three headers of one attempt. Every secret signs, in order: a receiver needs to know only one of them.

    *timestamp* is the attempt's, in Unix seconds; *id_* is the same at every attempt and holds no dot.
    """
    return {
        "webhook-id": id_,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(secret.signature(id_, timestamp, body) for secret in secrets),
    }


def verify(
    secrets: Sequence[Secret],
    headers: Mapping[str, str],
    body: bytes,
    now: float,
    tolerance_s: float = TOLERANCE_S,
) -> str:
    """Why a received request must not be trusted: a named reason, or empty when one of *secrets* signed it.

    Header names are taken in any case. The timestamp is checked so that an old request cannot be played again.
    """
    plain = {name.lower(): value for name, value in headers.items()}
    id_, stamp = plain.get("webhook-id", ""), plain.get("webhook-timestamp", "")
    given = plain.get("webhook-signature", "")
    if not id_ or not stamp or not given:
        return "missing_header"
    if not (stamp.isascii() and stamp.isdigit() and len(stamp) <= 12):
        return "bad_timestamp"
    if abs(now - int(stamp)) > tolerance_s:
        return "stale_timestamp"
    expected = [secret.signature(id_, int(stamp), body).encode() for secret in secrets]
    for signature in given.split():
        if any(hmac.compare_digest(signature.encode(), mine) for mine in expected):
            return ""
    return "bad_signature"
