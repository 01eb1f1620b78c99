"""Noise control: which notices are told at once, which wait and why, and what a digest of those that waited says.

Notices in, decisions out, time passed in; it knows no case's clocks and can change none. Every notice ends in exactly
one of three ways: told alone, told in a digest, or suppressed because its case ended first; until then it is held.
Alarms of the law are told at once whatever else is so. The policy is `rules/noise.py`.
"""

from collections import Counter
from collections.abc import Iterator
from typing import Literal

import msgspec

from feedback.instants import Instant, rfc3339
from rules.noise import NoisePolicy, quiet_until

MAX_SILENCE_S = 30 * 86_400
"""A silence that outlasts everybody's memory of it is a rule that somebody ought to have edited."""
NAMED = 20
"""Cases that a digest names; the rest it counts."""


class Notice(msgspec.Struct, frozen=True, kw_only=True):
    """What was to be told to one person about one case."""

    id: str
    at: Instant
    to: str
    case: str
    rule: str
    site: str = ""
    theme: str = ""
    statutory: bool = False
    """About a clock of the law: nothing holds it back."""


class Silence(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody asked not to be told, of what, why and until when. An empty matcher matches everything."""

    id: str
    by: str
    reason: str
    from_at: Instant
    until_at: Instant
    """First instant at which it no longer holds."""
    rule: str = ""
    site: str = ""
    to: str = ""

    def __post_init__(self) -> None:
        """Raises ValueError for one that nobody could answer for."""
        if not self.by or not self.reason:
            raise ValueError("a silence needs an author and a reason")
        if not 0 < self.until_at - self.from_at <= MAX_SILENCE_S:
            raise ValueError(f"a silence lasts more than nothing and at most {MAX_SILENCE_S // 86_400} days")


Why = Literal["grouped", "silence", "inhibited", "quiet", "cap"]


class Held(msgspec.Struct, frozen=True, kw_only=True):
    """A notice that waits, and why it did not go at first."""

    notice: Notice
    why: Why


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one notice, or of many in a digest."""

    kind: Literal["told", "held", "suppressed", "digest"]
    at: Instant
    to: str
    why: str
    """For a person: which silence of whom, which quiet hours, which cap."""
    notices: tuple[str, ...]
    """Ids, in the order in which they came; one unless it is a digest."""
    until: Instant | None = None
    """Of one held: when it is looked at again; None: when something else ends."""
    rules: dict[str, int] = {}
    """Of a digest: notices by rule; they add up to `notices`."""
    reasons: dict[str, int] = {}
    """Of a digest: notices by why they were held; they add up too."""
    cases: tuple[str, ...] = ()
    """Of a digest: up to `NAMED` cases."""
    case_count: int = 0


class Group(msgspec.Struct, kw_only=True):
    """Notices to one person that are alike."""

    held: list[Held] = []
    told_at: Instant | None = None
    """Last message about it."""
    due_at: Instant | None = None
    """When to look again; None while only something that happens can let any go."""


class Noise(msgspec.Struct, kw_only=True):
    """What noise control remembers; plain data, so that a snapshot can hold it."""

    groups: dict[tuple[str, ...], Group] = {}
    """By receiver and the values that they are grouped by."""
    sent: dict[tuple[int, str], list[Instant]] = {}
    """By cap (its place) and what it counts: messages within its span."""
    open: dict[str, str] = {}
    """Open cases that mute others, to their rule."""
    silences: dict[str, Silence] = {}


class _Gate(msgspec.Struct, frozen=True):
    why: Why
    words: str
    until: Instant | None


def hear(noise: Noise, policy: NoisePolicy, notice: Notice) -> list[Decision]:
    """Decide on *notice*, having first told all that was due by then."""
    said = wake(noise, policy, notice.at)
    at = notice.at
    if notice.statutory:
        return [*said, _told(notice, "an alarm of the law")]
    group = noise.groups.setdefault(_key(policy, notice), Group())
    gate = _gate(noise, policy, notice, at) or _grouped(policy, group, at)
    if gate is None:
        group.told_at = at
        _count(noise, policy, notice.to, {notice.rule}, at)
        return [*said, _told(notice, "nothing holds it back")]
    group.held.append(Held(notice=notice, why=gate.why))
    group.due_at = _sooner(group.due_at, gate.until)
    held = Decision(
        kind="held", at=at, to=notice.to, why=gate.words, notices=(notice.id,), until=gate.until, case_count=1
    )
    return [*said, held]


def case_opened(noise: Noise, policy: NoisePolicy, case: str, rule: str, at: Instant) -> list[Decision]:
    """A case of *rule* opened; it may mute others from now on."""
    said = wake(noise, policy, at)
    if any(rule == inhibition.rule for inhibition in policy.inhibitions):
        noise.open[case] = rule
    return said


def case_ended(noise: Noise, policy: NoisePolicy, case: str, at: Instant) -> list[Decision]:
    """*case* was resolved, closed or found invalid: what waits about it is no longer true; what it muted may go."""
    said = wake(noise, policy, at)
    for group in noise.groups.values():
        kept = [held for held in group.held if held.notice.case != case]
        if len(kept) != len(group.held):
            said += [
                Decision(
                    kind="suppressed",
                    at=at,
                    to=held.notice.to,
                    why="its case ended before it was told",
                    notices=(held.notice.id,),
                    case_count=1,
                )
                for held in group.held
                if held.notice.case == case
            ]
            group.held = kept
            if not kept:
                group.due_at = None
    if noise.open.pop(case, None) is not None:
        said += _look_again(noise, policy, at)
    return said


def silence(noise: Noise, policy: NoisePolicy, wanted: Silence, at: Instant) -> list[Decision]:
    """Keep *wanted*; the same id again replaces it (a silence made longer or shorter)."""
    said = wake(noise, policy, at)
    noise.silences[wanted.id] = wanted
    return said + _look_again(noise, policy, at)


def unsilence(noise: Noise, policy: NoisePolicy, id: str, at: Instant) -> list[Decision]:
    """End a silence early; one that is unknown or over changes nothing."""
    said = wake(noise, policy, at)
    if noise.silences.pop(id, None) is not None:
        said += _look_again(noise, policy, at)
    return said


def wake(noise: Noise, policy: NoisePolicy, at: Instant) -> list[Decision]:
    """Tell what is due by *at*, each at the instant at which it became due, oldest first."""
    said: list[Decision] = []
    while (due_at := wake_at(noise)) is not None and due_at <= at:
        for key in [key for key, group in noise.groups.items() if group.due_at is not None and group.due_at <= due_at]:
            said += _flush(noise, policy, key, due_at)
    _forget(noise, policy, at)
    return said


def wake_at(noise: Noise) -> Instant | None:
    """When to ask again; None while nothing waits for a time."""
    return min((group.due_at for group in noise.groups.values() if group.due_at is not None), default=None)


def held(noise: Noise) -> Iterator[Notice]:
    """Everything that waits."""
    return (one.notice for group in noise.groups.values() for one in group.held)


# -- telling -----------------------------------------------------------------------------------------------


def _flush(noise: Noise, policy: NoisePolicy, key: tuple[str, ...], at: Instant) -> list[Decision]:
    """A digest of what may go now, if anything may; the rest waits on."""
    group = noise.groups[key]
    gate = _grouped(policy, group, at, flushing=True)
    if gate is not None:
        group.due_at = gate.until
        return []
    going, staying = [], []
    due_at: Instant | None = None
    gates: dict[tuple[str, str], _Gate | None] = {}
    for one in group.held:
        alike = (one.notice.rule, one.notice.site)  # one group is of one receiver: the gates see nothing else
        if alike not in gates:
            gates[alike] = _gate(noise, policy, one.notice, at)
        shut = gates[alike]
        if shut is None:
            going.append(one)
        else:
            staying.append(one)
            due_at = _sooner(due_at, shut.until)
    group.held, group.due_at = staying, due_at
    if not going:
        return []
    group.told_at = at
    rules = Counter(one.notice.rule for one in going)
    reasons = Counter(one.why for one in going)
    cases = tuple(dict.fromkeys(one.notice.case for one in going))
    _count(noise, policy, going[0].notice.to, set(rules), at)
    return [
        Decision(
            kind="digest",
            at=at,
            to=going[0].notice.to,
            why="what was held back, and is still true",
            notices=tuple(one.notice.id for one in going),
            rules=dict(rules),
            reasons={str(why): number for why, number in reasons.items()},
            cases=cases[:NAMED],
            case_count=len(cases),
        )
    ]


def _told(notice: Notice, why: str) -> Decision:
    return Decision(kind="told", at=notice.at, to=notice.to, why=why, notices=(notice.id,), case_count=1)


def _look_again(noise: Noise, policy: NoisePolicy, at: Instant) -> list[Decision]:
    """Something that held notices back may have ended: ask about every group."""
    said = []
    for key in [key for key, group in noise.groups.items() if group.held]:
        said += _flush(noise, policy, key, at)
    return said


def _forget(noise: Noise, policy: NoisePolicy, at: Instant) -> None:
    """Drop what can no longer matter, so that the state is bounded by what is held and by what is recent."""
    interval_s = policy.group.interval_s if policy.group else 0
    for key in [k for k, g in noise.groups.items() if not g.held and (g.told_at or 0) + interval_s <= at]:
        del noise.groups[key]
    for (place, name), sent in list(noise.sent.items()):
        if place >= len(policy.caps) or not _recent(sent, at, policy.caps[place].within_s):
            del noise.sent[place, name]
    for id in [s.id for s in noise.silences.values() if s.until_at <= at]:
        del noise.silences[id]


# -- what holds a notice back ------------------------------------------------------------------------------


def _gate(noise: Noise, policy: NoisePolicy, notice: Notice, at: Instant) -> _Gate | None:
    """The first thing that holds *notice* back at *at*: a silence, an open alert, quiet hours, a cap."""
    for one in noise.silences.values():
        if one.from_at <= at < one.until_at and _matches(one, notice):
            words = f"{one.by} asked for silence until {rfc3339(one.until_at)}: {one.reason}"
            return _Gate("silence", words, one.until_at)
    for inhibition in policy.inhibitions:
        if notice.rule in inhibition.mutes:
            alert = next((c for c, rule in noise.open.items() if rule == inhibition.rule and c != notice.case), None)
            if alert is not None:
                return _Gate("inhibited", f"{inhibition.rule} has {alert} open", None)
    for quiet in policy.quiet:
        if (until := quiet_until(quiet, at)) is not None:
            return _Gate("quiet", f"quiet hours {quiet.name} until {rfc3339(until)}", until)
    for place, cap in enumerate(policy.caps):
        name = notice.rule if cap.per == "rule" else notice.to
        sent = _recent(noise.sent.get((place, name), []), at, cap.within_s)
        if len(sent) >= cap.most:
            until = Instant(sent[-cap.most] + cap.within_s)
            return _Gate("cap", f"{cap.most} messages in {cap.within_s} s for the {cap.per} {name}", until)
    return None


def _grouped(policy: NoisePolicy, group: Group, at: Instant, *, flushing: bool = False) -> _Gate | None:
    """Whether the group has to wait for more, or was told of a moment ago."""
    if policy.group is None:
        return None
    if group.told_at is not None and at < group.told_at + policy.group.interval_s:
        until = Instant(group.told_at + policy.group.interval_s)
        return _Gate("grouped", f"with others of its group, told {rfc3339(group.told_at)}", until)
    if not policy.group.wait_s:
        return None
    first = group.held[0].notice.at if group.held else at
    until = Instant(first + policy.group.wait_s)
    if flushing and at >= until:
        return None
    return _Gate("grouped", "with others of its group", max(until, at))


def _matches(silence: Silence, notice: Notice) -> bool:
    return silence.rule in ("", notice.rule) and silence.site in ("", notice.site) and silence.to in ("", notice.to)


def _key(policy: NoisePolicy, notice: Notice) -> tuple[str, ...]:
    named = {"rule": notice.rule, "site": notice.site, "theme": notice.theme}
    by = policy.group.by if policy.group is not None else ("rule",)
    return (notice.to, *(named[name] for name in by))


def _count(noise: Noise, policy: NoisePolicy, to: str, rules: set[str], at: Instant) -> None:
    """One message more, for its receiver once and for each rule that it tells of."""
    for place, cap in enumerate(policy.caps):
        for name in sorted(rules) if cap.per == "rule" else (to,):
            noise.sent[place, name] = [*_recent(noise.sent.get((place, name), []), at, cap.within_s), at]


def _recent(sent: list[Instant], at: Instant, within_s: int) -> list[Instant]:
    return [when for when in sent if when > at - within_s]


def _sooner(one: Instant | None, other: Instant | None) -> Instant | None:
    return other if one is None else one if other is None else min(one, other)
