"""The commands that prove rules before they go live: `tocsin test`, `explain`, `replay`; and `rules`, how
they did since.

Each reads its question, has it worked out (by `flows/` under virtual time, or from the record), and prints the answer.
Nothing is sent.
"""

import json
import sys
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from connectors.records import Records
from connectors.vault import vault_at
from console import explain as explain_
from console import explain_history
from console import replay as replay_
from feedback.instants import Instant, parse_instant
from flows.engine import redis_at
from flows.scenario_file import StoryReader
from flows.scenarios import Failure, tell
from flows.settings import load
from insights.precision import Precisions

_STYLES = {"-": "red", "+": "green", "~": "yellow"}
say = Console(stderr=True, highlight=False, soft_wrap=True)

SettingsOption = Annotated[Path | None, typer.Option("--settings", help="Settings file, as for `tocsin run`.")]
RulesOption = Annotated[Path | None, typer.Option("--rules", help="Rules directory; else the one the settings name.")]
ChoiceOption = Annotated[str, typer.Option("--rules", help="A rules directory, or a set of the one in force.")]
StateOption = Annotated[Path | None, typer.Option("--state", help="State directory, as for `tocsin run`.")]
RedisOption = Annotated[str, typer.Option("--redis", help="URL of a Redis or Valkey, as for `tocsin run`.")]
JsonOption = Annotated[bool, typer.Option("--json", help="JSON on standard output.")]


class ProveError(Exception):
    """A question that cannot be asked so. Whose turn: whoever typed it."""


def register(app: typer.Typer) -> None:
    """Make the commands of this module part of *app*."""
    app.command("test")(tell_stories)
    app.command("explain")(explain)
    app.command("replay")(replay)
    app.command("rules")(rules_)


