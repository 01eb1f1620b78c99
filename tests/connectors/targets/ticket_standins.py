"""Stand-ins for the tools that keep tickets."""

import re
from typing import Any

from aiohttp import web

from tests.connectors.targets.standins import Answer, Standin, need


def adf(node: Any) -> bool:
    """Whether *node* is an Atlassian document: paragraphs of texts, none of them empty."""
    return (
        node["type"] == "doc"
        and node["version"] == 1
        and all(
            block["type"] == "paragraph" and all(t["type"] == "text" and len(t["text"]) > 0 for t in block["content"])
            for block in node["content"]
        )
    )


class JiraTool(Standin):
    kind = "jira"

    def own(self) -> dict[str, Any]:
        return {
            "url": self.url, "user": "bot@example.com", "token": "env:TOOL_SECRET", "project": "CX",
            "statuses": {"case.resolved": "Done"},
        }  # fmt: skip

    async def answer(self, request: web.Request, body: Any) -> Answer:
        self.basic(request, "bot@example.com")
        path = request.path.removeprefix("/rest/api/3")
        if (request.method, path) == ("POST", "/search/jql"):
            asked = re.fullmatch(r'project = "CX" AND labels = "([^"\s]+)" ORDER BY created ASC', body["jql"])
            need(asked is not None)
            assert asked is not None
            return 200, {
                "issues": [{"key": k} for k, i in self.kept.items() if asked[1] in i["labels"]],
                "isLast": True,
            }
        if (request.method, path) == ("POST", "/issue"):
            fields = body["fields"]
            need(fields["project"] == {"key": "CX"} and bool(fields["issuetype"]["name"]))
            need(1 <= len(fields["summary"]) <= 255 and "\n" not in fields["summary"] and adf(fields["description"]))
            need(not any(" " in label for label in fields["labels"]))
            key = f"CX-{len(self.kept) + 1}"
            self.kept[key] = {"labels": fields["labels"], "status": "To Do", "comments": []}
            return 201, {"id": "10000", "key": key, "self": self.url}
        found = re.fullmatch(r"/issue/([A-Z]+-\d+)(/comment|/transitions)?", path)
        need(found is not None, 404)
        assert found is not None
        need(found[1] in self.kept, 404)
        issue = self.kept[found[1]]
        if found[2] == "/comment":
            need(adf(body["body"]))
            issue["comments"].append(body["body"])
            return 201, {"id": "1"}
        if found[2] == "/transitions":
            need(body["transition"]["id"] == "31")
            issue["status"] = "Done"
            return 204, None
        open_ = issue["status"] != "Done"
        return 200, {
            "fields": {"status": {"name": issue["status"]}},
            "transitions": [{"id": "31", "name": "Finish", "to": {"name": "Done"}}] if open_ else [],
        }

    def ended(self, case: str) -> bool:
        return all(issue["status"] == "Done" for issue in self.kept.values())


class ServiceNowTool(Standin):
    kind = "servicenow"

    def own(self) -> dict[str, Any]:
        return {"url": self.url, "user": "tocsin", "password": "env:TOOL_SECRET"}

    async def answer(self, request: web.Request, body: Any) -> Answer:
        self.basic(request, "tocsin")
        path = request.path.removeprefix("/api/now/table/incident")
        if request.method == "GET" and not path:
            asked = re.fullmatch(r"correlation_id=([^\^]+)\^ORDERBYsys_created_on", request.query["sysparm_query"])
            assert asked is not None
            return 200, {"result": [{"sys_id": k} for k, r in self.kept.items() if r["correlation_id"] == asked[1]]}
        if request.method == "POST" and not path:
            need(1 <= len(body["short_description"]) <= 160 and len(body["correlation_id"]) <= 100)
            need(body["urgency"] in "123" and body["impact"] in "123")
            self.kept[f"{len(self.kept):032x}"] = body
            return 201, {"result": {"sys_id": f"{len(self.kept) - 1:032x}", "number": "INC001"}}
        need(request.method == "PATCH" and path[1:] in self.kept, 404)
        if body.get("state") == "6":
            need(bool(body["close_code"]) and bool(body["close_notes"]), 403)
        self.kept[path[1:]] |= body
        return 200, {"result": {"sys_id": path[1:]}}

    def ended(self, case: str) -> bool:
        return all(record.get("state") == "6" for record in self.kept.values())


