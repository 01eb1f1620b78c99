"""Noise control: who is told what, when and why not; and that every notice is accounted for exactly once."""

from collections import Counter
from collections.abc import Sequence

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cases import noise
from cases.noise import Decision, Noise, Notice, Silence
from feedback.instants import Instant, parse_instant
from rules.noise import Cap, Grouping, Inhibition, NoisePolicy, Quiet

NINE = parse_instant("2026-11-02T09:00:00Z")
NIGHT = Quiet(name="nights", zone="Europe/London", days=frozenset(range(7)), start_s=22 * 3600, end_s=7 * 3600)


def notice(number: int, at: int = 0, *, to: str = "ana", rule: str = "slow-site", **more: object) -> Notice:
    fields = {"id": f"n{number}", "at": Instant(NINE + at), "to": to, "case": f"c{number}", "rule": rule, **more}
    return msgspec.convert(fields, Notice)


def kinds(said: Sequence[Decision]) -> list[str]:
    return [decision.kind for decision in said]


def test_a_policy_that_says_nothing_lets_everything_through() -> None:
    state, policy = Noise(), NoisePolicy()
    said = [d for n in range(50) for d in noise.hear(state, policy, notice(n, n))]
    assert kinds(said) == ["told"] * 50


def test_the_first_of_a_group_is_told_and_the_others_together_when_the_interval_ends() -> None:
    state, policy = Noise(), NoisePolicy(group=Grouping(by=("rule",), interval_s=600))
    assert kinds(noise.hear(state, policy, notice(1))) == ["told"]
    assert kinds(noise.hear(state, policy, notice(2, 10))) == ["held"]
    assert kinds(noise.hear(state, policy, notice(3, 20))) == ["held"]
    assert noise.wake(state, policy, Instant(NINE + 599)) == []
    [digest] = noise.wake(state, policy, Instant(NINE + 700))
    assert (digest.at, digest.notices, digest.rules) == (NINE + 600, ("n2", "n3"), {"slow-site": 2})
    assert (digest.cases, digest.case_count, digest.reasons) == (("c2", "c3"), 2, {"grouped": 2})


def test_a_group_with_a_wait_is_told_once_with_all_that_came_meanwhile() -> None:
    state, policy = Noise(), NoisePolicy(group=Grouping(by=("site",), wait_s=30, interval_s=600))
    for number in range(3):
        assert kinds(noise.hear(state, policy, notice(number, number, site="leeds"))) == ["held"]
    assert noise.wake_at(state) == NINE + 30
    assert [d.notices for d in noise.wake(state, policy, Instant(NINE + 30))] == [("n0", "n1", "n2")]


def test_a_group_is_of_one_receiver() -> None:
    state, policy = Noise(), NoisePolicy(group=Grouping(interval_s=600))
    assert kinds(noise.hear(state, policy, notice(1, to="ana"))) == ["told"]
    assert kinds(noise.hear(state, policy, notice(2, to="ben"))) == ["told"]


@pytest.mark.parametrize(
    ("at", "until"),
    [
        ("2026-11-02T21:59:59Z", None),
        ("2026-11-02T22:00:00Z", "2026-11-03T07:00:00Z"),
        ("2026-11-03T06:59:59Z", "2026-11-03T07:00:00Z"),
        ("2026-11-03T07:00:00Z", None),
        ("2026-10-24T21:00:00Z", "2026-10-25T07:00:00Z"),  # begins in summer time, ends in winter time
        ("2026-10-24T20:59:59Z", None),
    ],
)
def test_quiet_hours_are_local_and_half_open(at: str, until: str | None) -> None:
    state = Noise()
    [decision] = noise.hear(state, NoisePolicy(quiet=(NIGHT,)), notice(1, parse_instant(at) - NINE))
    assert decision.until == (None if until is None else parse_instant(until))
    assert decision.kind == ("told" if until is None else "held")


def test_quiet_hours_of_a_friday_night_reach_into_saturday_and_no_further() -> None:
    friday = msgspec.structs.replace(NIGHT, days=frozenset({4}))
    policy = NoisePolicy(quiet=(friday,))
    for at, kind in (("2026-11-07T06:00:00Z", "held"), ("2026-11-08T06:00:00Z", "told")):
        assert kinds(noise.hear(Noise(), policy, notice(1, parse_instant(at) - NINE))) == [kind]


