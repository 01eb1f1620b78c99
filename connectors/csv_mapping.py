"""CSV as responses: which column is what, by the settings, else by guesses that are told.

A wrong guess about a scale turns praise into complaints, so a column of scores whose scale its name does not say
is refused with the lines to add; so are dates that name no zone. Everything else has a sensible default. Rows
become JSON records, so that one decoder judges all input.
"""

import csv
import io
import re
from collections.abc import Callable, Mapping
from datetime import datetime
from hashlib import blake2b
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec

from connectors.files import Rows
from feedback.metrics import Metric

SAMPLE_ROWS = 200
SAMPLE_BYTES = 1 << 20
NAMES: Mapping[str, tuple[str, ...]] = {
    "id": ("id", "response_id", "responseid", "survey_id", "ticket_id", "record_id", "review_id", "uuid"),
    "customer": ("customer", "customer_id", "customerid", "client", "client_id", "user_id", "email", "tenant",
                 "tenant_id", "account", "account_id", "respondent_id", "contact_id", "member_id"),
    "text": ("text", "comment", "comments", "feedback", "review", "verbatim", "message", "body", "answer",
             "description", "note", "notes", "free_text", "reason"),
    "occurred_at": ("occurred_at", "date", "datetime", "timestamp", "time", "created", "created_at", "submitted",
                    "submitted_at", "completed_at", "response_date", "review_date"),
    "channel": ("channel", "source_channel", "medium"),
    "touchpoint": ("touchpoint", "survey", "question", "journey", "stage"),
    "language": ("language", "lang", "locale"),
}  # fmt: skip
"""Field to the column names that we take for it, best first."""
_ALIASES = {"site": ("site", "store", "branch", "location"), "agent": ("agent", "advisor", "adviser", "handled_by"),
            "segment": ("segment", "tier", "plan")}  # fmt: skip
_VAGUE = (
    "score",
    "rating",
    "ratings",
    "scores",
    "satisfaction",
    "value",
    "grade",
    "rate",
    "recommend",
    "likelihood",
)
"""Columns of scores whose name does not say on what scale."""
_KEYS = ("columns", "scores", "timezone", "date_format", "delimiter", "encoding", "constants")


class CsvMappingError(Exception):
    """The file cannot be read without a word from its owner; the text holds the lines to add to the settings."""


class Mapped(msgspec.Struct, frozen=True):
    """How one file is read."""

    header: tuple[str, ...]
    fields: dict[str, str]
    """Response field to column."""
    scores: dict[str, str]
    """Metric to column."""
    constants: dict[str, str]
    delimiter: str
    encoding: str
    timezone: str
    date_format: str


def rows_for(
    path: Path,
    settings: Mapping[str, Any],
    metrics: Mapping[str, Metric],
    settings_file: Path,
    tell: Callable[[str], None],
) -> Rows:
    """What reads *path*, every guess told to *tell*. Raises CsvMappingError with the lines to add."""
    with path.open("rb") as file:
        data = file.read(SAMPLE_BYTES)
    mapped = mapping(path.name, data, settings, metrics, settings_file, tell)
    return CsvRows(mapped)


def mapping(
    name: str,
    data: bytes,
    settings: Mapping[str, Any],
    metrics: Mapping[str, Metric],
    settings_file: Path,
    tell: Callable[[str], None],
) -> Mapped:
    """How the file that begins with *data* is to be read."""
    for key in settings:
        if key not in _KEYS:
            raise CsvMappingError(f"{settings_file}: csv.{key} is unknown; expected one of {', '.join(_KEYS)}")
    encoding = str(settings.get("encoding", "")) or _encoding(data, name, tell)
    try:
        text = data.decode(encoding, errors="replace")
    except LookupError:
        raise CsvMappingError(f"{settings_file}: csv.encoding {encoding} is unknown; try utf-8 or cp1252") from None
    delimiter = str(settings.get("delimiter", "")) or _delimiter(text)
    sample = list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter))[: SAMPLE_ROWS + 1]
    if not sample or not any(cell.strip() for cell in sample[0]):
        raise CsvMappingError(f"{name} has no header line; its first line must name the columns")
    header = tuple(cell.strip() for cell in sample[0])
    double = sorted({column for column in header if header.count(column) > 1 and column})
    if double:
        raise CsvMappingError(f"{name}: the column {double[0]!r} is there twice; rename one")
    fields = _fields(name, header, dict(settings.get("columns") or {}), settings_file, tell)
    taken = set(fields.values())
    scores = _scores(name, header, sample[1:], dict(settings.get("scores") or {}), metrics, taken, settings_file, tell)
    timezone = str(settings.get("timezone", ""))
    date_format = str(settings.get("date_format", ""))
    found = Mapped(
        header, fields, scores, dict(settings.get("constants") or {}), delimiter, encoding, timezone, date_format
    )
    _check_dates(name, found, sample[1:], settings_file)
    if "id" not in fields:
        tell(f"{name}: no column of ids; a row's id is its number and a hash of what it says")
    return found


