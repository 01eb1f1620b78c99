"""Noise control in the engine: a storm of angry messages is a few notices that add up, and no case is lost."""

from collections import Counter
from typing import Any

import pytest

from cases.events import Event
from feedback.decode import Decoder
from feedback.instants import Instant, rfc3339
from feedback.metrics import STANDARD
from flows.erasures import Erasures
from flows.indexes import DueIndex
from flows.noticing import NoticeStep
from flows.virtual import VirtualEngine
from tests.builders import START, FixedKeys, book, envelope

SET = """
set: calm
roster: calm
attributes: {site: text}
rules:
  - id: outage
    title: Many at once say that nothing works
    when: {all: ['text.contains("down")']}
    window: {kind: count, by: none, count: 20, within: 10m, stay_open: 10m}
    mutes: [unhappy]
    case: {type: systemic, owner: duty}
  - id: unhappy
    title: Somebody is unhappy
    when: {all: ['scores.nps <= 6']}
    case: {type: unhappy, owner: lead, notice: alert}
  - id: hazard
    title: Somebody is in danger
    when: {all: ['text.contains("gas")']}
    case: {type: hazard, owner: lead, statutory: true}
"""
NOTICES = """
notices:
  group: {by: [rule, site], wait: 30s, interval: 15m}
  caps: [{per: receiver, most: 6, within: 1h}]
"""
OTHERS = {
    "rosters/calm.yaml": "roster: calm\npeople: {ann: {name: Ann}, eve: {name: Eve, email: eve@example.org}}\n"
    "roles: {lead: {default: [ann]}, duty: {default: [eve]}}\n",
    "templates/alert.txt": "Subject: {{ customer }} is unhappy\n\n{{ why }}\n",
}


def engine(notices: str = NOTICES, keys: FixedKeys | None = None) -> VirtualEngine:
    rules = book({"default": {"sets/calm.yaml": SET + notices, **OTHERS}})
    erasures = Erasures(keys) if keys is not None else None
    return VirtualEngine(rules, Decoder(STANDARD, frozenset(rules.sets)), start=START, erasures=erasures)


def angry(number: int, at: int, text: str = "It is down again", **more: Any) -> Any:
    record = {
        "id": f"r{number}", "customer": f"c{number}", "text": text, "language": "en", "scores": {"nps": 1},
        "attributes": {"site": f"site{number % 3}"}, **more,
    }  # fmt: skip
    return envelope(record, Instant(START + at), str(number))


def of(events: list[Event], *types: str) -> list[Event]:
    return [event for event in events if event.type in types]


