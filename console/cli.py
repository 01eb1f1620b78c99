"""The command line: `tocsin`. The one place outside `flows/` that may import it.

Commands read settings, call one thing, and print: results on standard output, everything else on standard
error. Exit codes: 0 done, 1 findings (a refused rule, a case that is not there), 2 misuse.
"""

import json
import logging
import sys
import time
import uuid
from pathlib import Path
from typing import Annotated, Any, NoReturn

import msgspec
import structlog
import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from cases.sealing import UnknownVault
from connectors.embedded import EmbeddedError
from connectors.key_store import UnknownKey
from connectors.records import Records, RedisError, StoreClosed
from connectors.redis_link import shown, trouble
from connectors.stdout import StdoutSink
from connectors.vault import VaultError, vault_at
from console import backfill, learned, pausing, prove, silencing, topics
from console import due as due_
from console import export as export_
from console import inputs as inputs_
from console import lanes as lanes_
from console import notify as notify_
from console.beside import Beside
from console.cases import case_lines, case_table
from console.deliver import Asked, deliver_until_stopped, look_at_deliveries
from console.demo import FULL_S, Demo
from console.serve import Wanted, manage_keys, serve_until_stopped
from feedback.encode import encode_action
from feedback.instants import Instant, parse_instant, parse_span, rfc3339
from feedback.records import Action, Verb
from flows.books import BookError
from flows.engine import VERSION, Running, redis_at, run_engine
from flows.models import ModelError
from flows.reshard import reshard as reshard_
from flows.run import StateError, Stop, trouble_of
from flows.settings import DEFAULT_FILE, Settings, SettingsError, load
from rules.calendar import zone_name
from rules.parse import check as check_rules
from rules.problems import RuleFileErrors

app = typer.Typer(
    name="tocsin",
    help="Hears customer feedback, opens cases with named owners, and runs the clocks that bind them.",
    no_args_is_help=True,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
)
say = Console(stderr=True, highlight=False, soft_wrap=True)

