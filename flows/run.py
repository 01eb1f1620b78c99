"""The runner: an engine process from its parts, until its input ends or somebody stops it.

Around `bytewax.run.cli_main`, which offers no epochs under a second, no SIGTERM and no readiness. On SIGTERM or
SIGINT the source ends, the last epoch is snapshotted and the next run goes on exactly there. Whose the state
directory is, and of what shape, is `stores.py`'s business.
"""

import errno
import gc
import os
import re
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
from bytewax.recovery import (
    InconsistentPartitionsError,
    MissingPartitionsError,
    NoPartitionsError,
    RecoveryConfig,
    init_db_dir,
)
from bytewax.run import cli_main

log = structlog.get_logger()

DISK_ERRORS = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO}
_SQLITE = re.compile(r'SqliteFailure\(Error \{ code: (\w+), extended_code: \d+ \}, (?:Some\("([^"]*)"\)|None)\)')
_GO_ON = "Make room or make it writable, and start again: the run goes on from its last snapshot, nothing is lost."
_FROM_BACKUP = "Nothing was started. Put it back from a backup of the state directory; without it open clocks are lost."


class StateError(Exception):
    """The state directory cannot be used as asked. Whose turn: the operator's; the text says what to do."""


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
    """Run *flow* to its end, with recovery. Raises what a step or a source raised, as it raised it.

    Raises StateError when the recovery store cannot be read or written, or a disk took nothing more: what was not
    snapshotted is read from the inputs again by the run that goes on.
    """
    gc.collect()
    gc.freeze()  # rules, taxonomies and modules stay for good: no full collection has to walk them under load
    try:
        cli_main(  # type: ignore[no-untyped-call]
            flow, workers_per_process=workers, epoch_interval=epoch, recovery_config=recovery(state_dir)
        )
    except BytewaxRuntimeError as error:
        cause: BaseException = error
        while cause.__cause__ is not None:
            cause = cause.__cause__
        if (words := trouble_of(cause, state_dir)) is not None:
            raise StateError(words) from error
        raise cause from None if cause is error else error
    except (RuntimeError, ValueError, OSError) as error:
        if (words := trouble_of(error, state_dir)) is not None:
            raise StateError(words) from error
        raise


def trouble_of(error: BaseException, state_dir: Path) -> str | None:
    """What an operator can do about *error*, in words; None when it is not about the disk or the recovery store.

    Bytewax hands on what SQLite said as text (0.21.1: `SqliteFailure(Error { code: DiskFull, …`).
    """
    path = state_dir / "recovery"
    if isinstance(error, (NoPartitionsError, MissingPartitionsError, InconsistentPartitionsError)):
        return f"the recovery store in {path} is not whole ({error}). {_FROM_BACKUP}"
    if isinstance(error, OSError):
        if error.errno not in DISK_ERRORS:
            return None
        where = f" ({error.filename})" if error.filename else ""
        return f"the disk under {state_dir} does not take what is written: {error.strerror}{where}. {_GO_ON}"
    found = _SQLITE.search(str(error))
    if found is None:
        return None
    code, said = found.groups()
    if code in ("DatabaseCorrupt", "NotADatabase"):
        return f"the recovery store in {path} is damaged ({said or code}). {_FROM_BACKUP}"
    return f"the recovery store in {path} does not take what is written: {said or code}. {_GO_ON}"
