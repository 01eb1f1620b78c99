"""A roster file, read and checked: people, when they are away, and the roles they answer for."""

from collections.abc import Mapping

from feedback.instants import Instant, parse_instant
from rules.problems import one_of
from rules.roster import Away, Person, Role, Roster
from rules.yaml import Sheet, YamlNode


def parse_roster(sheet: Sheet, text: str) -> Roster:
    """The roster written in *text*, problems noted on *sheet*."""
    top = sheet.map(sheet.parse(text), ("roster", "people", "roles"), ("people", "roles"))
    people: dict[str, Person] = {}
    stand_ins: list[tuple[YamlNode, str]] = []
    for id_, node in sheet.map(top.get("people"), None).items():
        fields = sheet.map(node, ("name", "email", "away"), ("name",))
        away = []
        for entry in sheet.list(fields.get("away")):
            part = sheet.map(entry, ("from", "until", "stand_in"), ("from", "until"))
            start = sheet.read(part.get("from"), parse_instant, Instant(0), "a time like 2026-12-24T00:00:00+00:00")
            end = sheet.read(part.get("until"), parse_instant, Instant(1), "a time like 2026-12-28T00:00:00+00:00")
            if end <= start:
                sheet.problem(entry, "an absence that ends before it starts", "until after from")
            if "stand_in" in part:
                stand_ins.append((part["stand_in"], sheet.text(part["stand_in"])))
            away.append(Away(start, end, sheet.text(part.get("stand_in"))))
        people[id_] = Person(
            id=id_,
            name=sheet.text(fields.get("name"), id_),
            email=sheet.text(fields.get("email")),
            away=tuple(away),
        )
    for node, id_ in stand_ins:
        if id_ not in people:
            sheet.problem(node, f"the stand-in {id_}", one_of(people, id_))
    roles = {}
    for role, node in sheet.map(top.get("roles"), None).items():
        fields = sheet.map(node, ("default", "by_site", "by_segment", "pick"))
        roles[role] = Role(
            default=_ids(sheet, fields.get("default"), people),
            by_site={k: _ids(sheet, v, people) for k, v in sheet.map(fields.get("by_site"), None).items()},
            by_segment={k: _ids(sheet, v, people) for k, v in sheet.map(fields.get("by_segment"), None).items()},
            spread=sheet.choice(fields.get("pick"), {"first": False, "spread": True}, False),
        )
        if not any((roles[role].default, roles[role].by_site, roles[role].by_segment)):
            sheet.problem(node, f"nobody for {role}", "default: [a person's id]")
    return Roster(people, roles)


def _ids(sheet: Sheet, node: YamlNode | None, people: Mapping[str, Person]) -> tuple[str, ...]:
    ids = []
    for member in sheet.list(node):
        id_ = sheet.text(member)
        if id_ in people:
            ids.append(id_)
        else:
            sheet.problem(member, f"the person {id_}", one_of(people, id_))
    return tuple(ids)