def test_ten_thousand_messages_about_one_outage_are_a_few_notices_that_add_up() -> None:
    calm = engine()
    said = calm.hear(angry(n, n // 10) for n in range(10_000))
    said += calm.advance(Instant(START + 86_400))
    asked = {event.id for event in of(said, "notice.asked")}
    assert len(asked) == 10_001, "one for each message, one for the outage"
    assert calm.open_cases == 10_001, "every case is kept"
    sent, digests = of(said, "notice.sent"), of(said, "notice.digest")
    assert len(sent) + len(digests) <= 20
    assert len(sent) + sum(event.data["count"] for event in digests) == 10_001
    for digest in digests:
        numbered = sum(last - first + 1 for first, last in digest.data["numbers"])
        assert sum(digest.data["rules"].values()) == sum(digest.data["reasons"].values()) == numbered
    reasons = sum((Counter(event.data["reasons"]) for event in digests), Counter[str]())
    assert reasons["inhibited"] > 9_000
    muted = [event.data["decided"] for event in of(said, "notice.held") if event.data["why"] == "inhibited"]
    assert muted[0].startswith("outage has c-")
    # The outage itself was told to whoever is on duty, and its end let go what it held.
    assert {event.data["to"] for event in [*sent, *digests]} == {"ann", "eve"}


def test_an_alarm_of_the_law_is_told_at_once_in_the_middle_of_the_storm() -> None:
    calm = engine(NOTICES + '  quiet: [{name: always, from: "00:00", to: "24:00", zone: UTC}]\n')
    said = calm.hear([*(angry(n, n) for n in range(50)), angry(99, 51, text="I smell gas", scores={})])
    (alarm,) = [event for event in of(said, "notice.sent") if event.data["rule"] == "hazard"]
    assert (alarm.time, alarm.sequence > 0) == (START + 51, True)
    assert alarm.data["decided"] == "an alarm of the law is never held back"
    assert [event for event in of(said, "notice.sent") if event is not alarm] == []


def test_what_is_held_and_why_names_what_was_asked_and_a_digest_tells_it_by_number() -> None:
    calm = engine("notices:\n  group: {by: [rule], interval: 10m}\n")
    said = calm.hear(angry(n, n, text="Rude") for n in range(4)) + calm.advance(Instant(START + 3600))
    asked = {event.id: event.case for event in of(said, "notice.asked")}
    (sent,) = of(said, "notice.sent")
    held = of(said, "notice.held")
    (digest,) = of(said, "notice.digest")
    assert [sent.data["asked"], *(event.data["asked"] for event in held)] == list(asked)
    numbered = list(zip(list(asked.values())[1:], (1, 2, 3), strict=True))
    assert [(event.case, event.data["number"]) for event in held] == numbered
    assert {event.data["group"] for event in held} == {digest.data["group"]}
    assert (digest.data["numbers"], digest.data["count"], digest.time) == ([[1, 3]], 3, START + 600)
    assert digest.data["body"].startswith("3 of unhappy; 3 cases: c-")


def test_what_is_told_says_what_was_asked_under_the_same_seal() -> None:
    keys = FixedKeys()
    calm = engine("notices: {}\n", keys)
    said = calm.hear([angry(1, 0, text="Rude")]) + calm.advance(Instant(START + 60))
    (asked,), (sent,) = of(said, "notice.asked"), of(said, "notice.sent")
    assert sent.data["sealed"] == asked.data["sealed"]
    assert "c1" not in str(sent.data)
    assert sent.private["data"]["subject"] == asked.private["data"]["subject"] == "c1 is unhappy"
    assert (sent.case, sent.sequence, sent.record) == (asked.case, 0, asked.record)


def test_a_case_that_ended_is_not_told_of_later() -> None:
    calm = engine('notices:\n  quiet: [{name: night, from: "00:00", to: "23:59", zone: UTC}]\n')
    said = calm.hear([angry(1, 0, text="Rude"), angry(2, 1, text="Rude")])
    ended, kept = (str(event.case) for event in of(said, "case.opened"))
    action = {"kind": "action", "id": "a", "case": ended, "do": "invalidate", "by": "ann", "reason": "a test"}
    said += calm.hear([envelope(action, Instant(START + 60), "a")]) + calm.advance(Instant(START + 86_400))
    (suppressed,) = of(said, "notice.suppressed")
    assert (str(suppressed.case), suppressed.data["decided"]) == (ended, "its case ended before it was told")
    assert [event.data["cases"] for event in of(said, "notice.digest")] == [[kept]]


def test_a_silence_holds_what_it_covers_and_what_is_still_true_is_told_when_it_ends() -> None:
    calm = engine("notices: {}\n")
    until = rfc3339(Instant(START + 600))
    wanted = {"site": "site1", "reason": "the lift is being repaired", "until": until}
    control = {"kind": "control", "id": "s1", "do": "silence", "by": "eve", "data": wanted}
    said = calm.hear([envelope(control, START, "s"), *(angry(n, 10 + n, text="Rude") for n in range(6))])
    said += calm.advance(Instant(START + 3600))
    (begun,) = of(said, "silence.started")
    assert (begun.data["by"], begun.data["of"], begun.data["until"]) == ("eve", {"site": "site1"}, until)
    held = of(said, "notice.held")
    assert {event.data["decided"] for event in held} == {f"eve asked for silence until {until}: {wanted['reason']}"}
    assert (len(held), len(of(said, "notice.sent"))) == (2, 4)
    assert [(event.time, event.data["count"]) for event in of(said, "notice.digest")] == [(START + 600, 2)]


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        ({"until": rfc3339(Instant(START + 60))}, "a silence needs an author and a reason"),
        ({"reason": "x", "until": rfc3339(Instant(START + 90 * 86_400))}, "a silence lasts more than nothing"),
        ({"reason": "x", "until": "tomorrow"}, "is not an RFC 3339 time"),
        ({"reason": "x"}, "data.until says when it ends"),
    ],
)
def test_a_silence_that_cannot_be_says_why(data: dict[str, str], reason: str) -> None:
    calm = engine("notices: {}\n")
    control = {"kind": "control", "id": "s1", "do": "silence", "by": "eve", "data": data}
    said = calm.hear([envelope(control, START, "s")]) + calm.advance(Instant(START + 60))
    (refused,) = of(said, "silence.refused")
    assert reason in refused.data["reason"]


def test_rules_without_a_policy_tell_everybody_at_once_and_the_drawer_stays_empty() -> None:
    rules = book({"default": {"sets/calm.yaml": SET.replace("    mutes: [unhappy]\n", ""), **OTHERS}})
    calm = VirtualEngine(rules, Decoder(STANDARD, frozenset(rules.sets)), start=START)
    said = calm.hear(angry(n, n, text="Rude") for n in range(5))
    assert [event.type for event in of(said, "notice.asked", "notice.sent", "notice.held")] == ["notice.sent"] * 5
    assert all(event.sequence for event in of(said, "notice.sent"))


def test_a_rule_edit_lets_go_what_it_no_longer_holds_back() -> None:
    calm = engine('notices:\n  quiet: [{name: night, from: "00:00", to: "23:59", zone: UTC}]\n')
    said = calm.hear(angry(n, n, text="Rude") for n in range(3)) + calm.advance(Instant(START + 60))
    assert len(of(said, "notice.held")) == 3
    calm.judge_by(book({"default": {"sets/calm.yaml": SET + "notices: {}\n", **OTHERS}}))
    said = calm.hear([angry(9, 120, text="Rude")]) + calm.advance(Instant(START + 180))
    assert [event.data["count"] for event in of(said, "notice.digest")] == [3]
    assert len(of(said, "notice.sent")) == 1


def test_a_drawer_that_a_disk_altered_is_refused() -> None:
    step = NoticeStep(None, DueIndex())
    version, shard, body, crc = step.stored()
    with pytest.raises(Exception, match="not what was written"):
        NoticeStep((version, shard, body[:-1] + b"x", crc), DueIndex())
