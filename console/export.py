"""`tocsin export` and `tocsin verify`: the file of a case, and the proof that nobody touched it since."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from cases import trail
from connectors.records import Records
from console.page import page
from feedback.instants import Instant
from insights.case_file import case_file
from rules.calendar import Calendar


class ExportError(Exception):
    """What cannot be exported or verified, and why. Whose turn: who asks."""


def file_of(records: Records, case: str, *, at: Instant, zone: str) -> dict[str, Any]:
    """The file of *case*. Raises ExportError when the store has no such case."""
    programme = records.find(case)
    record = records.case(programme, case) if programme else None
    if record is None:
        raise ExportError(f"no case {case} in this store; `tocsin cases --all` lists them")
    calendars = {key: Calendar.from_text(text) for key, text in records.calendars().items()}
    return case_file(record, calendars, at=at, zone=zone)


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
        file = json.loads(path.read_text(encoding="utf-8"))
        log, record = file["events"], file["case"]
        return record["id"], len(log), trail.verify(log, length=int(record["sequence"]))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ExportError(f"{path} is no case file that `tocsin export` wrote ({error})") from None
