"""Targets out of settings: secrets fetched, templates read and checked, everything refused that could never work."""

import re
from collections.abc import Mapping, Sequence
from functools import cache
from io import StringIO
from pathlib import Path
from typing import Any

import msgspec
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError

from connectors.targets.alertmanager import Alertmanager
from connectors.targets.apprise import Apprise
from connectors.targets.email import Email
from connectors.targets.generic import Http
from connectors.targets.hubspot import HubSpot
from connectors.targets.jira import Jira
from connectors.targets.pagerduty import PagerDuty
from connectors.targets.salesforce import Salesforce
from connectors.targets.secrets import Fetch, Hidden
from connectors.targets.servicenow import ServiceNow
from connectors.targets.shapes import Names, Shape, ShapeError, check, fill
from connectors.targets.slack import Slack
from connectors.targets.target import SCHEDULE_S, Kit, Talk, Told
from connectors.targets.teams import Teams
from connectors.targets.values import NAMES, priority_at_least, values
from connectors.targets.zendesk import Zendesk

DeclaredTarget = (
    Http
    | Slack
    | Teams
    | PagerDuty
    | Email
    | Alertmanager
    | Jira
    | ServiceNow
    | Zendesk
    | Salesforce
    | HubSpot
    | Apprise
)
"""One entry of `targets:` in the settings; `kind` tells which."""

TEST = "[TEST] "
_TEMPLATES = Path(__file__).parent / "templates"
_CASE = re.compile(r"[A-Za-z0-9_.:@-]{1,128}", re.ASCII)
"""A case's id stands in URLs and queries."""
_LINK = Names(frozenset({"case", "programme", "event_id"}), ())


class TargetSettingsError(ValueError):
    """A target cannot be used; the text names it, the setting, and what was expected, and holds no secret."""


class Ready(msgspec.Struct, frozen=True, kw_only=True):
    """A target that can be talked to. Its repr shows only the name."""

    declared: DeclaredTarget
    kit: Kit
    schedule_s: tuple[float, ...] = SCHEDULE_S
    """Wait before each attempt, the first of them 0; as many attempts as there are numbers."""

    @property
    def name(self) -> str:
        return self.declared.name

    @property
    def programmes(self) -> tuple[str, ...]:
        return self.declared.programmes

    @property
    def concurrency(self) -> int:
        return self.declared.concurrency

    @property
    def max_age_s(self) -> float:
        return self.declared.max_age_s

    def wants(self, programme: str, type_: str) -> bool:
        return self.declared.wants(programme, type_)

    def cares(self, event: Mapping[str, Any], told_before: bool) -> bool:
        """Whether the priority of *event*'s case is high enough; a case once told of is told of to its end."""
        return told_before or priority_at_least(event, self.declared.min_priority)

    def hear(self, event: Mapping[str, Any], remembered: str = "", *, test: bool = False) -> Told:
        found = values(event)
        found["link"] = fill(self.declared.link, found)
        found["test"] = TEST if test else ""
        return Told(
            id=str(event.get("id", "")),
            type=found["event"],
            case=found["case"] if _CASE.fullmatch(found["case"]) else "",
            values=found,
            event=event,
            remembered=remembered,
        )

    def talk(self, told: Told) -> Talk:
        return self.declared.talk(told, self.kit)

    def __repr__(self) -> str:
        return f"Ready({self.name!r})"


def ready(declared: DeclaredTarget, fetch: Fetch, beside: Path) -> Ready:
    """*declared* with its secrets and its template, which lies relative to *beside*. Raises TargetSettingsError."""
    try:
        wrong = declared.common_problems()
        if wrong:
            raise ValueError("; ".join(wrong))
        check(declared.link, _LINK, "link")
        secrets = {name: _secret(name, getattr(declared, name), fetch) for name in declared.secret_fields}
        # A new dict: the tool's own is kept for the next target.
        shapes = _own(str(declared.__struct_config__.tag)) | _yours(declared.template, beside, declared.sections)
    except (ValueError, OSError) as error:
        raise TargetSettingsError(f"targets: {declared.name[:64]!r}: {error}") from None
    return Ready(declared=declared, kit=Kit(secrets=secrets, shapes=shapes))


def all_ready(declared: Sequence[DeclaredTarget], fetch: Fetch, beside: Path) -> tuple[Ready, ...]:
    """Every one of *declared*. Raises TargetSettingsError, also for two of one name."""
    names = [one.name for one in declared]
    for name in names:
        if names.count(name) > 1:
            raise TargetSettingsError(f"targets: two are named {name[:64]!r}")
    return tuple(ready(one, fetch, beside) for one in declared)


def _secret(name: str, reference: str, fetch: Fetch) -> Hidden:
    if not reference:
        return Hidden("")
    try:
        found = fetch(reference)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None
    if not found.reveal().isprintable() or not found.reveal().isascii():
        raise ValueError(f"{name}: the secret holds what no header can carry")
    return found


@cache
def _own(kind: str) -> dict[str, Shape]:
    return _parse((_TEMPLATES / f"{kind}.yaml").read_text(encoding="utf-8"), f"{kind}.yaml")


def _yours(template: str, beside: Path, sections: Sequence[str]) -> dict[str, Shape]:
    if not template:
        return {}
    path = beside / template
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ShapeError(f"the template {template} cannot be read: {error}") from None
    shapes = _parse(text, template)
    for name in shapes:
        if name not in sections:
            raise ShapeError(f"{template}: nothing is called {name!r}; expected {', '.join(sections)}")
    check(shapes, NAMES, template)
    for name, shape in shapes.items():
        if type(shape) is not type(_EXPECTED.get(name, {})):
            raise ShapeError(f"{template}.{name}: expected {'a text' if name in _EXPECTED else 'a mapping'}")
    return shapes


_EXPECTED = {"subject": "", "text": "", "title": ""}
"""Sections that are one text; the others are mappings."""


def _parse(text: str, name: str) -> dict[str, Shape]:
    try:
        plain = YAML(typ="safe", pure=True).load(StringIO(text))
    except MarkedYAMLError as error:
        mark = error.problem_mark
        raise ShapeError(f"{name}{f':{mark.line + 1}:{mark.column + 1}' if mark else ''}: {error.problem}") from None
    if not isinstance(plain, dict):
        raise ShapeError(f"{name}: expected a mapping of sections")
    return plain
