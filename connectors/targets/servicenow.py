"""ServiceNow's Table API: a record a case, found again by its `correlation_id`; later events are work notes."""

import re
from typing import Any
from urllib.parse import urlencode

from connectors.targets.secrets import Hidden
from connectors.targets.shapes import cut
from connectors.targets.target import Common, Kit, Request, Talk, Told, url_problems
from connectors.targets.tickets import Asking, conversation, section

SHORT_MAX = 160


class ServiceNow(Common, frozen=True, kw_only=True, tag="servicenow"):
    """`password` with `user` (Basic), or `token` (Bearer)."""

    secret_fields = ("password", "token")
    sections = ("create", "update", "end")
    concurrency = 2

    url: str
    user: str = ""
    password: str = ""
    token: str = ""
    table: str = "incident"
    per_second: float = 5.0

    def problems(self) -> list[str]:
        found = url_problems("url", self.url)
        if bool(self.user and self.password) == bool(self.token):
            found.append("it needs either user and password, or token")
        if not re.fullmatch(r"[a-z0-9_]{1,80}", self.table):
            found.append("table must be a table's name, such as incident")
        return found

    def talk(self, told: Told, kit: Kit) -> Talk:
        return conversation(self, told, kit)

    def find(self, told: Told, kit: Kit) -> Asking:
        asked = {
            "sysparm_query": f"correlation_id={told.case}^ORDERBYsys_created_on",
            "sysparm_limit": "1",
            "sysparm_fields": "sys_id",
        }
        reply = yield self._request("GET", "?" + urlencode(asked), kit, imagined={"result": []})
        return reply.pick_id("result", 0, "sys_id") if reply.pick("result") else ""

    def create(self, told: Told, kit: Kit) -> Asking:
        body = kit.fill("create", told)
        body["short_description"] = cut(str(body.get("short_description") or told.type), SHORT_MAX)
        body["correlation_id"] = told.case
        imagined = {"result": {"sys_id": "1"}}
        reply = yield self._request("POST", "", kit, body=body, imagined=imagined, imagined_status=201)
        return reply.pick_id("result", "sys_id")

    def update(self, ticket: str, told: Told, kit: Kit) -> Asking:
        body = kit.fill(section(told), told)
        reply = yield self._request("PATCH", "/" + ticket, kit, body=body, fine=frozenset({404}))
        return "" if reply.status == 404 else ticket

    def _request(self, method: str, path: str, kit: Kit, **more: Any) -> Request:
        token = kit.secrets["token"]
        signed = token.bearer() if token else kit.secrets["password"].basic(self.user)
        headers: dict[str, str | Hidden] = {"authorization": signed, "accept": "application/json"}
        url = f"{self.url.rstrip('/')}/api/now/table/{self.table}{path}"
        return Request(method=method, url=url, headers=headers, **more)
