"""`tocsin replay`: the question, a progress bar on standard error, and the answer as tables or JSON."""

import json
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from connectors.csv_mapping import CsvMappingError, rows_for
from connectors.files import Lines
from connectors.history import History
from connectors.journal import JournalError
from console.inputs import InputError, source_name
from feedback.instants import Instant, rfc3339
from flows.books import book_of
from flows.replay import Change, Replayed, Tally, replay
from flows.settings import DEFAULT_FILE, Settings

DAYS_SHOWN = 31
_CSV, _LINES = (".csv", ".tsv"), (".jsonl", ".ndjson", ".json")


class ReplayError(InputError):
    """A history that cannot be replayed as asked. Whose turn: who asks."""


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    found: Replayed
    history: dict[str, int]
    """How the records of the history came: heard, outside, sorted, late, untimed, controls."""


def answer(
    settings: Settings,
    path: Path,
    *,
    rules: str,
    compare: str,
    since: Instant | None,
    until: Instant | None,
    programme: str,
    tell: Callable[[str], None],
) -> Answer:
    """Replay *path*. Raises ReplayError, BookError, RuleFileErrors."""
    sets = {name: declared.rules for name, declared in settings.programmes.items()}
    if programme not in sets:
        raise ReplayError(f"programme {programme} is not declared in {settings.file}; there are: {', '.join(sets)}")
    book = book_of(rules, settings.rules, sets, settings.metrics)
    other = book_of(compare, settings.rules, sets, settings.metrics) if compare else None
    rows, size = rows_of(settings, path, tell)
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    ) as progress:
        task = progress.add_task("replaying", total=size)
        history = History(
            path,
            rows,
            source=source_name(path),
            programme=programme,
            since=since,
            until=until,
            read=lambda count: progress.advance(task, count),
        )
        try:
            found = replay(
                history,
                book,
                settings.metrics,
                shards=settings.engine.shards,
                compare=other,
                until=until,
                spikes=settings.spikes,
                redact=settings.privacy.redactor(),
            )
        except JournalError as error:
            raise ReplayError(str(error)) from None
    if found is None:
        left_out = f"; {history.outside} lie outside --from and --until" if history.outside else ""
        raise ReplayError(f"{path} holds no record to replay{left_out}")
    counts = {
        "heard": history.records,
        "outside": history.outside,
        "sorted": history.sorted,
        "late": history.late,
        "untimed": history.untimed,
        "controls": history.controls,
    }
    return Answer(found=found, history=counts)


def rows_of(settings: Settings, path: Path, tell: Callable[[str], None]) -> tuple[Any, int]:
    """What reads *path*, and its bytes; None for a journal."""
    if path.is_dir():
        segments = list(path.glob("*.journal"))
        if not segments:
            raise ReplayError(
                f"{path} is a folder and no journal; name a file, or a folder under journals/ of the state"
            )
        return None, sum(segment.stat().st_size for segment in segments)
    if not path.is_file():
        raise ReplayError(f"{path} does not exist, or is no file")
    if path.suffix.lower() in _CSV:
        said_in = Path("tocsin.yaml") if settings.file == DEFAULT_FILE else settings.file
        try:
            return rows_for(path, settings.csv, settings.metrics, said_in, tell), path.stat().st_size
        except CsvMappingError as error:
            raise ReplayError(str(error)) from None
    if path.suffix.lower() not in _LINES:
        raise ReplayError(f"{path}: its name does not say what it is; expected {', '.join((*_LINES, *_CSV))}")
    return Lines(), path.stat().st_size


def plain(asked: Answer) -> dict[str, Any]:
    """The answer as one JSON object."""
    found = asked.found
    whole: dict[str, Any] = {
        "history": asked.history,
        "ended_at": rfc3339(found.ended_at),
        "open_cases": found.open_cases,
        **found.a.plain(),
    }
    if found.b is not None:
        whole["compared"] = found.b.plain()
        whole["changes"] = {rule: msgspec.to_builtins(change) for rule, change in sorted(found.changes.items())}
    return whole


def show(asked: Answer, *, as_json: bool) -> None:
    """The answer on standard output."""
    if as_json:
        print(json.dumps(plain(asked), indent=2))
        return
    found = asked.found
    out = Console(highlight=False, width=None if sys.stdout.isatty() else 160)
    counts = "  ".join(f"{name} {count}" for name, count in asked.history.items() if count)
    out.print(Text(f"records    {counts}"))
    out.print(Text(f"ended      {rfc3339(found.ended_at)}, {found.open_cases} cases open"))
    _side(out, found.a)
    if found.b is not None:
        _changes(out, found)


def _side(out: Console, tally: Tally) -> None:
    rules = _table("rule", "version", "opened", "joined", "breaches")
    for rule, counts in sorted(tally.rules.items(), key=lambda pair: -pair[1]["opened"]):
        rules.add_row(rule, tally.versions.get(rule, ""), *_numbers(counts, "opened", "joined", "breaches"))
    rules.add_row("all", "", *_numbers(tally.totals, "opened", "joined", "breaches"), style="bold")
    out.print(rules)
    owners = _table("owner", "cases", "notices")
    for owner, counts in sorted(tally.owners.items(), key=lambda pair: -pair[1]["cases"]):
        owners.add_row(owner, *_numbers(counts, "cases", "notices"))
    out.print(owners)
    days = _table("day (UTC)", "opened", "notices", "breaches")
    for day, counts in sorted(tally.days.items())[-DAYS_SHOWN:]:
        days.add_row(day, *_numbers(counts, "opened", "notices", "breaches"))
    out.print(days)
    if len(tally.days) > DAYS_SHOWN:
        out.print(Text(f"the last {DAYS_SHOWN} of {len(tally.days)} days; --json has them all, and by rule"))
    for problem, count in tally.problems.most_common(20):
        out.print(Text(f"{count:>9}  {problem}"))


def _changes(out: Console, found: Replayed) -> None:
    assert found.b is not None
    out.print(Text("\nwhat the change would have changed (A: --rules, B: --compare)"))
    table = _table("rule", "opened only by A", "only by B", "by both", "breaches A", "breaches B")
    for rule, change in sorted(found.changes.items()):
        breaches = [str(tally.rules.get(rule, Counter())["breaches"]) for tally in (found.a, found.b)]
        table.add_row(rule, str(change.only_a), str(change.only_b), str(change.both), *breaches)
    totals = [str(tally.totals["breaches"]) for tally in (found.a, found.b)]
    opened = list(found.changes.values())
    sums = [str(sum(getattr(change, name) for change in opened)) for name in ("only_a", "only_b", "both")]
    table.add_row("all", *sums, *totals, style="bold")
    out.print(table)
    for rule, change in sorted(found.changes.items()):
        _samples(out, rule, change)


def _samples(out: Console, rule: str, change: Change) -> None:
    for side, other, samples in (("A", "B", change.samples_a), ("B", "A", change.samples_b)):
        for sample in samples:
            out.print(Text(f"{rule}: only {side} opened a case for {sample.source} {sample.id}, {sample.at}"))
            out.print(Text(f"  {side}: {sample.why}\n  {other}: {sample.why_not}"))


def _table(first: str, *rest: str) -> Table:
    table = Table(box=None, pad_edge=False, title_justify="left")
    table.add_column(first, no_wrap=True)
    for name in rest:
        table.add_column(name, justify="left" if name == "version" else "right", no_wrap=True)
    return table


def _numbers(counts: Any, *names: str) -> list[str]:
    return [str(counts[name]) for name in names]
