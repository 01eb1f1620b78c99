"""Jira Cloud (REST v3): an issue a case, labelled with its id; later events are comments, and move it if asked to.

Jira has no key for repeats: the label is searched for first. Its search lags by seconds, so an attempt repeated at
once after its answer was lost can make a second issue. Descriptions are Atlassian documents.
"""

import re
from collections.abc import Mapping
from typing import Any

from connectors.targets.secrets import Hidden
from connectors.targets.shapes import cut
from connectors.targets.target import Common, Kit, Request, Talk, TargetError, Told, url_problems
from connectors.targets.tickets import Asking, conversation

SUMMARY_MAX = 255


class Jira(Common, frozen=True, kw_only=True, tag="jira"):
    secret_fields = ("token",)
    sections = ("create", "comment")
    concurrency = 2

    url: str
    user: str
    token: str
    project: str
    issue_type: str = "Task"
    statuses: Mapping[str, str] = {}
    """Event type to the status that the issue is moved into: `case.resolved: Done`."""
    per_second: float = 5.0

    def problems(self) -> list[str]:
        found = url_problems("url", self.url)
        if not re.fullmatch(r"[A-Z][A-Z0-9_]{1,31}", self.project):
            found.append("project must be a project's key, such as CX")
        return found

    def talk(self, told: Told, kit: Kit) -> Talk:
        return conversation(self, told, kit)

    def find(self, told: Told, kit: Kit) -> Asking:
        jql = f'project = "{self.project}" AND labels = "{told.case}" ORDER BY created ASC'
        body = {"jql": jql, "fields": ["status"], "maxResults": 1}
        reply = yield self._request("POST", "/search/jql", kit, body=body, imagined={"issues": []})
        return reply.pick_id("issues", 0, "key") if reply.pick("issues") else ""

    def create(self, told: Told, kit: Kit) -> Asking:
        fields = kit.fill("create", told)
        fields |= {
            "project": {"key": self.project},
            "issuetype": {"name": self.issue_type},
            "summary": cut(" ".join(str(fields.get("summary") or told.type).split()), SUMMARY_MAX),
            "labels": [*fields.get("labels", []), told.case],
        }
        body = {"fields": _sound(fields)}
        reply = yield self._request("POST", "/issue", kit, body=body, imagined={"key": f"{self.project}-1"})
        return reply.pick_id("key")

    def update(self, ticket: str, told: Told, kit: Kit) -> Asking:
        status = self.statuses.get(told.type) or self.statuses.get("tocsin." + told.type)
        if status and not (yield from self._move(ticket, status, kit)):
            return ""
        body = {"body": _sound(kit.fill("comment", told))}
        path = f"/issue/{ticket}/comment"
        reply = yield self._request("POST", path, kit, body=body, fine=frozenset({404}), imagined={"id": "1"})
        return "" if reply.status == 404 else ticket

    def _move(self, ticket: str, status: str, kit: Kit) -> Asking:
        """Bring *ticket* into *status*; empty when it is gone."""
        path = f"/issue/{ticket}?fields=status&expand=transitions"
        imagined = {"fields": {"status": {"name": ""}}, "transitions": [{"id": "1", "to": {"name": status}}]}
        reply = yield self._request("GET", path, kit, fine=frozenset({404}), imagined=imagined)
        if reply.status == 404:
            return ""
        if reply.pick("fields", "status", "name") == status:
            return ticket
        for number, _ in enumerate(reply.pick("transitions")):
            if reply.pick("transitions", number, "to", "name") == status:
                body = {"transition": {"id": reply.pick_id("transitions", number, "id")}}
                yield self._request("POST", f"/issue/{ticket}/transitions", kit, body=body, imagined_status=204)
                return ticket
        raise TargetError("no_such_transition", permanent=True, ours=True)

    def _request(self, method: str, path: str, kit: Kit, **more: Any) -> Request:
        headers: dict[str, str | Hidden] = {
            "authorization": kit.secrets["token"].basic(self.user),
            "accept": "application/json",
        }
        return Request(method=method, url=f"{self.url.rstrip('/')}/rest/api/3{path}", headers=headers, **more)


def _sound(node: Any) -> Any:
    """*node* without empty texts, which an Atlassian document must not hold."""
    if isinstance(node, dict):
        return {key: _sound(value) for key, value in node.items()}
    if isinstance(node, list):
        return [_sound(one) for one in node if not _is_empty_text(one)]
    return node


def _is_empty_text(node: Any) -> bool:
    return isinstance(node, dict) and node.get("type") == "text" and not str(node.get("text", "")).strip()
