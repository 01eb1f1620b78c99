"""Settings of the HTTP door, as they stand under `http:` in the settings file."""

from typing import Literal

import msgspec

from connectors.hooks import HookSettings


class Tls(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Files in PEM. With *clients*, only callers with a certificate of that authority come in."""

    cert: str
    key: str
    clients: str = ""


class CallbackSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a tool that was told of cases may ask of them when it calls back."""

    secrets: tuple[str, ...]
    """References, `env:NAME` or `file:/path`; several while one is being changed."""
    form: str = ""
    """`pagerduty`, `jira`, `slack` or `signed` (Standard Webhooks), where the name does not say it."""
    allow: tuple[str, ...] = ("acknowledge", "start", "resolve", "reopen", "escalate")
    """Verbs, or `*`; anything else is refused and recorded."""
    statuses: dict[str, str] = {}
    """Of Jira: an issue's new status to the verb that it asks for."""


class HttpSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The door for responses and actions."""

    host: str = "127.0.0.1"
    port: int = 8080
    """0 takes a free one."""
    tls: Tls | None = None
    max_body: int = 4 * 1024 * 1024
    """Bytes of one request, after unpacking."""
    max_batch: int = 1000
    """Records of one request."""
    rate: float = 2000.0
    """Records a second and key, in the long run."""
    burst: float = 10_000.0
    """Records that a key may hand in at once after a rest."""
    inbox_limit: int = 1_000_000
    """Entries of a programme's stream beyond which the door asks for patience; 0 for no limit."""
    durability: Literal["disk", "memory"] = "disk"
    """`disk`: a request is answered when its records are in Redis's append-only file on disk."""
    remember_s: int = 86_400
    """How long a record or an idempotency key is known again."""
    hooks: dict[str, dict[str, HookSettings]] = {}
    """Programme to tool to what the house says of it; what is not listed here is not open."""
    callbacks: dict[str, dict[str, CallbackSettings]] = {}
    """Programme to tool to how it calls back; what is not listed here is not open."""


def problem_of(http: HttpSettings) -> str:
    """What is wrong with *http*, as `name: found; expected`; empty when nothing is."""
    limits: dict[str, tuple[float, float, float]] = {
        "port": (http.port, 0, 65_535),
        "max_body": (http.max_body, 1024, 64 * 1024 * 1024),
        "max_batch": (http.max_batch, 1, 10_000),
        "rate": (http.rate, 0.001, 1e6),
        "burst": (http.burst, http.max_batch, 1e7),
        "inbox_limit": (http.inbox_limit, 0, 1e12),
        "remember_s": (http.remember_s, 1, 31 * 86_400),
    }
    for name, (found, low, high) in limits.items():
        if not low <= found <= high:
            return f"{name}: {found:g}; expected {low:g} to {high:g}"
    return ""
