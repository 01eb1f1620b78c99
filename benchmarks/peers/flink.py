"""The job in PyFlink's DataStream API. Arguments: servers, topic in, topic out, folder, connector's jar, mode."""

import json
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from job import ACKNOWLEDGE_WITHIN_S, alert, fires, scored
from pyflink.common import Configuration, SimpleStringSchema, Types, WatermarkStrategy
from pyflink.datastream import KeyedProcessFunction, RuntimeContext, StreamExecutionEnvironment
from pyflink.datastream.connectors.kafka import (
    KafkaOffsetsInitializer,
    KafkaRecordSerializationSchema,
    KafkaSink,
    KafkaSource,
)
from pyflink.datastream.state import ValueStateDescriptor


class Counting(KeyedProcessFunction):
    def open(self, runtime_context: RuntimeContext) -> None:
        self.count = runtime_context.get_state(ValueStateDescriptor("count", Types.INT()))

    def process_element(self, value: dict[str, Any], ctx: KeyedProcessFunction.Context) -> Iterable[str]:
        count = (self.count.value() or 0) + 1
        self.count.update(count)
        ctx.timer_service().register_processing_time_timer(int(time.time() + ACKNOWLEDGE_WITHIN_S) * 1000)
        yield json.dumps(alert(value, count))

    def on_timer(self, timestamp: int, ctx: KeyedProcessFunction.OnTimerContext) -> Iterable[str]:
        yield from ()


def main() -> None:
    servers, source, sink, _, jar, mode = sys.argv[1:]
    config = Configuration()
    config.set_string("python.execution-mode", mode)
    config.set_string("restart-strategy.type", "none")
    config.set_string("execution.buffer-timeout.interval", "10 ms")
    config.set_string("python.fn-execution.bundle.time", "10")
    config.set_string("python.executable", sys.executable)
    config.set_string("python.client.executable", sys.executable)
    environment = StreamExecutionEnvironment.get_execution_environment(config)
    environment.set_parallelism(1)
    environment.enable_checkpointing(1000)
    environment.add_jars(Path(jar).resolve().as_uri())
    reader = (
        KafkaSource.builder()
        .set_bootstrap_servers(servers)
        .set_topics(source)
        .set_group_id("peer")
        .set_starting_offsets(KafkaOffsetsInitializer.earliest())
        .set_value_only_deserializer(SimpleStringSchema())
        .build()
    )
    schema = (
        KafkaRecordSerializationSchema.builder().set_topic(sink).set_value_serialization_schema(SimpleStringSchema())
    )
    writer = KafkaSink.builder().set_bootstrap_servers(servers).set_record_serializer(schema.build()).build()
    responses = environment.from_source(reader, WatermarkStrategy.no_watermarks(), "responses")
    fired = responses.map(lambda text: scored(json.loads(text))).filter(fires)
    alerts = fired.key_by(lambda response: response["customer"]).process(Counting(), output_type=Types.STRING())
    alerts.sink_to(writer)
    environment.execute("peer")


if __name__ == "__main__":
    main()
