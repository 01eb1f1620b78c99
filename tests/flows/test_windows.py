"""Rules with memory in the engine: many alike open one case, which names those it is about, and further ones join."""

from typing import Any

import msgspec
import pytest

from cases.events import Event, encode
from feedback.instants import Instant, parse_span
from flows.erasures import Erasures
from flows.virtual import VirtualEngine
from tests.builders import START, FixedKeys, book, engine, envelope

SET = """
set: windows
roster: windows
attributes: {site: text, ticket: text}
rules:
  - id: detractor
    when: {all: ['scores.nps <= 6']}
    case: {type: detractor, owner: lead}
  - id: many-at-a-site
    title: Detractors at one site
    when: {all: ['scores.nps <= 6']}
    window: {kind: count, by: site, count: 3, within: 1h, late: 1m, stay_open: 2h}
    case: {type: systemic, owner: duty, priority: high, acknowledge_within: 30m, notice: alert,
           clocks: {resolve: {within: 8h, escalate: [{to: lead}]}}}
  - id: unanswered
    when: {all: ['channel == "ticket"'], none: ['touchpoint == "reply"']}
    window: {kind: sequence, by: attributes.ticket, without: {all: ['touchpoint == "reply"']}, within: 4h, late: 1m}
    case: {type: unanswered, owner: lead}
  - id: fell
    when: {all: ['has(scores.nps)']}
    window: {kind: change, by: customer, score: scores.nps, falls: 5, within: 30d}
    case: {type: retention, owner: lead}
"""
ROSTER = """
roster: windows
people: {ann: {name: Ann}, dan: {name: Dan}}
roles: {lead: {default: [ann]}, duty: {default: [dan]}}
"""
RULES = book(
    {
        "default": {
            "sets/windows.yaml": SET,
            "rosters/windows.yaml": ROSTER,
            "templates/alert.txt": "Subject: {{ rule }}: {{ subject }}\n\n{{ why }}\n",
        }
    }
)


class Day:
    def __init__(self, vault: FixedKeys | None = None) -> None:
        self.engine: VirtualEngine = engine(RULES, erasures=Erasures(vault))
        self.said: list[Event] = []
        self._sent = 0

    def hear(self, at: str, customer: str = "", *, id_: str = "", **record: Any) -> str:
        self._sent += 1
        id_ = id_ or f"r{self._sent}"
        whole = {"id": id_, "customer": customer or f"c{self._sent}", "language": "en", **record}
        self.said += self.engine.hear([envelope(whole, _at(at), str(self._sent))])
        return id_

    def detractor(self, at: str, site: str = "leeds", **more: Any) -> str:
        return self.hear(at, scores={"nps": 2}, attributes={"site": site}, **more)

    def pass_(self, to: str) -> None:
        self.said += self.engine.advance(_at(to))

    def act(self, at: str, case: str, do: str, **more: Any) -> None:
        self._sent += 1
        action = {"kind": "action", "id": f"a{self._sent}", "case": case, "do": do, "by": "dan", **more}
        self.said += self.engine.hear([envelope(action, _at(at), str(self._sent))])

    def opened(self, type_: str) -> list[Event]:
        return [e for e in self.said if e.type == "case.opened" and e.data["type"] == type_]

    def of(self, case: str | None, change: str) -> list[dict[str, Any]]:
        return [e.data for e in self.said if e.case == case and e.data.get("change") == change]


def _at(span: str) -> Instant:
    return Instant(START + parse_span(span))


def test_the_third_of_a_site_opens_one_case_that_says_what_was_counted() -> None:
    day = Day()
    day.detractor("1m")
    day.detractor("2m", site="york")
    day.detractor("3m")
    assert day.opened("systemic") == []
    day.detractor("4m")
    (opened,) = day.opened("systemic")
    assert opened.time == _at("4m")
    assert (opened.data["rule"], opened.data["priority"], opened.data["owner"]) == ("many-at-a-site", "high", "dan")
    assert opened.data["subject"] == "leeds"
    assert {k: opened.data["alert"][k] for k in ("count", "threshold", "key")} == {
        "count": 3,
        "threshold": 3,
        "key": "leeds",
    }
    armed = {e.data["clock"] for e in day.said if e.type == "clock.armed" and e.case == opened.case}
    assert armed == {"acknowledge", "resolve"}


def test_it_names_the_responses_and_the_cases_that_they_opened() -> None:
    day = Day()
    ids = [day.detractor(f"{n}m") for n in (1, 3, 4)]
    day.detractor("4m", customer="c1", id_="again")  # joins the case that c1 has
    day.pass_("6m")
    (opened,) = day.opened("systemic")
    (told,) = day.of(opened.case, "affected")
    assert [r["id"] for r in told["responses"]] == [*ids, "again"]
    assert told["cases"] == [str(e.case) for e in day.opened("detractor")]
    assert (told["count"], told["joined"]) == (4, 4)


