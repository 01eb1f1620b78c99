"""The whole suite in two processes side by side: half of it waits for sockets, servers and files.

`python -m tests.halves [WORDS…]` gives *WORDS* to both, prints one half after the other, and ends with the worse of
their exit codes. `pytest` alone runs the same tests one by one.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

HALVES = (["tests/flows"], ["tests", "--ignore=tests/flows"])
NO_TESTS = 5
"""Pytest's code for a half in which *WORDS* choose nothing."""


def main() -> int:
    words = sys.argv[1:]
    with tempfile.TemporaryFile() as kept:
        first, second = (
            subprocess.Popen([Path(sys.executable).with_name("pytest"), *half, *words], stdout=out, stderr=out)
            for half, out in zip(HALVES, (kept, None), strict=True)
        )
        codes = [second.wait(), first.wait()]
        kept.seek(0)
        sys.stdout.buffer.write(kept.read())
    ran = [code for code in codes if code != NO_TESTS] or codes
    return max(abs(code) for code in ran)


if __name__ == "__main__":
    sys.exit(main())
