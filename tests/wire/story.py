"""A day at the engine in which every type of event is said; `said` is what `tests/wire/` keeps a golden of each.

The first event of a type is the one that is kept, so a new scene goes to the end.
"""

from typing import Any

from cases.events import Event
from feedback.decode import Decoder
from feedback.ids import DEFAULT_SHARDS
from feedback.instants import Instant, parse_span, rfc3339
from feedback.metrics import STANDARD
from flows.books import Book
from flows.engine_time import EngineClock
from flows.erasures import Erasures
from flows.hearing import Hearing
from flows.indexes import KnownResponses
from flows.outages import Outages
from flows.spikes import Note, spiked
from flows.timetable import InForce, Timetable
from flows.virtual import Uncounted, VirtualEngine
from scoring.learned import Context, Learner
from scoring.models import Models
from scoring.spikes import Said, Spike
from scoring.vader import vader
from tests.builders import START, FixedKeys, book, envelope

_TEXTS = {
    "default": {
        "sets/wire.yaml": """
set: wire
roster: wire
attributes: {site: text}
rules:
  - id: detractor
    title: Detractor
    when: {all: ['bands.nps == "detractor"']}
    case:
      type: detractor
      priority: high
      owner: lead
      fallback: duty
      acknowledge_within: 30m
      acknowledgement: sorry
      notice: alert
      next_best_action: Ring them today
      clocks:
        first_response: {within: 4h, warn: [50%], escalate: [{to: duty}, {after: 1h, to: head}]}
        resolve: {within: 24h, warn: [50%], pausable: true, extendable: 24h, escalate: [{to: head}]}
        visit: {within: 8h, starts: acknowledged, met_by: ["milestone:visited"]}
  - id: share
    title: Fails on a customer who is no number
    when: {all: ['size(themes) > 0 ? false : double(customer) > 1.0']}
    case: {type: share, owner: lead}
""",
        "rosters/wire.yaml": """
roster: wire
people:
  ann: {name: Ann Lee, email: ann@example.org}
  cat: {name: Cat Roy, email: cat@example.org}
  eve: {name: Eve Orr, email: eve@example.org}
roles: {lead: {default: [ann]}, duty: {default: [cat]}, head: {default: [eve]}}
""",
        "templates/sorry.txt": (
            "Subject: We are sorry\n\n{{ owner }} will ring you {{ due_at }}. Reference {{ case }}.\n"
        ),
        "templates/alert.txt": "Subject: {{ rule }}: {{ customer }}\n\n{{ why }}. Due {{ due_at }}.\n",
    }
}
RULES = book(_TEXTS)
_NOTICES = """
notices:
  group: {by: [rule, site], interval: 10m}
"""
EDITED = book(
    {"default": {**_TEXTS["default"], "sets/wire.yaml": _TEXTS["default"]["sets/wire.yaml"].replace("24h", "20h")}}
)


class Day:
    """One engine's day; times are spans since the start."""

    def __init__(self, erasures: Erasures | None = None, rules: Book = RULES) -> None:
        decoder = Decoder(STANDARD, frozenset({"default", "ruleless"}))
        self._engine = VirtualEngine(rules, decoder, start=START, erasures=erasures)
        self.said: list[Event] = []
        self._records = 0

    def hears(self, at: str, record: dict[str, Any] | bytes, **door: Any) -> None:
        self._records += 1
        given = envelope(record, _at(at), f"wire.jsonl:{self._records}", **door)
        self.said += self._engine.hear([given])

    def responds(self, at: str, customer: str, **more: Any) -> str:
        """A detractor's response; returns the case that it opens."""
        record = {"id": f"r-{self._records}", "customer": customer, "language": "en", "scores": {"nps": 2}, **more}
        self.hears(at, record)
        return next((str(e.case) for e in reversed(self.said) if e.type == "case.opened"), "")

    def does(self, at: str, case: str, verb: str, *, by: str = "ann", as_of: str = "", **more: Any) -> None:
        record = {"id": f"a-{self._records}", "kind": "action", "case": case, "do": verb, "by": by, **more}
        if as_of:
            record["at"] = rfc3339(_at(as_of))
        self.hears(at, record, principal="sso:" + by)

    def passes(self, at: str) -> None:
        self.said += self._engine.advance(_at(at))


def _at(span: str) -> Instant:
    return START if span == "0" else Instant(START + parse_span(span))


def events() -> list[Event]:
    """All that is said that day, and of the engine itself after it."""
    day = Day()
    text = "Nobody rang back, and the heating is still cold."
    case = day.responds("0", "customer-1", channel="sms", text=text, attributes={"site": "leeds"})
    day.does("10m", case, "acknowledge")
    day.does("20m", case, "contact", reason="rang, will call again", data={"channel": "phone"})
    day.does("1h", case, "pause", reason="waits for a part", data={"clock": "resolve"})
    day.does("2h", case, "resume", reason="the part is here", data={"clock": "resolve"})
    day.does("3h", case, "extend", reason="agreed with the customer", data={"clock": "resolve", "by": "2h"})
    day.does("4h", case, "note", data={"note": "The fitter comes at two."})
    day.does("5h", case, "milestone", data={"name": "visited"})
    day.does("6h", case, "close")
    day.does(
        "6h", case, "resolve", data={"outcome": {"problem": "A cold radiator", "action_taken": "Replaced a valve"}}
    )
    day.does("7h", case, "close", data={"outcome": {"customer_told": "yes", "satisfied": "yes"}})
    day.does("9h", case, "reopen", reason="cold again")
    late = day.responds("10h", "customer-2")
    day.passes("15h")
    day.does("16h", late, "contact", by="cat", as_of="13h", reason="the call was noted down late")
    day.does("17h", late, "invalidate", by="cat", reason="somebody else's answer")
    day.hears("18h", b'{"id": "r-3", "scores": {"nps": 2}')
    day.hears("18h", {"id": "r-4", "text": "Nobody in particular"})
    day.hears("19h", {"id": "r-5", "text": "hello"}, programme="ruleless")
    return [*day.said, *_controls("20h"), *_sealed("21h"), *_quieter("22h"), _spike("25h")]