SettingsOption = Annotated[
    Path | None,
    typer.Option("--settings", help="Settings file; else TOCSIN_SETTINGS, ./tocsin.yaml, the shipped one."),
]
StateOption = Annotated[Path | None, typer.Option("--state", help="State directory; else TOCSIN_STATE, else .tocsin.")]
RedisOption = Annotated[
    str, typer.Option("--redis", help="URL of a Redis or Valkey; else TOCSIN_REDIS_URL, else the embedded server.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="JSON on standard output.")]


def main() -> None:
    """Run `tocsin`, and turn the errors that are somebody's turn into words and an exit code."""
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.JSONRenderer() if not sys.stderr.isatty() else structlog.dev.ConsoleRenderer(),
        ],
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    try:
        app()
    except (SettingsError, StateError, EmbeddedError, BookError, inputs_.InputError) as error:
        fail(str(error), 2)
    except (prove.ProveError, ModelError) as error:
        fail(str(error), 2)
    except RuleFileErrors as errors:
        fail(f"{errors}\n{len(errors.problems)} problems; nothing was started. `tocsin check` shows them too.", 1)
    except (VaultError, UnknownVault) as error:
        fail(str(error), 2)
    except StoreClosed as error:
        fail(str(error), 1)
    except RedisError as error:
        fail(f"Redis cannot be used: {trouble(error)}", 2)
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        sys.stderr.close()  # the reader of our output has gone; there is nobody to tell
        sys.exit(0)
    except OSError as error:
        if (words := trouble_of(error, Path("the state directory"))) is None:
            raise
        fail(words, 2)  # a disk that was full before the flow began


def fail(words: str, code: int) -> NoReturn:
    say.print(Text(words), style="bold red" if say.is_terminal else None)
    sys.exit(code)


def settings_of(file: Path | None, state: Path | None, redis: str) -> Settings:
    settings = load(file)
    changes: dict[str, Any] = {}
    if state is not None:
        changes["state"] = state
    if redis:
        changes["redis"] = redis
    return msgspec.structs.replace(settings, **changes)


prove.register(app)
learned.register(app)
topics.register(app)
silencing.register(app)
backfill.register(app)


@app.callback()
def root(
    version: Annotated[bool, typer.Option("--version", is_eager=True, help="Say the version.")] = False,
) -> None:
    if version:
        print(VERSION)
        raise typer.Exit


@app.command()
def run(
    input: Annotated[
        list[str] | None,
        typer.Option(
            "--input", "-i", help="A .jsonl or .csv file, or - for standard input; without any input, Redis streams."
        ),
    ] = None,
    kafka: Annotated[
        list[str] | None,
        typer.Option("--kafka", "-k", help="SERVERS/TOPIC: a topic of Kafka, read as it grows; else inputs.kafka."),
    ] = None,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Wait for the file to grow, instead of ending.")
    ] = False,
    format: Annotated[str, typer.Option(help="jsonl or csv, where the file's name does not say.")] = "",
    programme: Annotated[str, typer.Option(help="Programme of records that name none.")] = "default",
    output: Annotated[str, typer.Option(help="Events on standard output as well: lines, jsonl or none.")] = "none",
    deliver: Annotated[
        bool,
        typer.Option(help="Keep the second flow going, too, where receivers are declared and the run does not end."),
    ] = True,
    processes: Annotated[
        int, typer.Option(min=0, help="Cut the store into so many lanes, and keep an engine process going for each.")
    ] = 0,
    lane: Annotated[int, typer.Option(min=-1, help="Run only this lane, from 0; for systemd and Kubernetes.")] = -1,
    lanes: Annotated[int, typer.Option(min=0, help="With --lane: how many there are; else engine.lanes.")] = 0,
    stop_with_stdin: Annotated[bool, typer.Option(hidden=True)] = False,
    settings_file: SettingsOption = None,
    state: StateOption = None,
    redis: RedisOption = "",
) -> None:
    """Run the engine: responses and actions in, cases and events out.

    With --input it ends at the end of the file, says how many clocks go on, and the next run continues them.
    """
    settings = lanes_.with_lanes(settings_of(settings_file, state, redis), processes=processes, lane=lane, lanes=lanes)
    if output not in ("none", "lines", "jsonl"):
        fail(f"--output {output}: expected lines, jsonl or none", 2)
    if programme not in settings.programmes:
        fail(
            f"programme {programme} is not declared in {settings.file}; there are: {', '.join(settings.programmes)}",
            2,
        )
    readers = inputs_.open_inputs(
        settings, input or [], follow=follow, form=format, programme=programme, tell=note, topics=kafka or []
    )
    stop = Stop()
    serves = not input or follow
    if processes:
        words = [*(w for t in kafka or [] for w in ("--kafka", t)), "--programme", programme, "--output", output]
        if input:
            fail("--input: a file belongs to no lane; run it without --processes, or put its records into a topic", 2)
        with lanes_.delivering(settings, note, wanted=deliver) as url:
            code = lanes_.supervise(settings, url, words, stop, note)
        if code:
            sys.exit(code)
        return
    if stop_with_stdin:
        lanes_.stop_at_end_of_stdin(stop)
    beside: list[Beside] = []

    def started(running: Running) -> None:
        if lane <= 0 and deliver and serves and (words := lanes_.deliver_words(settings)):
            beside.append(Beside(words, note, redis=running.redis))
        where = shown(running.redis) if settings.redis else f"the embedded server at {running.redis}"
        note(f"tocsin {VERSION}: events go to {where}; metrics at http://127.0.0.1:{running.health_port}/metrics")

    sinks = [] if output == "none" else [StdoutSink(json=output == "jsonl")]
    if not (deliver and serves):
        note_endpoints(settings)
    try:
        ended = run_engine(
            settings, readers, ends=not serves, stop=stop, sinks=sinks, started=started, topics=readers.topics,
            lane=None if lane < 0 else lane,
        )  # fmt: skip
    finally:
        for process in beside:
            process.close()
    for line in inputs_.tails(readers):
        note(line)
    how = "stopped" if ended.stopped else "the input ended"
    note(f"{how}: {ended.open_cases} cases are open, the clocks of {ended.clocks} run on in the next run")


def note_endpoints(settings: Settings) -> None:
    """Events wait in Redis for the second flow; say so, or they wait unseen."""
    receivers = (*settings.endpoints, *settings.targets)
    if receivers:
        names = ", ".join(receiver.name for receiver in receivers)
        note(f"events for {names} are posted by the second flow: run `tocsin deliver` beside this")


