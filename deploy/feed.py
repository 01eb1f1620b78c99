"""The demo's customers, into a Tocsin that runs: `docker compose --profile demo up`. Ends at SIGTERM.

Responses go into the streams of `TOCSIN_REDIS_URL`, `TOCSIN_FEED_RATE` a second (2 unless it says otherwise).
"""

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import msgspec

from connectors.records import Records, RedisError, StoreClosed
from console import demo_feed
from flows.run import Stop


def main() -> None:
    rate = float(os.environ.get("TOCSIN_FEED_RATE", "2"))
    stop = Stop()
    records = Records(os.environ["TOCSIN_REDIS_URL"])
    with stop.on_signals():
        for programme, record in demo_feed.responses():
            if stop.event.wait(1 / rate):
                break
            try:
                records.respond(programme, msgspec.json.encode(record))
            except (RedisError, StoreClosed) as error:
                print(f"not taken, and left out: {error}", file=sys.stderr)
    records.close()


if __name__ == "__main__":
    main()
