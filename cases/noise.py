"""Noise control: which notices are told at once, which wait and why, and what a digest of those that waited says.

Notices in, decisions out, time passed in; it knows no case's clocks and can change none. Every notice ends in exactly
one of three ways: told alone, told in a digest, or suppressed because its case ended first; until then it is held.
Alarms of the law are told at once whatever else is so. The policy is `rules/noise.py`.
"""

from collections import Counter
from collections.abc import Iterator
from typing import Literal

import msgspec

from feedback.ids import short_hash
from feedback.instants import Instant, rfc3339
from rules.noise import NoisePolicy, quiet_until

MOST_HELD = 20_000
"""Notices that wait at one time; past it the largest group goes as a digest, whatever holds it back."""
SWEEP_S = 60
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
    type: str = ""
    """Of its case."""
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


class Heed(msgspec.Struct, frozen=True, kw_only=True):
    """What noise control is told of an event of a case."""

    at: Instant
    """When it could be known: never before the record that caused it was received."""
    rule: str
    """That leads the case."""
    site: str = ""
    notice: Notice | None = None
    """Of a `notice.asked`."""


Why = Literal["grouped", "silence", "inhibited", "quiet", "cap"]
Span = tuple[int, int]
"""First and last of numbers that follow one another."""


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
    """Notices by rule; they add up to `notices`."""
    reasons: dict[str, int] = {}
    """Notices by why they were held; they add up too."""
    cases: tuple[str, ...] = ()
    """The case; of a digest up to `NAMED`."""
    case_count: int = 0
    group: str = ""
    """Of one held, of a digest, and of one suppressed: those of one group have one."""
    numbers: tuple[Span, ...] = ()
    """Each notice that is held has a number in its group; a digest names those that it tells."""
    since: Instant | None = None
    """Of a digest: when the first of them came."""


class Group(msgspec.Struct, kw_only=True):
    """Notices to one person that are alike."""

    id: str = ""
    held: dict[int, Held] = {}
    """By number, in the order in which they came."""
    numbered: int = 0
    """How many were ever held."""
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
    open: dict[str, tuple[str, str]] = {}
    """Open cases that mute others, to their rule and site."""
    silences: dict[str, Silence] = {}
    by_case: dict[str, list[tuple[tuple[str, ...], int]]] = {}
    """Where what waits about a case is: its group, its number there."""
    waiting: int = 0
    """Notices held."""
    swept_at: Instant = Instant(0)


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
    key = _key(policy, notice)
    group = noise.groups.get(key)
    if group is None or _is_over(group, policy, at):
        noise.groups.pop(key, None)  # whoever waits first is told first: a new group stands behind the others
        group = noise.groups[key] = Group(id=f"g-{short_hash(*key, notice.id):016x}")
    gate = _gate(noise, policy, notice, at) or _grouped(policy, group, at)
    if gate is None:
        group.told_at = at
        _count(noise, policy, notice.to, {notice.rule}, at)
        return [*said, _told(notice, "nothing holds it back")]
    group.numbered += 1
    group.held[group.numbered] = Held(notice=notice, why=gate.why)
    noise.by_case.setdefault(notice.case, []).append((key, group.numbered))
    noise.waiting += 1
    group.due_at = _sooner(group.due_at, gate.until)
    said.append(
        Decision(
            kind="held", at=at, to=notice.to, why=gate.words, notices=(notice.id,), until=gate.until,
            cases=(notice.case,), case_count=1, rules={notice.rule: 1}, reasons={gate.why: 1}, group=group.id,
            numbers=((group.numbered, group.numbered),),
        )
    )  # fmt: skip
    if noise.waiting > MOST_HELD:
        said.append(_make_room(noise, policy, at))
    return said


def case_opened(noise: Noise, policy: NoisePolicy, case: str, rule: str, at: Instant, site: str = "") -> list[Decision]:
    """A case of *rule* opened; it may mute others from now on."""
    said = wake(noise, policy, at)
    if any(rule == inhibition.rule for inhibition in policy.inhibitions):
        noise.open[case] = rule, site
    return said


def case_ended(noise: Noise, policy: NoisePolicy, case: str, at: Instant) -> list[Decision]:
    """*case* was resolved, closed or found invalid: what waits about it is no longer true; what it muted may go."""
    said = wake(noise, policy, at)
    for key, number in noise.by_case.pop(case, ()):
        group = noise.groups[key]
        held = group.held.pop(number)
        noise.waiting -= 1
        said.append(
            Decision(
                kind="suppressed", at=at, to=held.notice.to, why="its case ended before it was told",
                notices=(held.notice.id,), cases=(case,), case_count=1, rules={held.notice.rule: 1},
                group=group.id, numbers=((number, number),),
            )
        )  # fmt: skip
        if not group.held:
            group.due_at = None
    return said + alert_ended(noise, policy, case, at)


def alert_ended(noise: Noise, policy: NoisePolicy, case: str, at: Instant) -> list[Decision]:
    """What *case* is about is over, and people are still at it: it mutes nobody any more."""
    said = wake(noise, policy, at)
    return said if noise.open.pop(case, None) is None else [*said, *_look_again(noise, policy, at)]


def policy_changed(noise: Noise, policy: NoisePolicy, at: Instant) -> list[Decision]:
    """*policy* holds from now on; what the one before held back and this one does not is told."""
    noise.open = {c: held for c, held in noise.open.items() if any(held[0] == i.rule for i in policy.inhibitions)}
    noise.sent.clear()  # by the caps of the policy before
    return _look_again(noise, policy, at)


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
    if at >= noise.swept_at + SWEEP_S:
        noise.swept_at = at
        _forget(noise, policy, at)
    return said


