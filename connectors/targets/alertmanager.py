"""Prometheus Alertmanager v2: an open case is an alert that fires, and is said again until it is resolved.

Its labels are the alert's identity, so they are those of the first time, whatever becomes of the case's priority. A
resolved alert is said again for five minutes, as Alertmanager asks of its clients.
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from connectors.targets.target import ENDINGS, Common, Kit, Request, Talk, Told, url_problems
from feedback.instants import parse_instant

RESOLVED_FOR_S = 300


class _Alert(msgspec.Struct, frozen=True):
    labels: dict[str, str]
    annotations: dict[str, str]
    starts_at: str
    ends_at: str = ""
    link: str = ""


class Alertmanager(Common, frozen=True, kw_only=True, tag="alertmanager"):
    secret_fields = ("token",)
    sections = ("labels", "annotations")
    repeats = True

    url: str
    token: str = ""
    """For a proxy that asks for one: sent as a bearer's."""
    repeat_s: float = 60.0
    """Shorter than Alertmanager's `resolve_timeout` (5 minutes), or alerts would end by themselves."""

    def problems(self) -> list[str]:
        found = url_problems("url", self.url)
        if not 1 <= self.repeat_s <= 240:
            found.append("repeat_s must be 1 to 240: Alertmanager's resolve_timeout is 300 s")
        return found

    def talk(self, told: Told, kit: Kit) -> Talk:
        known = msgspec.json.decode(told.remembered, type=_Alert) if told.remembered else None
        over = told.type in ENDINGS
        if not told.case or (known is None and over):
            return ""
        time = told.values.get("time", "")
        starts = known.starts_at if known and not (known.ends_at and not over) else ""
        starts = starts or (time if known else told.values.get("opened_at") or time)
        labels = {**kit.fill("labels", told), "case": told.case}
        alert = _Alert(
            labels=known.labels if known else {name: str(value) for name, value in labels.items() if value},
            annotations={name: str(value) for name, value in kit.fill("annotations", told).items()},
            starts_at=starts,
            ends_at=max(time, starts) if over else "",
            link=told.values.get("link", ""),
        )
        yield self._request([alert], kit)
        return msgspec.json.encode(alert).decode()

    def again(self, remembered: Mapping[str, str], now: float, kit: Kit) -> tuple[Request | None, list[str]]:
        """What is to be said at *now* (Unix seconds) for all that is *remembered*, by case; and what to forget."""
        alerts = {case: msgspec.json.decode(text, type=_Alert) for case, text in remembered.items()}
        past = [c for c, a in alerts.items() if a.ends_at and parse_instant(a.ends_at) + RESOLVED_FOR_S <= now]
        due = [alert for case, alert in sorted(alerts.items()) if case not in past]
        return (self._request(due, kit) if due else None), past

    def _request(self, alerts: list[_Alert], kit: Kit) -> Request:
        token = kit.secrets["token"]
        return Request(
            method="POST",
            url=self.url.rstrip("/") + "/api/v2/alerts",
            headers={"authorization": token.bearer()} if token else {},
            body=[_wire(alert) for alert in alerts],
        )


def _wire(alert: _Alert) -> dict[str, Any]:
    said: dict[str, Any] = {"labels": alert.labels, "annotations": alert.annotations, "startsAt": alert.starts_at}
    if alert.ends_at:
        said["endsAt"] = alert.ends_at
    if alert.link:
        said["generatorURL"] = alert.link
    return said
