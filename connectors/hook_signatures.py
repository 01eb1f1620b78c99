"""Whether a webhook was sent by the tool that it says it is from: the schemes that tools use. Pure.

Every scheme is an HMAC under a secret that both sides know; they differ in the digest, in how it is written, in what is
signed, and in whether a time is signed with it (only then can an old request be told from a new one).
"""

import base64
import hmac
import re
from collections.abc import Mapping, Sequence
from typing import Literal

import msgspec

from connectors.signing import Secret
from connectors.signing import verify as verify_standard
from feedback.instants import parse_instant

TOLERANCE_S = 300.0
_UNIX = re.compile(r"\d{9,13}", re.ASCII)


class Stamp(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The signed time of a request."""

    header: str
    tolerance_s: float = TOLERANCE_S


class Hmac(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="scheme", tag="hmac"):
    """A digest in a header, or in a field of a form."""

    algorithm: Literal["sha1", "sha256", "sha512"]
    encoding: Literal["hex", "base64"]
    header: str = ""
    form_field: str = ""
    """Where the signature lies instead of a header."""
    signed_field: str = ""
    """The form's field that is signed; the body as it was sent when there is none."""
    prefix: str = ""
    """What stands before the digest."""
    stamp: Stamp | None = None
    """Its header's text is signed before the body."""


class Standard(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="scheme", tag="standard-webhooks"):
    """Standard Webhooks, as we sign our own."""

    tolerance_s: float = TOLERANCE_S


Scheme = Hmac | Standard


def check_secrets(scheme: Scheme, secrets: Sequence[str]) -> None:
    """Raises ValueError, which does not repeat a secret, when one of them cannot be used with *scheme*."""
    if not secrets:
        raise ValueError("no secret; a webhook that nobody signed is not taken")
    for secret in secrets:
        if isinstance(scheme, Standard):
            Secret(secret)
        elif len(secret) < 8:
            raise ValueError("a secret of fewer than 8 characters")


def refusal(
    scheme: Scheme,
    secrets: Sequence[str],
    headers: Mapping[str, str],
    form: Mapping[str, str],
    body: bytes,
    now: float,
) -> str:
    """Why the request must not be trusted, or ''.

    That is `missing_signature`, `bad_signature`, `bad_timestamp` or `stale_timestamp`. *headers* by lower-case name,
    *form* the fields of a form body, *now* Unix seconds. Any of *secrets* will do, so that one can be changed.
    """
    if isinstance(scheme, Standard):
        why = verify_standard([Secret(text) for text in secrets], headers, body, now, scheme.tolerance_s)
        return "missing_signature" if why == "missing_header" else why
    given = form.get(scheme.form_field, "") if scheme.form_field else headers.get(scheme.header.lower(), "")
    if not given:
        return "missing_signature"
    signed = form.get(scheme.signed_field, "").encode("utf-8", "replace") if scheme.signed_field else body
    if scheme.stamp is not None:
        stamp = headers.get(scheme.stamp.header.lower(), "")
        if not stamp:
            return "missing_signature"
        at = _seconds(stamp)
        if at is None:
            return "bad_timestamp"
        signed = stamp.encode("utf-8", "replace") + signed
        if not _any_matches(scheme, secrets, given, signed):
            return "bad_signature"
        return "" if abs(now - at) <= scheme.stamp.tolerance_s else "stale_timestamp"
    return "" if _any_matches(scheme, secrets, given, signed) else "bad_signature"


def _any_matches(scheme: Hmac, secrets: Sequence[str], given: str, signed: bytes) -> bool:
    found = given.encode("utf-8", "replace")
    return any(hmac.compare_digest(signature(scheme, secret, signed).encode(), found) for secret in secrets)


def signature(scheme: Hmac, secret: str, signed: bytes) -> str:
    """What the tool writes for *signed*."""
    digest = hmac.digest(secret.encode(), signed, scheme.algorithm)
    return scheme.prefix + (digest.hex() if scheme.encoding == "hex" else base64.b64encode(digest).decode())


def _seconds(stamp: str) -> float | None:
    if _UNIX.fullmatch(stamp):
        number = int(stamp)
        return number / 1000 if len(stamp) > 11 else float(number)
    try:
        return float(parse_instant(stamp))
    except ValueError:
        return None
