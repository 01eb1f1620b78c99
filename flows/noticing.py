"""Noise control in the flow: what cases ask to be told is told, held back, or told in a digest.

    shards, windows -> notices (one drawer a lane) -> sinks

A case asks (`notice.asked`, part of its trail); what becomes of it is decided here under the policy of its rule set
(`cases/noise.py`) and is an event of its own, which names what was asked and says why. It is no part of the case's
trail: the trail says what was due to be told, these say what was done about it.

What happens in one second is looked at together, `SETTLE_S` after it, in an order of its own (instant, id). So
whichever of two cases was worked on first makes no difference, and a replay decides what the live run decided.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec
from bytewax.operators import StatefulBatchLogic

from cases import noise as noises
from cases.events import Event, caseless
from cases.noise import MAX_SILENCE_S, Decision, Heed, Noise, Silence
from cases.sealing import SEALED, Keys, UnknownVault, unseal
from feedback.ids import CaseId, event_id
from feedback.instants import Instant, parse_instant, rfc3339
from feedback.records import Control
from flows.indexes import DueIndex
from flows.keyed import SnapshotError, check, checksum
from rules.noise import NoisePolicy
from rules.ruleset import RuleSet

VERSION = 1
"""Of the stored form: `_Drawer` and all that is in it."""
SETTLE_S = 2
"""All of a second is known this much later."""

Stored = tuple[int, int, bytes, int]
"""(version, shard, drawer, its checksum)."""


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """What was said of a case that noise control follows, as much of it as is needed later."""

    type: str
    id: str
    programme: str
    case: str
    sequence: int
    heed: Heed
    change: str = ""
    data: dict[str, Any] = {}
    """Of a notice: as it was asked, what is personal sealed."""
    record: bytes = b""
    """Of a notice: the case as it stood."""


class Quieted(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody asked for silence, or ended one."""

    id: str
    at: Instant
    programme: str
    by: str
    data: dict[str, Any]
    begins: bool


class Look(msgspec.Struct, frozen=True, kw_only=True):
    """An item for the drawer: something that it follows, or, with neither, the time."""

    shard: int
    at: Instant
    seen_at: Instant
    rules: Mapping[str, RuleSet]
    keys: Keys | None = None
    asked: Asked | None = None
    quieted: Quieted | None = None


class Muffled(msgspec.Struct, kw_only=True):
    """What one programme's noise control remembers."""

    policy: NoisePolicy = NoisePolicy()
    noise: Noise = msgspec.field(default_factory=Noise)


class _Drawer(msgspec.Struct, kw_only=True):
    looked_until: Instant = Instant(0)
    programmes: dict[str, Muffled] = {}
    asked: list[Asked] = []
    """What is not looked at yet, as it came."""
    quieted: list[Quieted] = []


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_Drawer).decode


def asked_of(event: Event) -> Asked | None:
    """What noise control is to know of *event*; None when it does not follow it."""
    if event.heed is None or event.case is None:
        return None
    is_notice = event.heed.notice is not None
    return Asked(
        type=event.type,
        id=event.id,
        programme=event.programme,
        case=event.case,
        sequence=event.sequence,
        heed=event.heed,
        change=str(event.data.get("change", "")),
        data={k: v for k, v in event.data.items() if k not in _OF_THE_TRAIL} if is_notice else {},
        record=bytes(event.record) if is_notice and event.record is not None else b"",
    )


_OF_THE_TRAIL = ("previous", "hash", "detected_at", "late")


def quieted_by(control: Control) -> Quieted:
    """What a control of the stream asks for."""
    programme = str(control.data.get("programme", "default"))
    return Quieted(
        id=control.id, at=control.received_at, programme=programme, by=control.by, data=control.data,
        begins=control.do == "silence",
    )  # fmt: skip


def notice_key(shard: int) -> str:
    """The key of the dataflow for a lane's drawer."""
    return f"n{shard:05d}"