def note(words: str) -> None:
    """A remark for whoever watches; never part of the output."""
    say.print(Text(words))


@app.command()
def reshard(
    before: Annotated[int, typer.Option("--from", min=1, help="How many lanes the store has; it is checked.")],
    after: Annotated[int, typer.Option("--to", min=1, help="How many it is to have.")],
    settings_file: SettingsOption = None,
    state: StateOption = None,
    redis: RedisOption = "",
) -> None:
    """Cut a stopped store into another number of lanes. No case is lost, and no customer split (docs/scaling.md)."""
    settings = settings_of(settings_file, state, redis)
    with redis_at(settings) as url:
        done = reshard_(settings, url, before, after, note)
    note(f"{done.cases} cases in {done.shards} shards, {done.carried} unread records: now in {after} lanes")
    note(f"run it with --processes {after}; what is left of the old cut ({done.old}) is no longer read")


@app.command()
def demo(
    seconds: Annotated[float, typer.Option(min=3, help="Ends by itself after so many seconds.")] = FULL_S,
    settings_file: SettingsOption = None,
) -> None:
    """Sample feedback for three audiences through everything, live, with nothing to set up."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    console = Console(highlight=False)
    if not Demo(load(settings_file or DEFAULT_FILE), seconds, console).run():
        raise typer.Exit(1)


@app.command()
def deliver(
    settings_file: SettingsOption = None,
    state: StateOption = None,
    redis: RedisOption = "",
    metrics_port: Annotated[int, typer.Option(help="Port of /metrics, /health and /ready; 0 takes a free one.")] = 9465,
    stop_with_stdin: Annotated[bool, typer.Option(hidden=True)] = False,
) -> None:
    """Post events to the webhooks and targets of the settings: the second flow, beside `tocsin run`."""
    stop = Stop()
    if stop_with_stdin:
        lanes_.stop_at_end_of_stdin(stop)
    deliver_until_stopped(settings_of(settings_file, state, redis), metrics_port, note, stop)


@app.command()
def pause(
    span: Annotated[str, typer.Option("--for", help="How long, such as 30m or 2h; it ends by itself.")],
    by: Annotated[str, typer.Option(help="Who asks for it.")],
    reason: Annotated[str, typer.Option(help="Why.")],
    settings_file: SettingsOption = None,
    state: StateOption = None,
    redis: RedisOption = "",
) -> None:
    """Hold all notices, at every endpoint and target, for a while. No clock pauses; what was held is sent after it."""
    with redis_at(settings_of(settings_file, state, redis)) as url:
        try:
            note(pausing.pause(url, span, by=by, reason=reason))
        except ValueError as error:
            fail(str(error), 2)


@app.command()
def resume(
    by: Annotated[str, typer.Option(help="Who asks for it.")],
    reason: Annotated[str, typer.Option(help="Why.")] = "",
    settings_file: SettingsOption = None,
    state: StateOption = None,
    redis: RedisOption = "",
) -> None:
    """End a pause of all notices before its time."""
    with redis_at(settings_of(settings_file, state, redis)) as url:
        try:
            note(pausing.resume(url, by=by, reason=reason))
        except ValueError as error:
            fail(str(error), 2)


@app.command()
def serve(
    host: Annotated[str, typer.Option(help="The address to listen on; else http.host.")] = "",
    port: Annotated[int, typer.Option(min=-1, max=65_535, help="Else http.port; 0 takes a free one.")] = -1,
    settings_file: SettingsOption = None,
    state: StateOption = None,
    redis: RedisOption = "",
) -> None:
    """Take responses and actions in by HTTP, and the webhooks of feedback tools: beside `tocsin run`."""
    settings = settings_of(settings_file, state, redis)
    changes: dict[str, Any] = {**({"host": host} if host else {}), **({"port": port} if port >= 0 else {})}
    settings = msgspec.structs.replace(settings, http=msgspec.structs.replace(settings.http, **changes))
    with redis_at(settings) as url:
        serve_until_stopped(settings, url, VERSION, note)


@app.command()
def keys(
    do: Annotated[str, typer.Argument(help="add, list, revoke, rotate, or refusals.")] = "list",
    which: Annotated[str, typer.Argument(help="The name of a new key; the name or id of another.")] = "",
    programme: Annotated[str, typer.Option(help="Its programme; default for a new key.")] = "",
    allow: Annotated[
        list[str] | None, typer.Option(help="capture, act:VERB or act:*; repeatable.", metavar="ROLE")
    ] = None,
    overlap: Annotated[str, typer.Option(help="rotate: how long the old key stays good, such as 24h.")] = "24h",
    as_json: JsonOption = False,
    settings_file: SettingsOption = None,
    state: StateOption = None,
    redis: RedisOption = "",
) -> None:
    """API keys of the HTTP door: made, listed, revoked, rotated without downtime; and whom the door turned away."""
    settings = settings_of(settings_file, state, redis)
    if do not in ("add", "list", "revoke", "rotate", "refusals"):
        fail(f"keys {do}: expected add, list, revoke, rotate or refusals", 2)
    if do in ("add", "revoke", "rotate") and not which:
        fail(f"keys {do}: say which; a name for a new key, the name or id of another", 2)
    try:
        wanted = Wanted(do=do, which=which, programme=programme, allow=allow or [], overlap_s=parse_span(overlap))
        with redis_at(settings) as url:
            rows = manage_keys(settings, url, wanted)
    except ValueError as error:
        fail(f"keys {do}: {error}", 2)
    except UnknownKey as error:
        fail(str(error), 1)
    if as_json:
        print(json.dumps(rows, indent=2))
        return
    for row in rows:
        if do in ("add", "rotate"):
            note(f"{row['name']} for {row['programme']}, allowed {', '.join(row['allow'])}; shown once, kept nowhere:")
            print(row["key"])
        else:
            print("  ".join(f"{name}={_flat(value)}" for name, value in row.items() if value not in ("", None)))
    if not rows:
        note("nothing to show")


def _flat(value: Any) -> str:
    return ",".join(value) if isinstance(value, list) else str(value)


@app.command()
def notify(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print what would be sent; nothing leaves.")] = False,
    test: Annotated[bool, typer.Option("--test", help="Send one message, marked as a test.")] = False,
    target: Annotated[str, typer.Option(help="Only this target; --test asks for one.")] = "",
    event: Annotated[Path | None, typer.Option(help="A file with one event (JSON); else a sample.")] = None,
    case: Annotated[str, typer.Option(help="The events of this case, as the store has them.")] = "",
    settings_file: SettingsOption = None,
    state: StateOption = None,
    redis: RedisOption = "",
) -> None:
    """Show what the targets of the settings would be sent, or send one a test. Secrets are never printed."""
    if dry_run == test:
        fail("say either --dry-run or --test", 2)
    if test and (not target or case):
        fail("--test sends one message to one target: name it with --target, and give no --case", 2)
    settings = settings_of(settings_file, state, redis)
    try:
        if test:
            note(notify_.send_test(settings, target, event))
            return
        events = notify_.events_of(settings, event, case)
        found = notify_.dry_run(settings, target, events)
    except notify_.NotTaken as refusal:
        fail(str(refusal), 1)
    except notify_.NotifyError as error:
        fail(str(error), 2)
    print(json.dumps(found, indent=2, ensure_ascii=False))


@app.command()
def deliveries(
    dead: Annotated[bool, typer.Option("--dead", help="List what an endpoint never got.")] = False,
    replay: Annotated[bool, typer.Option("--replay", help="Put dead letters back into their queues.")] = False,
    enable: Annotated[str, typer.Option(help="Let this disabled endpoint start afresh.")] = "",
    endpoint: Annotated[str, typer.Option(help="Only this endpoint's.")] = "",
    event: Annotated[str, typer.Option(help="Only this event's (its id).")] = "",
    as_json: JsonOption = False,
    settings_file: SettingsOption = None,
    state: StateOption = None,
    redis: RedisOption = "",
) -> None:
    """Show the endpoints and how they do; list or replay dead letters; enable an endpoint again."""
    settings = settings_of(settings_file, state, redis)
    asked = Asked(dead=dead, replay=replay, enable=enable, endpoint=endpoint, event=event)
    with redis_at(settings) as url:
        found = look_at_deliveries(settings, url, asked)
    if as_json:
        print(json.dumps(found, indent=2))
        return
    for row in found:
        print("  ".join(f"{name}={value}" for name, value in row.items() if value not in ("", None)))
    if not found:
        note("nothing to show")


@app.command()
def check(
    rules: Annotated[Path | None, typer.Argument(help="Rules directory; else the one the settings name.")] = None,
    settings_file: SettingsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Check every rule file: sets, taxonomies, rosters, templates. Exit 1 when a problem was found."""
    settings = load(settings_file)
    directory = rules or settings.rules
    if not directory.is_dir():
        fail(f"{directory} is no directory of rules (it would hold sets/, taxonomies/, rosters/, templates/)", 2)
    problems = check_rules(directory, settings.metrics)
    errors = [p for p in problems if not p.warning]
    if as_json:
        print(json.dumps([msgspec.to_builtins(p) for p in problems], indent=2))
    else:
        for problem in problems:
            print(problem)
        sets = len(list((directory / "sets").glob("*.yaml")))
        note(f"{sets} sets, {len(errors)} errors, {len(problems) - len(errors)} warnings")
    if errors:
        raise typer.Exit(1)


