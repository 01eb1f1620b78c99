"""HubSpot: a ticket a case, found by a property of yours that is unique (`id_property`), as there is no other key."""

import re
from typing import Any

from connectors.targets.target import Common, Kit, Request, Talk, TargetError, Told, url_problems
from connectors.targets.tickets import Asking, conversation, section


class HubSpot(Common, frozen=True, kw_only=True, tag="hubspot"):
    secret_fields = ("token",)
    sections = ("create", "update", "end")
    concurrency = 2

    token: str
    """A reference to the private app's token."""
    id_property: str = "tocsin_case"
    url: str = "https://api.hubapi.com"
    path: str = "/crm/v3/objects/tickets"
    per_second: float = 5.0

    def problems(self) -> list[str]:
        found = url_problems("url", self.url)
        if not re.fullmatch(r"[a-z][a-z0-9_]{0,99}", self.id_property):
            found.append("id_property must be a property's internal name")
        if not re.fullmatch(r"(/[A-Za-z0-9_.-]+)+", self.path):
            found.append("path must look like /crm/v3/objects/tickets")
        return found

    def talk(self, told: Told, kit: Kit) -> Talk:
        return conversation(self, told, kit)

    def find(self, told: Told, kit: Kit) -> Asking:
        path = f"/{told.case}?idProperty={self.id_property}"
        reply = yield self._request("GET", path, kit, fine=frozenset({404}), imagined_status=404)
        return "" if reply.status == 404 else reply.pick_id("id")

    def create(self, told: Told, kit: Kit) -> Asking:
        body = {"properties": {**kit.fill("create", told), self.id_property: told.case}}
        fine = frozenset({409})
        reply = yield self._request("POST", "", kit, body=body, fine=fine, imagined={"id": "1"}, imagined_status=201)
        if reply.status == 409:  # made in between; the next attempt finds it
            raise TargetError("made_meanwhile", permanent=False)
        return reply.pick_id("id")

    def update(self, ticket: str, told: Told, kit: Kit) -> Asking:
        body = {"properties": kit.fill(section(told), told)}
        reply = yield self._request("PATCH", "/" + ticket, kit, body=body, fine=frozenset({404}))
        return "" if reply.status == 404 else ticket

    def _request(self, method: str, path: str, kit: Kit, **more: Any) -> Request:
        headers = {"authorization": kit.secrets["token"].bearer()}
        return Request(method=method, url=self.url.rstrip("/") + self.path + path, headers=headers, **more)
