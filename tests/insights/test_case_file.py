"""The file of a case and its page: complete, counted again, verified, and safe to open."""

import re
from html.parser import HTMLParser
from typing import Any

import msgspec
import pytest

from cases.events import encode
from console.page import page
from feedback.instants import Instant, parse_instant
from feedback.metrics import STANDARD
from flows.books import Book
from flows.settings import CHECKOUT
from insights.case_file import case_file
from rules.parse import load
from tests.builders import engine, envelope

RULES = Book("shipped", {"default": load(CHECKOUT / "rules", "housing", STANDARD)}, STANDARD)
CALENDARS = dict(RULES.sets["default"].calendars)
START = parse_instant("2026-10-23T14:00:00Z")
HOSTILE = "there is mould in the bedroom <script>alert(1)</script> & \"quotes\" 'too' \u202e"


@pytest.fixture(scope="module")
def file() -> dict[str, Any]:
    world = engine(RULES, START)
    record = {"id": "r1", "customer": "c<1>", "language": "en", "text": HOSTILE, "attributes": {"property": "P1"}}
    events = world.hear([envelope(record, START, "1")])
    case = next(str(e.case) for e in events if e.type == "case.opened")

    def act(when: str, do: str, **fields: Any) -> None:
        number = str(len(events))
        action = {"kind": "action", "id": number, "case": case, "do": do, "by": "amira.khan", **fields}
        events.extend(world.hear([envelope(action, parse_instant(when), number)]))

    act("2026-10-23T15:00:00Z", "acknowledge")
    act("2026-10-26T10:00:00Z", "pause", reason="no access, visited 14:05", data={"clock": "standard-investigation"})
    act("2026-10-27T10:00:00Z", "correct", reason="mistyped", data={"field": "priority", "to": "urgent"})
    events += world.advance(parse_instant("2026-11-07T00:00:00Z"))
    found = {"name": "investigated", "finding": "none"}
    act("2026-11-07T09:00:00Z", "milestone", at="2026-11-06T16:55:00Z", data=found)
    act("2026-11-08T09:00:00Z", "milestone", data={"name": "summary-given"})
    log = [msgspec.json.decode(encode(e)) for e in events if e.case == case]
    whole = {**log[-1]["data"]["case"], "log": log, "responses": [log[0]["data"]["response"]]}
    return case_file(whole, CALENDARS, at=parse_instant("2026-11-09T09:00:00Z"), zone="Europe/London")


def test_the_deadline_and_the_ledger_are_there_and_agree(file: dict[str, Any]) -> None:
    clock = next(c for c in file["clocks"] if c["name"] == "standard-investigation")
    assert clock["last_moment"] == "by the end of Fri 6 Nov 2026 (Europe/London)"
    assert clock["law"].startswith("awaabs-law reg 6(2)(a)")
    assert (clock["outcome"], clock["late"]) == ("met", False)
    account = clock["ledger"]
    assert (account["total"], account["used"], account["left"]) == (10, 10, 0)
    assert [s["why"] for s in account["spans"][:4]] == ["day zero", "weekend", "weekend", "day 1"]
    assert account["spans"][0]["from"] == clock["started_at"]


def test_times_name_their_zone_on_both_sides_of_the_night_the_clocks_go_back(file: dict[str, Any]) -> None:
    assert file["timeline"][0]["at_local"] == "Fri 23 Oct 2026 15:00:00 BST"
    assert file["timeline"][-1]["at_local"].endswith("GMT")


def test_everything_a_regulator_asks_for(file: dict[str, Any]) -> None:
    assert [o["owner"] for o in file["owners"]] == ["amira.khan"]
    assert {c["what"] for c in file["communications"]} == {"customer.acknowledged", "notice.sent"}
    assert [r["details"]["said"] for r in file["refused"]] == ["no access, visited 14:05"]
    kinds = [c["what"] for c in file["corrections"]]
    assert "clock.corrected" in kinds
    assert "case.updated" in kinds
    corrected = next(c for c in file["corrections"] if c["what"] == "clock.corrected")
    assert corrected["details"]["took_place_at"] == "Fri 6 Nov 2026 16:55:00 GMT"
    assert corrected["details"]["recorded_at"] == "Sat 7 Nov 2026 09:00:00 GMT"
    assert corrected["details"]["by"] == "amira.khan"
    assert file["trail"] == {**file["trail"], "whole": True, "events": len(file["events"])}


def test_a_clock_that_activity_starts_over_is_told_in_stretches(file: dict[str, Any]) -> None:
    idle = [c for c in file["clocks"] if c["name"] == "idle"]
    assert [c["outcome"] for c in idle] == ["started over", "met", "running"]
    assert idle[1]["late"]
    assert idle[-1]["started_at"] == "2026-11-08T09:00:00Z"


def test_an_altered_event_is_told_in_the_file_and_on_the_page(file: dict[str, Any]) -> None:
    record = {**file["case"], "log": msgspec.json.decode(msgspec.json.encode(file["events"])), "responses": []}
    record["log"][2]["data"]["due_at"] = "2027-01-01T00:00:00Z"
    altered = case_file(record, CALENDARS, at=Instant(START + 1), zone="Europe/London")
    assert altered["trail"]["flaw"].startswith("event 3 ")
    assert 'role="alert"' in page(altered)


def test_a_clock_whose_calendar_is_gone_says_so_and_keeps_the_rest(file: dict[str, Any]) -> None:
    record = {**file["case"], "log": file["events"], "responses": []}
    found = case_file(record, {}, at=Instant(START + 1), zone="UTC")
    clock = next(c for c in found["clocks"] if c["name"] == "standard-investigation")
    assert clock["ledger"] is None
    assert "cannot be counted again" in page(found)


class _Reading(HTMLParser):
    VOID = frozenset({"meta", "br", "link", "img"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_is_self_contained_well_formed_and_has_no_scripts(file: dict[str, Any]) -> None:
    text = page(file)
    reading = _Reading()
    reading.feed(text)
    assert reading.open == []
    assert "script" not in reading.tags
    assert not [a for a, _ in reading.attributes if a.startswith("on") or a in ("src", "href")]
    assert "url(" not in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text
    assert "c&lt;1&gt;" in text


def test_the_page_can_be_read_out(file: dict[str, Any]) -> None:
    text = page(file)
    assert '<html lang="en">' in text
    assert text.count("<h1>") == 1
    assert text.count("<table>") == text.count("<caption>") == text.count("<thead>")
    assert all('scope="col"' in head for head in re.findall(r"<th[ >][^>]*", text))
