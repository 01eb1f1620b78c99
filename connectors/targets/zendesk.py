"""Zendesk: a ticket a case, its id the ticket's `external_id`; later events are private comments.

`Idempotency-Key` makes a repeated creation harmless for two hours; after that the search by `external_id` does.
"""

from typing import Any
from urllib.parse import urlencode

from connectors.targets.secrets import Hidden
from connectors.targets.shapes import cut
from connectors.targets.target import Common, Kit, Request, Talk, Told, url_problems
from connectors.targets.tickets import Asking, conversation, section

SUBJECT_MAX = 150


class Zendesk(Common, frozen=True, kw_only=True, tag="zendesk"):
    secret_fields = ("token",)
    sections = ("create", "update", "end")
    concurrency = 2

    url: str
    user: str
    """The agent's address, without `/token`."""
    token: str
    per_second: float = 5.0

    def problems(self) -> list[str]:
        return url_problems("url", self.url)

    def talk(self, told: Told, kit: Kit) -> Talk:
        return conversation(self, told, kit)

    def find(self, told: Told, kit: Kit) -> Asking:
        query = urlencode({"external_id": told.case})
        reply = yield self._request("GET", f"/tickets.json?{query}", kit, imagined={"tickets": []})
        return reply.pick_id("tickets", 0, "id") if reply.pick("tickets") else ""

    def create(self, told: Told, kit: Kit) -> Asking:
        ticket = kit.fill("create", told)
        ticket["subject"] = cut(str(ticket.get("subject") or told.type), SUBJECT_MAX)
        ticket["external_id"] = told.case
        imagined = {"ticket": {"id": 1}}
        reply = yield self._request(
            "POST", "/tickets.json", kit, {"idempotency-key": told.case},
            body={"ticket": ticket}, imagined=imagined, imagined_status=201,
        )  # fmt: skip
        return reply.pick_id("ticket", "id")

    def update(self, ticket: str, told: Told, kit: Kit) -> Asking:
        body = {"ticket": kit.fill(section(told), told)}
        reply = yield self._request("PUT", f"/tickets/{ticket}.json", kit, body=body, fine=frozenset({404}))
        return "" if reply.status == 404 else ticket

    def _request(self, method: str, path: str, kit: Kit, headers: dict[str, str] | None = None, **more: Any) -> Request:
        signed: dict[str, str | Hidden] = {
            "authorization": kit.secrets["token"].basic(self.user + "/token"),
            **(headers or {}),
        }
        return Request(method=method, url=f"{self.url.rstrip('/')}/api/v2{path}", headers=signed, **more)