def _encoding(data: bytes, name: str, tell: Callable[[str], None]) -> str:
    try:
        data[: SAMPLE_BYTES - 4].decode("utf-8-sig")
    except UnicodeDecodeError as error:
        if error.start < min(len(data), SAMPLE_BYTES) - 8:
            tell(f"{name}: is no UTF-8 and is read as Windows-1252; say csv: {{encoding: …}} if that is wrong")
            return "cp1252"
    return "utf-8-sig"


def _delimiter(text: str) -> str:
    first = text.split("\n", 1)[0]
    return max(",;\t|", key=first.count)


def _slug(column: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", column.lower()).strip("_")


def _fields(
    name: str, header: tuple[str, ...], said: dict[str, Any], settings_file: Path, tell: Callable[[str], None]
) -> dict[str, str]:
    fields: dict[str, str] = {}
    for field, column in said.items():
        if column in (None, "none"):
            fields[field] = ""
        elif column not in header:
            raise CsvMappingError(
                f"{settings_file}: csv.columns.{field} is {column!r}; {name} has: {', '.join(header)}"
            )
        else:
            fields[field] = str(column)
    slugs = {_slug(column): column for column in reversed(header)}
    for field, known in NAMES.items():
        if field in fields:
            continue
        guess = next((slugs[n] for n in known if n in slugs and slugs[n] not in fields.values()), None)
        if guess is not None:
            fields[field] = guess
            tell(f"{name}: column {guess!r} is taken for {field}")
    return {field: column for field, column in fields.items() if column}


def _scores(
    name: str,
    header: tuple[str, ...],
    rows: list[list[str]],
    said: dict[str, Any],
    metrics: Mapping[str, Metric],
    taken: set[str],
    settings_file: Path,
    tell: Callable[[str], None],
) -> dict[str, str]:
    scores: dict[str, str] = {}
    for metric, column in said.items():
        if metric not in metrics:
            raise CsvMappingError(f"{settings_file}: csv.scores.{metric} is no metric; there are {', '.join(metrics)}")
        if column not in header:
            raise CsvMappingError(
                f"{settings_file}: csv.scores.{metric} is {column!r}; {name} has: {', '.join(header)}"
            )
        scores[metric] = str(column)
    for place, column in enumerate(header):
        slug = _slug(column)
        if column in taken or column in scores.values():
            continue
        named = next((metric for metric in metrics if slug in (metric, f"{metric}_score", f"score_{metric}")), None)
        if named is not None and named not in scores:
            scores[named] = column
            tell(f"{name}: column {column!r} is taken for the score {named}")
        elif slug in _VAGUE and not scores:
            raise CsvMappingError(_which_scale(name, column, place, rows, metrics, settings_file))
    return scores


def _which_scale(
    name: str, column: str, place: int, rows: list[list[str]], metrics: Mapping[str, Metric], settings_file: Path
) -> str:
    numbers = [n for row in rows if place < len(row) and (n := _number(row[place])) is not None]
    seen = f"its values run from {min(numbers):g} to {max(numbers):g}" if numbers else "it holds no numbers"
    fitting = [m for m in metrics.values() if numbers and all(m.holds(n) for n in numbers)] or list(metrics.values())
    # The likeliest first: the closest scale, and stars for what is called a rating.
    fitting = sorted(fitting, key=lambda m: ("rating" in _slug(column) and m.name != "stars", m.high - m.low))
    scales = ", ".join(f"{m.name} ({m.low:g} to {m.high:g})" for m in fitting)
    return (
        f"{name}: the column {column!r} does not say on what scale it is ({seen}). It could be {scales}.\n"
        f"Say which in {settings_file}:\n\ncsv:\n  scores: {{{fitting[0].name}: {column}}}\n"
    )


def _number(cell: str) -> float | None:
    try:
        return float(cell.strip())
    except ValueError:
        return None


def _check_dates(name: str, mapped: Mapped, rows: list[list[str]], settings_file: Path) -> None:
    column = mapped.fields.get("occurred_at")
    if column is None:
        return
    if mapped.timezone:
        try:
            ZoneInfo(mapped.timezone)
        except (ZoneInfoNotFoundError, ValueError):
            raise CsvMappingError(
                f"{settings_file}: csv.timezone {mapped.timezone!r} is unknown; expected one like Europe/London"
            ) from None
    place = mapped.header.index(column)
    way_out = "\n\nOr take the time of reading instead:\n\ncsv:\n  columns: {occurred_at: none}\n"
    for row in rows:
        cell = row[place].strip() if place < len(row) else ""
        if not cell:
            continue
        try:
            at = _date(cell, mapped.date_format)
        except ValueError:
            raise CsvMappingError(
                f"{name}: {cell[:40]!r} in the column {column!r} is no date that we can be sure of. "
                f"Say how it is written in {settings_file}:\n\ncsv:\n  date_format: '%d/%m/%Y %H:%M'\n"
                f"  timezone: Europe/London{way_out}"
            ) from None
        if at.tzinfo is None and not mapped.timezone:
            raise CsvMappingError(
                f"{name}: the times in the column {column!r} ({cell[:40]}) name no zone. "
                f"Say which in {settings_file}:\n\ncsv:\n  timezone: Europe/London{way_out}"
            )


def _date(cell: str, date_format: str) -> datetime:
    return datetime.strptime(cell, date_format) if date_format else datetime.fromisoformat(cell)  # noqa: DTZ007


class CsvRows:
    """Reads a file's bytes as rows. A row may hold newlines in quotes; a quote left open ends at 256 KiB."""

    LONGEST_ROW = 256 * 1024

    def __init__(self, mapped: Mapped) -> None:
        self._mapped = mapped
        self._row = 0
        """Rows seen, the header included."""

    def reset(self) -> None:
        self._row = 0

    def records(self, data: bytes, *, end: bool) -> tuple[list[tuple[bytes, int]], int]:
        found: list[tuple[bytes, int]] = []
        used = 0
        for stop in self._row_ends(data):
            row = data[used:stop]
            used = stop
            if not row.strip():
                continue
            self._row += 1
            if self._row > 1:
                found.append((self._record(row), used))
            if len(found) >= SAMPLE_ROWS:
                break  # the reader takes some 500 at a time; numbering must not run ahead of it
        return found, used

    def _row_ends(self, data: bytes) -> "list[int]":
        ends: list[int] = []
        start = at = 0
        quotes = 0
        while (stop := data.find(b"\n", at)) >= 0 and len(ends) <= SAMPLE_ROWS * 2:
            quotes += data.count(b'"', at, stop)
            at = stop + 1
            if quotes % 2 == 0 or at - start > self.LONGEST_ROW:
                ends.append(at)
                start, quotes = at, 0
        return ends

    def _record(self, row: bytes) -> bytes:
        mapped = self._mapped
        text = row.decode(mapped.encoding, errors="replace").rstrip("\r\n")
        cells = next(csv.reader(io.StringIO(text, newline=""), delimiter=mapped.delimiter), [])
        values = {column: cell.strip() for column, cell in zip(mapped.header, cells, strict=False)}
        if len(cells) != len(mapped.header):
            # The decoder refuses what is no object, and the dead letter keeps the row.
            return msgspec.json.encode([f"a row of {len(cells)} cells under {len(mapped.header)} columns", text])
        record: dict[str, Any] = dict(mapped.constants)
        for field, column in mapped.fields.items():
            if values[column]:
                record[field] = self._time(values[column]) if field == "occurred_at" else values[column]
        scores = {metric: values[column] for metric, column in mapped.scores.items() if values[column]}
        if scores:
            record["scores"] = scores
        taken = {*mapped.fields.values(), *mapped.scores.values()}
        attributes = {_attribute(column): cell for column, cell in values.items() if cell and column not in taken}
        if attributes:
            record["attributes"] = attributes
        if "id" not in record:
            record["id"] = f"row-{self._row - 1}-{blake2b(row.strip(), digest_size=4).hexdigest()}"
        return msgspec.json.encode(record)

    def _time(self, cell: str) -> str:
        try:
            at = _date(cell, self._mapped.date_format)
        except ValueError:
            return cell  # the decoder says what is wrong with it
        if at.tzinfo is None and self._mapped.timezone:
            at = at.replace(tzinfo=ZoneInfo(self._mapped.timezone))
        return at.isoformat()


def _attribute(column: str) -> str:
    slug = _slug(column) or "column"
    return next((name for name, others in _ALIASES.items() if slug in others), slug)
