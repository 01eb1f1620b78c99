"""The same job in other engines and in ours, side by side on one Apache Kafka: Quix Streams, Faust, PyFlink, plain
Bytewax, Tocsin.

Topic in, vaderSentiment's score, one rule, a count by customer and a timer where there is one by key, topic out; ours
does all of its own job besides (themes, cases with three clocks, records in Redis, snapshots). First a topic filled
beforehand: responses a second between the first and the last alert out. Then a steady rate: from a response's sending
to its alert in the topic, by Kafka's own stamp. Each has one worker and the whole machine.

The peers are installed in environments of their own under `build/`, with pip; a peer that does not install or does
not finish is reported, and left out of the comparison.
"""

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import msgspec
from confluent_kafka import Consumer, KafkaError, Message, Producer, TopicPartition

from benchmarks.bench_throughput import rules_directory
from benchmarks.common import percentile, report, texts
from connectors.embedded import Embedded
from flows.settings import CHECKOUT
from tests.kafka.broker import Broker
from tests.kafka.parts import install_java, repository

PEERS = Path(__file__).parent / "peers"
BUILD = CHECKOUT / "build" / "peers"
FIRING = 10
PATIENCE_S = 150.0
WARM_S = 3.0
JAR = "org/apache/flink/flink-sql-connector-kafka/5.0.0-2.2/flink-sql-connector-kafka-5.0.0-2.2.jar"
JAR_SHA256 = "5605c691d11a501382c383fecba37a7a552467da5ab7ba904ef5d6f3d62c5616"
PYPI = {
    "quix": ("quixstreams==3.28.1", "vaderSentiment==3.3.2"),
    "faust": ("faust-streaming==0.15.3", "vaderSentiment==3.3.2"),
    "flink": ("setuptools<80", "apache-flink==2.3.0", "vaderSentiment==3.3.2"),
}
TITLES = {
    "quix": "Quix Streams 3.28",
    "faust": "Faust (faust-streaming 0.15)",
    "flink-thread": "PyFlink 2.3, thread mode",
    "flink-process": "PyFlink 2.3, process mode",
    "bytewax": "plain Bytewax 0.21",
    "ours": "Tocsin",
}
COMPARED = ("quix", "faust", "flink-thread", "flink-process")
"""The best of these is what the ratio is against."""
RULES = """\
set: bench
taxonomies: [contact-centre, intents]
roster: contact-centre
rules:
  - id: detractor
    title: Detractor
    when: {all: ['bands.nps == "detractor"']}
    case: {type: t, priority: high, owner: team_lead, acknowledge_within: 30m, notice: owner-alert,
           clocks: {first_response: {within: 24h, warn: [50%]}, resolve: {within: 72h}}}
"""


class Missing(Exception):
    """A peer that cannot be had or does not do the job; the text says why."""


class Run(msgspec.Struct, frozen=True):
    """What one engine did."""

    per_s: float
    p50_ms: float
    p99_ms: float
    load_average: float


