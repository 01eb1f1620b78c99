"""What goes out, held against golden messages and against the reference library for CloudEvents."""

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cloudevents.v1.http import from_json

from cases.events import TYPES
from feedback.instants import parse_instant
from tests.wire.goldens import FOLDER, said
from tests.wire.story import events

ROOT = Path(__file__).parents[2]
SAID = said()
SEALED = "case.opened.sealed"
"""The golden of an event of which all that is personal is a token."""


def types_in_code() -> Iterator[str]:
    """Types that a call in the engine's code is given; the list of them in `cases/events.py` is no such call."""
    for path in [*(ROOT / "cases").rglob("*.py"), *(ROOT / "flows").rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                given = [*node.args, *(keyword.value for keyword in node.keywords)]
                yield from TYPES & {g.value for g in given if isinstance(g, ast.Constant)}


def golden(type_: str) -> dict[str, Any]:
    message: dict[str, Any] = json.loads((FOLDER / f"{type_}.json").read_text(encoding="utf-8"))
    return message


def test_every_type_has_a_golden_message_and_nothing_else_has() -> None:
    assert {path.stem for path in FOLDER.glob("*.json")} == TYPES | {SEALED}
    assert set(SAID) == TYPES | {SEALED}


def test_the_code_says_what_the_story_does() -> None:
    assert set(types_in_code()) == TYPES


def test_the_same_day_again_says_the_same_under_ids_that_name_one_event_each() -> None:
    day, again = events(), events()
    assert again == day
    assert len({event.id for event in day}) == len(day)
    assert all(re.fullmatch("e-[0-9a-f]{24}", event.id) for event in day)


@pytest.mark.parametrize("type_", sorted(TYPES | {SEALED}))
def test_what_is_said_is_the_golden_message(type_: str) -> None:
    assert SAID[type_] == golden(type_), "if it is meant to change: python -m tests.wire.goldens, and say so"


@pytest.mark.parametrize("type_", sorted(TYPES))
def test_the_reference_library_reads_it(type_: str) -> None:
    message = golden(type_)
    event = from_json(json.dumps(message))
    assert event["specversion"] == "1.0"
    assert event["id"] == message["id"]
    assert event["type"] == f"tocsin.{type_}"
    assert event["source"] == "/tocsin/default" or type_ == "item.quarantined"
    assert event["timestamp"] == event["time"]
    assert parse_instant(event["time"]) > 0
    assert event.data == message["data"]
    if type_ in ("notice.held", "notice.suppressed"):  # what became of a notice is no part of its case's trail
        assert event["subject"] == message["subject"]
        assert "sequence" not in message
    elif "subject" in message:
        assert event["subject"] == message["data"]["case"]["id"]
        assert int(event["sequence"]) >= 1
        assert event["sequence"] == str(int(event["sequence"]))
        assert len(message["data"]["hash"]) == 64
    else:
        assert "sequence" not in message


def test_extension_names_are_lower_case_letters_and_digits() -> None:
    """CloudEvents 1.0, section 3.1: attribute names are a-z and 0-9."""
    names = {name for type_ in TYPES for name in golden(type_)}
    assert all(name.isascii() and name.isalnum() and name == name.lower() for name in names)