class NoticeStep:
    """The drawer: what is said of cases and the time in, events out. Under Bytewax and under virtual time alike."""

    def __init__(self, stored: Stored | None, due: DueIndex) -> None:
        """Raises SnapshotError."""
        self._due, self._shard, self._held = due, -1, _Drawer()
        if stored is not None:
            version, self._shard, body, crc = stored
            if version != VERSION:
                raise SnapshotError(
                    f"notices are stored in form {version} and this release reads {VERSION}; "
                    "run the release that wrote them, or a later one"
                )
            check("the notices that wait", crc, body)
            self._held = _decode(body)
            self._register()

    def take(self, looks: Iterable[Look]) -> list[Event]:
        """Remember what is new; at a tick, decide on everything that happened `SETTLE_S` before it."""
        said: list[Event] = []
        for look in looks:
            self._shard = look.shard
            if look.asked is not None:
                self._held.asked.append(look.asked)
            elif look.quieted is not None:
                self._held.quieted.append(look.quieted)
            else:
                said += self._look(look)
        self._register()
        return said

    def _register(self) -> None:
        """When to look next: once what is new has settled, and once what is held may go."""
        held = self._held
        settled = [one.heed.at for one in held.asked] + [one.at for one in held.quieted]
        wakes = [at for one in held.programmes.values() if (at := noises.wake_at(one.noise)) is not None]
        times = [*settled, *wakes]
        self._due.register(self._shard, Instant(min(times) + SETTLE_S) if times else None)

    def _look(self, look: Look) -> list[Event]:
        held, until = self._held, Instant(look.at - SETTLE_S)
        said: list[Event] = []
        for programme, rules in look.rules.items():
            said += self._take_up(programme, rules.noise or NoisePolicy(), until, look)
        settled: list[tuple[Instant, str, int, Asked | Quieted]] = [
            *((one.heed.at, one.case, one.sequence, one) for one in held.asked if one.heed.at <= until),
            *((one.at, "", place, one) for place, one in enumerate(held.quieted) if one.at <= until),
        ]
        held.asked = [one for one in held.asked if one.heed.at > until]
        held.quieted = [one for one in held.quieted if one.at > until]
        for at, _, _, one in sorted(settled, key=lambda found: found[:3]):
            at = Instant(max(at, held.looked_until))
            mine = held.programmes.get(one.programme)
            if mine is None:
                known = look.rules.get(one.programme)
                policy = known.noise if known is not None and known.noise is not None else NoisePolicy()
                mine = held.programmes[one.programme] = Muffled(policy=policy)
            if isinstance(one, Quieted):
                said += self._quiet(one, mine, at, look)
            else:
                said += self._hear(one, mine, at, look)
        held.looked_until = Instant(max(until, held.looked_until))
        for programme, mine in held.programmes.items():
            decisions = noises.wake(mine.noise, mine.policy, held.looked_until)
            said += self._told(decisions, programme, {}, look)
        return said

    def _take_up(self, programme: str, policy: NoisePolicy, at: Instant, look: Look) -> list[Event]:
        """Go by *policy* from here on; what another one held back may go."""
        mine = self._held.programmes.get(programme)
        if mine is None or mine.policy == policy:
            return []
        at = Instant(max(at, self._held.looked_until))
        said = self._told(noises.wake(mine.noise, mine.policy, at), programme, {}, look)
        mine.policy = policy
        return said + self._told(noises.policy_changed(mine.noise, policy, at), programme, {}, look)

    def _hear(self, asked: Asked, mine: Muffled, at: Instant, look: Look) -> list[Event]:
        heed, noise, case = asked.heed, mine.noise, asked.case
        if heed.notice is not None:
            notice = msgspec.structs.replace(heed.notice, at=at)
            decisions = noises.hear(noise, mine.policy, notice)
            return self._told(decisions, asked.programme, {asked.id: asked}, look)
        if asked.type in ("case.opened", "case.reopened") or asked.change == "raised_again":
            decisions = noises.case_opened(noise, mine.policy, case, heed.rule, at, heed.site)
        elif asked.change == "alert_ended":
            decisions = noises.alert_ended(noise, mine.policy, case, at)
        else:
            decisions = noises.case_ended(noise, mine.policy, case, at)
        return self._told(decisions, asked.programme, {}, look)

    # -- silences -----------------------------------------------------------------------------------------

    def _quiet(self, one: Quieted, mine: Muffled, at: Instant, look: Look) -> list[Event]:
        """Take up a silence, or end one; what cannot be is refused with its reason."""
        name = str(one.data.get("silence", "") or one.id)
        who = {"silence": name, "by": one.by, "detected_at": rfc3339(look.seen_at)}
        if not one.begins:
            if name not in mine.noise.silences:
                return [_about(one, at, "silence.refused", {**who, "reason": "no such silence holds"})]
            decisions = noises.unsilence(mine.noise, mine.policy, name, at)
            ended = {**who, "reason": str(one.data.get("reason", ""))}
            return [_about(one, at, "silence.ended", ended), *self._told(decisions, one.programme, {}, look)]
        try:
            silence = _silence(name, one, at)
        except ValueError as error:
            return [_about(one, at, "silence.refused", {**who, "reason": str(error)})]
        decisions = noises.silence(mine.noise, mine.policy, silence, at)
        scope = {k: v for k in ("rule", "site", "to") if (v := getattr(silence, k))}
        begun = {**who, "reason": silence.reason, "until": rfc3339(silence.until_at), "of": scope}
        return [_about(one, at, "silence.started", begun), *self._told(decisions, one.programme, {}, look)]

    # -- what is said -------------------------------------------------------------------------------------

    def _told(
        self, decisions: Iterable[Decision], programme: str, asked: Mapping[str, Asked], look: Look
    ) -> list[Event]:
        """The events of *decisions*; *asked* holds the notice that is decided on, if one is."""
        return [self._event(decision, programme, asked, look) for decision in decisions]

    def _event(self, decision: Decision, programme: str, asked: Mapping[str, Asked], look: Look) -> Event:
        if decision.kind == "digest":
            return _digest(decision, programme, look)
        one = asked.get(decision.notices[0])
        if decision.kind == "told" and one is not None:
            return _sent(one, decision, look)
        if decision.kind == "held":
            return _about_one("notice.held", decision, programme, look)
        return _about_one("notice.suppressed", decision, programme, look)

    @property
    def waiting(self) -> int:
        """Notices that are held back."""
        return sum(one.noise.waiting for one in self._held.programmes.values())

    def stored(self) -> Stored:
        body = _encode(self._held)
        return (VERSION, self._shard, body, checksum(body))


