"""What is personal is sealed, and after an erasure nobody can read it, wherever a copy lies."""

from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cases import trail
from cases.events import Event, encode, readable
from cases.sealing import UnknownVault, opened_event
from feedback.instants import Instant
from flows.dead_letters import customer_of
from flows.erasures import Erasures
from flows.virtual import VirtualEngine
from tests.builders import START, FixedKeys, book, engine, envelope

WORDS, NOTE, CUSTOMER = "Nobody rang me back", "her sister answered", "customer-77"
RULES = book(
    {
        "default": {
            "sets/privacy.yaml": """
set: privacy
roster: privacy
rules:
  - id: detractor
    when: {all: ['scores.nps <= 6']}
    case: {type: detractor, owner: lead, acknowledge_within: 30m, notice: alert, reopen_for: 1h,
           clocks: {resolve: {within: 24h, pausable: true, escalate: [{to: lead}]}}}
  - id: angry
    when: {all: ['scores.nps <= 2']}
    case: {type: angry, owner: lead}
""",
            "rosters/privacy.yaml": "roster: privacy\npeople: {ann: {name: Ann}}\nroles: {lead: {default: [ann]}}\n",
            "templates/alert.txt": "Subject: {{ rule }}: {{ customer }}\n\n{{ why }}\n",
        }
    }
)


class House:
    """An engine with a vault, what it said, and what whoever stands beside it could read then."""

    def __init__(self, *, sealed: bool = True) -> None:
        self.keys = FixedKeys()
        self.erasures = Erasures(self.keys, customer_of) if sealed else None
        self.engine: VirtualEngine = engine(RULES, erasures=self.erasures)
        self.said: list[Event] = []
        self._records = 0

    def hear(self, record: dict[str, Any]) -> list[Event]:
        self._records += 1
        events = self.engine.hear([envelope(record, Instant(START + self._records), str(self._records))])
        self.said += events
        return events

    def respond(self, id_: str, customer: str = CUSTOMER, nps: int = 5, **more: Any) -> list[Event]:
        return self.hear({"id": id_, "customer": customer, "text": WORDS, "scores": {"nps": nps}, **more})

    def act(self, case: str, do: str, **more: Any) -> list[Event]:
        action = {"kind": "action", "id": f"a{self._records}", "case": case, "do": do, "by": "ann", **more}
        return self.hear(action)

    def erase(self, case: str, **more: Any) -> list[Event]:
        return self.act(case, "erase", reason="asked in writing", **more)

    def destroy(self) -> None:
        assert self.erasures is not None
        for _ in range(5):
            self.erasures.snapshotted([])
            if (sweeper := self.erasures._sweeper) is not None:
                sweeper.join()

    def cases(self) -> list[str]:
        return [str(e.case) for e in self.said if e.type == "case.opened"]

    def kept(self) -> str:
        """All that lies anywhere: events as they went out, and the state."""
        return "".join(encode(e).decode() for e in self.said) + "".join(str(b) for b in self.engine.bodies.values())

    def log(self, case: str) -> list[dict[str, Any]]:
        return [msgspec.json.decode(encode(e)) for e in self.said if e.case == case]


def types(events: Sequence[Event]) -> list[str]:
    return [e.type for e in events]


def test_what_a_customer_and_people_wrote_lies_nowhere_in_the_clear() -> None:
    house = House()
    house.respond("r1", attributes={"account": "77-1"})
    (case,) = house.cases()
    house.act(case, "note", data={"note": NOTE})
    house.act(case, "escalate", reason=NOTE, data={"to": "lead"})
    house.act(case, "pause", reason=NOTE, data={"clock": "resolve"})
    house.act(case, "resolve", data={"outcome": {"problem": NOTE}})
    kept = house.kept()
    assert [word for word in (WORDS, NOTE, CUSTOMER, "77-1") if word in kept] == []
    assert "ann" in kept


