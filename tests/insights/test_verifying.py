"""An exported file proves itself, without a key: whatever is altered, in the trail or in what people read, shows."""

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from cases.sealing import opened, opened_event
from cases.trail import Flaw
from feedback.instants import Instant
from insights.case_file import case_file
from insights.verifying import revealed, verify_file
from tests.builders import START
from tests.cases.test_erasing import NOTE, WORDS, House

File = dict[str, Any]


def house() -> House:
    found = House()
    found.respond("r1", attributes={"account": "77-1"})
    found.respond("r2", nps=2)
    found.act(found.cases()[0], "note", data={"note": NOTE})
    found.respond("r1", nps=4)
    found.act(found.cases()[0], "pause", reason=NOTE, data={"clock": "resolve"})
    return found


def exported(found: House, *, sealed: bool = False) -> File:
    """As `tocsin export` writes it."""
    case = found.cases()[0]
    log = found.log(case)
    keys = None if sealed else found.keys
    newest = {e["data"]["response"]["id"]: e["data"]["response"] for e in log if "response" in e["data"]}
    order = sorted(
        newest.values(), key=lambda said: max(int(e["sequence"]) for e in log if e["data"].get("response") is said)
    )
    record = {
        **opened(keys, (case, "case"), log[-1]["data"]["case"]),
        "log": log,
        "responses": [opened(keys, (case, "response"), said) for said in order],
    }
    at = Instant(START + 3600)
    file = case_file(record, {}, at=at, zone="Europe/London", read=lambda event: opened_event(keys, event))
    proof = {"calendars": {}} if keys is None else {"calendars": {}, "revealed": revealed(log, keys)}
    return dict(msgspec.json.decode(msgspec.json.encode({**file, **proof})))


@pytest.mark.parametrize("sealed", [False, True])
def test_a_file_that_nobody_touched_is_whole(sealed: bool) -> None:
    file = exported(house(), sealed=sealed)
    assert (WORDS in str(file)) is not sealed
    assert verify_file(file) is None


def test_the_file_of_an_erased_case_is_whole_and_says_nothing() -> None:
    found = house()
    found.erase(found.cases()[0])
    found.destroy()
    file = exported(found)
    assert WORDS not in str(file)
    assert verify_file(file) is None


def _event(file: File) -> None:
    file["events"][2]["data"]["owner"] = "bob"


def _words(file: File) -> None:
    file["responses"][0]["text"] = "All is well."


def _everywhere(file: File) -> None:
    """Who alters both the text and what proves it."""
    altered = msgspec.json.decode(msgspec.json.encode(file).replace(WORDS.encode(), b"All is well."))
    file.clear()
    file.update(altered)


def _salt(file: File) -> None:
    next(iter(file["revealed"].values()))["salt"] = "00" * 16


def _hidden(file: File) -> None:
    file["revealed"] = {}


UNDER = "what it says under {} does not follow from its events"
ALTERED: dict[str, tuple[Callable[[File], None], str]] = {
    "an event": (_event, "it is not what was written"),
    "a text": (_words, UNDER.format("responses")),
    "a text and its proof": (_everywhere, "what is revealed of it is not what was sealed"),
    "a salt": (_salt, "what is revealed of it is not what was sealed"),
    "what was revealed": (_hidden, UNDER.format("case")),
    "the owner": (lambda file: file["case"].update(owner="bob"), UNDER.format("case")),
    "the timeline": (lambda file: file["timeline"].pop(), UNDER.format("timeline")),
    "a refusal": (lambda file: file["refused"].append({}), UNDER.format("refused")),
    "a deadline": (lambda file: file["clocks"][0].update(late=True), UNDER.format("clocks")),
}


@pytest.mark.parametrize("what", ALTERED)
def test_whatever_is_altered_shows(what: str) -> None:
    alter, words = ALTERED[what]
    file = exported(house())
    alter(file)
    found = verify_file(file)
    assert isinstance(found, Flaw)
    assert found.what == words