def _about_one(type_: str, decision: Decision, programme: str, look: Look) -> Event:
    """What became of one notice that was not told alone."""
    asked = decision.notices[0]
    data: dict[str, Any] = {
        "asked": asked,
        "to": decision.to,
        "decided": decision.why,
        "group": decision.group,
        "number": decision.numbers[0][0],
        "rule": next(iter(decision.rules)),
        "detected_at": rfc3339(look.seen_at),
    }
    if decision.reasons:
        data["why"] = next(iter(decision.reasons))
    if decision.until is not None:
        data["until"] = rfc3339(decision.until)
    id_, case = event_id(programme, type_, asked), CaseId(decision.cases[0])
    return Event(id=id_, type=type_, programme=programme, time=decision.at, case=case, data=data)


def _silence(name: str, one: Quieted, at: Instant) -> Silence:
    """Raises ValueError, saying what is wrong."""
    until = one.data.get("until")
    if not isinstance(until, str):
        raise ValueError(f"data.until says when it ends, as RFC 3339, at most {MAX_SILENCE_S // 86_400} days from now")
    scope = {k: str(one.data[k]) for k in ("rule", "site", "to") if one.data.get(k)}
    return Silence(
        id=name, by=one.by, reason=str(one.data.get("reason", "")), from_at=at, until_at=parse_instant(until), **scope
    )


def _about(one: Quieted, at: Instant, type_: str, data: dict[str, Any]) -> Event:
    return caseless(type_, one.programme, at, (one.id,), data)


def _sent(asked: Asked, decision: Decision, look: Look) -> Event:
    """The notice, in the words in which it was asked for."""
    return Event(
        id=event_id(asked.programme, "notice.sent", asked.id),
        type="notice.sent",
        programme=asked.programme,
        time=decision.at,
        case=CaseId(asked.case),
        data={**asked.data, "asked": asked.id, "decided": decision.why, "detected_at": rfc3339(look.seen_at)},
        private=_private(asked, look.keys),
        record=msgspec.Raw(asked.record) if asked.record else None,
    )


def _private(asked: Asked, keys: Keys | None) -> dict[str, dict[str, Any]]:
    """What is sealed in it, for whoever stands beside us."""
    token = asked.data.get(SEALED)
    if keys is None or token is None:
        return {}
    try:
        held = unseal(keys, (asked.case, asked.id), str(token))
    except (ValueError, UnknownVault):
        return {}
    return {} if held is None else {"data": held}


def _digest(decision: Decision, programme: str, look: Look) -> Event:
    rules = look.rules.get(programme)
    person = rules.roster.person(decision.to) if rules is not None else None
    count = len(decision.notices)
    by_rule = ", ".join(f"{number} of {rule}" for rule, number in sorted(decision.rules.items()))
    cases = ", ".join(decision.cases) + (" …" if decision.case_count > len(decision.cases) else "")
    data = {
        "to": decision.to,
        "name": person.name if person is not None else decision.to,
        "email": person.email if person is not None else "",
        "decided": decision.why,
        "group": decision.group,
        "numbers": [list(span) for span in decision.numbers],
        "count": count,
        "rules": decision.rules,
        "reasons": decision.reasons,
        "cases": list(decision.cases),
        "case_count": decision.case_count,
        "since": rfc3339(decision.since or decision.at),
        "subject": f"{count} notice{'s' if count > 1 else ''} held back",
        "body": f"{by_rule}; {decision.case_count} cases: {cases}",
        "detected_at": rfc3339(look.seen_at),
    }
    return Event(
        id=event_id(programme, "notice.digest", decision.group, str(decision.numbers[0][0])),
        type="notice.digest",
        programme=programme,
        time=decision.at,
        data=data,
    )


class NoticeLogic(StatefulBatchLogic[Look, Event, Stored]):
    """The drawer under Bytewax."""

    def __init__(self, step: NoticeStep, told: Callable[[int], None]) -> None:
        self._step, self._tell = step, told

    def on_batch(self, values: list[Look]) -> tuple[Iterable[Event], bool]:
        said = self._step.take(values)
        self._tell(self._step.waiting)
        return said, False

    def on_notify(self) -> tuple[Iterable[Event], bool]:
        return (), False

    def on_eof(self) -> tuple[Iterable[Event], bool]:
        return (), False

    def notify_at(self) -> None:
        return None

    def snapshot(self) -> Stored:
        return self._step.stored()


def notice_builder(due: DueIndex, told: Callable[[int], None]) -> Callable[[Stored | None], NoticeLogic]:
    """What builds the drawer's logic from what was stored; *told* is told how many notices wait."""

    def build(stored: Stored | None) -> NoticeLogic:
        return NoticeLogic(NoticeStep(stored, due), told)

    return build