def test_with_the_vault_an_event_reads_as_one_that_was_never_sealed() -> None:
    house, plain = House(), House(sealed=False)
    for one in (house, plain):
        one.respond("r1", attributes={"account": "77-1"})
        one.act(one.cases()[0], "note", data={"note": NOTE, "property": {"uprn": "100"}})
        one.act(one.cases()[0], "note", data={"property": {"uprn": "200"}})
        one.act(one.cases()[0], "acknowledge")
        one.act(one.cases()[0], "resolve", data={"outcome": {"problem": NOTE}})
        one.act(one.cases()[0], "confirm", by="system", data={"outcome": {"cause": WORDS}})
    assert "action.refused" not in types(house.said)
    for sealed, whole in zip(house.said, plain.said, strict=True):
        expected = _without_trail(msgspec.json.decode(encode(whole)))
        assert _without_trail(opened_event(house.keys, msgspec.json.decode(encode(sealed)))) == expected
        assert _without_trail(msgspec.json.decode(encode(readable(sealed)))) == expected


def _without_trail(event: dict[str, Any]) -> dict[str, Any]:
    return {**event, "data": {k: v for k, v in event["data"].items() if k not in ("hash", "previous")}}


def test_after_an_erasure_nobody_reads_it_and_the_trail_still_verifies() -> None:
    house = House()
    house.respond("r1")
    (case,) = house.cases()
    house.act(case, "note", data={"note": NOTE})
    assert types(house.erase(case)) == ["case.erased"]
    house.destroy()
    log = house.log(case)
    read = [opened_event(house.keys, event) for event in log]
    assert not [w for w in (WORDS, NOTE, CUSTOMER) if w in str(read)]
    assert read[0]["data"]["response"]["erased"]
    assert read[-1]["data"]["reason"] == "asked in writing"
    assert read[-1]["data"]["by"] == "ann"
    assert trail.verify(log, length=len(log)) is None


def test_before_the_snapshots_are_durable_the_key_is_still_there() -> None:
    house = House()
    house.respond("r1")
    house.erase(house.cases()[0])
    assert house.erasures is not None
    house.erasures.snapshotted([])
    house.erasures.snapshotted([])
    assert (house.erasures.waiting, house.keys.destroyed) == (1, set())
    house.destroy()
    assert (house.erasures.waiting, len(house.keys.destroyed)) == (0, 1)


def test_every_case_of_the_customer_is_erased_and_nobody_elses() -> None:
    house = House()
    house.respond("r1", nps=1)
    detractor, angry = house.cases()
    house.respond("r2", customer="customer-78")
    erased = house.erase(detractor)
    assert {(e.type, e.case) for e in erased} == {("case.erased", detractor), ("case.erased", angry)}
    house.destroy()
    other = opened_event(house.keys, house.log(house.cases()[2])[0])
    assert other["data"]["response"]["text"] == WORDS


def test_an_erased_case_keeps_its_clocks_and_its_owner() -> None:
    house = House()
    house.respond("r1")
    (case,) = house.cases()
    house.erase(case)
    house.said += house.engine.advance(Instant(START + 25 * 3600))
    breached = [e.data["clock"] for e in house.said if e.type == "clock.breached"]
    assert set(breached) >= {"acknowledge", "resolve"}
    assert house.said[-1].data["owner"] == "ann"
    assert trail.verify(house.log(case)) is None


def test_whoever_was_erased_may_come_back_and_be_erased_again() -> None:
    house = House()
    house.respond("r1")
    house.erase(house.cases()[0])
    house.respond("r2")
    first, second = house.cases()
    assert first != second
    house.destroy()
    assert opened_event(house.keys, house.log(second)[0])["data"]["response"]["text"] == WORDS
    house.erase(second)
    house.destroy()
    assert opened_event(house.keys, house.log(second)[0])["data"]["response"]["erased"]


def test_what_people_write_after_an_erasure_is_sealed_and_can_be_erased_too() -> None:
    house = House()
    house.respond("r1")
    (case,) = house.cases()
    house.erase(case)
    house.destroy()
    house.act(case, "note", data={"note": NOTE})
    assert NOTE not in house.kept()
    assert NOTE in str(opened_event(house.keys, house.log(case)[-1]))
    house.erase(case)
    house.destroy()
    assert NOTE not in str([opened_event(house.keys, e) for e in house.log(case)])


def test_a_correction_of_an_erased_response_finds_no_case_to_come_back_to() -> None:
    house = House()
    house.respond("r1")
    (case,) = house.cases()
    house.erase(case)
    again = house.respond("r1", nps=4)
    assert case not in {e.case for e in again}


