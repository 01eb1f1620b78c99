"""One case: the state that decisions need, how it is stored, and how it is shown.

Texts, history and what was said live in the store's record, folded from events; here is only what the next
decision asks for, packed with msgspec as a plain array. The order of `Case`'s fields is a stored schema:
add at the end with a default, and raise `shard.VERSION` for anything else.
"""

import zlib
from collections.abc import Mapping
from copy import copy
from typing import Any

import msgspec

from cases import clocks, sealing
from cases.clocks import Clock
from cases.events import Standing
from cases.lifecycle import Status
from cases.sealing import Keys
from feedback.ids import CaseId
from feedback.instants import Instant, rfc3339
from feedback.records import Scalar
from rules.model import ClockSpec, MilestoneSpec, Priority, Trigger

REMEMBERED = 64
"""How many responses and actions a case remembers, newest kept; bounds its size."""


class FiredRule(msgspec.Struct, frozen=True, array_like=True):
    """A rule that opened or joined a case, at the version that fired."""

    id: str
    version: str
    title: str


class Alarm(msgspec.Struct, array_like=True):
    """The alert of a systemic case that goes on. Mutable; the order of fields is stored."""

    alert: str
    """Id of the alert, the same in all that is found of it."""
    since: Instant
    count: int
    """Responses so far."""
    refs: list[tuple[str, str, str]] = []
    """(programme, source, id) of those that joined and were not said yet, newest last, bounded."""
    joined: int = 0
    """How many those are."""
    told_at: Instant = Instant(0)
    """When they are to be said; 0 while there are none."""


class Case(msgspec.Struct, array_like=True, kw_only=False):
    """A promise to act. Mutable, because it is unpacked afresh for each step and packed again after it."""

    id: CaseId
    programme: str
    customer: str
    """Empty when anonymous."""
    type: str
    subject: str
    priority: Priority
    role: str
    fallback_role: str
    opened_at: Instant
    rules: list[FiredRule]
    routing: dict[str, Scalar]
    """The attributes that rosters route by (site, segment), from the opening response."""
    clocks: list[Clock]
    notice: str = ""
    next_best_action: str = ""
    channel: str = ""
    touchpoint: str = ""
    statutory: bool = False
    reopen_for_s: int = 0
    status: Status = Status.NEW
    status_at: Instant = Instant(0)
    owner: str = ""
    tried: list[str] = []
    """People who had it and did not acknowledge it."""
    level: int = 0
    """How many times it was escalated."""
    sequence: int = 0
    actions: list[int] = []
    outcome: dict[str, Any] = {}
    ending: str = ""
    resolved_at: Instant = Instant(0)
    closed_at: Instant = Instant(0)
    reopened: int = 0
    earlier: list[str] = []
    """Cases of the same customer that were there when this one opened, newest first, five at most."""
    later: list[ClockSpec] = []
    """Clocks that start at a later moment of its life (acknowledged, resolved)."""
    linked: str = ""
    """The forgotten case that this one reopens."""
    reached: list[tuple[str, str, Instant]] = []
    """(issue, milestone, when it happened), newest last, `REMEMBERED` at most."""
    milestones: list[MilestoneSpec] = []
    """What the packs of the rules that opened it know of milestones."""
    barred: list[str] = []
    """People who may not own it (again): a stage that must be looked at by somebody else."""
    owners: list[str] = []
    """Everybody who ever owned it, `REMEMBERED` at most."""
    closing: list[str] = []
    """Fields of the outcome that must be said before it closes."""
    about: dict[str, Any] = {}
    """Property, household, parties, attachments by reference: what people said of it."""
    hazards: dict[str, str] = {}
    """Issue to its hazard."""
    chain: bytes = b""
    """Hash of the last event of its trail (`trail.py`); empty before the first."""
    leaf: int = 0
    """Under which key what is personal is sealed; 0 while nothing is."""
    private: dict[str, Any] = {}
    """In its stored form the token of what is personal, whose own fields are then empty; see `_sealed`."""
    erased_at: Instant = Instant(0)
    """When its customer was last erased from it."""
    alarm: Alarm | None = None
    """Of a systemic case, while its alert goes on."""
    theme: str = ""
    """The first theme of the response that opened it; of a systemic case by theme, that one."""

    @property
    def issues(self) -> list[str]:
        """What its clocks are about, oldest first."""
        lawful = [c.issue for c in self.clocks if c.spec.law]
        return list(dict.fromkeys([*lawful, *(issue for issue, _, _ in self.reached)]))

    def reached_at(self, milestone: str, issue: str) -> Instant | None:
        """When *milestone* was last reached, for this issue or for the case as a whole."""
        return max((at for i, m, at in self.reached if m == milestone and i in (issue, "")), default=None)

    @property
    def is_open(self) -> bool:
        return self.status is not Status.CLOSED


