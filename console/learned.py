"""`tocsin models`: the versions of the learned models, what each has earned, and the way back to one.

Reads the shelf in the state directory; going back is a control record that the engine reads from its stream.
"""

import json
import sys
import uuid
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from connectors.records import Records
from feedback.instants import Instant, rfc3339
from flows.engine import redis_at
from flows.models import ModelError, ModelShelf, Version, rollback_to
from flows.settings import load
from scoring.models import VADER, unpack

say = Console(stderr=True, highlight=False, soft_wrap=True)

SettingsOption = Annotated[Path | None, typer.Option("--settings", help="Settings file, as for `tocsin run`.")]
StateOption = Annotated[Path | None, typer.Option("--state", help="State directory, as for `tocsin run`.")]
RedisOption = Annotated[str, typer.Option("--redis", help="URL of a Redis or Valkey, as for `tocsin run`.")]
JsonOption = Annotated[bool, typer.Option("--json", help="JSON on standard output.")]
_DOINGS = "list, show, rollback"


def register(app: typer.Typer) -> None:
    """Make the commands of this module part of *app*."""
    app.command("models")(models)


def models(
    do: Annotated[str, typer.Argument(help=f"One of {_DOINGS}.")] = "list",
    version: Annotated[str, typer.Argument(help="The version; vader for none at all.")] = "",
    by: Annotated[str, typer.Option(help="Who does it.")] = "operator",
    settings_file: SettingsOption = None,
    state: StateOption = None,
    redis: RedisOption = "",
    as_json: JsonOption = False,
) -> None:
    """Learned models: list their versions, show what one has earned, or go back to one.

    A rollback enters the stream like a change of rules: what is received from then on is scored by that version, and
    learning goes on from it. How they are learned is told in docs/scoring.md.
    """
    settings = load(settings_file)
    settings = msgspec.structs.replace(settings, state=state or settings.state, redis=redis or settings.redis)
    shelf = ModelShelf(settings.state / "models")
    if do == "list":
        _list(shelf.versions(), shelf.marked, as_json=as_json)
    elif do == "show":
        _show(shelf, version or shelf.marked, as_json=as_json)
    elif do == "rollback":
        data = {"model": rollback_to(shelf, version)}
        control = {"kind": "control", "id": uuid.uuid4().hex, "do": "model", "by": by, "data": data}
        programme = sorted(settings.programmes)[0]
        with redis_at(settings) as url:
            Records(url).act(programme, str(control["id"]), msgspec.json.encode(control), principal=f"cli:{by}")
        say.print(
            Text(f"handed in: the engine scores by {version} within seconds of reading it, and learns on from it")
        )
    else:
        raise ModelError(f"{do[:40]!r} is nothing that can be done to models; expected one of {_DOINGS}")


def _list(found: list[Version], marked: str, *, as_json: bool) -> None:
    if as_json:
        rows = [{**msgspec.to_builtins(one), "in_force": one.version == marked} for one in found]
        print(json.dumps(rows, indent=2))
        return
    for one in found:
        now = "  in force" if one.version == marked else ""
        print(f"{one.version}  {rfc3339(Instant(int(one.made_at)))}  {one.bytes:>10,} bytes{now}")
    if not marked:
        say.print(Text("every response is scored by VADER: no learned version is in force"))


def _show(shelf: ModelShelf, version: str, *, as_json: bool) -> None:
    if version in ("", VADER):
        raise ModelError("no learned version is in force; name one that `tocsin models` lists")
    learner, themes = unpack(shelf.data(version))
    risk: list[dict[str, Any]] = [
        {"programme": programme, "language": language, **msgspec.to_builtins(standing)}
        for (programme, language), standing in sorted(learner.standings().items())
    ]
    known: list[dict[str, Any]] = [
        {"programme": programme, "theme": theme, **msgspec.to_builtins(mastery)}
        for programme in sorted(themes.programmes)
        for theme, mastery in sorted(themes.mastery(programme).items())
    ]
    if as_json:
        print(json.dumps({"version": version, "risk": risk, "themes": known}, indent=2))
        return
    out = Console(highlight=False, width=None if sys.stdout.isatty() else 160)
    for rows in (risk, known):
        if rows:
            table = Table(*rows[0], box=None, pad_edge=False)
            for row in rows:
                table.add_row(*(f"{v:.3f}" if isinstance(v, float) else str(v) for v in row.values()))
            out.print(table)