def test_a_forgotten_case_is_erased_by_its_record() -> None:
    house = House()
    house.respond("r1")
    (case,) = house.cases()
    outcome = dict.fromkeys(("problem", "action_taken", "customer_told", "satisfied"), "x")
    house.act(case, "start")
    house.act(case, "resolve", data={"outcome": outcome})
    house.act(case, "close")
    house.engine.advance(Instant(START + 7200))
    record = house.log(case)[-1]["data"]["case"]
    assert house.engine.open_cases == 0
    house._records = 8000
    (said,) = house.erase(case, data={"record": {"sealed": record["sealed"]}})
    assert (said.type, said.data["of"], said.case) == ("case.erased", case, None)
    house.destroy()
    assert opened_event(house.keys, house.log(case)[0])["data"]["response"]["erased"]
    (again,) = house.erase(case, data={"record": {"sealed": record["sealed"]}})
    assert (again.type, again.data["reason"]) == ("action.refused", "nothing_to_erase")


@pytest.mark.parametrize(
    ("token", "reason"), [(None, "nothing_to_erase"), ("AAAA", "record_unreadable"), ("theirs", "record_unreadable")]
)
def test_a_record_that_is_not_that_cases_erases_nothing(token: str | None, reason: str) -> None:
    house = House()
    house.respond("r1")
    (case,) = house.cases()
    if token == "theirs":
        token = house.log(case)[-1]["data"]["case"]["sealed"]
    (said,) = house.erase("c-1-000000000000", data={"record": {"sealed": token}})
    assert (said.type, said.data["reason"]) == ("action.refused", reason)
    house.destroy()
    assert opened_event(house.keys, house.log(case)[0])["data"]["response"]["text"] == WORDS


def test_an_engine_without_a_vault_refuses_to_erase() -> None:
    house = House(sealed=False)
    house.respond("r1")
    (said,) = house.erase(house.cases()[0])
    assert (said.type, said.data["reason"]) == ("action.refused", "not_sealed")


def test_an_erasure_needs_a_reason() -> None:
    house = House()
    house.respond("r1")
    (said,) = house.act(house.cases()[0], "erase")
    assert (said.type, said.data["reason"]) == ("action.refused", "reason_missing")


def test_another_vault_says_so_and_what_was_altered_does_not_open() -> None:
    house = House()
    house.respond("r1")
    event = house.log(house.cases()[0])[0]
    other = FixedKeys()
    other.id = b"else"
    with pytest.raises(UnknownVault, match="TOCSIN_VAULT"):
        opened_event(other, event)
    with pytest.raises(ValueError, match="altered"):
        opened_event(house.keys, {**event, "id": "e-moved"})


@settings(max_examples=30)
@given(st.lists(st.sampled_from(["respond", "angry", "other", "note", "erase", "destroy"]), max_size=12))
def test_in_any_history_what_was_said_before_the_last_erasure_is_gone_and_all_else_is_there(deeds: list[str]) -> None:
    house, said_before, said_after = House(), 0, 0
    for number, deed in enumerate(deeds):
        mine = [c for c in house.cases() if house.log(c)[0]["data"]["response"]["id"].startswith("r")]
        if deed in ("respond", "angry"):
            house.respond(f"r{number}", nps=5 if deed == "respond" else 1)
            said_after += 1
        elif deed == "other":
            house.respond(f"o{number}", customer="customer-78")
        elif deed == "note" and mine:
            house.act(mine[-1], "note", data={"note": NOTE})
        elif deed == "erase" and mine:
            house.erase(mine[-1])
            said_before, said_after = said_before + said_after, 0
        elif deed == "destroy":
            house.destroy()
    house.destroy()
    read = [opened_event(house.keys, msgspec.json.decode(encode(e))) for e in house.said]
    texts = [e["data"]["response"] for e in read if "response" in e["data"] and e["data"]["response"]["id"][0] == "r"]
    by_id = {r["id"]: "erased" in r for r in texts}
    assert sum(not gone for gone in by_id.values()) == said_after
    for case in set(house.cases()):
        assert trail.verify(house.log(case)) is None