class ZendeskTool(Standin):
    kind = "zendesk"

    def own(self) -> dict[str, Any]:
        return {"url": self.url, "user": "bot@example.com", "token": "env:TOOL_SECRET"}

    async def answer(self, request: web.Request, body: Any) -> Answer:
        self.basic(request, "bot@example.com/token")
        if request.method == "GET" and request.path == "/api/v2/tickets.json":
            asked = request.query["external_id"]
            return 200, {"tickets": [{"id": int(k)} for k, t in self.kept.items() if t["external_id"] == asked]}
        ticket = body["ticket"]
        need(ticket["comment"]["public"] is False and bool(ticket["comment"]["body"].strip()), 422)
        need(len(ticket["comment"]["body"]) <= 65_536, 422)
        if request.method == "POST" and request.path == "/api/v2/tickets.json":
            need(bool(request.headers["idempotency-key"]))
            need(1 <= len(ticket["subject"]) <= 150, 422)
            need(ticket.get("priority", "normal") in ("low", "normal", "high", "urgent"), 422)
            self.kept[str(len(self.kept) + 1)] = ticket
            return 201, {"ticket": {"id": len(self.kept)}}
        found = re.fullmatch(r"/api/v2/tickets/(\d+)\.json", request.path)
        need(request.method == "PUT" and found is not None and found[1] in self.kept, 404)
        assert found is not None
        self.kept[found[1]] |= ticket
        return 200, {"ticket": {"id": int(found[1])}}

    def ended(self, case: str) -> bool:
        return all(ticket.get("status") == "solved" for ticket in self.kept.values())


class SalesforceTool(Standin):
    kind = "salesforce"

    def own(self) -> dict[str, Any]:
        return {"url": self.url, "client_id": "tocsin", "client_secret": "env:TOOL_SECRET"}

    async def answer(self, request: web.Request, body: Any) -> Answer:
        if request.path == "/services/oauth2/token":
            form = await request.post()
            need(form["grant_type"] == "client_credentials" and form["client_secret"] == self.secret, 401)
            return 200, {"access_token": "00D!token", "instance_url": self.url}
        need(request.headers.get("authorization") == "Bearer 00D!token", 401)
        found = re.fullmatch(r"/services/data/v68\.0/sobjects/Case/Tocsin_Case__c/([\w.-]+)", request.path)
        need(found is not None and request.method == "PATCH", 404)
        assert found is not None
        need(set(body) <= {"Subject", "Description", "Priority", "Origin", "Status", "Comments"})
        need(len(body.get("Subject", "")) <= 255 and len(body.get("Description", "")) <= 32_000)
        need(len(body.get("Comments", "")) <= 4000)
        made = found[1] not in self.kept
        self.kept[found[1]] = self.kept.get(found[1], {}) | body
        return (201 if made else 200), {"id": "500", "success": True, "errors": [], "created": made}

    def ended(self, case: str) -> bool:
        return bool(self.kept[case].get("Status") == "Closed")


class HubSpotTool(Standin):
    kind = "hubspot"

    def own(self) -> dict[str, Any]:
        return {"url": self.url, "token": "env:TOOL_SECRET"}

    async def answer(self, request: web.Request, body: Any) -> Answer:
        self.bearer(request)
        path = request.path.removeprefix("/crm/v3/objects/tickets").removeprefix("/")
        if request.method == "GET":
            need(request.query["idProperty"] == "tocsin_case")
            mine = [key for key, ticket in self.kept.items() if ticket["tocsin_case"] == path]
            need(bool(mine), 404)
            return 200, {"id": mine[0], "properties": {}}
        properties = body["properties"]
        need(all(isinstance(value, str) and len(value) <= 65_536 for value in properties.values()))
        if request.method == "POST":
            need(not path and bool(properties["subject"]) and bool(properties["hs_pipeline_stage"]))
            need(all(t["tocsin_case"] != properties["tocsin_case"] for t in self.kept.values()), 409)
            self.kept[str(512 + len(self.kept))] = properties
            return 201, {"id": str(511 + len(self.kept)), "properties": properties}
        need(request.method == "PATCH" and path in self.kept, 404)
        self.kept[path] |= properties
        return 200, {"id": path, "properties": properties}

    def ended(self, case: str) -> bool:
        return all(ticket["hs_pipeline_stage"] == "4" for ticket in self.kept.values())
