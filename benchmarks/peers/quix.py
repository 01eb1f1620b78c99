"""The job in Quix Streams. It has no timers by key. Arguments: servers, topic in, topic out, folder."""

import sys
from typing import Any

from job import alert, fires, scored
from quixstreams import Application, State


def counted(response: dict[str, Any], state: State) -> dict[str, Any]:
    count = state.get("count", 0) + 1
    state.set("count", count)
    return alert(response, count)


def main() -> None:
    servers, source, sink, folder = sys.argv[1:]
    app = Application(
        broker_address=servers,
        consumer_group="peer",
        auto_offset_reset="earliest",
        state_dir=folder,
        loglevel="WARNING",
    )
    frame = app.dataframe(app.topic(source, value_deserializer="json", key_deserializer="str"))
    frame = frame.apply(scored).filter(fires).apply(counted, stateful=True)
    frame.to_topic(app.topic(sink, value_serializer="json", key_serializer="str"))
    app.run()


if __name__ == "__main__":
    main()
