"""The other side of the latency benchmark, a process of its own: sends at a steady rate, and reads what comes out.

Arguments: url, input stream, output stream, field that holds the output, rate a second, seconds, share that fires.
Prints the latencies, in seconds, as a JSON list on its last line.
"""

import json
import sys
import threading
import time

import msgspec

from benchmarks.common import texts
from connectors.redis_link import client


def main() -> None:
    url, inbox, outbox, field = sys.argv[1:5]
    rate, seconds, firing = float(sys.argv[5]), float(sys.argv[6]), int(sys.argv[7])
    words = texts(5000, seed=5)
    sender, receiver = client(url), client(url)
    latencies: list[float] = []
    sent: dict[str, float] = {}
    done = threading.Event()

    def receive() -> None:
        newest = receiver.xrevrange(outbox, count=1)
        after = newest[0][0].decode() if newest else "0-0"
        while not done.is_set():
            for _, entries in receiver.xread({outbox: after}, count=1000, block=200) or ():
                now = time.time()
                for id_, fields in entries:
                    after = id_.decode()
                    if b"type" in fields and fields[b"type"] != b"tocsin.case.opened":
                        continue
                    body = msgspec.json.decode(fields[field.encode()])
                    response = body["data"]["response"] if "data" in body else body
                    latencies.append(now - sent[response["id"]])

    thread = threading.Thread(target=receive)
    thread.start()
    started = time.time()
    for number in range(int(rate * seconds)):
        due = started + number / rate
        while (left := due - time.time()) > 0:
            time.sleep(left)
        fires = number % firing == 0
        sent[f"l{number}"] = time.time()
        record = {"id": f"l{number}", "customer": f"l{number}", "channel": "web", "language": "en",
                  "text": words[number % len(words)], "scores": {"nps": 2 if fires else 9},
                  "attributes": {"site": "leeds"}}  # fmt: skip
        sender.xadd(inbox, {"record": msgspec.json.encode(record)})
    time.sleep(2)
    done.set()
    thread.join()
    print(json.dumps(latencies))


if __name__ == "__main__":
    main()
