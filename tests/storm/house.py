"""The house that the storm strikes: one set of rules with clocks of seconds, and what each response must lead to.

Of every ten responses one opens a case that nobody answers (its clock warns, breaches and escalates within seconds),
one a case whose clock outlives the storm, and eight nothing. On three of four of the latter somebody acts, once; one
of those three actions is to be refused. What must be said of each is asked of the engine itself, under virtual time,
where nothing is ever killed.
"""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from feedback.instants import Instant
from tests.builders import START, book, engine, envelope

SHORT, LONG, CALM = "short", "long", "calm"
DEEDS = {"acknowledged": "acknowledge", "noted": "note", "refused": "reopen"}
"""Kinds of response whose case is a long one on which somebody acts: the verb. A new case cannot be reopened."""
FUSES = (SHORT, CALM, CALM, CALM, CALM, LONG, CALM, CALM, CALM, CALM)
"""Fuse of response number n, by its last digit."""
LONGS = (LONG, *DEEDS)
"""Kind of response number n whose fuse is long, by the digits before the last."""
KINDS = (SHORT, CALM, *LONGS)
WITHIN_S = 4
SPOKEN_S = WITHIN_S + 2
"""By then a short case has said all that it has to say."""

RULES = {
    "sets/storm.yaml": f"""
set: storm
roster: storm
attributes: {{fuse: text}}
rules:
  - id: short-fuse
    title: A clock of seconds
    when: {{all: ['attributes.fuse == "{SHORT}"']}}
    case:
      type: short
      priority: urgent
      owner: lead
      clocks:
        first_response: {{within: {WITHIN_S}s, warn: [50%], escalate: [{{to: duty}}, {{after: 2s, to: head}}]}}
  - id: long-fuse
    title: A clock that outlives the storm
    when: {{all: ['attributes.fuse == "{LONG}"']}}
    case: {{type: long, priority: normal, owner: lead, clocks: {{first_response: {{within: 30h}}}}}}
""",
    "rosters/storm.yaml": """
roster: storm
people: {ann: {name: Ann}, bob: {name: Bob}, cat: {name: Cat}, dan: {name: Dan}}
roles: {lead: {default: [ann, bob]}, duty: {default: [cat]}, head: {default: [dan]}}
""",
}
SETTINGS = "programmes: {default: {rules: storm}}\nrules: rules\nengine: {shards: 256}\n"
SECRET = "STORM_SECRET"
ENDPOINT = """
endpoints:
  - {{name: storm, url: "{url}", secrets: ["env:{secret}"], allow_private: true, timeout_s: 5, headers: {{}}}}
"""


def furnish(folder: Path, hook: str = "", more: str = "") -> Path:
    """Settings and rules, written into *folder*; the settings file. *hook* is the URL to which webhooks go."""
    for name, text in RULES.items():
        path = folder / "rules" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    settings = folder / "tocsin.yaml"
    settings.write_text(SETTINGS + more + (ENDPOINT.format(url=hook, secret=SECRET) if hook else ""))
    return settings


def kind_of(number: int) -> str:
    tens, digit = divmod(number, len(FUSES))
    return LONGS[tens % len(LONGS)] if FUSES[digit] == LONG else FUSES[digit]


def deed(response: str) -> str:
    """What somebody does to the case that *response* opened; empty when nothing."""
    return DEEDS.get(kind_of(int(response.removeprefix("s"))), "")


def action(id_: str, case: str, do: str, by: str) -> dict[str, Any]:
    return {"kind": "action", "id": id_, "case": case, "do": do, "by": by, "reason": "The storm asks."}


def record(number: int) -> dict[str, Any]:
    """Response *number*, each of a customer of its own."""
    kind = FUSES[number % len(FUSES)]
    return {
        "id": f"s{number}",
        "customer": f"s{number}",
        "channel": "web",
        "language": "en",
        "text": "Nobody rang back." if kind != CALM else "All as agreed.",
        "attributes": {"fuse": kind},
    }


def expected() -> Mapping[str, Counter[str]]:
    """How many events of each type a response of each kind leads to once all is said."""
    said: dict[str, Counter[str]] = {}
    first = {kind_of(number): number for number in reversed(range(len(FUSES) * len(LONGS)))}
    for kind in KINDS:
        world = engine(book({"default": RULES}))
        raw = msgspec.json.encode(record(first[kind]))
        events = [*world.hear([envelope(raw, START)])]
        if kind in DEEDS:
            opened = next(event for event in events if event.type == "case.opened")
            told = action("act", str(opened.case), DEEDS[kind], str(opened.data["owner"]))
            events += world.hear([envelope(told, Instant(START + 1), "2")])
        events += world.advance(Instant(START + 2 * SPOKEN_S))
        said[kind] = Counter("tocsin." + event.type for event in events)
    return said
