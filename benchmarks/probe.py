"""Sends responses at a steady rate, and notes when what they lead to is readable in Redis; a process of its own.

Argument: a `Task` as JSON. Prints `Noted` as JSON on its last line.
"""

import os
import subprocess
import sys
import threading
import time

import msgspec

from benchmarks.common import texts
from connectors.redis_link import client
from feedback.instants import parse_instant
from flows.settings import CHECKOUT

INBOX, EVENTS = "tocsin:{default}:in", "tocsin:{default}:events"
SETTLE_S = 2.0


class Task(msgspec.Struct, frozen=True, kw_only=True):
    """What to send, and what to wait for."""

    url: str
    prefix: str
    """Of the ids of responses and customers: no two tasks on one store may share it."""
    rate: float = 1000.0
    """Responses a second."""
    seconds: float = 20.0
    firing: int = 10
    """One response in so many opens a case."""
    channel: str = "web"
    """Of those that open one: chooses the rule, as `house.py` has them; `web` is the detractor's of the fifty."""
    due_at: int = 0
    """Wait until *breaches* clocks that were due at this instant are called."""
    breaches: int = 0
    patience_s: float = 120.0
    settle_s: float = SETTLE_S
    """Goes on reading for so long after all that."""


class Noted(msgspec.Struct, frozen=True, kw_only=True):
    """Unix seconds, by this process's clock."""

    opened: list[tuple[float, float]]
    """(sent, its case's opening was read), one for each response that opened one."""
    breached: list[tuple[float, float]]
    """(due, its call was read)."""
    unanswered: int
    """Responses that should have opened a case, and none was read."""


def start(task: Task, out: int = subprocess.DEVNULL) -> subprocess.Popen[bytes]:
    """A process that runs *task*."""
    command = [sys.executable, "-m", "benchmarks.probe", msgspec.json.encode(task).decode()]
    env = {**os.environ, "PYTHONPATH": str(CHECKOUT)}
    return subprocess.Popen(command, stdout=out, cwd=CHECKOUT, env=env)


def probe(task: Task) -> Noted:
    """Run *task* to its end and return what it noted."""
    process = start(task, subprocess.PIPE)
    out, _ = process.communicate()
    if process.returncode:
        sys.exit(f"the probe ended with {process.returncode}")
    return msgspec.json.decode(out.splitlines()[-1], type=Noted)


class _Response(msgspec.Struct):
    id: str


class _Opened(msgspec.Struct):
    class Data(msgspec.Struct):
        response: _Response

    data: Data


class _Probe:
    def __init__(self, task: Task) -> None:
        self.task = task
        self.sent: dict[str, float] = {}
        self.opened: list[tuple[float, float]] = []
        self.breached: list[tuple[float, float]] = []
        self.awaited = 0
        self.done = threading.Event()

    def receive(self, after: str) -> None:
        reader = client(self.task.url)
        opening = msgspec.json.Decoder(_Opened).decode
        while not self.done.is_set():
            for _, entries in reader.xread({EVENTS: after}, count=1000, block=200) or ():
                now = time.time()
                after = entries[-1][0].decode()
                for _, fields in entries:
                    if fields[b"type"] == b"tocsin.case.opened":
                        sent = self.sent.get(opening(fields[b"event"]).data.response.id)
                        if sent is not None:
                            self.opened.append((sent, now))
                    elif fields[b"type"] == b"tocsin.clock.breached":
                        due = parse_instant(fields[b"time"].decode())
                        self.breached.append((due, now))
                        self.awaited += due == self.task.due_at

    def send(self) -> int:
        task = self.task
        words = texts(5000, seed=5)
        sender = client(task.url)
        began = time.time()
        for number in range(int(task.rate * task.seconds)):
            while (left := began + number / task.rate - time.time()) > 0:
                time.sleep(left)
            fires = number % task.firing == 0
            name = f"{task.prefix}{number}"
            record = {"id": name, "customer": name, "channel": task.channel if fires else "web", "language": "en",
                      "text": words[number % len(words)],
                      "scores": {"nps": 2 if fires and task.channel == "web" else 9},
                      "attributes": {"site": "leeds"}}  # fmt: skip
            if fires:
                self.sent[name] = time.time()
            sender.xadd(INBOX, {"record": msgspec.json.encode(record)})
        return len(self.sent)

    def run(self) -> Noted:
        newest = client(self.task.url).xrevrange(EVENTS, count=1)
        after = newest[0][0].decode() if newest else "0-0"
        thread = threading.Thread(target=self.receive, args=(after,))
        thread.start()
        sent = self.send()
        limit = time.time() + self.task.patience_s
        while time.time() < limit and (self.awaited < self.task.breaches or len(self.opened) < sent):
            time.sleep(0.1)
        time.sleep(self.task.settle_s)
        self.done.set()
        thread.join()
        return Noted(opened=self.opened, breached=self.breached, unanswered=sent - len(self.opened))


if __name__ == "__main__":
    print(msgspec.json.encode(_Probe(msgspec.json.decode(sys.argv[1], type=Task)).run()).decode())
