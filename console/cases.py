"""Cases as a person reads them: a table of many, the whole history of one. Every time names its zone."""

from collections.abc import Iterator, Sequence
from typing import Any

from rich.table import Table
from rich.text import Text

from console.page import customer_of, words_of
from feedback.instants import parse_instant, span_text

_STYLE = {"urgent": "bold red", "high": "red", "normal": "", "low": "dim"}


def case_table(rows: Sequence[dict[str, Any]], now: int) -> Table:
    """One line a case: the one due first in front; what is late in red."""
    table = Table(box=None, pad_edge=False)
    for name in ("case", "priority", "type", "status", "owner", "due (UTC)", "in"):
        table.add_column(name, no_wrap=True)
    table.add_column("why", overflow="ellipsis", no_wrap=True)
    for row in rows:
        due, left, late = "", "", False
        if row.get("due_at"):
            seconds = parse_instant(row["due_at"]) - now
            late = seconds <= 0
            due = row["due_at"].replace("T", " ").removesuffix("Z")
            left = f"{span_text(-seconds)} late" if late else span_text(seconds)
        table.add_row(
            Text(row["id"]),
            Text(row["priority"], style=_STYLE.get(row["priority"], "")),
            Text(row["type"] + (f" ({row['subject']})" if row.get("subject") else "")),
            Text(row["status"]),
            Text(row["owner"] or "nobody", style="" if row["owner"] else "bold red"),
            Text(due),
            Text(left, style="bold red" if late else ""),
            Text(", ".join(rule["title"] or rule["id"] for rule in row["rules"])),
        )
    return table


def case_lines(record: dict[str, Any]) -> Iterator[str]:
    """One case whole: how it stands, what the customer said, and everything that happened, in order."""
    yield f"{record['id']}  {record['type']}  {record['priority']}  {record['status']}  programme {record['programme']}"
    yield f"customer   {customer_of(record)}"
    yield f"owner      {record['owner'] or 'nobody'} ({record['role']}), escalated {record['level']} times"
    yield f"rules      {', '.join(rule['id'] + ' @' + rule['version'] for rule in record['rules'])}"
    if record.get("next_best_action"):
        yield f"next       {record['next_best_action']}"
    if record.get("earlier"):
        yield f"earlier    {', '.join(record['earlier'])}"
    if record.get("outcome"):
        yield "outcome    " + "; ".join(f"{k}: {v}" for k, v in record["outcome"].items())
    yield ""
    yield "clocks (times UTC)"
    for clock in record["clocks"]:
        yield f"  {clock['name']:<16} {clock['state']:<9} due before {clock['due_at']}"
    yield ""
    yield "what the customer said"
    for response in record.get("responses", ()):
        scores = ", ".join(f"{k} {v:g}" for k, v in response.get("scores", {}).items())
        yield f"  {response['received_at']}  {response['source']} {response['id']}  {scores}"
        yield f"    {words_of(response)}"
    yield ""
    yield "what happened (times UTC)"
    notices = sorted(record.get("notices", ()), key=lambda event: str(event["time"]))
    for event in [*record.get("log", ()), *notices]:
        data = event["data"]
        said = [
            f"{name}={data[name]}"
            for name in ("clock", "due_at", "owner", "to", "by", "change", "reason", "detail", "decided", "late")
            if data.get(name) not in (None, "", False)
        ]
        yield f"  {event['time']}  {event['type'].removeprefix('tocsin.'):<21} {'  '.join(said)}"
