"""The job in Bytewax alone, as its guide writes it. Arguments: servers, topic in, topic out, folder."""

import json
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import bytewax.operators as op
from bytewax.connectors.kafka import KafkaSinkMessage
from bytewax.connectors.kafka import operators as kop
from bytewax.dataflow import Dataflow
from bytewax.operators import StatefulLogic
from bytewax.recovery import RecoveryConfig, init_db_dir
from bytewax.run import cli_main
from job import ACKNOWLEDGE_WITHIN_S, alert, fires, scored


@dataclass
class Stored:
    count: int
    due: datetime | None


class Counting(StatefulLogic[dict[str, Any], dict[str, Any], Stored]):
    def __init__(self, stored: Stored | None) -> None:
        self.stored = stored or Stored(0, None)

    def on_item(self, value: dict[str, Any]) -> tuple[Iterable[dict[str, Any]], bool]:
        self.stored.count += 1
        self.stored.due = datetime.now(UTC) + timedelta(seconds=ACKNOWLEDGE_WITHIN_S)
        return [alert(value, self.stored.count)], StatefulLogic.RETAIN

    def on_notify(self) -> tuple[Iterable[dict[str, Any]], bool]:
        self.stored.due = None
        return [], StatefulLogic.RETAIN

    def notify_at(self) -> datetime | None:
        return self.stored.due

    def snapshot(self) -> Stored:
        return Stored(self.stored.count, self.stored.due)


def flow(servers: str, source: str, sink: str) -> Dataflow:
    made = Dataflow("peer")
    responses = kop.input("in", made, brokers=[servers], topics=[source])
    read = op.map("read", responses.oks, lambda message: json.loads(message.value))
    fired = op.filter("rule", op.map("score", read, scored), fires)
    keyed = op.key_on("key", fired, lambda response: str(response["customer"]))
    alerts = op.stateful("count", keyed, Counting)
    out = op.map(
        "write", alerts, lambda pair: KafkaSinkMessage(key=pair[0].encode(), value=json.dumps(pair[1]).encode())
    )
    kop.output("out", out, brokers=[servers], topic=sink)
    return made


if __name__ == "__main__":
    servers, source, sink, folder = sys.argv[1:]
    store = Path(folder) / "recovery"
    store.mkdir()
    init_db_dir(store, 1)
    cli_main(flow(servers, source, sink), epoch_interval=timedelta(seconds=1), recovery_config=RecoveryConfig(store))
