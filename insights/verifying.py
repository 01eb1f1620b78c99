"""An exported case file proved from itself: its trail is whole, and all that people read in it follows from the trail.

Events hold what is personal as tokens; the file reveals what each holds, with the salt of its commitment, so that no
key is asked for. Everything else in the file is folded from the events again and compared. Pure.
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from cases import sealing, trail
from cases.sealing import Keys, Where
from cases.trail import Flaw
from feedback.instants import parse_instant
from insights.case_file import case_file
from rules.calendar import Calendar

FOLDED = (
    "case", "timeline", "owners", "communications", "clocks", "milestones", "refused", "corrections", "outcome",
    "responses",
)  # fmt: skip
"""What is compared, in the order in which people read it."""


def revealed(log: list[dict[str, Any]], keys: Keys) -> dict[str, dict[str, Any]]:
    """Token to what it holds and its salt, of every token of *log* that can be read."""
    found: dict[str, dict[str, Any]] = {}

    def reveal(where: Where, held: Mapping[str, Any]) -> dict[str, Any]:
        token = held.get(sealing.SEALED)
        if token is not None and token not in found and (shown := sealing.reveal(keys, where, token)) is not None:
            found[token] = shown
        return dict(held)

    for event in log:
        sealing.each_place(event, reveal)
    return found


def verify_file(file: Mapping[str, Any]) -> Flaw | None:
    """The first flaw of an exported *file*; None when it is whole. Raises KeyError, ValueError, TypeError: no file."""
    log, case = file["events"], file["case"]
    flaw = trail.verify(log, length=int(case["sequence"]))
    if flaw is not None:
        return flaw
    shown: Mapping[str, Any] = file.get("revealed", {})
    for event in log:
        for token in _tokens(event):
            if token in shown and not sealing.is_revealed(token, shown[token]["private"], shown[token]["salt"]):
                return Flaw(int(event["sequence"]), event["id"], "what is revealed of it is not what was sealed")

    def read(where: Where, held: Mapping[str, Any]) -> dict[str, Any]:
        token = held.get(sealing.SEALED)
        if token is None or "revealed" not in file:  # a sealed export shows its tokens
            return dict(held)
        rest = {name: value for name, value in held.items() if name != sealing.SEALED}
        return {**rest, **(shown[token]["private"] if token in shown else {sealing.ERASED: True})}

    calendars = {key: Calendar.from_text(text) for key, text in file.get("calendars", {}).items()}
    opened = [sealing.each_place(event, read) for event in log]
    by_id = {event["id"]: event for event in opened}
    folded = case_file(
        {**opened[-1]["data"]["case"], "log": log, "responses": _responses(opened)},
        calendars,
        at=parse_instant(file["as_at"]),
        zone=file["zone"],
        read=lambda event: by_id[event["id"]],
    )
    again = msgspec.json.decode(msgspec.json.encode(folded))
    for name in FOLDED:
        said = {k: v for k, v in case.items() if k != "rewritten"} if name == "case" else file[name]
        if again[name] != said:
            return Flaw(0, "", f"what it says under {name} does not follow from its events")
    return None


def _responses(log: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """As the store keeps them: of each the newest reading, in order of that."""
    newest: dict[tuple[str, str], tuple[int, dict[str, Any]]] = {}
    for event in log:
        if (said := event["data"].get("response")) is not None:
            newest[said["source"], said["id"]] = (int(event["sequence"]), said)
    return [said for _, said in sorted(newest.values(), key=lambda kept: kept[0])]


def _tokens(event: Mapping[str, Any]) -> list[str]:
    found: list[str] = []

    def note(_: Where, held: Mapping[str, Any]) -> dict[str, Any]:
        if sealing.SEALED in held:
            found.append(str(held[sealing.SEALED]))
        return dict(held)

    sealing.each_place(event, note)
    return found
