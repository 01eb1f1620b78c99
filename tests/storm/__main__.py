"""A storm: kill -9 on engine, deliveries and Redis, alone and together, under load; then the books must balance.

    make storm ROUNDS=20 SEED=7

Ends with 0 when each response that was accepted opened its case once, each action was answered once, each clock that
fell due breached once, no event was lost or doubled, what was late said so, and each event came as a webhook, at least
once and in the order of its case. In some rounds Redis's file loses its end, in some all that Redis had is wiped. SEED
repeats the plan of the kills; where in the program they strike is up to the machine. The last line is one JSON object.
"""

import argparse
import itertools
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
from typing import Any

import msgspec

from cases import trail
from connectors.keyspace import Keys
from connectors.redis_link import client
from tests.storm import broken, house
from tests.storm.accounting import OPENED, Account, Said, Sent, Stored, said, settle, still_owed
from tests.storm.people import People
from tests.storm.processes import SOUND, Deliveries, Engine, Hung, Server
from tests.storm.receiver import DeliveriesAccount, Receiver, deliveries_account, undelivered
from tests.storm.topic import TopicFeed

RATE = 200
"""Responses a second."""
BATCHES_S = 20
PATIENCE_S = 120.0
"""How long after the last response the engine may take to say all; longer counts as lost."""
QUIET_S = 4.0
SNAPSHOT_S = 2.5
"""By then what was answered is in a snapshot that is durable: an epoch is a second."""
SHOWN = 10
"""Findings of each file that are printed."""

ON_KAFKA = (
    "broker", "broker and engine", "broker and redis+cut", "broker and everything", "broker, and again as it starts",
)  # fmt: skip
"""Besides `STRIKES`, where the responses come by a topic."""
STRIKES = (
    "both+cut", "engine", "redis+cut", "engine, and again as it resumes", "redis", "both",
    "redis+cut, and again as it loads", "redis, then stop the engine", "none", "both, redis last",
    "deliveries", "engine and deliveries", "redis and deliveries+cut", "everything", "redis+wipe", "everything+wipe",
)  # fmt: skip


class Round(msgspec.Struct, frozen=True):
    """What happens in a round: load for *calm_s*, the strike, *down_s* of darkness, the restart."""

    strike: str
    calm_s: float
    down_s: float
    gap_s: float
    """Between two kills of one strike."""


