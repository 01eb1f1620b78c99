"""The runner: an engine process from its parts, until its input ends or somebody stops it.

Around `bytewax.run.cli_main`, which offers no epochs under a second, no SIGTERM and no readiness. On SIGTERM or
SIGINT the source ends, the last epoch is snapshotted and the next run goes on exactly there. A state
directory belongs to one engine at a time and to one shape of store (`guard`): what would start with empty
state is refused.
"""

import fcntl
import json
import os
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from types import FrameType

import structlog
from bytewax.dataflow import Dataflow
from bytewax.errors import BytewaxRuntimeError
from bytewax.recovery import RecoveryConfig, init_db_dir
from bytewax.run import cli_main

from cases import shard as shards
from flows.alerts import FLOW_ID

log = structlog.get_logger()


class StateError(Exception):
    """The state directory cannot be used as asked. Whose turn: the operator's; the text says what to do."""


@contextmanager
def owned(state_dir: Path) -> Iterator[None]:
    """Hold *state_dir* for this process; a second engine on it is refused. Freed by the kernel if we die."""
    state_dir.mkdir(parents=True, exist_ok=True)
    with (state_dir / "engine.lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise StateError(f"another engine is running on {state_dir}; stop it, or name another --state") from None
        yield


def guard(state_dir: Path, shard_count: int, vault: str = "") -> None:
    """Refuse a store of another shape; write the shape of a new one, or of one that this release carries over.

    *vault* is the id of the vault that the store is sealed with, empty when nothing is sealed.

    The ids of flow and steps, the number of shards and the stored form are a schema: with any of them
    changed, Bytewax would find nothing under the old names and start with empty state in silence.
    """
    path = state_dir / "store.json"
    shape = {"flow": FLOW_ID, "shards": shard_count, "form": shards.VERSION, "vault": vault}
    try:
        stored = json.loads(path.read_text())
    except FileNotFoundError:
        _write_shape(path, shape)
        return
    except ValueError as error:
        raise StateError(f"{path} is damaged ({error}); restore it from a backup of the state directory") from None
    carried = {"form": stored.get("form") in shards.READABLE, "vault": not stored.get("vault")}
    wrong = [
        f"{name} was {stored.get(name)!r} and is now {value!r}"
        for name, value in shape.items()
        if stored.get(name) != value and not carried.get(name)
    ]
    if wrong:
        raise StateError(
            f"the store in {state_dir} has another shape: {'; '.join(wrong)}. "
            "Starting would forget its open cases. Run with the settings, the release and the vault that made it."
        )
    if stored != shape:
        _write_shape(path, shape)  # from here on an earlier release refuses it


def _write_shape(path: Path, shape: dict[str, object]) -> None:
    draft = path.with_suffix(".draft")
    draft.write_text(json.dumps(shape) + "\n")
    draft.replace(path)


def recovery(state_dir: Path) -> RecoveryConfig:
    """The recovery store, made if there is none. One partition: a shard is a row, and there are few."""
    path = state_dir / "recovery"
    if not path.exists():
        draft = state_dir / "recovery.draft"
        draft.mkdir(exist_ok=True)
        init_db_dir(draft, 1)  # type: ignore[no-untyped-call]
        draft.rename(path)
    if not os.access(path, os.W_OK | os.X_OK):
        raise StateError(f"{path} is not writable by this user; its snapshots would be lost")
    return RecoveryConfig(path)  # type: ignore[no-untyped-call]


class Stop:
    """A request to stop, made once by a signal or by a caller; everything that waits asks it."""

    def __init__(self) -> None:
        self.event = threading.Event()

    def __call__(self) -> bool:
        return self.event.is_set()

    def request(self, why: str) -> None:
        if not self.event.is_set():
            log.info("engine.stopping", reason=why)
            self.event.set()

    @contextmanager
    def on_signals(self) -> Iterator[None]:
        """SIGTERM and SIGINT ask to stop while this is entered; handlers are put back after it."""
        signals: Sequence[signal.Signals] = (signal.SIGTERM, signal.SIGINT)

        def handle(number: int, frame: FrameType | None) -> None:
            self.request(signal.Signals(number).name)

        before = {number: signal.signal(number, handle) for number in signals}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def run_flow(flow: Dataflow, state_dir: Path, *, epoch: timedelta, workers: int = 1) -> None:
    """Run *flow* to its end, with recovery. Raises what a step or a source raised, as it raised it."""
    try:
        cli_main(  # type: ignore[no-untyped-call]
            flow, workers_per_process=workers, epoch_interval=epoch, recovery_config=recovery(state_dir)
        )
    except BytewaxRuntimeError as error:
        cause: BaseException = error
        while cause.__cause__ is not None:
            cause = cause.__cause__
        raise cause from None if cause is error else error