@app.command()
def due(
    pack: Annotated[str, typer.Argument(help="The pack: awaabs-law, housing-ombudsman, fca-disp …")],
    clock: Annotated[str, typer.Argument(help="The clock of the pack.")],
    start: Annotated[
        str, typer.Option(help="When the clock's own starting milestone happened: RFC 3339, or a date for day clocks.")
    ],
    calendar: Annotated[str, typer.Option(help="england-and-wales, scotland, northern-ireland, or one of yours.")] = "",
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="NAME=VALUE the pack needs to know besides; repeatable.")
    ] = None,
    rules: Annotated[Path | None, typer.Option(help="A rules directory with packs and calendars of its own.")] = None,
    as_json: JsonOption = False,
) -> None:
    """When a clock of a pack would fall due, day by day, and why: without any case.

    `due_at` is the first instant that is late. Where the law is ambiguous the earlier reading is the deadline, and the
    other is shown beside it.
    """
    try:
        answer = due_.question(pack, clock, start, calendar, set_ or [], rules)
    except due_.DueError as error:
        fail(str(error), 2)
    if as_json:
        print(json.dumps(answer, indent=2))
        return
    for line in due_.lines(answer):
        print(line)


@app.command()
def cases(
    case: Annotated[str, typer.Argument(help="A case id, to see one whole.")] = "",
    owner: Annotated[str, typer.Option(help="Only this person's.")] = "",
    overdue: Annotated[bool, typer.Option("--overdue", help="Only those past a deadline.")] = False,
    all_: Annotated[bool, typer.Option("--all", help="Closed ones too, newest first.")] = False,
    dead: Annotated[bool, typer.Option("--dead", help="Instead: records that could not be read, and why.")] = False,
    programme: Annotated[str, typer.Option(help="Only this programme's.")] = "",
    limit: Annotated[int, typer.Option(min=1, max=10_000)] = 50,
    as_json: JsonOption = False,
    settings_file: SettingsOption = None,
    state: StateOption = None,
    redis: RedisOption = "",
) -> None:
    """Show open cases, the one due first in front; or one case with its whole history."""
    settings = settings_of(settings_file, state, redis)
    with redis_at(settings) as url:
        records = Records(url, vault_at(settings.vault))
        if case:
            _one_case(records, case, as_json=as_json)
            return
        programmes = [programme] if programme else records.programmes()
        if dead:
            _dead_letters(records, programmes, limit, as_json=as_json)
            return
        now = int(time.time())
        rows = [
            row
            for name in programmes
            for row in records.cases(name, owner=owner, overdue_at=now if overdue else None, closed=all_, limit=limit)
        ]
        rows.sort(key=lambda row: (row["due_at"] is None, row["due_at"] or "", row["opened_at"]))
        if as_json:
            print(json.dumps(rows[:limit], indent=2))
        elif rows:
            width = None if sys.stdout.isatty() else 200
            Console(highlight=False, width=width).print(case_table(rows[:limit], now))
        else:
            note("no such cases")


