"""Schemathesis against the door's own OpenAPI page: no 500, no answer that the page does not tell.

Run by `make fuzz`, which keeps schemathesis apart from what the project is tested with: `python -m tests.openapi_fuzz`.
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

from connectors.embedded import Embedded
from connectors.keyspace import Keys
from connectors.redis_link import client
from feedback.decode import Decoder
from feedback.metrics import STANDARD
from feedback.records import Action, Envelope, Response
from tests.flows.door import Caller, door

PROGRAM = Path("build/fuzz/bin/schemathesis")
CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"


def undecoded(url: str) -> tuple[int, int]:
    """(records that the door accepted, those of them that the engine would reject)."""
    decoder = Decoder(STANDARD, frozenset({"default"}))
    with client(url, timeout_s=5.0) as connection:
        entries = connection.xrange(Keys("default").inbox) + connection.xrange(Keys("default").actions)
    bad = 0
    for id_, fields in entries:
        at, principal = int(id_.partition(b"-")[0]) / 1000, fields.get(b"principal", b"").decode()
        envelope = Envelope(
            raw=fields[b"record"], source="http", position=id_.decode(), received_at=at, principal=principal
        )
        if not isinstance(found := decoder.decode(envelope), Response | Action):
            print(f"the engine would not take {fields[b'record'][:300]!r}: {found}")
            bad += 1
    return len(entries), bad


def main() -> int:
    parser = argparse.ArgumentParser(prog="openapi_fuzz", description=__doc__.partition("\n")[0])
    parser.add_argument("--examples", type=int, default=200, help="for each operation")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        server = Embedded(Path(folder))
        try:
            with door(server.url, hooks={"default": {}}, rate=1e6, burst=1e7) as here:
                key = here.caller("capture", "act:*").key
                found = subprocess.run(
                    [PROGRAM, "run", f"{here.where}/openapi.json", "--header", f"Authorization: Bearer {key}",
                     "--checks", CHECKS, "--max-examples", str(asked.examples), "--no-color"],
                    check=False,
                )  # fmt: skip
                alive = Caller(here.where)("GET", "/ready").status == 200
            accepted, bad = undecoded(server.url)
        finally:
            server.close()
    print(f"accepted {accepted}; of those the engine would reject {bad}; the door {'lives' if alive else 'is dead'}")
    return 0 if found.returncode == 0 and alive and accepted and not bad else 1


if __name__ == "__main__":
    sys.exit(main())
