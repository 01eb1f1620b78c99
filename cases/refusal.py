"""A refusal: an answer with a named reason, which changes nothing."""

from typing import Any

from feedback.instants import rfc3339
from feedback.records import Action


class Refusal(Exception):
    """The state does not allow it. `reason` is a stable name, `detail` is for the person who asked."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


def reason_of(action: Action, refusal: Refusal) -> dict[str, Any]:
    """What `action.refused` says."""
    return {
        "action": action.id,
        "do": action.do,
        "by": action.by,
        "at": rfc3339(action.at),
        "case_id": action.case,
        "reason": refusal.reason,
        "detail": refusal.detail,
        # What was attempted, and why: evidence, whatever the answer was.
        "said": action.reason,
        "data": action.data,
    }