def plan(rounds: int, dice: random.Random, *, kafka: bool = False) -> Iterator[Round]:
    """Every strike as often as every other, the hardest first; a darkness in four is long enough for late breaches."""
    deck: list[str] = []
    hardest = ON_KAFKA[3] if kafka else STRIKES[0]
    for number in range(rounds):
        if not deck:
            deck = [*STRIKES, *ON_KAFKA] if kafka else list(STRIKES)
            dice.shuffle(deck)
            if not number:
                deck.append(deck.pop(deck.index(hardest)))
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

    def __init__(self, folder: Path, dice: random.Random, program: str, *, kafka: bool = False) -> None:
        """With *kafka* the responses come by a topic, and its broker is killed too."""
        self._dice = dice
        self.server = Server(folder / "redis")
        self.topic = TopicFeed(folder, RATE, BATCHES_S) if kafka else None
        self.feed = self.topic or Feed(folder / "feed.jsonl")
        self.people = People(self.server.url)
        self.receiver = Receiver(random.Random(dice.random()))
        settings = house.furnish(folder, self.receiver.url, self.topic.settings if self.topic else "")
        followed = self.feed.path if isinstance(self.feed, Feed) else None
        self.engine = Engine(folder, settings, followed, self.server.url, program)
        self.deliveries = Deliveries(folder, settings, self.server.url, program)
        self.kills: Counter[str] = Counter()
        self.cut_bytes = 0
        self.wiped: list[list[Said]] = []
        """The streams of the stores that were wiped."""

    def begin(self) -> None:
        self.server.start()
        self.server.wait_until_ready()
        self.engine.start()
        self.engine.wait_until_ready()
        self.deliveries.start()
        self.deliveries.wait_until_ready()
        self.feed.start()
        self.people.start()

    def strike(self, round_: Round) -> None:
        """One round, up to the restart."""
        time.sleep(round_.calm_s)
        what = round_.strike
        if what.endswith("wipe"):
            self._hear_out()
        if what.startswith("broker"):
            self._kill_broker()
            what = what.removeprefix("broker").removeprefix(" and ")
        if "deliveries" in what or what.startswith("everything"):
            self._kill_deliveries()
        if what == "redis, then stop the engine":
            self._kill_redis()
            time.sleep(round_.gap_s)
            self.engine.stop()
        elif what == "both, redis last":
            self._kill_engine()
            self._kill_redis()
        elif what.startswith(("both", "everything")):
            self._kill_redis(cut=what.endswith("cut"))
            self._kill_engine()
        elif what.startswith("redis"):
            self._kill_redis(cut="cut" in what)
        elif what.startswith("engine"):
            self._kill_engine()
        if what.endswith("wipe"):
            self._wipe()
        time.sleep(round_.down_s)
        self._restore()
        if what == ", and again as it starts":
            time.sleep(round_.gap_s)
            self._kill_broker()
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
            cut_bytes = self.server.cut(self._dice, self.people.newest)
            self.cut_bytes += cut_bytes
            self.kills["cut"] += cut_bytes > 0

    def _kill_deliveries(self) -> None:
        self.deliveries.kill()
        self.kills["deliveries"] += 1

    def _kill_broker(self) -> None:
        assert self.topic is not None
        self.topic.broker.kill()
        self.kills["broker"] += 1

    def _hear_out(self) -> None:
        """What people said is answered and in a snapshot: what waited in a store that is wiped nobody could have."""
        self.people.pause()
        limit = time.monotonic() + PATIENCE_S
        while {*self.people.accepted} - {event.action for event in self._all()}:
            if time.monotonic() > limit:
                raise Hung("the engine does not answer the actions that it was given")
            time.sleep(0.2)
        time.sleep(SNAPSHOT_S)

    def _wipe(self) -> None:
        with self.server.copy() as copied:
            self.wiped.append(stream(copied.url))
            self.people.begin_again(copied.url)
        self.server.wipe()
        self.kills["wiped"] += 1
        self.people.go_on()

    def _restore(self) -> None:
        for program in (self.server, self.engine, self.deliveries):
            if not program.is_up:
                program.start()
        if self.topic is not None and not self.topic.broker.is_running:
            self.topic.broker.start()

    def end(self) -> None:
        """The load ends; everything that is due is said or its time runs out; the engine stops."""
        self.feed.stop()
        self.server.wait_until_ready()
        limit = time.monotonic() + PATIENCE_S
        length, since = -1, time.monotonic()
        while time.monotonic() < limit:
            events = self._all()
            if len(events) != length:
                length, since = len(events), time.monotonic()
            owed = still_owed(self.feed.sent, events, self.people.accepted) or self._deeds_to_come(events)
            if not owed and time.monotonic() - since >= QUIET_S and not undelivered(self.receiver.got, self.stream()):
                break
            time.sleep(1.0)
        self.people.stop()
        self.deliveries.stop()
        self.engine.stop()

    def _all(self) -> list[Said]:
        return [event for past in (*self.wiped, self.stream()) for event in past]

    def _deeds_to_come(self, events: list[Said]) -> int:
        opened = {event.response for event in events if event.type == OPENED and house.deed(event.response)}
        return len(opened - set(self.people.accepted.values()))

    def stream(self) -> list[Said]:
        return stream(self.server.url)

    def stored(self) -> dict[str, Stored]:
        return stored(self.server.url)


def stream(url: str) -> list[Said]:
    """The event log of the store at *url*."""
    with client(url, timeout_s=30.0) as connection:
        return [said(fields) for _, fields in connection.xrange(Keys("default").events)]


def stored(url: str) -> dict[str, Stored]:
    """Every case that the store at *url* knows."""
    keys = Keys("default")
    found = {}
    with client(url, timeout_s=30.0) as connection:
        for case in (id_.decode() for id_ in connection.zrange(keys.cases, 0, -1)):
            kept = connection.hgetall(keys.log(case))
            length = int(connection.hget(keys.case(case), "sequence") or 0)
            log = sorted((msgspec.json.decode(event) for event in kept.values()), key=lambda e: int(e["sequence"]))
            wiped = int(connection.hget(keys.case(case), "rewritten_sequence") or 0)
            flaw = _flaw(log, length, wiped)
            words = "" if flaw is None else f"event {flaw.sequence}: {flaw.what}"
            found[case] = Stored(frozenset(id_.decode() for id_ in kept), length, words, wiped)
    return found


def _flaw(log: list[dict[str, Any]], length: int, wiped: int) -> trail.Flaw | None:
    """The first flaw of a case's trail; where a store was wiped, of what came after."""
    if not wiped:
        return trail.verify(log, length=length)
    for before, event in itertools.pairwise(log):
        follows = event["data"]["previous"] == before["data"]["hash"]
        if int(event["sequence"]) == int(before["sequence"]) + 1 and not follows:
            return trail.Flaw(int(event["sequence"]), event["id"], "it does not follow the event before it")
    altered = (event for event in log if trail.link(event) != event["data"]["hash"])
    return next((trail.Flaw(int(e["sequence"]), e["id"], "it is not what was written") for e in altered), None)


