"""Salesforce: a record a case, upserted by an external id, so a repeat writes the same record again.

The object needs a text field that is unique and an external id (`external_id`). Sign-in is by client credentials, a
token for each conversation, or by a token that somebody else renews.
"""

import re
from typing import Any

from connectors.targets.secrets import Hidden
from connectors.targets.shapes import cut
from connectors.targets.target import ENDINGS, Common, Kit, Request, Talk, TargetError, Told, url_problems
from connectors.targets.tickets import section

LIMITS = {"Subject": 255, "Description": 32_000, "Comments": 4000}
"""Longest texts of the standard fields: a longer one is refused, with all the rest."""


class Salesforce(Common, frozen=True, kw_only=True, tag="salesforce"):
    """`client_id` and `client_secret`, or `token`."""

    secret_fields = ("client_secret", "token")
    sections = ("create", "update", "end")
    concurrency = 2

    url: str
    """The organisation's own: `https://acme.my.salesforce.com`."""
    client_id: str = ""
    client_secret: str = ""
    token: str = ""
    object: str = "Case"
    external_id: str = "Tocsin_Case__c"
    version: str = "v68.0"
    per_second: float = 5.0

    def problems(self) -> list[str]:
        found = url_problems("url", self.url)
        if bool(self.client_id and self.client_secret) == bool(self.token):
            found.append("it needs either client_id and client_secret, or token")
        if not all(re.fullmatch(r"\w{1,80}", name, re.ASCII) for name in (self.object, self.external_id)):
            found.append("object and external_id must be names of the API")
        if not re.fullmatch(r"v\d{2,3}\.0", self.version):
            found.append("version must look like v68.0")
        return found

    def talk(self, told: Told, kit: Kit) -> Talk:
        if not told.case or (told.type in ENDINGS and not told.remembered):
            return ""
        token = kit.secrets["token"]
        if not token:
            reply = yield Request(
                method="POST",
                url=self.url.rstrip("/") + "/services/oauth2/token",
                form={
                    "grant_type": "client_credentials",
                    "client_id": self.client_id,
                    "client_secret": kit.secrets["client_secret"],
                },
                imagined={"access_token": "<the token>"},
            )
            token = Hidden(_printable(reply.pick("access_token")))
        path = f"/services/data/{self.version}/sobjects/{self.object}/{self.external_id}/{told.case}"
        body: dict[str, Any] = kit.fill(section(told) if told.remembered else "create", told)
        for name, limit in LIMITS.items():
            if isinstance(body.get(name), str):
                body[name] = cut(body[name], limit)
        yield Request(
            method="PATCH",
            url=self.url.rstrip("/") + path,
            headers={"authorization": token.bearer()},
            body=body,
            imagined={"success": True},
        )
        return told.case


def _printable(token: Any) -> str:
    if isinstance(token, str) and token.isascii() and token.isprintable() and token:
        return token
    raise TargetError("bad_answer", permanent=False)