def _quieter(at: str) -> list[Event]:
    """Under a policy: the first of a group is told, then three wait, one of which is resolved; and a silence."""
    texts = {**_TEXTS["default"], "sets/wire.yaml": _TEXTS["default"]["sets/wire.yaml"] + _NOTICES}
    day = Day(rules=book({"default": texts}))
    day.responds(at, "customer-5", id="quiet-5", attributes={"site": "leeds"})
    day.passes("22h10s")
    cases = [day.responds("22h20s", f"customer-{n}", id=f"quiet-{n}", attributes={"site": "leeds"}) for n in (6, 7, 8)]
    day.does("22h30s", cases[0], "invalidate", reason="a test of the kiosk")
    until = rfc3339(_at("30h"))
    quiet = {"reason": "the kiosk is being repaired", "until": until, "site": "york"}
    day.hears("23h", {"kind": "control", "id": "quiet-1", "do": "silence", "by": "eve", "data": quiet})
    ended = {"silence": "quiet-1", "reason": "it works again"}
    day.hears("23h10m", {"kind": "control", "id": "quiet-2", "do": "unsilence", "by": "eve", "data": ended})
    day.hears("23h10m", {"kind": "control", "id": "quiet-3", "do": "silence", "by": "eve", "data": {"until": until}})
    day.passes("24h")
    return day.said


def _spike(at: str) -> Event:
    """A theme of which one site hears more than usual."""
    when, since = _at(at), _at("19h")
    said = Said(when, when, 1, ("heating",), 0.1, "sms", "r-9")
    spike = Spike(
        theme="heating", measure="volume", since=since, at=when, now=0.31, usual=0.08, count=31, expected=7.96,
        responses=(("sms", "r-8"), ("sms", "r-9")),
    )  # fmt: skip
    return spiked(Note(("default", "attributes.site", "leeds"), said, when, float(when)), spike)


def _sealed(at: str) -> list[Event]:
    """Another engine, with a vault, and a customer who wants to be forgotten."""
    day = Day(Erasures(FixedKeys()))
    case = day.responds(
        at, "customer-3", id="forget-me", text="Leave me alone.", attributes={"site": "york", "account": "77-1"}
    )
    day.does(at, case, "note", data={"note": "She rang from her sister's."})
    day.does(at, case, "erase", reason="asked for it in writing")
    return day.said


REFUSED = {
    "book": "b00c2",
    "refused": "5d0c8a13f2b7e964",
    "problems": ["rules/sets/wire.yaml:17: clocks.resolve.within is 'soon'; expected a span such as 4h, 2d or 90m"],
    "count": 1,
}


OUTAGE = {
    "lane": 0,
    "from": "2026-11-03T02:10:00Z",
    "until": "2026-11-03T04:55:00Z",
    "length_s": 9_900,
    "caught_up_at": "2026-11-03T04:56:10Z",
}


def _controls(at: str) -> list[Event]:
    """Other rules, a store that was lost, and models in which the learned one has fallen behind VADER."""
    hearing = Hearing(
        Decoder(STANDARD, frozenset(RULES.sets)),
        lambda hash_: Book(hash_, (RULES if hash_ == "b00c1" else EDITED).sets, STANDARD),
        shards=DEFAULT_SHARDS,
        known=KnownResponses(),
        clock=EngineClock(wall=lambda: float(START), boot=lambda: float(START)),
        meter=Uncounted(),
        outages=Outages(),
        open_models=_models,
    )
    hearing.begin(InForce("b00c1", Timetable(((Instant(0), "a1"),))))
    controls: list[dict[str, Any]] = [
        {"id": "rules-2", "do": "rules", "by": "ops", "data": {"book": "b00c2"}},
        {"id": "refused-1", "do": "rules.refused", "by": "engine", "data": REFUSED},
        {"id": "beat-1", "do": "heartbeat", "by": "engine", "data": {"every_s": 60, "lane": 0}},
        {"id": "outage-1", "do": "outage.over", "by": "engine", "data": OUTAGE},
        {"id": "store-lost-1", "do": "store.lost", "by": "engine", "data": {"reason": "wiped", "known": 812}},
        {"id": "store-rewritten-1", "do": "store.rewritten", "by": "engine", "data": {"reason": "wiped", "cases": 2}},
        {"id": "model-2", "do": "model", "by": "learning", "data": {"model": "a2", "base": "a1"}},
    ]
    given = [(envelope({"kind": "control", **control}, _at(at)), _at(at)) for control in controls]
    return [said for _, said in hearing.hear(given) if isinstance(said, Event)]


def _models(version: str) -> Models:
    """`a1` has learned what VADER does not know; `a2` has then been taught what VADER knows better."""
    learner, here = Learner(), Context(programme="default", language="en")
    for number in range(400):
        learner.learn("nobody rang" if number % 2 else "seen at once", here, vader().score(""), number % 2 == 1)
    for number in range(1600 if version == "a2" else 0):
        mood = vader().score("awful" if number % 2 else "lovely")
        learner.learn("the same words", here, mood, number % 2 == 1)
    return Models(version, learner)