_packer = msgspec.msgpack.Encoder()
_unpacker = msgspec.msgpack.Decoder(Case)
_json = msgspec.json.Encoder(order="sorted")  # sorted, so that it stands in a hashed event as it is


_LARGE = 2048
"""Bytes past which a case is stored compressed: one under the law carries all its clocks' texts, 7 KB that become 2."""
_COMPRESSED, _LIKE = b"z", b"d"
"""First byte of a compressed case, and of one compressed with a sample; a plain one begins with an array's."""
_WINDOW = -15
"""No header, and a window that holds the sample and the case."""


def pack(case: Case, keys: Keys | None = None, like: bytes = b"") -> bytes:
    """*case* as it is stored; with *keys* what is personal in it is sealed.

    With a `sample` of the cases beside it, *like*, it takes two fifths of the room: clocks, rules and names are alike.
    That costs 12 us, and is what a snapshot writes of every case of a drawer in which one has changed.
    """
    if keys is not None and case.leaf:
        _, sealed = _sealed(case, keys)
        case = copy(case)
        case.customer, case.subject, case.about, case.outcome = "", "", {}, {}
        case.private = {_AS_SHOWN if name == sealing.SEALED else name: value for name, value in sealed.items()}
    packed = _packer.encode(case)
    if like:
        smaller = zlib.compressobj(1, zlib.DEFLATED, _WINDOW, zdict=like)
        return _LIKE + smaller.compress(packed) + smaller.flush()
    return packed if len(packed) <= _LARGE else _COMPRESSED + zlib.compress(packed, 1)


def sample(case: Case) -> bytes:
    """What other cases are stored *like*: this one, without what is the customer's."""
    case = copy(case)
    case.customer, case.subject, case.about, case.outcome, case.private = "", "", {}, {}, {}
    case.routing, case.earlier = {}, []
    return _packer.encode(case)


def _plain(packed: bytes, like: bytes) -> bytes:
    if packed[:1] == _LIKE:
        return zlib.decompressobj(_WINDOW, zdict=like).decompress(packed[1:])
    return zlib.decompress(packed[1:]) if packed[:1] == _COMPRESSED else packed


def unpack(packed: bytes, keys: Keys | None = None, like: bytes = b"") -> Case:
    """The case that was stored as *packed* (*like* what). What was sealed under a key that is gone stays empty."""
    case = _unpacker.decode(_plain(packed, like))
    if case.private and keys is not None:
        token, place = case.private.get(_AS_SHOWN), "case"
        if token is None:  # form 2 of the shards sealed state and record apart
            token, place = case.private.get(sealing.SEALED), "state"
        private = sealing.unseal(keys, (case.id, place), token) if token is not None else None
        for name, value in (private or {}).items():
            setattr(case, name, value)
        case.private = {}
        if private and place == "case":
            case.private = {_OF: (case.leaf, private), _AS_SHOWN: token}
    return case


_AS_SHOWN = "shown"
"""The member of `Case.private` that holds the token which the case's record has too."""
_OF = "of"
"""While the case is in hand: (key, what was sealed under it) of that token, which is used again while both are so."""


