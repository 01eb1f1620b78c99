"""`tocsin export` and `tocsin verify`: the file of a case, and the proof that nobody touched it since."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from cases import sealing, trail
from cases.sealing import Keys
from connectors.records import Records
from console.page import page
from feedback.instants import Instant, parse_instant
from insights import verifying
from insights.case_file import case_file
from insights.verifying import revealed
from rules.calendar import Calendar


class ExportError(Exception):
    """What cannot be exported or verified, and why. Whose turn: who asks."""


def file_of(records: Records, case: str, *, at: Instant, zone: str) -> dict[str, Any]:
    """The file of *case*, opened by the keys that *records* has. Raises ExportError when the store has no such case."""
    programme = records.find(case)
    record = records.case(programme, case) if programme else None
    if record is None:
        raise ExportError(f"no case {case} in this store; `tocsin cases --all` lists them")
    calendars = {key: Calendar.from_text(text) for key, text in records.calendars().items()}
    file = case_file(record, calendars, at=at, zone=zone, read=records.read)
    return _provable(file, records.calendars(), records.keys)


def _provable(file: dict[str, Any], calendars: Mapping[str, str], keys: Keys | None) -> dict[str, Any]:
    """*file* with what proves it where nothing else is at hand: its calendars, and what its tokens hold."""
    used = {clock["calendar"] for clock in file["clocks"]}
    proof: dict[str, Any] = {"calendars": {key: text for key, text in calendars.items() if key in used}}
    if keys is not None:
        proof["revealed"] = revealed(file["events"], keys)
    return {**file, **proof}


def reopened(path: Path, keys: Keys | None) -> dict[str, Any]:
    """The file at *path*, exported sealed, with what is sealed opened. Raises ExportError, UnknownVault."""
    file, case = _read_file(path)
    responses = [sealing.opened(keys, (case, "response"), said) for said in file["responses"]]
    whole = {**sealing.opened(keys, (case, "case"), file["case"]), "responses": responses, "log": file["events"]}
    calendars = {key: Calendar.from_text(text) for key, text in file["calendars"].items()}
    at, zone = parse_instant(file["as_at"]), str(file["zone"])
    again = case_file(whole, calendars, at=at, zone=zone, read=lambda event: sealing.opened_event(keys, event))
    return _provable(again, file["calendars"], keys)


def write(file: dict[str, Any], folder: Path) -> tuple[Path, Path]:
    """*file* as JSON and as a page in *folder*; both paths."""
    folder.mkdir(parents=True, exist_ok=True)
    stem = file["case"]["id"]
    json_path, html_path = folder / f"{stem}.json", folder / f"{stem}.html"
    json_path.write_bytes(msgspec.json.format(msgspec.json.encode(file), indent=2))
    html_path.write_text(page(file), encoding="utf-8")
    return json_path, html_path


def verify_store(records: Records, cases: list[str]) -> Iterator[tuple[str, int, trail.Flaw | None]]:
    """(case, events, first flaw) of each of *cases*, or of every case that the store ever had."""
    if cases:
        wanted = [(records.find(case), case) for case in cases]
    else:
        wanted = [(programme, case) for programme in records.programmes() for case in records.all_cases(programme)]
    for programme, case in wanted:
        record = records.case(programme, case) if programme else None
        if record is None:
            raise ExportError(f"no case {case} in this store; `tocsin cases --all` lists them")
        log = record["log"]
        flaw = trail.verify(log, length=int(record["sequence"]))
        if flaw is not None and (lost := record.get("rewritten")):
            why = f"{flaw.what} (the store was lost up to event {lost['sequence']} and written again at {lost['at']})"
            flaw = msgspec.structs.replace(flaw, what=why)
        yield case, len(log), flaw


def verify_file(path: Path) -> tuple[str, int, trail.Flaw | None]:
    """(case, events, first flaw) of an exported file. Raises ExportError when it is none."""
    try:
        file, case = _read_file(path)
        return case, len(file["events"]), verifying.verify_file(file)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise _no_file(path, error) from None


def _read_file(path: Path) -> tuple[dict[str, Any], str]:
    try:
        file = json.loads(path.read_text(encoding="utf-8"))
        return file, str(file["case"]["id"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise _no_file(path, error) from None


def _no_file(path: Path, error: Exception) -> ExportError:
    return ExportError(f"{path} is no case file that `tocsin export` wrote ({error})")
