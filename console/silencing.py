"""`tocsin silence`: nobody is told of what it covers, until it ends. Who asked for it and why is part of the record.

Asking is a control record in the engine's stream, so a replay finds it; what holds now is read from the event log.
"""

import json
import sys
import time
import uuid
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from rich.console import Console
from rich.text import Text

from cases.noise import MAX_SILENCE_S
from connectors.records import Records
from feedback.instants import Instant, parse_instant, parse_span, rfc3339
from flows.engine import redis_at
from flows.settings import Settings, load

say = Console(stderr=True, highlight=False, soft_wrap=True)

SettingsOption = Annotated[Path | None, typer.Option("--settings", help="Settings file, as for `tocsin run`.")]
StateOption = Annotated[Path | None, typer.Option("--state", help="State directory, as for `tocsin run`.")]
RedisOption = Annotated[str, typer.Option("--redis", help="URL of a Redis or Valkey, as for `tocsin run`.")]
ANSWER_S = 10.0
"""How long to wait for the engine's answer; it decides two seconds after it heard."""


def register(app: typer.Typer) -> None:
    """Make the command of this module part of *app*."""
    app.command("silence")(silence)


def silence(
    do: Annotated[str, typer.Argument(help="add, end or list.")] = "list",
    which: Annotated[str, typer.Argument(help="end: the silence's name.")] = "",
    span: Annotated[str, typer.Option("--for", help="add: how long, such as 2h or 3d; 30d at most.")] = "",
    rule: Annotated[str, typer.Option(help="add: only notices of this rule's cases.")] = "",
    site: Annotated[str, typer.Option(help="add: only of cases at this site.")] = "",
    to: Annotated[str, typer.Option(help="add: only notices to this person.")] = "",
    by: Annotated[str, typer.Option(help="Who asks for it.")] = "",
    reason: Annotated[str, typer.Option(help="Why; no customer's name, for it is kept in the clear.")] = "",
    programme: Annotated[str, typer.Option(help="The programme.")] = "default",
    settings_file: SettingsOption = None,
    state: StateOption = None,
    redis: RedisOption = "",
    as_json: Annotated[bool, typer.Option("--json", help="JSON on standard output.")] = False,
) -> None:
    """Silence notices for a while, end a silence, or list those that hold.

    No clock stands still, every case is kept, alarms of the law are told all the same, and what was held back is told
    in a digest when it ends (docs/noise.md).
    """
    settings = load(settings_file)
    settings = msgspec.structs.replace(settings, state=state or settings.state, redis=redis or settings.redis)
    control = _asked(settings, programme, do, which, span, by, reason, {"rule": rule, "site": site, "to": to})
    with redis_at(settings) as url:
        records = Records(url)
        if control is None:
            _list([one for p in settings.programmes for one in holding(records, p)], as_json=as_json)
            return
        after = records.last_event(programme)
        records.tell_lanes(programme, control["id"], msgspec.json.encode(control), principal=f"cli:{by}")
        answer = records.answer_to(programme, control["data"]["silence"], after, wait_s=ANSWER_S)
    if as_json:
        print(json.dumps(answer, indent=2))
    if answer is None:
        say.print(Text(f"handed in as {control['data']['silence']}; no engine answered yet"))
    elif answer["type"] == "tocsin.silence.refused":
        say.print(Text(f"refused: {answer['data']['reason']}"), style="bold red" if say.is_terminal else None)
        sys.exit(1)
    elif not as_json:
        say.print(Text(_line(answer)))


def _asked(
    settings: Settings, programme: str, do: str, which: str, span: str, by: str, reason: str, scope: dict[str, str]
) -> dict[str, Any] | None:
    """The control to hand in; None to list. Exits with 2 on what cannot be meant."""
    if do not in ("add", "end", "list"):
        _misuse(f"silence {do[:40]}: expected add, end or list")
    if do == "list":
        return None
    if programme not in settings.programmes:
        _misuse(f"programme {programme} is not declared; there are: {', '.join(settings.programmes)}")
    if not by or not reason:
        _misuse(f"silence {do}: say --by and --reason; both are kept")
    data: dict[str, Any] = {"programme": programme, "reason": reason, "silence": which or uuid.uuid4().hex[:12]}
    if do == "end":
        if not which:
            _misuse("silence end: say which; `tocsin silence list` names those that hold")
        return {"kind": "control", "id": uuid.uuid4().hex, "do": "unsilence", "by": by, "data": data}
    try:
        length = parse_span(span)
    except ValueError:
        length = 0
    if not 0 < length <= MAX_SILENCE_S:
        _misuse(f"silence add --for {span or '(nothing)'}: expected a span like 2h, at most {MAX_SILENCE_S // 86_400}d")
    data |= {name: value for name, value in scope.items() if value}
    data["until"] = rfc3339(Instant(int(time.time()) + length))
    return {"kind": "control", "id": uuid.uuid4().hex, "do": "silence", "by": by, "data": data}


def holding(records: Records, programme: str) -> list[dict[str, Any]]:
    """The silences of *programme* that hold now, as the events that began them, newest first."""
    now = time.time()
    found: dict[str, dict[str, Any]] = {}
    over: set[str] = set()
    for event in records.newest(programme, ("tocsin.silence.started", "tocsin.silence.ended"), MAX_SILENCE_S):
        name = str(event["data"]["silence"])
        if event["type"] == "tocsin.silence.ended":
            over.add(name)
        elif name not in over:
            over.add(name)  # what was said of it before counts no more
            if parse_instant(event["data"]["until"]) > now:
                found[name] = event
    return list(found.values())


def _list(found: list[dict[str, Any]], *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(found, indent=2))
        return
    for event in found:
        print(_line(event))
    if not found:
        say.print(Text("no silence holds"))


def _line(event: dict[str, Any]) -> str:
    data, programme = event["data"], str(event["source"]).rpartition("/")[2]
    if event["type"] == "tocsin.silence.ended":
        return f"{data['silence']} ended by {data['by']}; what it held back is told now"
    of = " ".join(f"{name}={value}" for name, value in data.get("of", {}).items()) or "everything"
    return f"{data['silence']}  {programme}  {of}  until {data['until']}  {data['by']}: {data['reason']}"


def _misuse(words: str) -> None:
    say.print(Text(words), style="bold red" if say.is_terminal else None)
    sys.exit(2)
