"""Stories in files: at 09:00 this response, at 17:01 expect that breach. Each runs under virtual time.

A story begins at `start` (else 09:00 on 2 November 2026). A step has `at` (a span since the start, or a time), and
`response`, `action` or nothing (time just passes), and what is to be said by then: `expect`, in order, each a type
and the fields that must match. `$1` is the first case opened, `$2` the second. Types under `ignore` are left out of
the comparison; everything else that is said must be listed. A step with `fires` only asks that this rule is among
those that fire.
"""

from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from cases.events import Event
from feedback.instants import Instant, parse_instant, parse_span, rfc3339
from feedback.metrics import STANDARD
from flows.books import Book
from flows.settings import CHECKOUT
from rules.parse import load
from tests.builders import START, book, engine, envelope

FILES = sorted(Path(__file__).parent.glob("*.yaml"))
SHIPPED = ("contact-centre", "housing", "software-service")
FIRED: dict[str, set[str]] = {}


def rules_of(story: dict[str, Any]) -> Book:
    if "files" in story:
        return book({"default": story["files"]})
    return Book("shipped", {"default": load(CHECKOUT / "rules", story["rules"], STANDARD)}, STANDARD)


def seen(event: Event, cases: list[str]) -> dict[str, Any]:
    alias = f"${cases.index(str(event.case)) + 1}" if str(event.case) in cases else ""
    rules = [rule["id"] for rule in event.data.get("rules", ())]
    return {**event.data, "case": alias, "type_": event.type, "rules": rules}


@pytest.mark.parametrize("file", FILES, ids=lambda f: f.stem)
def test_story(file: Path) -> None:
    for story in YAML(typ="safe").load(file.read_text(encoding="utf-8")):
        tell(story)


def tell(story: dict[str, Any]) -> None:
    rules = rules_of(story)
    start = parse_instant(story["start"]) if "start" in story else START
    world = engine(rules, start)
    cases: list[str] = []
    ignored = set(story.get("ignore", ()))
    for number, step in enumerate(story["steps"], 1):
        at = when(step.get("at", "0"), start)
        events = give(world, step, at, number, cases, start)
        cases += [str(e.case) for e in events if e.type == "case.opened" and str(e.case) not in cases]
        for event in events:
            FIRED.setdefault(story.get("rules", ""), set()).update(r["id"] for r in event.data.get("rules", ()))
        if "fires" in step:
            fired = {r["id"] for e in events for r in e.data.get("rules", ())}
            assert step["fires"] in fired, f"{story['title']}, step {number}: {sorted(fired)}"
            continue
        said = [seen(e, cases) for e in events if e.type not in ignored]
        wanted = step.get("expect", [])
        where = f"{story['title']}, step {number} at {step.get('at', '0')}"
        assert [w["type"] for w in wanted] == [s["type_"] for s in said], where
        for want, got in zip(wanted, said, strict=True):
            wrong = {k: got.get(k) for k, v in want.items() if k != "type" and got.get(k) != v}
            assert not wrong, f"{where}: {want} but {wrong}"


def when(text: str, start: Instant) -> Instant:
    """A span since the start, or a time of its own."""
    if text == "0":
        return start
    return parse_instant(text) if "T" in text else Instant(start + parse_span(text))


def give(world: Any, step: dict[str, Any], at: Instant, number: int, cases: list[str], start: Instant) -> list[Event]:
    if "response" in step:
        record = {"id": f"r{number}", "customer": "c1", "language": "en", **step["response"]}
        return world.hear([envelope(record, at, str(number))])  # type: ignore[no-any-return]
    if "action" in step:
        asked = dict(step["action"])
        if str(asked.get("case", "")).startswith("$"):
            asked["case"] = cases[int(asked["case"][1:]) - 1]
        if "at" in asked:
            asked["at"] = rfc3339(when(asked["at"], start))
        return world.hear([envelope({"kind": "action", "id": f"a{number}", **asked}, at, str(number))])  # type: ignore[no-any-return]
    return world.advance(at)  # type: ignore[no-any-return]


@pytest.mark.parametrize("name", SHIPPED)
def test_every_shipped_rule_fires_in_a_story(name: str) -> None:
    for file in FILES:
        for story in YAML(typ="safe").load(file.read_text(encoding="utf-8")):
            if story.get("rules") == name and name not in FIRED:
                tell(story)
    shipped = {rule.id for rule in load(CHECKOUT / "rules", name, STANDARD).rules}
    assert shipped == FIRED.get(name, set())