def tell_stories(
    files: Annotated[
        list[Path] | None, typer.Argument(help="Scenario files; without any, all under scenarios/ of the rules.")
    ] = None,
    rules: RulesOption = None,
    settings_file: SettingsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Tell the stories of scenario files under virtual time: exit 1, and a diff, when one goes otherwise.

    The format is told in docs/proving.md.
    """
    settings = load(settings_file)
    directory = rules or settings.rules
    if not (directory / "sets").is_dir():
        raise ProveError(f"{directory} is no directory of rules: it has no sets/")
    paths = files or sorted((directory / "scenarios").glob("*.yaml"))
    if not paths:
        raise ProveError(f"{directory / 'scenarios'} holds no scenario; write one (docs/proving.md) or name a file")
    if missing := [path for path in paths if not path.is_file()]:
        raise ProveError(f"{missing[0]} does not exist, or is no file")
    reader = StoryReader(directory, settings.metrics)
    stories = [story for path in paths for story in reader.read(path)]
    told = [tell(story, dict(settings.metrics)) for story in stories]
    failures = [one.failure for one in told if one.failure is not None]
    if as_json:
        print(json.dumps({"stories": len(told), "failures": msgspec.to_builtins(failures)}, indent=2))
    else:
        out = Console(highlight=False, soft_wrap=True)
        for failure in failures:
            _show(out, failure)
        say.print(Text(f"{len(told)} stories of {len(paths)} files, {len(failures)} went otherwise"))
    if failures:
        raise typer.Exit(1)


def explain(
    response: Annotated[str, typer.Argument(help="A JSON file, - (standard input), or the id of one that was heard.")],
    history: Annotated[
        Path | None, typer.Option(help="Tell it again among all of this history, as replay reads it; then an id.")
    ] = None,
    rules: ChoiceOption = "",
    settings_file: SettingsOption = None,
    state: StateOption = None,
    redis: RedisOption = "",
    as_json: JsonOption = False,
) -> None:
    """Why a response fires or does not: of every rule what held, or the first condition that failed, with its values.

    For one that an engine heard: its cases, who was told, when and through what, as well.
    """
    settings = load(settings_file)
    settings = msgspec.structs.replace(settings, state=state or settings.state, redis=redis or settings.redis)
    try:
        if history is not None:
            found = explain_history.answer(settings, response, history, rules)
        else:
            found = explain_.answer(settings, response, rules)
    except (explain_.ExplainError, replay_.ReplayError) as error:
        say.print(Text(str(error)))
        raise typer.Exit(1) from None
    if as_json:
        print(explain_.as_json(found))
        return
    for line in explain_.lines(found):
        print(line)


def replay(
    history: Annotated[Path, typer.Argument(help="A .jsonl or .csv file, or the folder of a journal.")],
    rules: ChoiceOption = "",
    compare: Annotated[str, typer.Option(help="Other rules, a directory or a set: tell what would change.")] = "",
    since: Annotated[str, typer.Option("--from", help="Leave out what came before: RFC 3339, or a date (UTC).")] = "",
    until: Annotated[str, typer.Option(help="Leave out what came then or later; time passes up to it.")] = "",
    programme: Annotated[str, typer.Option(help="Programme of records that name none.")] = "default",
    settings_file: SettingsOption = None,
    as_json: JsonOption = False,
) -> None:
    """What these rules would have done to a history: cases, owners, notices, breaches, by rule and by day.

    The same code as `tocsin run`, under virtual time; nothing is sent and nothing is kept.
    """
    settings = load(settings_file)
    found = replay_.answer(
        settings,
        history,
        rules=rules,
        compare=compare,
        since=_instant("--from", since),
        until=_instant("--until", until),
        programme=programme,
        tell=lambda words: say.print(Text(words)),
    )
    replay_.show(found, as_json=as_json)


def rules_(
    rule: Annotated[str, typer.Argument(help="Only this rule's versions.")] = "",
    programme: Annotated[str, typer.Option(help="Only this programme's.")] = "",
    settings_file: SettingsOption = None,
    state: StateOption = None,
    redis: RedisOption = "",
    as_json: JsonOption = False,
) -> None:
    """Precision of each rule and version: of the cases that it opened, how many people called false alarms."""
    settings = load(settings_file)
    settings = msgspec.structs.replace(settings, state=state or settings.state, redis=redis or settings.redis)
    found = Precisions()
    with redis_at(settings) as url:
        records = Records(url, vault_at(settings.vault))
        for name in [programme] if programme else records.programmes():
            for log in records.logs(name):
                found.take(name, log)
    rows = [row for row in found.rows if not rule or row.rule == rule]
    if as_json:
        print(json.dumps([{**msgspec.to_builtins(row), "precision": row.precision} for row in rows], indent=2))
        return
    if not rows:
        say.print(Text("no case was opened yet" if not rule else f"no case was opened by {rule} yet"))
        return
    table = Table(box=None, pad_edge=False)
    for place, name in enumerate(
        ("programme", "rule", "version", "opened", "invalid", "corrected", "precision", "last")
    ):
        table.add_column(name, justify="right" if 3 <= place <= 6 else "left", no_wrap=True)
    for row in rows:
        share = "" if row.precision is None else f"{row.precision:.1%} of {row.decided}"
        counts = (str(row.opened), str(row.invalidated), str(row.corrected), share)
        table.add_row(row.programme, row.rule, row.version, *counts, row.last_at)
    Console(highlight=False, width=None if sys.stdout.isatty() else 160).print(table)


def _instant(option: str, text: str) -> Instant | None:
    if not text:
        return None
    try:
        return parse_instant(f"{text}T00:00:00Z" if len(text) == 10 else text)
    except ValueError as error:
        raise ProveError(f"{option}: {error}") from None


def _show(out: Console, failure: Failure) -> None:
    out.print(Text(f"{failure.file}:{failure.line}:{failure.column}: {failure.title}", style="bold"))
    out.print(Text(f"  step {failure.step}, at {failure.at}; - expected and not said, + said and not expected"))
    for line in failure.diff:
        out.print(Text(f"  {line}", style=_STYLES.get(line[0], "")))
