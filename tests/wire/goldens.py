"""The golden messages: one CloudEvent of each type, as it goes out. `python -m tests.wire.goldens` writes them anew.

Look at the difference before committing it: other people's software reads these.
"""

import re
from pathlib import Path
from typing import Any

import msgspec

from cases.events import encode
from tests.wire.story import events

FOLDER = Path(__file__).parent / "messages"


_LINE = re.compile(r":\d+ ")


def said() -> dict[str, dict[str, Any]]:
    """Type, without its prefix, to the first message of it; `case.opened` also as an engine with a vault says it.

    A traceback is without line numbers, which any edit moves.
    """
    first: dict[str, dict[str, Any]] = {}
    for event in events():
        name = f"{event.type}.sealed" if event.private and event.type == "case.opened" else event.type
        if name not in first:
            data = {k: v for k, v in event.data.items() if k != "original"}  # it goes to the dead letters
            if "traceback" in data:
                data["traceback"] = [_LINE.sub(":0 ", frame) for frame in data["traceback"]]
            first[name] = msgspec.json.decode(encode(msgspec.structs.replace(event, data=data)))
    return first


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    for path in FOLDER.glob("*.json"):
        path.unlink()
    for type_, message in said().items():
        text = msgspec.json.format(msgspec.json.encode(message), indent=2)
        (FOLDER / f"{type_}.json").write_bytes(text + b"\n")


if __name__ == "__main__":
    main()
