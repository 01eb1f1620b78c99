"""The house that the storm strikes: one set of rules with clocks of seconds, and what each response must lead to.

Of every ten responses one opens a case that nobody answers (its clock warns, breaches and escalates within seconds),
one a case whose clock outlives the storm, and eight nothing. What must be said of each is asked of the engine itself,
under virtual time, where nothing is ever killed.
"""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from feedback.instants import Instant
from tests.builders import START, book, engine, envelope

SHORT, LONG, CALM = "short", "long", "calm"
KINDS = (SHORT, CALM, CALM, CALM, CALM, LONG, CALM, CALM, CALM, CALM)
"""Kind of response number n, by its last digit."""
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


def furnish(folder: Path) -> Path:
    """Settings and rules, written into *folder*; the settings file."""
    for name, text in RULES.items():
        path = folder / "rules" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    settings = folder / "tocsin.yaml"
    settings.write_text(SETTINGS)
    return settings


def kind_of(number: int) -> str:
    return KINDS[number % len(KINDS)]


def record(number: int) -> dict[str, Any]:
    """Response *number*, each of a customer of its own."""
    kind = kind_of(number)
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
    for kind in (SHORT, LONG, CALM):
        world = engine(book({"default": RULES}))
        raw = msgspec.json.encode(record(KINDS.index(kind)))
        events = [*world.hear([envelope(raw, START)]), *world.advance(Instant(START + 2 * SPOKEN_S))]
        said[kind] = Counter("tocsin." + event.type for event in events)
    return said
