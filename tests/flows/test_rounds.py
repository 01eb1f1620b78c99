"""The rounds beside the stream: a mistake in one is told, and the next is made all the same."""

import threading
import time
from collections.abc import Callable

from flows.rounds import Rounds


def until(claim: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not claim():
        assert time.monotonic() < deadline
        time.sleep(0.002)


def test_a_round_that_fails_is_told_and_the_next_is_made() -> None:
    made, fails = 0, True

    def look() -> None:
        nonlocal made
        made += 1
        if fails:
            raise ValueError("I/O on a customer's words")

    rounds = Rounds(look, 0.001, name="gauges")
    with rounds.going():
        until(lambda: made >= 3)
        assert "ValueError at" in rounds.trouble
        assert "look" in rounds.trouble
        assert "words" not in rounds.trouble
        fails = False
        until(lambda: not rounds.trouble)
    ended = made
    time.sleep(0.02)
    assert made == ended


def test_a_round_that_fails_because_all_is_closed_is_no_trouble() -> None:
    begun, over = threading.Event(), threading.Event()

    def look() -> None:
        begun.set()
        over.wait(5)
        raise OSError("closed")

    rounds = Rounds(look, 0.001, name="gauges")
    with rounds.going():
        begun.wait(5)
        threading.Timer(0.05, over.set).start()  # while the end waits for it
    assert rounds.trouble == ""
