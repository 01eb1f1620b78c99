"""What a rule says, once read and checked. Values only.

`parse.py` makes these from files; `judge.py` asks a `Rule` about a response and answers with a `Trigger`;
a case copies the clocks it needs, so that a later edit of the rule leaves it alone.
"""

from enum import IntEnum, StrEnum

import msgspec


class Priority(IntEnum):
    """How soon a person must look; the higher number wins when several rules fire on one identity."""

    LOW = 1
    NORMAL = 2
    HIGH = 3
    URGENT = 4


class ClockStart(StrEnum):
    OPENED = "opened"
    ACKNOWLEDGED = "acknowledged"
    RESOLVED = "resolved"


class Rung(msgspec.Struct, frozen=True, array_like=True):
    """One step of an escalation ladder: `after_s` seconds past the breach, tell `role`."""

    after_s: int
    role: str


class ClockSpec(msgspec.Struct, frozen=True, array_like=True):
    """A promise counted in time. Declared by a rule, run by a case (`cases/clocks.py`).

    `array_like`: a case carries its clocks' specs in its snapshot, so the order of these fields is stored.
    """

    name: str
    """Unique within a case: when several rules bring the same name, the one due first is kept."""
    length_s: int
    """Elapsed seconds from its start to the first instant that is late."""
    meets: tuple[str, ...]
    """Verbs that meet it: `contact`, `resolve` …; the reserved `activity` means any action of a person."""
    starts: ClockStart = ClockStart.OPENED
    recurring: bool = False
    """Armed afresh from each meeting, and from each breach."""
    restarts: bool = False
    """A meeting starts it over without a `clock.met` (the idle clock)."""
    warn_s: tuple[int, ...] = ()
    """Seconds before `due_at` at which to warn, descending (the earliest warning first)."""
    ladder: tuple[Rung, ...] = ()
    pausable: bool = False
    extendable_s: int = 0
    """The longest total extension; 0 when it may not be extended."""
    takeover: bool = False
    """On breach the case goes to the next on its owner's roster (the owner's acknowledgement)."""


class CaseSpec(msgspec.Struct, frozen=True, kw_only=True):
    """What to open when a rule fires."""

    type: str
    subject: str = ""
    """How identity is narrowed: empty, `theme` (the deepest theme that matched), or `attributes.<name>`."""
    priority: Priority = Priority.NORMAL
    role: str
    """The roster role that owns it."""
    fallback_role: str = ""
    clocks: tuple[ClockSpec, ...] = ()
    acknowledgement: str = ""
    """Template of the message to the customer; empty sends none."""
    notice: str = ""
    """Template of the message to the owner."""
    next_best_action: str = ""
    statutory: bool = False
    reopen_for_s: int = 90 * 86_400
    """How long a closed case is remembered and may be reopened."""


class Trigger(msgspec.Struct, frozen=True, kw_only=True):
    """A rule's finding about one response."""

    rule: str
    version: str
    """First 8 hex digits of the hash of the rule as written."""
    title: str
    why: tuple[str, ...]
    """The lines that held, each with the values it saw: `bands.nps == "detractor" (nps 3)`."""
    case: CaseSpec
    subject: str = ""
    """`case.subject` resolved on this response."""


class RuleFailure(msgspec.Struct, frozen=True, kw_only=True):
    """One line of one rule could not be evaluated on one response; the other rules went on."""

    rule: str
    version: str
    line: str
    error: str


class Judgement(msgspec.Struct, frozen=True, kw_only=True):
    """What all the rules of a set had to say about one response."""

    triggers: tuple[Trigger, ...] = ()
    failures: tuple[RuleFailure, ...] = ()
