"""`tocsin run` for a store of several lanes: one of them, or all of them under a supervisor."""

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Thread

import msgspec

from console.beside import Beside
from console.supervisor import ENGINE, Policy, Supervisor
from feedback.layout import Layout
from flows.engine import redis_at
from flows.health import HealthServer
from flows.placing import RUNNING_FILE
from flows.run import StateError, Stop
from flows.settings import Settings, SettingsError
from flows.stores import compare, folder_of, read_shape

Tell = Callable[[str], None]
PORTS_AFTER = 10
"""The lanes' own pages begin so far behind the supervisor's; the second flow's is the next one."""


def with_lanes(settings: Settings, *, processes: int, lane: int, lanes: int) -> Settings:
    """*settings* with the number of lanes that was asked for. Raises SettingsError when it is asked in two ways."""
    if processes and (lane >= 0 or lanes):
        raise SettingsError("--processes runs every lane; leave out --lane and --lanes")
    if lanes and lane < 0:
        raise SettingsError(f"--lanes {lanes} goes with --lane; to run them all, say --processes {lanes}")
    asked, declared = processes or lanes, settings.engine.lanes
    if asked and declared and asked != declared:
        raise SettingsError(f"{asked} lanes are asked for, and {settings.file} has engine.lanes {declared}; say one")
    if asked > settings.engine.shards:
        raise SettingsError(f"{asked} lanes and {settings.engine.shards} shards: each lane needs a shard at least")
    if not asked:
        return settings
    return msgspec.structs.replace(settings, engine=msgspec.structs.replace(settings.engine, lanes=asked))


def deliver_words(settings: Settings) -> list[str]:
    """The command line of the second flow; empty where nobody is to be told of events."""
    if not (settings.endpoints or settings.targets):
        return []
    port = ["--metrics-port", "0"] if settings.metrics_port == 0 else []
    where = ["--settings", str(settings.file), "--state", str(settings.state)]
    return ["deliver", "--stop-with-stdin", *where, *port]


@contextmanager
def delivering(settings: Settings, tell: Tell, *, wanted: bool) -> Iterator[str]:
    """The URL of the Redis that every lane uses; with *wanted* the second flow goes on beside."""
    with redis_at(settings) as url:
        words = deliver_words(settings) if wanted else []
        beside = Beside(words, tell, redis=url) if words else None
        try:
            yield url
        finally:
            if beside is not None:
                beside.close()


def supervise(
    settings: Settings, url: str, words: Sequence[str], stop: Stop, tell: Tell, policy: Policy | None = None
) -> int:
    """Run every lane until *stop*; the exit code. *words* are what each engine is told besides. Raises StateError."""
    base, lanes = settings.state, settings.engine.lanes
    shape = read_shape(base)
    if shape is not None:
        compare(base, shape, settings.engine.shards, lanes)
    layout = shape.layout if shape is not None else Layout(shards=settings.engine.shards, lanes=lanes)
    commands = {
        lane: (
            [*ENGINE, "run", "--lane", str(lane), "--lanes", str(lanes), "--stop-with-stdin", "--no-deliver",
             "--settings", str(settings.file), "--state", str(base), *words],
            {
                **os.environ,
                "TOCSIN_REDIS_URL": url,  # not a word of the command, which everybody on the machine may read
                "TOCSIN_METRICS_PORT": str(port_of(settings.metrics_port, lane)),
                "TOCSIN_METRICS_HOST": "127.0.0.1",  # the supervisor's page has them all
            },
        )
        for lane in range(lanes)
    }  # fmt: skip

    def note_of(lane: int) -> Path:
        return folder_of(base, layout, lane) / RUNNING_FILE

    supervisor = Supervisor(commands, note_of, stop, tell, policy)
    try:
        health = HealthServer(
            supervisor.registry, supervisor.reasons, host=settings.metrics_host, port=settings.metrics_port
        )
    except OSError as error:
        raise StateError(
            f"port {settings.metrics_port} for metrics is taken ({error.strerror}); "
            "set TOCSIN_METRICS_PORT to another (0 takes a free one)"
        ) from None
    try:
        with stop.on_signals():
            tell(f"{lanes} lanes; their metrics and readiness together at http://127.0.0.1:{health.port}/metrics")
            return supervisor.run()
    finally:
        health.close()


def port_of(base: int, lane: int) -> int:
    """The port of a lane's own page, when the supervisor's is *base*; 0 stays 0, any free one."""
    return base + PORTS_AFTER + lane if base else 0


def stop_at_end_of_stdin(stop: Stop) -> None:
    """Ask for a stop when whoever started us has gone: its end of our standard input is closed by the kernel."""

    def wait() -> None:
        while os.read(sys.stdin.fileno(), 4096):
            pass
        stop.request("the supervisor has gone")

    Thread(target=wait, name="supervisor", daemon=True).start()