def environment(peer: str) -> str:
    """The Python of *peer*'s own environment, made when it is first asked for. Raises Missing."""
    folder = BUILD / peer
    python = folder / "bin" / "python"
    if not (folder / ".ready").exists():
        print(f"installing {', '.join(PYPI[peer])} in {folder}", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        words = [str(python), "-m", "pip", "install", "-q", "--disable-pip-version-check"]
        for packages in ((PYPI[peer][0], "wheel"), PYPI[peer]):
            done = subprocess.run([*words, *packages], capture_output=True, text=True, check=False)
            if done.returncode:
                raise Missing(f"does not install: {done.stderr.strip().splitlines()[-1][:200]}")
        (folder / ".ready").touch()
    return str(python)


def connector() -> Path:
    """Flink's connector to Kafka, fetched from a Maven repository and checked. Raises Missing."""
    path = BUILD / Path(JAR).name
    if not path.exists():
        with urllib.request.urlopen(f"{repository()}/{JAR}", timeout=120) as answer:
            data = answer.read()
        if hashlib.sha256(data).hexdigest() != JAR_SHA256:
            raise Missing(f"{JAR} is not the file that was tried")
        path.write_bytes(data)
    return path


def command(peer: str, servers: str, source: str, sink: str, folder: Path) -> list[str]:
    """What runs *peer*. Raises Missing."""
    places = [servers, source, sink, str(folder)]
    if peer == "ours":
        (folder / "rules").mkdir()
        rules_directory(folder / "rules")
        (folder / "rules" / "sets" / "bench.yaml").write_text(RULES)
        (folder / "tocsin.yaml").write_text(
            f"rules: rules\nprogrammes: {{default: {{rules: bench}}}}\n"
            f"outputs:\n  kafka: {{servers: '{servers}', topic: {sink}}}\n"
        )
        words = ["run", "--no-deliver", "--settings", "tocsin.yaml", "--state", "state"]
        return [sys.executable, "-c", "from console.cli import main; main()", *words, "--kafka", f"{servers}/{source}"]
    if peer == "bytewax":
        return [sys.executable, str(PEERS / "plain_bytewax.py"), *places]
    if peer.startswith("flink"):
        jar = str(connector())
        return [environment("flink"), str(PEERS / "flink.py"), *places, jar, peer.partition("-")[2]]
    return [environment(peer), str(PEERS / ("quix.py" if peer == "quix" else "fausts.py")), *places]


def search_path(peer: str) -> str:
    """Where *peer* finds its modules. The Python inside a JVM (thread mode) does not know its environment's own."""
    if peer == "ours":
        return str(CHECKOUT)
    packages = (BUILD / "flink").glob("lib/python3*/site-packages") if peer.startswith("flink") else ()
    return os.pathsep.join(str(place) for place in (PEERS, *packages))


def send(producer: Producer, topic: str, number: int, text: str) -> None:
    name = f"c{number}"
    score = 2 if number % FIRING == 0 else 9
    record = {"id": str(number), "customer": name, "channel": "web", "language": "en", "text": text,
              "scores": {"nps": score}}  # fmt: skip
    while True:
        try:
            producer.produce(topic, msgspec.json.encode(record), key=name.encode())
            return
        except BufferError:
            producer.poll(0.1)


class Alerts:
    """Reads what comes out of a topic of one partition: response and Kafka's stamp of its alert."""

    def __init__(self, servers: str, topic: str) -> None:
        self._consumer = Consumer({"bootstrap.servers": servers, "group.id": "bench", "fetch.wait.max.ms": 50})
        self._consumer.assign([TopicPartition(topic, 0, 0)])
        self.at: dict[int, float] = {}
        """Number of the response to Unix seconds."""

    def read(self) -> None:
        for message in self._consumer.consume(5000, 0.2):
            if (error := message.error()) is None:
                for number in self._numbers(message):
                    self.at.setdefault(number, message.timestamp()[1] / 1000)
            elif error.code() != KafkaError._PARTITION_EOF:
                raise Missing(f"the topic cannot be read: {error.str()}")

    @staticmethod
    def _numbers(message: Message) -> Iterator[int]:
        said = json.loads(message.value() or b"{}")
        if "specversion" not in said:
            yield int(said["response"])
        elif said["type"] == "tocsin.case.opened" and "response" in said["data"]:
            yield int(said["data"]["response"]["id"])

    def close(self) -> None:
        self._consumer.close()


def measured(peer: str, broker: Broker, words: list[str], rate: float, seconds: float) -> Run:
    """Run *peer*: first on a topic that is full, then at *rate*. Raises Missing."""
    name = f"{peer}-{time.time_ns()}"
    source, sink = f"in-{name}", f"out-{name}"
    broker.create(source)
    broker.create(sink, message_timestamp_type="LogAppendTime")
    producer = Producer({"bootstrap.servers": broker.servers, "linger.ms": 5})
    for number, text in enumerate(words):
        send(producer, source, number, text)
    producer.flush(60)
    folder = Path(tempfile.mkdtemp())
    server = Embedded(folder / "server") if peer == "ours" else None
    line = command(peer, broker.servers, source, sink, folder)
    env = {**os.environ, "PYTHONPATH": search_path(peer), "TOCSIN_METRICS_PORT": "0"}
    if server is not None:
        env["TOCSIN_REDIS_URL"] = server.url
    average = os.getloadavg()[0]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(line, cwd=folder, env=env, stdout=log, stderr=log)
    alerts = Alerts(broker.servers, sink)
    try:
        fired = range(0, len(words), FIRING)
        wait_for(alerts, set(fired), process, folder)
        stamps = sorted(alerts.at[number] for number in fired)
        per_s = (len(words) - FIRING) / max(0.001, stamps[-1] - stamps[0])
        live = Producer({"bootstrap.servers": broker.servers, "linger.ms": 0})
        time.sleep(WARM_S)
        sent: dict[int, float] = {}
        began, first = time.time(), len(words)
        for step in range(int(rate * seconds)):
            while (left := began + step / rate - time.time()) > 0:
                live.poll(0)
                time.sleep(min(left, 0.01))
            sent[first + step] = time.time()
            send(live, source, first + step, words[step % len(words)])
            live.poll(0)
        live.flush(30)
        wanted = {number for number in sent if number % FIRING == 0}
        wait_for(alerts, wanted, process, folder)
        # What is still warming up in the first second (a page not yet touched, a JVM) is no steady state.
        late = [alerts.at[n] - sent[n] for n in wanted if sent[n] > began + 1]
        return Run(per_s, percentile(late, 0.5) * 1000, percentile(late, 0.99) * 1000, average)
    finally:
        alerts.close()
        end(process)
        if server is not None:
            server.close()


def wait_for(alerts: Alerts, wanted: set[int], process: "subprocess.Popen[bytes]", folder: Path) -> None:
    """Read until the alerts of all *wanted* responses are out. Raises Missing."""
    limit = time.time() + PATIENCE_S
    while not wanted <= alerts.at.keys():
        alerts.read()
        if process.poll() is not None or time.time() > limit:
            said = (folder / "log").read_text(errors="replace")[-300:]
            raise Missing(
                f"{len(wanted & alerts.at.keys())} of {len(wanted)} alerts came out; "
                f"{'it ended' if process.poll() is not None else f'no more in {PATIENCE_S:.0f} s'}: {said}"
            )


def end(process: "subprocess.Popen[bytes]") -> None:
    process.terminate()
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=60_000, help="responses in the topic beforehand")
    parser.add_argument("--rate", type=float, default=500)
    parser.add_argument("--seconds", type=float, default=15, help="at that rate")
    parser.add_argument("--runs", type=int, default=1, help="rounds through all; the median of each counts")
    parser.add_argument("--only", nargs="*", default=list(TITLES), choices=list(TITLES), help="these alone")
    asked = parser.parse_args()
    install_java()
    BUILD.mkdir(parents=True, exist_ok=True)
    words = texts(asked.count)
    runs: dict[str, list[Run]] = {peer: [] for peer in asked.only}
    troubles: dict[str, str] = {}
    broker = Broker(Path(tempfile.mkdtemp()) / "kafka")
    try:
        for _ in range(asked.runs):
            for peer in asked.only:
                try:
                    if peer not in troubles:
                        runs[peer].append(measured(peer, broker, words, asked.rate, asked.seconds))
                        print(TITLES[peer], runs[peer][-1], file=sys.stderr)
                except Missing as trouble:
                    troubles[peer] = str(trouble)
                    print(TITLES[peer], trouble, file=sys.stderr)
    finally:
        broker.stop()
    rows = [("load", f"{asked.count:,} responses, 1 in {FIRING} fires; then {asked.rate:.0f} a second")]
    middle: dict[str, Run] = {}
    for peer in asked.only:
        if not runs[peer]:
            rows.append((TITLES[peer], " ".join(troubles.get(peer, "not run").split())[:160]))
            continue
        middle[peer] = run = sorted(runs[peer], key=lambda run: run.per_s)[(len(runs[peer]) - 1) // 2]
        rows.append(
            (
                TITLES[peer],
                f"{run.per_s:,.0f} responses/s; p50 {run.p50_ms:.0f}, p99 {run.p99_ms:.0f} ms; "
                f"load average before {run.load_average:.1f}",
            )
        )
    figures: dict[str, object] = {f"{peer.replace('-', '_')}_per_s": round(run.per_s) for peer, run in middle.items()}
    best = max((peer for peer in COMPARED if peer in middle), key=lambda peer: middle[peer].per_s, default="")
    if best and "ours" in middle:
        ratio = round(middle["ours"].per_s / middle[best].per_s, 2)
        rows.append((f"ours, of the best peer ({TITLES[best]})", f"{ratio} (aim 2, at a lower p99)"))
        figures |= {
            "best_peer": TITLES[best], "best_peer_per_s": round(middle[best].per_s), "ratio": ratio,
            "ours_p99_ms": round(middle["ours"].p99_ms), "best_peer_p99_ms": round(middle[best].p99_ms),
        }  # fmt: skip
    if "bytewax" in middle and "ours" in middle:
        share = round(middle["ours"].per_s / middle["bytewax"].per_s, 2)
        rows.append(("ours, of plain Bytewax", f"{share} (aim 1)"))
        figures["of_plain_bytewax"] = share
    report("bench_peers", rows, figures)


if __name__ == "__main__":
    main()
