"""Microsoft Teams through a Workflow ("When a Teams webhook request is received"): an adaptive card for each event.

The workflow's URL is the secret. It answers 202; the message may have 28 KB. No threads, no updates by this way.
"""

import re

import msgspec

from connectors.targets.shapes import cut
from connectors.targets.target import Common, Kit, Request, Talk, Told

MAX_BYTES = 28_000
_MARKDOWN = re.compile(r"([\\`*_\[\]()#<>|~])")


class Teams(Common, frozen=True, kw_only=True, tag="teams"):
    secret_fields = ("url",)
    sections = ("card",)
    concurrency = 1

    url: str
    """A reference to the workflow's URL."""
    per_second: float = 4.0

    def talk(self, told: Told, kit: Kit) -> Talk:
        for longest in (8000, 2000, 500, 100):
            short = {name: cut(value, longest) for name, value in told.values.items()}
            card = kit.fill("card", msgspec.structs.replace(told, values=short), _escape)
            body = {
                "type": "message",
                "attachments": [
                    {"contentType": "application/vnd.microsoft.card.adaptive", "contentUrl": None, "content": card}
                ],
            }
            if len(msgspec.json.encode(body)) <= MAX_BYTES:
                break
        yield Request(method="POST", url=kit.secrets["url"], body=body, imagined_status=202)
        return ""


def _escape(value: str) -> str:
    """A card's texts are Markdown: what a customer wrote must not become a link."""
    return _MARKDOWN.sub(r"\\\1", value)