def test_further_ones_join_together_and_the_numbers_add_up() -> None:
    day = Day()
    for number in range(1, 200):
        day.hear(f"{number * 7}s", scores={"nps": 1}, attributes={"site": "leeds"})
    day.pass_("1h")
    assert len(day.opened("systemic")) == 1
    told = day.of(day.opened("systemic")[0].case, "affected")
    assert sum(t["joined"] for t in told) == 199
    assert told[-1]["count"] == 199
    assert len(told) < 100
    assert len({case for t in told for case in t["cases"]}) == len(day.opened("detractor")) == 199


def test_the_end_of_the_alert_is_said_and_the_case_is_peoples_to_close() -> None:
    day = Day()
    for at in ("1m", "3m", "4m"):
        day.detractor(at)
    day.pass_("5h")
    (opened,) = day.opened("systemic")
    (over,) = day.of(opened.case, "alert_ended")
    assert over["reason"] == "not true any more"
    assert over["until"] == "2026-11-02T11:04:00Z"
    ended_at = next(e.time for e in day.said if e.data.get("change") == "alert_ended")
    assert ended_at == _at("2h") + 5 * 60, "its last moment, and the minute in which somebody late might have come"
    assert day.engine.open_cases == 4


def test_raised_again_beside_an_open_case_goes_on_there_and_after_its_close_opens_another() -> None:
    day = Day()
    for at in ("1m", "3m", "4m"):
        day.detractor(at)
    for at in ("5h", "302m", "303m"):
        day.detractor(at)
    (first,) = day.opened("systemic")
    (again,) = day.of(first.case, "raised_again")
    assert again["alert"]["count"] == 3
    outcome = dict.fromkeys(("problem", "action_taken", "customer_told", "satisfied"), "x")
    day.act("304m", str(first.case), "start")
    day.act("305m", str(first.case), "resolve", data={"outcome": outcome})
    day.act("306m", str(first.case), "close")
    day.detractor("307m")
    assert len(day.opened("systemic")) == 1, "its alert goes on, and people closed it knowing that"
    for at in ("15h", "902m", "903m"):
        day.detractor(at)
    second = day.opened("systemic")[1]
    assert second.data["earlier"] == [first.case]


def test_what_did_not_come_is_found_by_time_alone_and_at_its_own_instant() -> None:
    day = Day()
    day.hear("1s", channel="ticket", attributes={"ticket": "T1"})
    day.hear("1h", channel="ticket", attributes={"ticket": "T2"})
    day.hear("2h", channel="ticket", touchpoint="reply", attributes={"ticket": "T2"})
    day.pass_("1d")
    (opened,) = day.opened("unanswered")
    assert (opened.data["subject"], opened.time) == ("T1", _at("4h") + 61)


def test_a_customers_own_window_opens_a_case_of_theirs() -> None:
    day = Day()
    day.hear("1s", "maria", scores={"nps": 10})
    day.hear("1h", "maria", scores={"nps": 4})
    day.hear("1h", "bob", scores={"nps": 9})
    (opened,) = day.opened("retention")
    record = msgspec.json.decode(encode(opened))["data"]["case"]
    assert (record["customer"], record["subject"]) == ("maria", "")


def test_a_sealed_window_by_customer_does_not_name_them_and_finds_the_same() -> None:
    plain, sealed = Day(), Day(FixedKeys())
    for day in (plain, sealed):
        day.hear("1s", "maria", scores={"nps": 10})
        day.hear("1h", "maria", scores={"nps": 4})
        day.hear("2h", "maria", scores={"nps": 9})
        day.hear("3h", "maria", scores={"nps": 3})
    assert b"maria" in b"".join(plain.engine.memories)
    assert b"maria" not in b"".join(sealed.engine.memories)
    assert [(e.type, e.time) for e in plain.said] == [(e.type, e.time) for e in sealed.said]
    ((one, same),) = zip(plain.opened("retention"), sealed.opened("retention"), strict=True)
    assert one.data["alert"] == same.data["alert"]


def test_what_a_window_remembers_of_an_erased_customer_concerns_nobody() -> None:
    vault = FixedKeys()
    day = Day(vault)
    day.hear("1s", "maria", scores={"nps": 10})
    vault.destroy([vault.leaf("default", "maria", "0")])
    day.hear("1h", "maria", scores={"nps": 4})
    assert day.opened("retention") == []
    day.hear("2h", "maria", scores={"nps": 10})
    day.hear("3h", "maria", scores={"nps": 4})
    assert len(day.opened("retention")) == 1


@pytest.mark.parametrize("ticks", [1, 7, 60, 600])
def test_how_often_time_is_looked_at_changes_nothing(ticks: int) -> None:
    day, rare = Day(), Day()
    for number, at in enumerate(("1m", "3m", "4m", "90m", "5h", "302m", "303m", "20h")):
        for one in (day, rare):
            one.detractor(at, id_=f"x{number}", customer=f"y{number}")
        if number % 2:
            day.said += day.engine.advance(Instant(_at(at) + ticks))
    for one in (day, rare):
        one.pass_("30h")
    assert [_told(e) for e in day.said] == [_told(e) for e in rare.said]


def _told(event: Event) -> tuple[Any, ...]:
    data = {k: v for k, v in event.data.items() if k not in ("detected_at", "late")}
    return event.id, event.sequence, event.time, data
