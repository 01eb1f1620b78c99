"""One engine process and two, on Apache Kafka: what a second one gains, beside what it gains the bare scoring loop.

A topic filled beforehand, keyed by customer, over four partitions; `tocsin run` as its operator starts it, alone and
with `--processes 2`; responses a second once a twentieth is heard, by the engines' own counters.
Then bare vaderSentiment over the same texts, one process and two copies of it. Where the machine has two cores, the
broker and Redis share them with the engines, and the bare loop has them for itself.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

import msgspec
from confluent_kafka import Producer

from benchmarks.bench_throughput import rules_directory
from benchmarks.common import report, texts
from connectors.embedded import Embedded
from flows.settings import CHECKOUT
from tests.kafka.broker import Broker
from tests.kafka.parts import install_java

PARTITIONS = 4
FIRING = 10
PATIENCE_S = 600.0
BARE = """
import sys, time
from benchmarks.common import texts
from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer
words = texts(int(sys.argv[1]))[int(sys.argv[2]) :: int(sys.argv[3])]
score = SentimentIntensityAnalyzer().polarity_scores
sys.stdin.readline()
for text in words:
    score(text)
"""
ENV = {**os.environ, "PYTHONPATH": str(CHECKOUT)}


def fill(broker: Broker, topic: str, count: int) -> None:
    """The topic, by customer: the partitioner is the client's own."""
    broker.create(topic, PARTITIONS)
    producer = Producer({"bootstrap.servers": broker.servers, "linger.ms": 50, "queue.buffering.max.messages": 10**6})
    for number, text in enumerate(texts(count)):
        record = {"id": str(number), "customer": f"c{number}", "channel": "web", "language": "en", "text": text,
                  "scores": {"nps": 2 if number % FIRING == 0 else 9}, "attributes": {"site": "leeds"}}  # fmt: skip
        producer.produce(topic, msgspec.json.encode(record), key=f"c{number}".encode())
        producer.poll(0)
    if producer.flush(60):
        raise SystemExit("the topic could not be filled")


def bare(count: int, processes: int) -> float:
    """Texts a second of so many copies, each with its share."""
    command = [sys.executable, "-c", BARE, str(count)]
    running = [
        subprocess.Popen([*command, str(n), str(processes)], stdin=subprocess.PIPE, env=ENV) for n in range(processes)
    ]
    time.sleep(8)  # imports, and the texts: nothing of it is measured
    began = time.perf_counter()
    for process in running:
        assert process.stdin is not None
        process.stdin.write(b"\n")
        process.stdin.close()
    if any(process.wait(PATIENCE_S) for process in running):
        raise SystemExit("the bare loop failed")
    return count / (time.perf_counter() - began)


def heard(url: str) -> float:
    """Responses read so far, by every lane."""
    with urllib.request.urlopen(f"{url}/metrics", timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith("tocsin_responses_total"))


def ours(folder: Path, servers: str, topic: str, count: int, processes: int) -> float:
    """Responses a second of a new store with so many lanes."""
    folder.mkdir()
    (folder / "rules").mkdir()
    rules_directory(folder / "rules")
    (folder / "tocsin.yaml").write_text("rules: rules\nprogrammes: {default: {rules: bench}}\n")
    server = Embedded(folder / "server")
    words = ["run", "--settings", "tocsin.yaml", "--redis", server.url, "--kafka", f"{servers}/{topic}", "--no-deliver"]
    log = folder / "log"
    with log.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-c", "from console.cli import main; main()", *words, "--processes", str(processes)],
            cwd=folder, stderr=file, env={**ENV, "TOCSIN_METRICS_PORT": "0"},
        )  # fmt: skip
    try:
        deadline = time.monotonic() + PATIENCE_S
        while (found := re.search(r"together at (http://[\d.:]+)/metrics", log.read_text())) is None:
            time.sleep(0.1)
        first: tuple[float, float] | None = None
        while (so_far := heard(found[1])) < count:
            if so_far >= count * 0.05 and first is None:
                first = time.perf_counter(), so_far  # both processes are at work by now
            if time.monotonic() > deadline or process.poll() is not None:
                raise SystemExit(f"{so_far:.0f} of {count} were heard: {log.read_text()[-2000:]}")
            time.sleep(0.1)
        assert first is not None
        return (count - first[1]) / (time.perf_counter() - first[0])
    finally:
        process.terminate()
        process.wait(60)
        server.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=120_000, help="responses")
    count = parser.parse_args().count
    install_java()
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        broker = Broker(folder / "kafka")
        try:
            fill(broker, "responses", count)
            per_s = {n: ours(folder / f"ours-{n}", broker.servers, "responses", count, n) for n in (1, 2)}
        finally:
            broker.stop()
        alone = {n: bare(count, n) for n in (1, 2)}
    ratio, bare_ratio = per_s[2] / per_s[1], alone[2] / alone[1]
    report(
        "bench_scale",
        [
            ("responses, partitions", f"{count:,}, {PARTITIONS}"),
            ("ours, one process and two", f"{per_s[1]:,.0f} and {per_s[2]:,.0f} responses/s: {ratio:.2f} times"),
            ("vaderSentiment alone", f"{alone[1]:,.0f} and {alone[2]:,.0f} texts/s: {bare_ratio:.2f} times"),
            ("ours of what the bare loop gains (aim 0.9)", f"{ratio / bare_ratio:.2f}"),
        ],
        {
            "ratio": round(ratio, 3), "bare_ratio": round(bare_ratio, 3),
            "one_per_s": round(per_s[1]), "two_per_s": round(per_s[2]),
        },
    )  # fmt: skip


if __name__ == "__main__":
    main()