def test_an_alarm_of_the_law_is_told_in_quiet_hours_under_a_silence_a_cap_and_an_outage() -> None:
    policy = NoisePolicy(
        group=Grouping(interval_s=600),
        quiet=(msgspec.structs.replace(NIGHT, start_s=0, end_s=0),),
        caps=(Cap(per="receiver", most=1, within_s=3600),),
        inhibitions=(Inhibition(rule="outage", mutes=("slow-site",)),),
    )
    state = Noise()
    noise.case_opened(state, policy, "alert", "outage", NINE)
    noise.silence(state, policy, Silence(id="s", by="lee", reason="move", from_at=NINE, until_at=NINE + 60), NINE)
    assert kinds(noise.hear(state, policy, notice(1))) == ["held"]
    assert kinds(noise.hear(state, policy, notice(2, statutory=True))) == ["told"]


def test_an_outage_mutes_its_symptoms_until_it_ends_and_what_is_still_true_is_told_then() -> None:
    policy = NoisePolicy(inhibitions=(Inhibition(rule="outage", mutes=("slow-site",)),))
    state = Noise()
    noise.case_opened(state, policy, "alert", "outage", NINE)
    held = [d for n in (1, 2) for d in noise.hear(state, policy, notice(n, n))]
    assert [(d.kind, d.why) for d in held] == [("held", "outage has alert open")] * 2
    assert kinds(noise.hear(state, policy, notice(3, 3, rule="rude-call"))) == ["told"]
    assert kinds(noise.case_ended(state, policy, "c1", Instant(NINE + 10))) == ["suppressed"]
    [digest] = noise.case_ended(state, policy, "alert", Instant(NINE + 20))
    assert (digest.kind, digest.notices) == ("digest", ("n2",))


def test_a_silence_says_whose_it_is_and_ends_by_itself_or_early() -> None:
    state, policy = Noise(), NoisePolicy()
    wanted = Silence(id="s", by="lee", reason="lift is being mended", from_at=NINE, until_at=NINE + 60, site="leeds")
    noise.silence(state, policy, wanted, NINE)
    [held] = noise.hear(state, policy, notice(1, 1, site="leeds"))
    assert held.why == "lee asked for silence until 2026-11-02T09:01:00Z: lift is being mended"
    assert kinds(noise.hear(state, policy, notice(2, 2, site="york"))) == ["told"]
    again = msgspec.msgpack.decode(msgspec.msgpack.encode(state), type=Noise)
    assert kinds(noise.wake(state, policy, Instant(NINE + 60))) == ["digest"]
    [early] = noise.unsilence(again, policy, "s", Instant(NINE + 5))
    assert (early.kind, early.at) == ("digest", NINE + 5)


@pytest.mark.parametrize("length_s", [0, -1, 366 * 86_400])
def test_a_silence_of_nothing_or_of_a_year_is_refused(length_s: int) -> None:
    with pytest.raises(ValueError, match="at most 30 days"):
        Silence(id="s", by="lee", reason="x", from_at=NINE, until_at=Instant(NINE + length_s))


@pytest.mark.parametrize(("by", "reason"), [("", "x"), ("lee", "")])
def test_a_silence_without_author_or_reason_is_refused(by: str, reason: str) -> None:
    with pytest.raises(ValueError, match="an author and a reason"):
        Silence(id="s", by=by, reason=reason, from_at=NINE, until_at=Instant(NINE + 60))


