"""A storm: kill -9 on the engine, on Redis, on both, at random moments under load; then the books must balance.

    make storm ROUNDS=20 SEED=7

Ends with 0 when each response that was accepted opened its case once, each clock that fell due breached once, no event
was lost or doubled, and what was late said so. SEED repeats the plan of the kills; where in the program they strike is
up to the machine. The last line is one JSON object.
"""

import argparse
import json
import os
import random
import shutil
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import msgspec

from cases import trail
from connectors.keyspace import Keys
from connectors.redis_link import client
from tests.storm import broken, house
from tests.storm.accounting import Account, Said, Sent, Stored, said, settle, still_owed
from tests.storm.processes import SOUND, Engine, Hung, Server

RATE = 200
"""Responses a second."""
BATCHES_S = 20
PATIENCE_S = 120.0
"""How long after the last response the engine may take to say all; longer counts as lost."""
QUIET_S = 4.0
SHOWN = 10
"""Findings of each file that are printed."""

STRIKES = (
    "both+cut", "engine", "redis+cut", "engine, and again as it resumes", "redis", "both",
    "redis+cut, and again as it loads", "redis, then stop the engine", "none", "both, redis last",
)  # fmt: skip


class Round(msgspec.Struct, frozen=True):
    """What happens in a round: load for *calm_s*, the strike, *down_s* of darkness, the restart."""

    strike: str
    calm_s: float
    down_s: float
    gap_s: float
    """Between two kills of one strike."""


def plan(rounds: int, dice: random.Random) -> Iterator[Round]:
    """Every strike as often as every other, the hardest first; a darkness in four is long enough for late breaches."""
    deck: list[str] = []
    for number in range(rounds):
        if not deck:
            deck = list(STRIKES)
            dice.shuffle(deck)
            if not number:
                deck.append(deck.pop(deck.index(STRIKES[0])))
        long = number % 4 == 1
        yield Round(
            strike=deck.pop(),
            calm_s=dice.uniform(0.5, 3.5),
            down_s=dice.uniform(7, 9) if long else dice.choice((0.0, dice.uniform(0, 2.5))),
            gap_s=dice.uniform(0.1, 1.5),
        )


