"""How hard the tests of hostile input try: once in `make test`, FUZZ times as hard in `make fuzz`."""

import os

TIMES = int(os.environ.get("FUZZ", "1"))


def examples(usual: int) -> int:
    """So many examples as are usual, FUZZ times over."""
    return usual * TIMES
