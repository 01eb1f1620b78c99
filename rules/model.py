"""What a rule says, once read and checked. Values only.

`parse.py` makes these from files; `judge.py` asks a `Rule` about a response and answers with a `Trigger`;
a case copies the clocks it needs, so that a later edit of the rule leaves it alone.
"""

from enum import IntEnum, StrEnum

import msgspec

from feedback.instants import Instant
from rules.length import Length


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
    length: Length | None = None
    """Counted on a calendar; `length_s` is then only an estimate, for telling longer from shorter. None: elapsed."""
    warnings: tuple[str, ...] = ()
    """As written (`50%`, `2 working days before`), where `warn_s` is known only when it is armed."""
    law: str = ""
    """Pack, paragraph and what it demands, of a clock of the law; empty for a promise of our own."""
    begins: tuple[str, ...] = ()
    """Moments that start it (`milestone:aware`, `breach:<clock>`), in place of `starts`."""
    ended_by: tuple[tuple[str, str], ...] = ()
    """Moments that end it, each with the reason."""
    unless_live: tuple[str, ...] = ()
    """Clocks beside which it does not start."""
    needs_all: bool = False
    """Met only when every one of `meets` has happened."""
    again_each: bool = False
    """Each of its moments starts another one; else only the first does."""
    counts_from: str = ""
    """Moment from whose time it counts, when that is not the one that starts it."""
    extend: Length | None = None
    """How far it may be put off in all, for one of whole days; `extendable_s` for elapsed time."""
    extend_by: tuple[str, ...] = ()
    """Roles whose holders may put it off; empty for anybody who may act."""
    from_at: Instant = Instant(0)
    """First instant at which its law applied (to this hazard)."""
    to_at: Instant = Instant(0)
    """First instant at which it no longer did; 0 while it does."""
    hazard: str = ""
    """What `from_at` is about: an issue runs the clocks of its own hazard."""
    unless_done: bool = False
    """Does not start where what would meet it has been done since what its moment follows."""

    @property
    def moments(self) -> tuple[str, ...]:
        """What starts it."""
        return self.begins or (self.starts.value,)


class MilestoneSpec(msgspec.Struct, frozen=True, array_like=True):
    """What is known of one milestone: when it may be reported, and what must be said with it."""

    name: str
    after: tuple[str, ...] = ()
    """One of these must have been reached before it."""
    finding: tuple[str, ...] = ()
    """What `data.finding` must say; empty when it says nothing."""
    new_owner: bool = False
    """The case goes to somebody who has not owned it before."""


OUTCOME_FIELDS = ("problem", "action_taken", "customer_told", "satisfied")
"""What a case must say of itself before it may close, unless its rule asks for more."""


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
    reaches: tuple[str, ...] = ()
    """Moments of its packs that an opening, or a new issue, reaches: `milestone:aware`."""
    milestones: tuple[MilestoneSpec, ...] = ()
    hazard: str = ""
    """The hazard of its packs, which decides when their law came to apply."""
    issue: str = ""
    """What the clocks of the law are about: `theme`, or a fixed text; several issues of one case run their own."""
    closing: tuple[str, ...] = OUTCOME_FIELDS
    """Fields of the outcome that must be said before it closes."""


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
    issue: str = ""
    """`case.issue` resolved on this response."""


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

    def statutory(self) -> "Judgement":
        """The same, of what fired only what opens a case under the law."""
        return Judgement(triggers=tuple(t for t in self.triggers if t.case.statutory), failures=self.failures)