class Feed:
    """Writes responses to the followed file at a steady rate; one counts as sent once it is on disk."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.sent: list[Sent] = []
        self._done = threading.Event()
        path.touch()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._done.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        number = 0
        with self.path.open("ab") as file:
            while not self._done.wait(1 / BATCHES_S):
                batch = range(number, number + RATE // BATCHES_S)
                file.write(b"".join(msgspec.json.encode(house.record(n)) + b"\n" for n in batch))
                file.flush()
                os.fsync(file.fileno())
                self.sent += [Sent(f"s{n}", house.kind_of(n)) for n in batch]
                number = batch.stop


class Storm:
    """One storm over one house."""

    def __init__(self, folder: Path, dice: random.Random, program: str) -> None:
        self._dice = dice
        self.server = Server(folder / "redis")
        self.feed = Feed(folder / "feed.jsonl")
        self.engine = Engine(folder, house.furnish(folder), self.feed.path, self.server.url, program)
        self.kills: Counter[str] = Counter()
        self.cut_bytes = 0

    def begin(self) -> None:
        self.server.start()
        self.server.wait_until_ready()
        self.engine.start()
        self.engine.wait_until_ready()
        self.feed.start()

    def strike(self, round_: Round) -> None:
        """One round, up to the restart."""
        time.sleep(round_.calm_s)
        what = round_.strike
        if what == "redis, then stop the engine":
            self._kill_redis()
            time.sleep(round_.gap_s)
            self.engine.stop()
        elif what == "both, redis last":
            self._kill_engine()
            self._kill_redis()
        elif what.startswith("both"):
            self._kill_redis(cut=what.endswith("cut"))
            self._kill_engine()
        elif what.startswith("redis"):
            self._kill_redis(cut="cut" in what)
        elif what.startswith("engine"):
            self._kill_engine()
        time.sleep(round_.down_s)
        self._restore()
        if what.startswith("engine, and again"):
            time.sleep(round_.gap_s)
            self._kill_engine()
        if what.startswith("redis+cut, and again"):
            time.sleep(round_.gap_s)
            self._kill_redis(cut=True)
        self._restore()

    def _kill_engine(self) -> None:
        self.engine.kill()
        self.kills["engine"] += 1

    def _kill_redis(self, *, cut: bool = False) -> None:
        self.server.kill()
        self.kills["redis"] += 1
        if cut:
            cut_bytes = self.server.cut(self._dice)
            self.cut_bytes += cut_bytes
            self.kills["cut"] += cut_bytes > 0

    def _restore(self) -> None:
        if not self.server.is_up:
            self.server.start()
        if not self.engine.is_up:
            self.engine.start()

    def end(self) -> None:
        """The load ends; everything that is due is said or its time runs out; the engine stops."""
        self.feed.stop()
        self.server.wait_until_ready()
        limit = time.monotonic() + PATIENCE_S
        length, since = -1, time.monotonic()
        while time.monotonic() < limit:
            stream = self.stream()
            if len(stream) != length:
                length, since = len(stream), time.monotonic()
            if not still_owed(self.feed.sent, stream) and time.monotonic() - since >= QUIET_S:
                break
            time.sleep(1.0)
        self.engine.stop()

    def stream(self) -> list[Said]:
        with client(self.server.url, timeout_s=30.0) as connection:
            return [said(fields) for _, fields in connection.xrange(Keys("default").events)]

    def stored(self) -> dict[str, Stored]:
        return stored(self.server.url)


def stored(url: str) -> dict[str, Stored]:
    """Every case that the store at *url* knows."""
    keys = Keys("default")
    found = {}
    with client(url, timeout_s=30.0) as connection:
        for case in (id_.decode() for id_ in connection.zrange(keys.cases, 0, -1)):
            kept = connection.hgetall(keys.log(case))
            length = int(connection.hget(keys.case(case), "sequence") or 0)
            log = sorted((msgspec.json.decode(event) for event in kept.values()), key=lambda e: int(e["sequence"]))
            flaw = trail.verify(log, length=length)
            words = "" if flaw is None else f"event {flaw.sequence}: {flaw.what}"
            found[case] = Stored(frozenset(id_.decode() for id_ in kept), length, words)
    return found


def show(account: Account, storm: Storm, rounds: int, seed: int, hung: list[str], took_s: float) -> bool:
    """Print the figures and what is wrong; whether all is well."""
    engine = storm.engine
    files = {
        "lost": account.lost, "doubled": account.doubled, "unmarked_late": account.unmarked_late,
        "unfounded": account.unfounded, "disordered": account.disordered, "broken": account.broken,
        "crashed": engine.crashes, "hung": hung,
    }  # fmt: skip
    counts = {"sent": len(storm.feed.sent), "opened": account.opened, "breached": account.breached,
              "events": account.events, "late": account.late, "cut_bytes": storm.cut_bytes}  # fmt: skip
    kills = storm.kills["engine"] + storm.kills["redis"]
    table = {
        "rounds, seed": f"{rounds}, {seed} ({took_s:.0f} s)",
        "kills": f"{kills}: {storm.kills['engine']} of the engine, {storm.kills['redis']} of Redis, "
        f"{storm.kills['cut']} with its file cut",
        **{name: f"{value:,}" for name, value in counts.items()},
        **{name: str(len(found)) for name, found in files.items()},
    }
    for name, found in files.items():
        for finding in found[:SHOWN]:
            print(f"{name}: {finding}", file=sys.stderr)
        if len(found) > SHOWN:
            print(f"{name}: and {len(found) - SHOWN} more", file=sys.stderr)
    for name, value in table.items():
        print(f"{name:<14} {value}")
    figures = {"rounds": rounds, "kills": kills, **{name: len(found) for name, found in files.items()}}
    print(json.dumps({**figures, **counts, "seed": seed}), flush=True)
    return not any(files.values())


def main() -> int:
    parser = argparse.ArgumentParser(prog="storm", description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--broken", choices=sorted(broken.BUILDS), help="Run an engine made wrong on purpose.")
    parser.add_argument("--keep", action="store_true", help="Keep the folder of a storm that went well, too.")
    asked = parser.parse_args()
    seed = asked.seed if asked.seed is not None else random.SystemRandom().randrange(1_000_000)
    dice = random.Random(seed)
    print(f"seed {seed}", flush=True)
    folder = Path(tempfile.mkdtemp(prefix="storm-"))
    storm = Storm(folder, dice, broken.program(asked.broken) if asked.broken else SOUND)
    hung: list[str] = []
    began = time.monotonic()
    try:
        try:
            storm.begin()
            for number, round_ in enumerate(plan(asked.rounds, dice), 1):
                print(f"{number:>3}  {round_.strike}, down for {round_.down_s:.1f} s", flush=True)
                storm.strike(round_)
            storm.end()
        except Hung as error:
            hung.append(str(error))
            storm.feed.stop()
        account = settle(storm.feed.sent, storm.stream(), storm.stored(), house.expected(), storm.engine.outages)
        well = show(account, storm, asked.rounds, seed, hung, time.monotonic() - began)
    finally:
        storm.engine.kill()
        storm.server.kill()
    if well and not asked.keep:
        shutil.rmtree(folder)
    else:
        print(f"everything is kept in {folder}", file=sys.stderr)
    return 0 if well else 1


if __name__ == "__main__":
    sys.exit(main())
