"""PagerDuty Events API v2: a case is an alert, its id the `dedup_key`; triggered, acknowledged and resolved with it.

Repeats change nothing there. A 429 is answered by waiting. Limits: summary 1,024 characters, an event 512,000 bytes.
"""

from typing import Any

import msgspec

from connectors.targets.shapes import cut
from connectors.targets.target import ENDINGS, Common, Kit, Request, Talk, TargetError, Told, url_problems

SUMMARY_MAX, DEDUP_MAX, EVENT_MAX_BYTES = 1024, 255, 512_000
_TRIGGERS = frozenset({"case.opened", "case.updated", "case.escalated", "case.reopened", "clock.warned",
                       "clock.breached", "owner.missing", "notice.sent"})  # fmt: skip


class PagerDuty(Common, frozen=True, kw_only=True, tag="pagerduty"):
    secret_fields = ("routing_key",)
    sections = ("payload",)

    routing_key: str
    """A reference to the integration key of the service."""
    url: str = "https://events.pagerduty.com/v2/enqueue"
    events: tuple[str, ...] = ("case.*", "clock.breached")

    def problems(self) -> list[str]:
        return url_problems("url", self.url)

    def talk(self, told: Told, kit: Kit) -> Talk:
        action = _action(told.type)
        if not action or not told.case:
            return ""
        body: dict[str, Any] = {
            "routing_key": kit.secrets["routing_key"],
            "event_action": action,
            "dedup_key": told.key[:DEDUP_MAX],
        }
        if action == "trigger":
            payload = kit.fill("payload", told)
            payload["summary"] = cut(payload.get("summary") or told.type, SUMMARY_MAX)
            body |= {"payload": payload, "client": "Tocsin"}
            if told.values.get("link"):
                body["client_url"] = told.values["link"]
        if len(msgspec.json.encode(body, enc_hook=str)) > EVENT_MAX_BYTES:
            raise TargetError("too_large", permanent=True, ours=True)
        yield Request(method="POST", url=self.url, body=body, imagined_status=202)
        return ""


def _action(type_: str) -> str:
    if type_ in ENDINGS:
        return "resolve"
    if type_ == "case.acknowledged":
        return "acknowledge"
    return "trigger" if type_ in _TRIGGERS else ""
