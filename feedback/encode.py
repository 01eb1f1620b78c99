"""Records to bytes, as `decode.py` reads them: for tests, the demo and the command line."""

from typing import Any

import msgspec

from feedback.instants import rfc3339
from feedback.records import Action, Response

_encoder = msgspec.json.Encoder()


def encode_response(response: Response) -> bytes:
    """One JSON object; what is empty is left out."""
    record: dict[str, Any] = {"id": response.id, "source": response.source, "programme": response.programme}
    record["occurred_at"] = rfc3339(response.occurred_at)
    for name in ("customer", "channel", "touchpoint", "language", "text", "scores", "attributes"):
        if value := getattr(response, name):
            record[name] = value
    return _encoder.encode(record)


def encode_action(action: Action) -> bytes:
    """One JSON object; the principal is the door's to add."""
    record: dict[str, Any] = {
        "kind": "action",
        "id": action.id,
        "programme": action.programme,
        "case": action.case,
        "do": action.do,
        "by": action.by,
        "at": rfc3339(action.at),
    }
    if action.reason:
        record["reason"] = action.reason
    if action.data:
        record["data"] = action.data
    return _encoder.encode(record)