def wake_at(noise: Noise) -> Instant | None:
    """When to ask again; None while nothing waits for a time."""
    return min((group.due_at for group in noise.groups.values() if group.due_at is not None), default=None)


def held(noise: Noise) -> Iterator[Notice]:
    """Everything that waits."""
    return (one.notice for group in noise.groups.values() for one in group.held.values())


# -- telling -----------------------------------------------------------------------------------------------


def _flush(noise: Noise, policy: NoisePolicy, key: tuple[str, ...], at: Instant) -> list[Decision]:
    """A digest of what may go now, if anything may; the rest waits on."""
    group = noise.groups[key]
    gate = _grouped(policy, group, at, flushing=True)
    if gate is not None:
        group.due_at = gate.until
        return []
    going: dict[int, Held] = {}
    due_at: Instant | None = None
    gates: dict[tuple[str, str], _Gate | None] = {}
    for number, one in group.held.items():
        alike = (one.notice.rule, one.notice.site)  # one group is of one receiver: the gates see nothing else
        if alike not in gates:
            gates[alike] = _gate(noise, policy, one.notice, at)
        shut = gates[alike]
        if shut is None:
            going[number] = one
        else:
            due_at = _sooner(due_at, shut.until)
    group.due_at = due_at
    return [_digest(noise, policy, key, going, at, "what was held back, and is still true")] if going else []


def _digest(
    noise: Noise, policy: NoisePolicy, key: tuple[str, ...], going: dict[int, Held], at: Instant, why: str
) -> Decision:
    """Tell *going*, which are of the group of *key*, together."""
    group = noise.groups[key]
    for number, one in going.items():
        del group.held[number]
        noise.waiting -= 1
        places = noise.by_case[one.notice.case]
        places.remove((key, number))
        if not places:
            del noise.by_case[one.notice.case]
    group.told_at = at
    notices = [one.notice for one in going.values()]
    rules = Counter(notice.rule for notice in notices)
    cases = tuple(dict.fromkeys(notice.case for notice in notices))
    _count(noise, policy, notices[0].to, set(rules), at)
    return Decision(
        kind="digest",
        at=at,
        to=notices[0].to,
        why=why,
        notices=tuple(notice.id for notice in notices),
        rules=dict(rules),
        reasons={str(why): number for why, number in Counter(one.why for one in going.values()).items()},
        cases=cases[:NAMED],
        case_count=len(cases),
        group=group.id,
        numbers=spans(list(going)),
        since=notices[0].at,
    )


def _make_room(noise: Noise, policy: NoisePolicy, at: Instant) -> Decision:
    """The digest of the largest group: so many wait that no gate can hold them all."""
    key = max(noise.groups, key=lambda key: (len(noise.groups[key].held), key))
    noise.groups[key].due_at = None
    return _digest(noise, policy, key, dict(noise.groups[key].held), at, f"more than {MOST_HELD} notices wait")


def spans(numbers: list[int]) -> tuple[Span, ...]:
    """Ascending *numbers* as spans: `[1, 2, 3, 7]` is `(1, 3), (7, 7)`."""
    found: list[Span] = []
    for number in numbers:
        if found and number == found[-1][1] + 1:
            found[-1] = found[-1][0], number
        else:
            found.append((number, number))
    return tuple(found)


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
    for key in [key for key, group in noise.groups.items() if _is_over(group, policy, at)]:
        del noise.groups[key]
    for (place, name), sent in list(noise.sent.items()):
        if place >= len(policy.caps) or not _recent(sent, at, policy.caps[place].within_s):
            del noise.sent[place, name]
    for id in [s.id for s in noise.silences.values() if s.until_at <= at]:
        del noise.silences[id]


def _is_over(group: Group, policy: NoisePolicy, at: Instant) -> bool:
    """Whether the next notice begins a group of its own."""
    interval_s = policy.group.interval_s if policy.group else 0
    return not group.held and (group.told_at or 0) + interval_s <= at


# -- what holds a notice back ------------------------------------------------------------------------------


def _gate(noise: Noise, policy: NoisePolicy, notice: Notice, at: Instant) -> _Gate | None:
    """The first thing that holds *notice* back at *at*: a silence, an open alert, quiet hours, a cap."""
    for one in noise.silences.values():
        if one.from_at <= at < one.until_at and _matches(one, notice):
            words = f"{one.by} asked for silence until {rfc3339(one.until_at)}: {one.reason}"
            return _Gate("silence", words, one.until_at)
    for inhibition in policy.inhibitions:
        if notice.rule in inhibition.mutes:
            alert = _muting(noise, inhibition.rule, notice)
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


def _muting(noise: Noise, rule: str, notice: Notice) -> str | None:
    """An open case of *rule* that mutes *notice*."""
    for case, (of, site) in noise.open.items():
        if of == rule and site in ("", notice.site) and case != notice.case:
            return case
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
    first = next(iter(group.held.values())).notice.at if group.held else at
    until = Instant(first + policy.group.wait_s)
    if flushing and at >= until:
        return None
    return _Gate("grouped", "with others of its group", max(until, at))


def _matches(silence: Silence, notice: Notice) -> bool:
    return silence.rule in ("", notice.rule) and silence.site in ("", notice.site) and silence.to in ("", notice.to)


def _key(policy: NoisePolicy, notice: Notice) -> tuple[str, ...]:
    named = {"rule": notice.rule, "site": notice.site, "theme": notice.theme, "type": notice.type}
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
