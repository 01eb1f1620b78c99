"""`tocsin themes`: phrases that grow and belong to no theme, and what people make of them."""

import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from feedback.instants import instant, rfc3339
from flows.settings import Settings, SettingsError, load
from flows.topics import Decision, decide, decisions, proposals
from rules.accepting import AcceptError, with_phrase
from rules.parse import load as load_rules
from scoring.taxonomy import Matcher, Taxonomy, fold

say = Console(stderr=True, highlight=False, soft_wrap=True)
_DOINGS = "proposed, accept, dismiss, decided"


class TopicError(SettingsError):
    """Not a thing that can be done to a proposal. Whose turn: who asks."""


def register(app: typer.Typer) -> None:
    """Make the commands of this module part of *app*."""
    app.command("themes")(themes)


def themes(
    do: Annotated[str, typer.Argument(help=f"One of {_DOINGS}.")] = "proposed",
    phrase: Annotated[str, typer.Argument(help="The phrase, to accept or to dismiss.")] = "",
    theme: Annotated[str, typer.Option("--theme", help="Path of the theme that it shows, old or new.")] = "",
    into: Annotated[str, typer.Option("--into", help="Taxonomy to write it into; the one that has the theme.")] = "",
    by: Annotated[str, typer.Option("--by", help="Who decides; kept with the decision.")] = "",
    programme: Annotated[str, typer.Option("--programme")] = "default",
    settings_file: Annotated[
        Path | None, typer.Option("--settings", help="Settings file, as for `tocsin run`.")
    ] = None,
    state: Annotated[Path | None, typer.Option("--state", help="State directory, as for `tocsin run`.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="JSON on standard output.")] = False,
) -> None:
    """Emerging topics: what customers say more and more and no theme knows; accept it into the taxonomy, or dismiss it.

    Accepting writes the phrase into the taxonomy's file, which a running engine takes up as a change of rules.
    """
    settings = load(settings_file)
    settings = msgspec.structs.replace(settings, state=state or settings.state)
    if programme not in settings.programmes:
        raise TopicError(f"programme {programme[:64]!r} is not declared in {settings.file}")
    if do == "proposed":
        _list(settings, programme, as_json=as_json)
    elif do == "decided":
        print(json.dumps([msgspec.to_builtins(one) for one in decisions(settings.state)], indent=2))
    elif do in ("accept", "dismiss"):
        if not phrase or not by:
            raise TopicError(f"say which phrase, and who decides: tocsin themes {do} PHRASE --by NAME")
        at = rfc3339(instant(datetime.now(UTC)))
        made = Decision(phrase=phrase.lower().strip(), do=do, by=by, at=at, programme=programme)
        if do == "accept":
            made = _accept(settings, made, theme, into)
            say.print(Text(f"{made.phrase!r} now shows {made.theme} ({made.into}.yaml)"))
        decide(settings.state, made)
    else:
        raise TopicError(f"{do[:40]!r} is nothing that can be done to themes; expected one of {_DOINGS}")


def _taxonomies(settings: Settings, programme: str) -> tuple[Taxonomy, ...]:
    return load_rules(settings.rules, settings.programmes[programme].rules, settings.metrics).taxonomies


def _list(settings: Settings, programme: str, *, as_json: bool) -> None:
    known = Matcher([node for taxonomy in _taxonomies(settings, programme) for node in taxonomy.themes])
    try:
        found = [one for one in proposals(settings.state, programme) if not known.find(one.phrase, fold(one.phrase))]
    except ValueError as error:
        raise TopicError(f"what is proposed cannot be read: {error}") from None
    if as_json:
        print(json.dumps([{**msgspec.to_builtins(one), "since": rfc3339(one.since)} for one in found], indent=2))
        return
    if not found:
        say.print(Text("nothing is proposed; a programme is learned from for a week first"))
        return
    table = Table("phrase", "since", "customers", "usual", "responses (tocsin explain ID)", box=None, pad_edge=False)
    for one in found:
        shown = ", ".join(id_ for _, id_ in one.responses)
        table.add_row(one.phrase, rfc3339(one.since)[:10], str(one.count), f"{one.expected:.1f}", shown)
    Console(highlight=False, width=None if sys.stdout.isatty() else 160).print(table)


def _accept(settings: Settings, made: Decision, theme: str, into: str) -> Decision:
    """Write the phrase into its file, whole or not at all. Raises TopicError."""
    if not theme:
        raise TopicError("say which theme the phrase shows: --theme staff/rude, or a new one")
    with_themes = [taxonomy for taxonomy in _taxonomies(settings, made.programme) if taxonomy.themes]
    names = [taxonomy.name for taxonomy in with_themes]
    top = theme.split("/")[0]
    having = [taxonomy.name for taxonomy in with_themes if any(node.path == top for node in taxonomy.themes)]
    name = into or next(iter(having or names), "")
    if name not in names:
        raise TopicError(f"{name[:60]!r} is no taxonomy of themes of this programme; there are: {', '.join(names)}")
    path = settings.rules / "taxonomies" / f"{name}.yaml"
    note = f"{made.phrase!r} accepted for {theme} by {made.by[:100]}, {made.at}".replace("\n", " ")
    try:
        text = with_phrase(path.read_text(encoding="utf-8"), name, theme, made.phrase, note)
        draft = path.with_suffix(".draft")
        draft.write_text(text, encoding="utf-8")
        draft.replace(path)
    except (AcceptError, OSError) as error:
        raise TopicError(f"{path}: {error}") from None
    return msgspec.structs.replace(made, theme=theme, into=name)