def test_a_storm_about_one_outage_is_few_messages_that_add_up_exactly() -> None:
    """10,000 responses in an hour, each with a case of its own, to five people at ten sites."""
    policy = NoisePolicy(
        group=Grouping(by=("rule", "site"), wait_s=30, interval_s=900),
        caps=(Cap(per="receiver", most=4, within_s=3600),),
    )
    state = Noise()
    said = []
    for n in range(10_000):
        said += noise.hear(state, policy, notice(n, n * 36 // 100, to=f"p{n % 5}", site=f"site{n % 10}"))
    said += noise.wake(state, policy, Instant(NINE + 86_400))
    messages = [d for d in said if d.kind in ("told", "digest")]
    assert len(messages) <= 5 * 4 * 3
    assert sorted(id for d in messages for id in d.notices) == sorted(f"n{n}" for n in range(10_000))
    assert sum(sum(d.rules.values()) for d in messages) == sum(d.case_count for d in messages) == 10_000
    assert (state.groups, state.sent, state.by_case, state.waiting) == ({}, {}, {}, 0)


def test_an_outage_at_one_site_mutes_there_only() -> None:
    state, policy = Noise(), NoisePolicy(inhibitions=(Inhibition(rule="outage", mutes=("slow-site",)),))
    noise.case_opened(state, policy, "alert", "outage", NINE, "leeds")
    assert kinds(noise.hear(state, policy, notice(1, 1, site="leeds"))) == ["held"]
    assert kinds(noise.hear(state, policy, notice(2, 2, site="york"))) == ["told"]
    [digest] = noise.alert_ended(state, policy, "alert", Instant(NINE + 9))
    assert digest.notices == ("n1",)


def test_a_digest_names_what_it_tells_by_the_numbers_that_were_given_when_it_was_held() -> None:
    state, policy = Noise(), NoisePolicy(group=Grouping(wait_s=30, interval_s=600))
    held = [d for n in range(5) for d in noise.hear(state, policy, notice(n, n))]
    noise.case_ended(state, policy, "c2", Instant(NINE + 10))
    [digest] = noise.wake(state, policy, Instant(NINE + 30))
    assert {d.group for d in held} == {digest.group}
    assert [d.numbers for d in held] == [((n, n),) for n in (1, 2, 3, 4, 5)]
    assert (digest.numbers, digest.since) == (((1, 2), (4, 5)), NINE)


def test_a_policy_that_is_edited_lets_go_what_it_no_longer_holds_back() -> None:
    state, before = Noise(), NoisePolicy(inhibitions=(Inhibition(rule="outage", mutes=("slow-site",)),))
    noise.case_opened(state, before, "alert", "outage", NINE)
    noise.hear(state, before, notice(1, 1))
    [digest] = noise.policy_changed(state, NoisePolicy(), Instant(NINE + 5))
    assert (digest.notices, state.open) == (("n1",), {})


def test_more_than_can_be_remembered_goes_as_a_digest_and_nothing_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(noise, "MOST_HELD", 50)
    state, policy = Noise(), NoisePolicy(group=Grouping(by=("rule",), wait_s=3600, interval_s=3600))
    said = [d for n in range(120) for d in noise.hear(state, policy, notice(n, n, rule=f"r{n % 2}"))]
    digests = [d for d in said if d.kind == "digest"]
    assert digests
    assert state.waiting <= 50
    told = [id for d in digests for id in d.notices]
    assert sorted([*told, *(one.id for one in noise.held(state))]) == sorted(f"n{n}" for n in range(120))


# -- whatever happens ------------------------------------------------------------------------------------

POLICIES = st.builds(
    NoisePolicy,
    group=st.none()
    | st.builds(
        Grouping,
        by=st.sampled_from([(), ("rule",), ("rule", "site")]),
        wait_s=st.sampled_from([0, 30]),
        interval_s=st.sampled_from([60, 600]),
    ),
    quiet=st.sampled_from([(), (msgspec.structs.replace(NIGHT, start_s=9 * 3600 + 120, end_s=9 * 3600 + 300),)]),
    caps=st.lists(
        st.builds(
            Cap, per=st.sampled_from(["rule", "receiver"]), most=st.integers(1, 2), within_s=st.sampled_from([90, 400])
        ),
        max_size=2,
    ).map(tuple),
    inhibitions=st.sampled_from([(), (Inhibition(rule="outage", mutes=("slow",)),)]),
)
HAPPENINGS = st.lists(
    st.tuples(
        st.integers(0, 120),
        st.sampled_from(["notice", "notice", "notice", "end", "silence", "unsilence", "outage"]),
        st.integers(0, 5),
        st.booleans(),
    ),
    max_size=40,
)


def _drive(policy: NoisePolicy, happenings: list[tuple[int, str, int, bool]], *, often: bool) -> list[Decision]:
    """*often*: with a tick each few seconds, and the state packed and unpacked before each."""
    state, said, at = Noise(), [], NINE
    for number, (after, what, which, flag) in enumerate(happenings):
        for tick in range(at, at + after, 7) if often else ():
            state = msgspec.msgpack.decode(msgspec.msgpack.encode(state), type=Noise)
            said += noise.wake(state, policy, Instant(tick))
        at = Instant(at + after)
        match what:
            case "notice":
                one = Notice(
                    id=f"n{number}", at=at, to="ana" if flag else "ben", case=f"c{which}",
                    rule="slow" if which % 2 else "rude", site=f"s{which % 3}", statutory=which == 5,
                )  # fmt: skip
                said += noise.hear(state, policy, one)
            case "end":
                said += noise.case_ended(state, policy, "alert" if flag else f"c{which}", at)
            case "silence":
                until = Instant(at + 50 * (which + 1))
                wanted = Silence(id="s", by="lee", reason="x", from_at=at, until_at=until, rule="slow" if flag else "")
                said += noise.silence(state, policy, wanted, at)
            case "unsilence":
                said += noise.unsilence(state, policy, "s", at)
            case "outage":
                said += noise.case_opened(state, policy, "alert", "outage", at)
    said += noise.case_ended(state, policy, "alert", at)
    said += noise.wake(state, policy, Instant(at + 7 * 86_400))
    assert (list(noise.held(state)), state.by_case, state.waiting) == ([], {}, 0)
    return said


@given(POLICIES, HAPPENINGS)
def test_every_notice_is_told_or_suppressed_exactly_once(policy: NoisePolicy, happenings: list) -> None:  # type: ignore[type-arg]
    said = _drive(policy, happenings, often=False)
    ended = Counter(id for d in said if d.kind != "held" for id in d.notices)
    wanted = [f"n{number}" for number, (_, what, _, _) in enumerate(happenings) if what == "notice"]
    assert ended == Counter(wanted)
    for digest in (d for d in said if d.kind == "digest"):
        assert sum(digest.rules.values()) == sum(digest.reasons.values()) == len(digest.notices)


@given(POLICIES, HAPPENINGS)
def test_ticks_and_snapshots_change_nothing(policy: NoisePolicy, happenings: list) -> None:  # type: ignore[type-arg]
    assert _drive(policy, happenings, often=True) == _drive(policy, happenings, often=False)


@given(POLICIES, HAPPENINGS)
def test_no_cap_is_ever_exceeded_but_by_the_law(policy: NoisePolicy, happenings: list) -> None:  # type: ignore[type-arg]
    said = [d for d in _drive(policy, happenings, often=False) if d.kind in ("told", "digest") and "law" not in d.why]
    rule_of = {f"n{n}": "slow" if which % 2 else "rude" for n, (_, _, which, _) in enumerate(happenings)}
    for cap in policy.caps:
        for message in said:
            for name in {message.to} if cap.per == "receiver" else {rule_of[id] for id in message.notices}:
                beside = [
                    d
                    for d in said
                    if message.at - cap.within_s < d.at <= message.at
                    and (name == d.to if cap.per == "receiver" else name in {rule_of[id] for id in d.notices})
                ]
                assert len(beside) <= cap.most


@pytest.mark.parametrize(("per", "other"), [("rule", {"to": "ben"}), ("receiver", {"rule": "rude-call"})])
def test_a_cap_frees_a_place_when_the_oldest_message_leaves_its_span(per: str, other: dict[str, str]) -> None:
    state, policy = Noise(), NoisePolicy(caps=(Cap(per=per, most=2, within_s=90),))
    for number, at in ((1, 0), (2, 50)):
        assert kinds(noise.hear(state, policy, notice(number, at))) == ["told"]
    [held] = noise.hear(state, policy, notice(3, 89, **other))  # type: ignore[arg-type]
    assert (held.kind, held.until) == ("held", NINE + 90)
    assert noise.wake(state, policy, Instant(NINE + 89)) == []
    [digest] = noise.wake(state, policy, Instant(NINE + 200))
    assert (digest.at, digest.notices, digest.reasons) == (NINE + 90, ("n3",), {"cap": 1})