def _one_case(records: Records, case: str, *, as_json: bool) -> None:
    programme = records.find(case)
    record = records.case(programme, case) if programme else None
    if record is None:
        fail(f"no case {case} in this store; `tocsin cases --all` lists them", 1)
    record["log"] = [records.read(event) for event in record["log"]]
    if as_json:
        print(json.dumps(record, indent=2))
        return
    for line in case_lines(record):
        print(line)


def _dead_letters(records: Records, programmes: list[str], limit: int, *, as_json: bool) -> None:
    letters = [{"programme": name, **letter} for name in programmes for letter in records.dead(name, limit)]
    if as_json:
        print(json.dumps(letters, indent=2))
        return
    table = Table("programme", "source", "position", "reason", "detail", box=None, pad_edge=False)
    for letter in letters:
        table.add_row(*(Text(str(letter.get(k, ""))) for k in ("programme", "source", "position", "reason", "detail")))
    Console(highlight=False).print(table if letters else "no dead letters")


@app.command()
def export(
    case: Annotated[str, typer.Argument(help="The case id; or a JSON file that was exported sealed, to open it.")],
    out: Annotated[Path, typer.Option(help="The folder to write <case>.json and <case>.html into.")] = Path(),
    zone: Annotated[str, typer.Option(help="The zone in which people read its times.")] = "Europe/London",
    sealed: Annotated[
        bool, typer.Option("--sealed", help="Leave what is personal sealed: a copy to keep, that an erasure reaches.")
    ] = False,
    as_json: JsonOption = False,
    settings_file: SettingsOption = None,
    state: StateOption = None,
    redis: RedisOption = "",
) -> None:
    """The file of a case as a regulator asks for it: timeline, owners, messages, each clock with its ledger, outcome.

    Written as JSON and as a printable page; with --json only onto standard output.
    """
    settings = settings_of(settings_file, state, redis)
    try:
        zone = zone_name(zone)
        keys = None if sealed else vault_at(settings.vault)
        if case.endswith(".json"):
            file = export_.reopened(Path(case), keys)
        else:
            with redis_at(settings) as url:
                file = export_.file_of(Records(url, keys), case, at=Instant(int(time.time())), zone=zone)
    except export_.ExportError as error:
        fail(str(error), 1)
    except ValueError:
        fail(f"--zone {zone}: no such zone; write it like Europe/London", 2)
    if as_json:
        print(json.dumps(file, indent=2))
    else:
        for path in export_.write(file, out):
            print(path)
    if not file["trail"]["whole"]:
        fail(f"its trail is not whole: {file['trail']['flaw']}", 1)


