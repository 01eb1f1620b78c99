"""The job in Faust (faust-streaming). It has no timers by key. Arguments: servers, topic in, topic out, folder."""

import sys
from collections.abc import AsyncIterable
from typing import Any

import faust
from job import alert, fires, scored

servers, source, sink, folder = sys.argv[1:]
app = faust.App(
    "peer", broker=f"kafka://{servers}", store="memory://", topic_partitions=1, datadir=folder, web_enabled=False
)
responses = app.topic(source, key_type=str, key_serializer="raw", value_serializer="json")
alerts = app.topic(sink, value_serializer="json")
counts = app.Table("counts", default=int, partitions=1)


@app.agent(responses)
async def hear(stream: AsyncIterable[dict[str, Any]]) -> None:
    async for response in stream:
        found = scored(response)
        if fires(found):
            counts[found["customer"]] += 1
            await alerts.send(key=found["customer"], value=alert(found, counts[found["customer"]]))


if __name__ == "__main__":
    sys.argv = ["peer", "worker", "--loglevel", "WARN", "--without-web"]
    app.main()
