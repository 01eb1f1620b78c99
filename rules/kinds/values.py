"""What goes into a window and what comes out: facts and findings, and the settings that every kind shares.

A *fact* says that one response counts under one key of one rule; `rules/watching.py` makes them. A *finding* says
that an alert was raised, joined or ended; whoever opens systemic cases reads them. Values only.
"""

from enum import StrEnum
from typing import ClassVar, Literal

import msgspec

from feedback.ids import event_id, response_key
from feedback.instants import Instant

MAX_LISTED = 50
"""Responses, and cases, that one finding names; its totals count all of them."""


class Role(StrEnum):
    """As what a response counts."""

    COUNTS = "counts"
    PART = "part"
    """Counts, and is of the part whose share is watched."""
    FIRST = "first"
    """The `a` of a sequence."""
    THEN = "then"
    """The `b` of a sequence."""


class Ref(msgspec.Struct, frozen=True, array_like=True, order=True):
    """One response, by what makes it unique."""

    programme: str
    source: str
    id: str


class WindowFact(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One response counts under one key of one window rule. Small enough to be published for every such response."""

    rule: str
    window: str
    """`Window.id`: the same while an edit changes thresholds or texts only."""
    scope: str = ""
    """The programme, or empty for a window over all of them (`by: none`)."""
    key: str = ""
    """The value of what the rule is keyed by; empty for `programme` and `none`."""
    ref: Ref
    occurred_at: Instant
    received_at: Instant
    role: Role = Role.COUNTS
    value: str = ""
    """The value looked at by `new_value`."""
    score: float = 0.0
    """The number looked at by `change`."""
    case: str = ""
    """Id of the response's own case, where one is known."""
    customer: str = ""

    @property
    def place(self) -> tuple[str, str, str]:
        """Under which its memory is kept: one `Track` for each."""
        return (self.window, self.scope, self.key)

    @property
    def at(self) -> Instant:
        """Event time; a response from the future (somebody's clock is wrong) is taken as of its receipt."""
        return min(self.occurred_at, self.received_at)

    @property
    def hash(self) -> int:
        """64 bits for the response, by which it is counted once."""
        return response_key(self.ref.programme, self.ref.source, self.ref.id)


class Finding(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An alert of a window rule was raised, was joined by one more response, or ended."""

    kind: Literal["raised", "joined", "ended"]
    rule: str
    version: str
    """Of the rule by whose thresholds it was found."""
    window: str
    scope: str
    key: str
    value: str = ""
    """The new value, for `new_value`: each has an alert of its own."""
    opened_at: Instant
    """Event time at which the alert was raised; names it among all those of its key, for no two have the same."""
    since: Instant
    """When what it is about began: the first response of the window, or the last before a silence."""
    until: Instant
    """When what is said became true (event time); for `ended` the end of the alert, half-open."""
    ripe_at: Instant = Instant(0)
    """Joined: when the window in which it counts was over, where that is later than `until`."""
    count: int
    """Raised: responses in the window. Joined and ended: responses of the alert so far."""
    baseline: float | None = None
    """What is usual, where the kind knows it: responses (spike), seconds (absence), the former score (change)."""
    threshold: float
    measure: float
    """What was held against the threshold, in the same unit."""
    refs: tuple[Ref, ...] = ()
    """Raised: the latest of its responses, `MAX_LISTED` at most, oldest first. Joined: the one. Ended: none."""
    cases: tuple[str, ...] = ()
    """The cases of the window's responses, bounded likewise, each once."""
    cases_total: int = 0
    """How many different cases the window's remembered responses have."""
    why: str
    """For a person."""

    @property
    def alert(self) -> str:
        """The id that raised, joined and ended have in common; the same on every replay."""
        return event_id("window", self.window, self.scope, self.key, self.value, str(self.opened_at))

    @property
    def occurrence(self) -> str:
        """Tells this finding from all others of its alert; for an event's id."""
        joined = "/".join((*msgspec.structs.astuple(self.refs[-1]),)) if self.kind == "joined" and self.refs else ""
        return f"{self.kind} {self.opened_at} {joined}".strip()


What = Literal["late", "ids", "values", "keys", "not_in_force"]


class Dropped(msgspec.Struct, frozen=True, kw_only=True):
    """Something was not counted, or forgotten before its time. Not an error; for a counter, and for `explain`."""

    rule: str
    window: str
    scope: str
    key: str
    what: What
    """`late`: older than every open window (so may a correction be). `ids`: more responses than are remembered, and
    the oldest was let go of. `values`: more than are remembered, and this one was not taken. `keys`: more keys than
    are remembered, and this one was forgotten. `not_in_force`: of another lane, which judged by other rules."""
    count: int = 1


Event = Finding | Dropped


class Window(msgspec.Struct, frozen=True, kw_only=True):
    """The settings of one window rule that do not hang on its kind."""

    rule: str
    version: str
    title: str = ""
    id: str
    """Made of what state depends on, so that an edit of thresholds or texts keeps it."""
    by: str = "none"
    """`none`, `programme`, `theme`, `customer`, or `attributes.<name>`."""
    ancestors: bool = False
    """`by: theme` counts a response under the themes above its own as well."""
    kind: "Kind"
    late_s: int = 600
    """Out of order by so much at most; a window closes this long after its end."""
    open_after: int = 1
    """Judgements in a row that must find it true before an alert is raised."""
    stay_open_s: int = 3600
    """An alert ends when the condition was last true so long ago."""
    keep_s: int = 90 * 86_400
    """After so long without a response a key is forgotten, by the kinds whose memory has no end of its own."""
    max_ids: int = 1000
    """Responses remembered for one key."""
    max_keys: int = 10_000
    """Keys remembered for the rule."""


class Kind(msgspec.Struct, frozen=True, kw_only=True):
    """What a kind's struct must answer; see `rules.kinds` for how it is called."""

    lingers: ClassVar[bool] = True
    """Its alerts end `stay_open` after the condition was last true; else the kind ends them itself."""

    def take(self, window: Window, track: "Track", item: "Seen", quiet: bool) -> list[Event]:
        """One response counts; `track.watermark` has been moved on and *item* is not in `track.seen` yet.

        *quiet*: catching up; kinds that compare with what is usual by now raise nothing.
        """
        raise NotImplementedError

    def fire(self, window: Window, track: "Track", quiet: bool) -> list[Event]:
        """The watermark has moved: what has come true by that alone, and forgetting what no open window needs."""
        raise NotImplementedError

    def due_at(self, window: Window, track: "Track", quiet: bool) -> Instant | None:
        """The watermark at which `fire` should be asked again, endings of alerts aside; None for never.

        Never later than the instant at which the key has nothing left to remember.
        """
        raise NotImplementedError


class Seen(msgspec.Struct, array_like=True, order=True):
    """A response as a key remembers it. The order of fields is stored, and is the order they sort by."""

    at: Instant
    hash: int
    role: str
    ref: Ref
    case: str = ""
    value: str = ""
    score: float = 0.0


class Alert(msgspec.Struct, array_like=True):
    """An alert that is open. The order of fields is stored."""

    opened_at: Instant
    since: Instant
    last_at: Instant
    """Event time at which the condition was last true."""
    total: int
    """Responses so far."""


class Track(msgspec.Struct, array_like=True, dict=True):
    """All that is remembered of one key of one window. One shape for every kind; the order of fields is stored."""

    scope: str
    key: str
    watermark: Instant
    """Windows that end before it are closed."""
    alerts: dict[str, Alert] = {}
    """By value for `new_value`; else at most one, under the empty text."""
    streak: dict[str, int] = {}
    """Judgements in a row that found it true, where no alert is open; by value likewise."""
    seen: list[Seen] = []
    """Responses of the windows that are open, sorted."""
    ids: list[int] = []
    """Responses counted whose `seen` is gone, oldest first; only of kinds that count what is closed."""
    counts: dict[int, int] = {}
    """Bucket to responses (`spike`), or hash of a known value to when it became known (`new_value`)."""
    first_at: Instant = Instant(0)
    """When its history begins; 0 before it does."""
    last_at: Instant = Instant(0)
    """Event time of the latest response taken."""

    def is_new(self, hash_: int, most: int) -> bool:
        """Whether *hash_* is not among `ids`; it is then put there, and the oldest beyond *most* are let go of."""
        known: set[int] | None = self.__dict__.get("known")  # not stored: a list of a thousand is dear to search
        if known is None or len(known) != len(self.ids):
            known = self.__dict__["known"] = set(self.ids)
        if hash_ in known:
            return False
        known.add(hash_)
        self.ids.append(hash_)
        if len(self.ids) > most:
            known.discard(self.ids.pop(0))
        return True


def new_track(fact: WindowFact) -> Track:
    return Track(scope=fact.scope, key=fact.key, watermark=Instant(0))
