"""The second flow beside the first: `tocsin run` keeps a `tocsin deliver` going, as a process of its own.

A process, so that nothing it meets (a receiver that hangs, a crash) reaches the engine; started again when it dies,
after a pause that grows. Where a supervisor does this already (systemd, Kubernetes), `--no-deliver` leaves it out.
"""

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from threading import Event, Thread

FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 30.0
CALM_S = 60.0
"""A child that lived this long begins with the first pause again."""
STOP_S = 20.0


class Beside:
    """Keeps one child process running until `close`."""

    def __init__(self, words: Sequence[str], tell: Callable[[str], None], *, redis: str) -> None:
        """*words* are the command line after `tocsin`; *tell* hears of a child that died.

        *redis*, the URL, goes by the environment: a command line is for everybody on the machine to read.
        """
        self._command = [sys.executable, "-c", "from console.cli import main; main()", *words]
        self._environ = {**os.environ, "TOCSIN_REDIS_URL": redis}
        self._tell = tell
        self._over = Event()
        self._child: subprocess.Popen[bytes] | None = None
        self._thread = Thread(target=self._keep, name="beside", daemon=True)
        self._thread.start()

    def _keep(self) -> None:
        pause = FIRST_PAUSE_S
        while not self._over.is_set():
            # In a group of its own: Ctrl-C at the terminal is for the engine, which then stops this one.
            # Its standard input ends with us, however we end: nobody is left to stop it after a kill -9.
            self._child = subprocess.Popen(
                self._command, env=self._environ, stdin=subprocess.PIPE, start_new_session=True
            )
            calm = not self._wait(CALM_S)
            if calm:
                self._wait(None)
            if self._child.stdin is not None:
                self._child.stdin.close()
            if self._over.is_set():
                return
            pause = FIRST_PAUSE_S if calm else min(pause * 2, LONGEST_PAUSE_S)
            self._tell(f"the second flow ended with {self._child.returncode}; again in {pause:.0f} s")
            self._over.wait(pause)

    def _wait(self, timeout_s: float | None) -> bool:
        """Whether the child ended within *timeout_s*."""
        assert self._child is not None
        try:
            self._child.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return False
        return True

    def close(self) -> None:
        """Stop the child and wait for it."""
        self._over.set()
        child = self._child
        if child is not None and child.poll() is None:
            child.terminate()
            try:
                child.wait(STOP_S)
            except subprocess.TimeoutExpired:
                child.kill()
        self._thread.join(timeout=STOP_S)
