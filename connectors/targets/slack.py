"""Slack: one message an event; with a bot's token, one thread a case.

An incoming webhook (`url`) can neither thread nor be told apart; `token` and `channel` use `chat.postMessage`, which
answers 200 to everything and says in the body whether it took the message. One message a second and channel:
https://docs.slack.dev/apis/web-api/rate-limits.
"""

import re
from typing import Any

from connectors.targets.shapes import cut
from connectors.targets.target import Common, Kit, Request, Talk, TargetError, Told, url_problems

SECTION_MAX, TEXT_MAX, HEADER_MAX, BLOCKS_MAX = 3000, 4000, 150, 50
_PASSING = frozenset({"ratelimited", "rate_limited", "internal_error", "fatal_error", "request_timeout",
                      "service_unavailable", "team_added_to_org"})  # fmt: skip
_OURS = frozenset({"invalid_blocks", "invalid_blocks_format", "msg_too_long", "no_text", "msg_blocks_too_long"})
_ERROR = re.compile(r"[a-z_]{1,64}", re.ASCII)
_TS = re.compile(r"[0-9]{1,12}\.[0-9]{1,8}", re.ASCII)


class Slack(Common, frozen=True, kw_only=True, tag="slack"):
    """Either `url` (a reference: the URL of an incoming webhook is a secret), or `token` and `channel`."""

    secret_fields = ("url", "token")
    sections = ("message",)
    concurrency = 1

    url: str = ""
    token: str = ""
    channel: str = ""
    api: str = "https://slack.com/api"
    per_second: float = 1.0

    def problems(self) -> list[str]:
        found = url_problems("api", self.api)
        if bool(self.url) == bool(self.token) or bool(self.token) != bool(self.channel):
            found.append("it needs either url, or token and channel")
        if self.per_second > 1:
            found.append("per_second must be 1 at most: Slack takes one message a second for each channel")
        return found

    def talk(self, told: Told, kit: Kit) -> Talk:
        message = _within_limits(kit.fill("message", told, _escape))
        if self.url:
            yield Request(method="POST", url=kit.secrets["url"], body=message)
            return ""
        message["channel"] = self.channel
        if told.remembered:
            message["thread_ts"] = told.remembered
        reply = yield Request(
            method="POST",
            url=self.api + "/chat.postMessage",
            headers={"authorization": kit.secrets["token"].bearer()},
            body=message,
            imagined={"ok": True, "ts": "1.1"},
        )
        if reply.pick("ok") is not True:
            error = reply.pick("error")
            known = isinstance(error, str) and _ERROR.fullmatch(error) is not None
            raise TargetError(
                "slack_" + error if known else "bad_answer",
                permanent=known and error not in _PASSING,
                ours=error in _OURS if known else False,
            )
        ts = reply.pick("ts")
        if not isinstance(ts, str) or not _TS.fullmatch(ts):
            raise TargetError("bad_answer", permanent=False)
        return told.remembered or ts


def _escape(value: str) -> str:
    return value.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _within_limits(message: dict[str, Any]) -> dict[str, Any]:
    """Texts as long as Slack takes them: a longer one would be refused whole."""
    if isinstance(message.get("text"), str):
        message["text"] = cut(message["text"], TEXT_MAX)
    blocks = message.get("blocks")
    if isinstance(blocks, list):
        message["blocks"] = [_block(block) for block in blocks[:BLOCKS_MAX]]
    return message


def _block(block: Any) -> Any:
    text = block.get("text") if isinstance(block, dict) else None
    if not isinstance(text, dict) or not isinstance(text.get("text"), str):
        return block
    limit = HEADER_MAX if block.get("type") == "header" else SECTION_MAX
    return {**block, "text": {**text, "text": cut(text["text"], limit)}}
