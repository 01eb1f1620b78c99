"""What a target is: a pure conversation about one event, and the settings that every target has.

`talk` yields requests and is sent their answers; it returns what is to be remembered of the case at this target (an
external id, a thread), or raises TargetError. `sending.py` carries a conversation out; a dry run imagines the answers.
"""

import re
from collections.abc import Generator, Mapping
from email.message import EmailMessage
from fnmatch import fnmatchcase
from typing import Any, ClassVar, Literal, Protocol

import msgspec

from connectors.targets.secrets import Hidden
from connectors.targets.shapes import Escape, Shape, fill

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", re.ASCII)
ENDINGS = frozenset({"case.resolved", "case.closed", "case.invalidated"})
"""Events after which nobody needs to act."""
SCHEDULE_S = (0.0, 1.0, 5.0, 30.0, 120.0, 600.0, 3600.0, 21_600.0)

Priority = Literal["low", "normal", "high", "urgent"]


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """One HTTP request. Its repr shows neither URL nor headers nor body: each may hold a secret."""

    method: str
    url: str | Hidden
    headers: Mapping[str, str | Hidden] = {}
    body: Any = None
    """Sent as JSON, with secrets in it still hidden; None sends no body."""
    form: Mapping[str, str | Hidden] = {}
    """Sent as a form, in place of a body."""
    fine: frozenset[int] = frozenset()
    """Statuses besides 2xx that the conversation reads itself (404: not there yet)."""
    imagined: Any = None
    """What a dry run takes for the answer's JSON."""
    imagined_status: int = 200

    def __repr__(self) -> str:
        return f"Request({self.method!r})"


class Mail(msgspec.Struct, frozen=True, kw_only=True):
    """One message for a mail server."""

    message: EmailMessage
    sender: str
    recipients: tuple[str, ...]
    host: str
    port: int
    security: Literal["starttls", "tls", "none"]
    user: str
    password: Hidden
    ca_file: str = ""

    def __repr__(self) -> str:
        return "Mail()"


class Notice(msgspec.Struct, frozen=True, kw_only=True):
    """One message for the `apprise` library."""

    url: Hidden
    title: str
    text: str
    severity: str

    def __repr__(self) -> str:
        return "Notice()"


class Reply(msgspec.Struct, frozen=True):
    """What a request was answered with: status 2xx, or one that the request called fine."""

    status: int
    json: Any = None

    def pick(self, *path: str | int) -> Any:
        """The value at *path* of the answer. Raises TargetError when the tool answered something else."""
        found = self.json
        for step in path:
            try:
                found = found[step]
            except (KeyError, IndexError, TypeError):
                raise TargetError("bad_answer", permanent=False) from None
        return found

    def pick_id(self, *path: str | int) -> str:
        """The id at *path*: a short text or a number, sound enough to stand in a URL."""
        found = self.pick(*path)
        if isinstance(found, bool) or not isinstance(found, (str, int)) or not _ID.fullmatch(str(found)):
            raise TargetError("bad_answer", permanent=False)
        return str(found)


_ID = re.compile(r"[A-Za-z0-9_.:-]{1,128}", re.ASCII)


class TargetError(Exception):
    """The tool did not take the event. *reason* is one of our words, never the tool's text."""

    def __init__(self, reason: str, *, permanent: bool, retry_after_s: float = 0.0, ours: bool = False) -> None:
        super().__init__(reason)
        self.reason, self.permanent, self.retry_after_s = reason, permanent, retry_after_s
        self.ours = ours
        """Only this message was at fault: the next one may well be taken."""


Talk = Generator[Request | Mail | Notice, Reply, str]
"""Returns what to remember of the case: empty for nothing new."""


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """One event, as a target hears of it."""

    id: str
    type: str
    """Without the `tocsin.` prefix."""
    case: str
    """Empty for an event that concerns no case."""
    values: Mapping[str, str]
    event: Mapping[str, Any]
    remembered: str = ""
    """What the last conversation about this case returned."""

    @property
    def key(self) -> str:
        """What a repeat has in common with the first: the case, or the event that has none."""
        return self.case or self.id


class Kit(msgspec.Struct, frozen=True, kw_only=True):
    """What a target needs besides the event: its secrets by the name of their setting, and its template."""

    secrets: Mapping[str, Hidden]
    shapes: Mapping[str, Shape]

    def fill(self, name: str, told: Told, escape: Escape = str) -> Any:
        return fill(self.shapes[name], told.values, escape)

    def __repr__(self) -> str:
        return "Kit(...)"


class Target(Protocol):
    """A tool. One class of settings for each, below `Common`, is one of these."""

    def talk(self, told: Told, kit: Kit) -> Talk:
        """The conversation about one event; ends at once for an event that the tool needs no word of."""


class Common(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind"):
    """The settings that all targets share. Secrets are references, `env:NAME` or `file:/path`."""

    secret_fields: ClassVar[tuple[str, ...]] = ()
    """Settings that are references to secrets; an empty one is a secret that is not used."""
    sections: ClassVar[tuple[str, ...]] = ()
    """What the tool's template holds."""
    concurrency: ClassVar[int] = 4
    """Attempts at once, for each programme."""
    repeats: ClassVar[bool] = False
    """What is remembered is said again, all of it, every `repeat_s`."""

    name: str
    """Stands in keys, metrics and logs."""
    events: tuple[str, ...] = ("case.*", "clock.warned", "clock.breached")
    """Globs over event types, with or without the `tocsin.` prefix."""
    programmes: tuple[str, ...] = ()
    """Empty means all."""
    min_priority: Priority = "low"
    """Cases below it are not told of; one that was told of is told of to its end."""
    template: str = ""
    """A file in place of the tool's own template, relative to the settings; it may hold some sections only."""
    link: str = ""
    """A link for people, with `{{ case }}` in it."""
    allow_private: bool = False
    """Also connect to private and loopback addresses."""
    timeout_s: float = 15.0
    """For one request."""
    max_age_s: float = 86_400.0
    """An event that waited longer is no longer news: it expires to the dead letters."""
    per_second: float = 10.0
    """Requests started in a second, at most, by one process."""

    def wants(self, programme: str, type_: str) -> bool:
        if self.programmes and programme not in self.programmes:
            return False
        short = type_.removeprefix("tocsin.")
        return any(fnmatchcase(short, glob.removeprefix("tocsin.")) for glob in self.events)

    def common_problems(self) -> list[str]:
        found = []
        if not _NAME.fullmatch(self.name):
            found.append("the name must be letters, digits, '.', '_' and '-', 64 at most")
        if not 0 < self.timeout_s <= 60:
            found.append("timeout_s must be above 0, and 60 at most")
        if not 0 < self.max_age_s <= 30 * 86_400:
            found.append("max_age_s must be above 0, and 2592000 at most")
        if not 0 < self.per_second <= 1000:
            found.append("per_second must be above 0, and 1000 at most")
        return found + self.problems()

    def problems(self) -> list[str]:
        """What is wrong with the settings of this tool."""
        return []


def url_problems(name: str, url: str) -> list[str]:
    """Whether *url* can be the address of a tool: `https://host` or `http://host`, without user and password."""
    if re.fullmatch(r"https?://[^\s/@?#]+(/[^\s?#]*)?", url):
        return []
    return [f"{name} must be http:// or https:// and a host, without user or password; put those into their settings"]