@app.command()
def verify(
    cases: Annotated[list[str] | None, typer.Argument(help="Case ids; without any, every case of the store.")] = None,
    file: Annotated[Path | None, typer.Option(help="An exported JSON file instead of the store.")] = None,
    as_json: JsonOption = False,
    settings_file: SettingsOption = None,
    state: StateOption = None,
    redis: RedisOption = "",
) -> None:
    """Prove that the trails are whole, or point at the first event that was altered, removed or added."""
    try:
        if file is not None:
            found = [export_.verify_file(file)]
        else:
            with redis_at(settings_of(settings_file, state, redis)) as url:
                found = list(export_.verify_store(Records(url), cases or []))
    except export_.ExportError as error:
        fail(str(error), 1)
    flawed = [(case, flaw) for case, _, flaw in found if flaw is not None]
    if as_json:
        flaws = [{"case": c, "sequence": f.sequence, "event": f.event, "what": f.what} for c, f in flawed]
        print(json.dumps({"cases": len(found), "events": sum(n for _, n, _ in found), "flaws": flaws}, indent=2))
    else:
        for case, flaw in flawed:
            print(f"{case}: event {flaw.sequence} {flaw.event}: {flaw.what}")
        print(f"{len(found)} cases, {sum(n for _, n, _ in found)} events, {len(flawed)} trails not whole")
    if flawed:
        raise typer.Exit(1)


