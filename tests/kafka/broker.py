"""One Apache Kafka node on loopback (KRaft: broker and controller in one process), for tests and benchmarks.

`parts.py` finds or fetches the jars and the JVM (17 or later).
`python -m tests.kafka.broker FOLDER` runs one until it is interrupted.
"""

import signal
import socket
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient, NewTopic

from tests.kafka.parts import jars, java

START_S = 60.0
CLUSTER = "dG9jc2luLXRlc3Qta2Fma2E"
"""A cluster's id is 16 bytes in URL-safe base64."""


class BrokerError(Exception):
    """The node does not start; the text says why."""


class Tls(NamedTuple):
    """Files in PEM, and who may come in."""

    cert: Path
    key: Path
    ca: Path
    user: str
    password: str


def _secured(tls: Tls) -> str:
    cert, key, ca = (path.read_text().strip().replace("\n", "\\n") for path in (tls.cert, tls.key, tls.ca))
    login = "org.apache.kafka.common.security.plain.PlainLoginModule"
    values = {
        "ssl.keystore.type": "PEM",
        "ssl.keystore.certificate.chain": cert,
        "ssl.keystore.key": key,
        "ssl.truststore.type": "PEM",
        "ssl.truststore.certificates": ca,
        "ssl.client.auth": "required",
        "sasl.enabled.mechanisms": "PLAIN",
        "plain.sasl.jaas.config": f'{login} required user_{tls.user}="{tls.password}";',
    }
    return "".join(f"listener.name.secure.{name}={value}\n" for name, value in values.items())


class Broker:
    """A node whose data lies in *folder*. Made running; it may be stopped, killed and started again."""

    def __init__(self, folder: Path, tls: "Tls | None" = None) -> None:
        """With *tls* it listens on `secure` too, for who has a certificate of the authority and the password."""
        self._folder = folder
        self._jars, self._java = jars(), java()
        self.port, controller, secure = _free_ports(3)
        self.secure = f"127.0.0.1:{secure}"
        self.servers = f"127.0.0.1:{self.port}"
        self._process: subprocess.Popen[bytes] | None = None
        folder.mkdir(parents=True, exist_ok=True)
        self._properties = folder / "server.properties"
        self._properties.write_text(
            "process.roles=broker,controller\n"
            "node.id=1\n"
            f"controller.quorum.voters=1@127.0.0.1:{controller}\n"
            f"listeners=PLAINTEXT://{self.servers},CONTROLLER://127.0.0.1:{controller}"
            + (f",SECURE://{self.secure}\n" if tls is not None else "\n")
            + f"advertised.listeners=PLAINTEXT://{self.servers}"
            + (f",SECURE://{self.secure}\n{_secured(tls)}" if tls is not None else "\n")
            + "listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SECURE:SASL_SSL\n"
            + "controller.listener.names=CONTROLLER\n"
            f"log.dirs={folder / 'data'}\n"
            "auto.create.topics.enable=false\n"
            "offsets.topic.replication.factor=1\n"
            "transaction.state.log.replication.factor=1\n"
            "transaction.state.log.min.isr=1\n"
            "group.initial.rebalance.delay.ms=0\n"
            "broker.session.timeout.ms=2000\n"
            "broker.heartbeat.interval.ms=500\n"
        )
        self._run("kafka.tools.StorageTool", "format", "-t", CLUSTER, "-c", str(self._properties))
        self.start()

    def _command(self, main: str, *words: str) -> list[str]:
        memory = ["-Xms256m", "-Xmx512m", "-XX:+UseSerialGC"]
        return [self._java, *memory, "-cp", str(self._jars / "*"), main, *words]

    def _run(self, main: str, *words: str) -> None:
        done = subprocess.run(self._command(main, *words), capture_output=True, text=True, check=False)
        if done.returncode:
            raise BrokerError(f"{main} ended with {done.returncode}: {(done.stderr or done.stdout)[-500:]}")

    def start(self) -> None:
        """Start the node at the same address with what it has; returns when it answers."""
        log = (self._folder / "kafka.log").open("ab")
        with log:
            command = self._command("kafka.Kafka", str(self._properties))
            self._process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
        admin = AdminClient({"bootstrap.servers": self.servers, "log_level": 0})
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                break
            try:
                if admin.list_topics(timeout=1).brokers:
                    return
            except KafkaException:
                time.sleep(0.1)
        self.kill()
        said = (self._folder / "kafka.log").read_text(errors="replace")[-500:]
        raise BrokerError(f"Kafka did not start within {START_S:.0f} s: {said}")

    @property
    def is_running(self) -> bool:
        return self._process is not None

    def stop(self) -> None:
        """A clean end."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """The end that nobody asked for."""
        self._end(signal.SIGKILL)

    def _end(self, how: signal.Signals) -> None:
        if self._process is None:
            return
        self._process.send_signal(how)
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    def create(self, topic: str, partitions: int = 1, **config: str) -> None:
        """A topic, made when this returns. Names of *config* have `_` for `.`."""
        settings = {name.replace("_", "."): value for name, value in config.items()}
        admin = AdminClient({"bootstrap.servers": self.servers})
        made = admin.create_topics([NewTopic(topic, partitions, 1, config=settings)])
        made[topic].result(20)


def _free_ports(count: int) -> list[int]:
    with ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


if __name__ == "__main__":
    broker = Broker(Path(sys.argv[1]))
    print(broker.servers, flush=True)
    try:
        signal.pause()
    finally:
        broker.stop()
