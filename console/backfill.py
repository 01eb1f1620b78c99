"""`tocsin backfill`: a history is heard before, or between, the days of an engine, and nobody is paged for it.

The same engine over the same state, without ticks: themes, windows, baselines and models learn; only what the law asks
for opens a case.
"""

import json
from collections import Counter
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from rich.console import Console
from rich.text import Text

from cases.events import Event
from connectors.reading import History, Reader
from console import inputs as inputs_
from flows.engine import OpenReader, run_engine
from flows.run import Stop
from flows.settings import SettingsError, load

say = Console(stderr=True, highlight=False, soft_wrap=True)


def register(app: typer.Typer) -> None:
    """Make the command of this module part of *app*."""
    app.command("backfill")(backfill)


def backfill(
    files: Annotated[list[str], typer.Argument(help="Files of responses, .jsonl or .csv; - for standard input.")],
    format: Annotated[str, typer.Option(help="jsonl or csv, where a file's name does not say.")] = "",
    programme: Annotated[str, typer.Option(help="Programme of records that name none.")] = "default",
    settings_file: Annotated[
        Path | None, typer.Option("--settings", help="Settings file, as for `tocsin run`.")
    ] = None,
    state: Annotated[Path | None, typer.Option("--state", help="State directory, as for `tocsin run`.")] = None,
    redis: Annotated[str, typer.Option("--redis", help="URL of a Redis or Valkey, as for `tocsin run`.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="JSON on standard output.")] = False,
) -> None:
    """Load a history into a stopped engine's state: themes, windows, baselines and models learn, and nobody is paged.

    Each record says when it was given (`occurred_at`). Only rules under the law open cases, whose clocks count from
    then. A file that was read before is not read again; one that was cut off goes on where it was.
    """
    settings = load(settings_file)
    settings = msgspec.structs.replace(settings, state=state or settings.state, redis=redis or settings.redis)
    if programme not in settings.programmes:
        raise SettingsError(f"programme {programme} is not declared in {settings.file}")
    opened = inputs_.open_inputs(
        settings, files, follow=False, form=format, programme=programme, tell=lambda words: say.print(Text(words))
    )
    readers = {name: _of_history(opener) for name, opener in opened.items()}
    said: Counter[str] = Counter()

    def watched(events: list[Event]) -> None:
        said.update(event.type for event in events)

    ended = run_engine(settings, readers, ends=True, stop=Stop(), watched=watched, ticks=False)
    told: dict[str, Any] = {
        "opened": said["case.opened"],
        "rejected": said["response.rejected"],
        "withheld": dict(sorted(ended.withheld.items())),
        "open_cases": ended.open_cases,
        "stopped": ended.stopped,
    }
    if as_json:
        print(json.dumps(told, indent=2))
        return
    say.print(Text(f"{told['opened']} cases under the law were opened, {told['rejected']} records rejected"))
    for rule, count in sorted(ended.withheld.items(), key=lambda item: (-item[1], item[0])):
        say.print(Text(f"{count:>9}  {rule} would have fired"))
    say.print(
        Text("stopped; the same command goes on" if ended.stopped else "done: start the engine with `tocsin run`")
    )


def _of_history(opener: OpenReader) -> OpenReader:
    def open_reader(resume: str | None) -> Reader:
        return History(opener(resume))

    return open_reader