def show(
    account: Account, posted: DeliveriesAccount, storm: Storm, rounds: int, seed: int, hung: list[str], took_s: float
) -> bool:
    """Print the figures and what is wrong; whether all is well."""
    given_up = storm.topic.refused if storm.topic else []
    files = {
        "lost": [*account.lost, *posted.lost, *given_up], "doubled": account.doubled,
        "unmarked_late": account.unmarked_late,
        "unfounded": account.unfounded, "disordered": [*account.disordered, *posted.disordered],
        "broken": account.broken, "altered": [*storm.receiver.wrong, *posted.altered],
        "crashed": [*storm.engine.crashes, *storm.deliveries.crashes], "hung": hung,
    }  # fmt: skip
    counts = {"sent": len(storm.feed.sent), "acted": len(storm.people.accepted), "opened": account.opened,
              "breached": account.breached, "events": account.events, "late": account.late,
              "webhooks": len(storm.receiver.got), "webhooks_repeated": posted.repeats,
              "webhooks_wiped": posted.wiped, "cut_bytes": storm.cut_bytes}  # fmt: skip
    killed = storm.kills
    kills = killed["engine"] + killed["redis"] + killed["deliveries"] + killed["broker"]
    table = {
        "rounds, seed": f"{rounds}, {seed} ({took_s:.0f} s)",
        "kills": f"{kills}: {killed['engine']} of the engine, {killed['deliveries']} of deliveries, "
        f"{killed['broker']} of Kafka, "
        f"{killed['redis']} of Redis, {killed['cut']} with its file cut, {killed['wiped']} with all of it wiped",
        **{name: f"{value:,}" for name, value in counts.items()},
        **{name: str(len(found)) for name, found in files.items()},
    }
    for name, found in files.items():
        for finding in found[:SHOWN]:
            print(f"{name}: {finding}", file=sys.stderr)
        if len(found) > SHOWN:
            print(f"{name}: and {len(found) - SHOWN} more", file=sys.stderr)
    for name, value in table.items():
        print(f"{name:<18} {value}")
    figures = {"rounds": rounds, "kills": kills, **{name: len(found) for name, found in files.items()}}
    print(json.dumps({**figures, **counts, "seed": seed}), flush=True)
    return not any(files.values())


def main() -> int:
    parser = argparse.ArgumentParser(prog="storm", description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--broken", choices=sorted(broken.BUILDS), help="Run an engine made wrong on purpose.")
    parser.add_argument("--kafka", action="store_true", help="Responses come by Apache Kafka, and it is killed too.")
    parser.add_argument("--keep", action="store_true", help="Keep the folder of a storm that went well, too.")
    asked = parser.parse_args()
    seed = asked.seed if asked.seed is not None else random.SystemRandom().randrange(1_000_000)
    dice = random.Random(seed)
    print(f"seed {seed}", flush=True)
    folder = Path(tempfile.mkdtemp(prefix="storm-"))
    storm = Storm(folder, dice, broken.program(asked.broken) if asked.broken else SOUND, kafka=asked.kafka)
    hung: list[str] = []
    began = time.monotonic()
    try:
        try:
            storm.begin()
            for number, round_ in enumerate(plan(asked.rounds, dice, kafka=asked.kafka), 1):
                print(f"{number:>3}  {round_.strike}, down for {round_.down_s:.1f} s", flush=True)
                storm.strike(round_)
            storm.end()
        except Hung as error:
            hung.append(str(error))
            storm.feed.stop()
            storm.people.stop()
        events = storm.stream()
        account = settle(
            storm.feed.sent, events, storm.stored(), house.expected(), storm.engine.outages,
            wiped=storm.wiped, acted=storm.people.accepted,
        )  # fmt: skip
        posted = deliveries_account(storm.receiver.got, events, storm.wiped)
        well = show(account, posted, storm, asked.rounds, seed, hung, time.monotonic() - began)
    finally:
        storm.deliveries.kill()
        storm.engine.kill()
        storm.server.kill()
        storm.receiver.close()
        if storm.topic is not None:
            storm.topic.broker.kill()
    if well and not asked.keep:
        shutil.rmtree(folder)
    else:
        kept = {"webhooks.jsonl": storm.receiver.got, "stream.jsonl": events}
        kept |= {f"wiped{place}.jsonl": past for place, past in enumerate(storm.wiped, 1)}
        for name, lines in kept.items():
            (folder / name).write_bytes(msgspec.json.Encoder().encode_lines(lines))
        print(f"everything is kept in {folder}", file=sys.stderr)
    return 0 if well else 1


if __name__ == "__main__":
    sys.exit(main())
