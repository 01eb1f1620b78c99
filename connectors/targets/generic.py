"""Any HTTP endpoint, with a body of any shape. `Idempotency-Key` is the event's id, the same at every attempt."""

from typing import Literal

from connectors.targets.secrets import Hidden
from connectors.targets.target import Common, Kit, Request, Talk, Told, url_problems


class Http(Common, frozen=True, kw_only=True, tag="http"):
    """`token` goes into the header `token_header`, behind `token_prefix`."""

    secret_fields = ("token",)
    sections = ("body",)

    url: str
    method: Literal["POST", "PUT", "PATCH"] = "POST"
    token: str = ""
    token_header: str = "Authorization"
    token_prefix: str = "Bearer "
    id_path: tuple[str, ...] = ()
    """Where in the answer the receiver's own id stands; it is remembered for the case."""
    update_url: str = ""
    """With `{id}` in it: later events of a case go there, once its id is known."""
    update_method: Literal["POST", "PUT", "PATCH"] = "PATCH"

    def problems(self) -> list[str]:
        found = url_problems("url", self.url)
        if not self.token_header.replace("-", "").isalnum() or not self.token_header.isascii():
            found.append("token_header is no name of a header")
        if self.update_url:
            found += url_problems("update_url", self.update_url.replace("{id}", "1"))
            if "{id}" not in self.update_url or not self.id_path:
                found.append("update_url needs {id} in it, and id_path to know the id by")
        return found

    def talk(self, told: Told, kit: Kit) -> Talk:
        headers: dict[str, str | Hidden] = {"idempotency-key": told.id}
        if kit.secrets["token"]:
            headers[self.token_header] = kit.secrets["token"].behind(self.token_prefix)
        known = told.remembered if self.update_url else ""
        reply = yield Request(
            method=self.update_method if known else self.method,
            url=self.update_url.replace("{id}", known) if known else self.url,
            headers=headers,
            body=kit.fill("body", told),
            imagined=_nested(self.id_path),
        )
        return reply.pick_id(*self.id_path) if self.id_path and not known else ""


def _nested(path: tuple[str, ...]) -> object:
    found: object = "1"
    for step in reversed(path):
        found = {step: found}
    return found
