"""Talk to a stand-in as the flow does: settings, secrets, conversation, outcome."""

import copy
from pathlib import Path
from typing import Any

import msgspec

from connectors.targets.loading import DeclaredTarget, Ready, ready
from connectors.targets.secrets import fetching
from connectors.targets.sending import Ended, Sender
from tests.connectors.targets.standins import Standin

WIRE = Path(__file__).parents[2] / "wire" / "messages"
NOW = 1_780_000_000.0
CASE = "c-3902-5771b26f9f12"
LIFE = ("case.opened", "case.acknowledged", "clock.breached", "case.resolved", "case.closed")


def event(type_: str, **changes: Any) -> dict[str, Any]:
    """The golden message of that type, as one of CASE; *changes* go into its `data`."""
    plain: dict[str, Any] = msgspec.json.decode((WIRE / f"{type_}.json").read_bytes())
    plain["subject"] = CASE
    plain["data"] = copy.deepcopy(plain["data"]) | changes
    plain["data"]["case"]["id"] = CASE
    return plain


def target(tool: Standin, environ: dict[str, str] | None = None, **changes: Any) -> Ready:
    declared = msgspec.convert(tool.settings() | changes, DeclaredTarget)
    made = ready(declared, fetching(tool.environ() if environ is None else environ), Path())
    return msgspec.structs.replace(made, schedule_s=(0.0, 1.0, 5.0))


async def tell(made: Ready, plain: dict[str, Any], remembered: str = "", attempt: int = 1) -> Ended:
    sender = Sender(made)
    try:
        talk = made.talk(made.hear(plain, remembered))
        return await sender.converse(talk, event_id=plain["id"], attempt=attempt, now=NOW)
    finally:
        await sender.close()