@app.command()
def act(
    case: Annotated[str, typer.Argument(help="The case id.")],
    do: Annotated[Verb, typer.Argument(help="What to do.")],
    by: Annotated[str, typer.Option(help="Who does it (a person's id); else the case's owner.")] = "",
    reason: Annotated[str, typer.Option(help="Why.")] = "",
    at: Annotated[str, typer.Option(help="When it took place (RFC 3339), if not now.")] = "",
    to: Annotated[str, typer.Option(help="assign: the person; escalate: the role; correct: the new value.")] = "",
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", help="NAME=VALUE for the action's data, {…} and […] as JSON; repeatable."),
    ] = None,
    problem: Annotated[str, typer.Option(help="Outcome: what the problem was.")] = "",
    action_taken: Annotated[str, typer.Option(help="Outcome: what was done.")] = "",
    customer_told: Annotated[str, typer.Option(help="Outcome: how and when the customer was told.")] = "",
    satisfied: Annotated[str, typer.Option(help="Outcome: yes, no or unknown.")] = "",
    wait: Annotated[float, typer.Option(help="Seconds to wait for the engine's answer; 0 does not wait.")] = 5.0,
    action_id: Annotated[str, typer.Option("--id", help="The action's id: the same one twice acts once.")] = "",
    as_json: JsonOption = False,
    settings_file: SettingsOption = None,
    state: StateOption = None,
    redis: RedisOption = "",
) -> None:
    """Do something to a case: acknowledge, assign, contact, resolve, close …

    The action goes into the engine's stream; its answer, or its refusal with the reason, is printed.
    """
    settings = settings_of(settings_file, state, redis)
    outcome = {
        "problem": problem,
        "action_taken": action_taken,
        "customer_told": customer_told,
        "satisfied": satisfied,
    }
    data: dict[str, Any] = {}
    for pair in set_ or []:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            fail(f"--set {pair}: expected NAME=VALUE", 2)
        data[name] = _value(pair, value)
    if to:
        data["to"] = to
    if given := {name: value for name, value in outcome.items() if value}:
        data["outcome"] = given
    with redis_at(settings) as url:
        records = Records(url, vault_at(settings.vault))
        programme = records.find(case)
        if programme is None:
            fail(f"no case {case} in this store; `tocsin cases` lists the open ones", 1)
        record = records.case(programme, case) or {}
        now = Instant(int(time.time()))
        try:
            taken_at = parse_instant(at) if at else now
        except ValueError as error:
            fail(f"--at: {error}", 2)
        if do is Verb.REOPEN:
            data["record"] = {k: record[k] for k in ("customer", "type", "subject", "rules") if k in record}
        if do is Verb.ERASE:  # whose key is to go, for an engine that has forgotten the case by now
            data["record"] = {"sealed": records.token(programme, case)}
        action = Action(
            id=action_id or uuid.uuid4().hex,
            programme=programme,
            case=case,
            do=do,
            by=by or record.get("owner", "") or "nobody",
            at=taken_at,
            received_at=now,
            arrived=float(now),
            reason=reason,
            data=data,
        )
        after = records.last_event(programme)
        records.act(programme, action.id, encode_action(action), principal=f"cli:{action.by}")
        answers = records.answers(programme, action.id, after, wait_s=wait)
    _show_answers(action, answers, as_json=as_json, waited=wait > 0)


def _value(pair: str, text: str) -> Any:
    """*text* as it stands, or read as JSON where it is a list or a map."""
    if not text.startswith(("[", "{")):
        return text
    try:
        return json.loads(text)
    except ValueError as error:
        fail(f"--set {pair}: begins like JSON, and is none: {error}", 2)


def _show_answers(action: Action, answers: list[dict[str, Any]], *, as_json: bool, waited: bool) -> None:
    refused = any(event["type"] == "tocsin.action.refused" for event in answers)
    if as_json:
        print(json.dumps({"action": action.id, "at": rfc3339(action.at), "events": answers}, indent=2))
    elif not answers:
        note(f"handed in as {action.id}; " + ("no engine answered yet" if waited else "not waiting for the answer"))
    for event in [] if as_json else answers:
        data = event["data"]
        said = data.get("detail") or data.get("clock") or data.get("change") or ""
        print(f"{event['time']}  {event['type'].removeprefix('tocsin.'):<20} {data.get('reason', '')}  {said}".rstrip())
    if refused:
        raise typer.Exit(1)