def _sealed(case: Case, keys: Keys) -> tuple[dict[str, Any], dict[str, Any]]:
    """(what is personal in *case*, what stands in its place). Sealing costs 15 us, and little changes in a case."""
    private = {name: value for name in sealing.PRIVATE_CASE if (value := getattr(case, name))}
    of = (case.leaf, private)
    if not private:
        return private, {}
    if case.private.get(_OF) == of:
        return private, {sealing.SEALED: case.private[_AS_SHOWN]}
    sealed = sealing.seal(keys, case.leaf, (case.id, "case"), private)
    case.private = {_OF: of, _AS_SHOWN: sealed[sealing.SEALED]} if sealing.SEALED in sealed else {}
    return private, sealed


def wake_at(case: Case) -> Instant | None:
    """When this case next has something due: a clock, or, once closed, its being forgotten."""
    if case.status is Status.CLOSED:
        return Instant(case.closed_at + case.reopen_for_s)
    due = [at for c in case.clocks if (at := clocks.wake_at(c)) is not None]
    if case.alarm is not None and case.alarm.told_at:
        due.append(case.alarm.told_at)
    return min(due, default=None)


def due_at(case: Case) -> Instant | None:
    """The earliest deadline of a clock that is still to be kept."""
    return min((c.due_at for c in case.clocks if c.is_live), default=None)


def standing(case: Case) -> Standing:
    return Standing(
        status=case.status.value,
        open=case.is_open,
        owner=case.owner,
        opened_at=case.opened_at,
        due_at=due_at(case),
    )


def record(view: Mapping[str, Any]) -> msgspec.Raw:
    """A view of a case as JSON, for `data.case` of its events and for the store."""
    return msgspec.Raw(_json.encode(view))


def sealed_view(case: Case, keys: Keys | None) -> tuple[dict[str, Any], dict[str, Any]]:
    """(the view of *case* that may lie anywhere, what was sealed in it); without *keys* nothing is sealed."""
    shown = view(case)
    if keys is None or not case.leaf:
        return shown, {}
    private, sealed = _sealed(case, keys)
    return {name: value for name, value in shown.items() if name not in private} | sealed, private


def view(case: Case) -> dict[str, Any]:
    """The case as people read it: `data.case` of its events and the store's record."""
    due = due_at(case)
    shown: dict[str, Any] = {
        "id": case.id,
        "programme": case.programme,
        "type": case.type,
        "subject": case.subject,
        "customer": case.customer,
        "status": case.status,
        "status_at": rfc3339(case.status_at),
        "priority": case.priority.name.lower(),
        "owner": case.owner,
        "role": case.role,
        "level": case.level,
        "opened_at": rfc3339(case.opened_at),
        "due_at": None if due is None else rfc3339(due),
        "overdue": any(c.state is clocks.State.BREACHED for c in case.clocks),
        "rules": [{"id": r.id, "version": r.version, "title": r.title} for r in case.rules],
        "next_best_action": case.next_best_action,
        "statutory": case.statutory,
        "clocks": [
            {
                "name": c.name,
                "state": c.state,
                "started_at": rfc3339(c.started_at),
                "due_at": rfc3339(c.due_at),
                "occurrence": c.occurrence,
                "breached": c.breached,
                **({"issue": c.issue} if c.issue else {}),
                **({"law": c.spec.law} if c.spec.law else {}),
            }
            for c in case.clocks
        ],
        "sequence": case.sequence,
        "reopened": case.reopened,
        "earlier": case.earlier,
    }
    if case.outcome:
        shown["outcome"] = case.outcome
    if case.ending:
        shown["ending"] = case.ending
        shown["closed_at"] = rfc3339(case.closed_at)
    if case.erased_at:
        shown["erased_at"] = rfc3339(case.erased_at)
    if case.linked:
        shown["linked"] = case.linked
    if case.reached:
        shown["milestones"] = [{"name": m, "issue": i, "at": rfc3339(at)} for i, m, at in case.reached]
    if case.about:
        shown["about"] = case.about
    return shown


def fired_rules(triggers: list[Trigger]) -> list[FiredRule]:
    return [FiredRule(t.rule, t.version, t.title) for t in triggers]


def routing_of(attributes: Mapping[str, Scalar]) -> dict[str, Scalar]:
    """The part of a response's *attributes* that rosters route by."""
    return {name: attributes[name] for name in ("site", "segment") if name in attributes}
