"""Taxonomy files: themes, sub-themes and topics with their phrases, and intents."""

from ruamel.yaml.nodes import Node as YamlNode

from rules.yaml import Sheet
from scoring.taxonomy import Node, Taxonomy, forms

_KEYS = ("title", "phrases", "except", "regulated", "topics")
MAX_DEPTH = 3
"""Theme, sub-theme, topic."""


def parse_taxonomy(sheet: Sheet, name: str, text: str) -> Taxonomy:
    """The taxonomy written in *text*; what is wrong with it is noted on *sheet*."""
    top = sheet.map(sheet.parse(text), ("taxonomy", "themes", "intents"), ("taxonomy",))
    if "taxonomy" in top and sheet.text(top["taxonomy"]) != name:
        sheet.problem(top["taxonomy"], sheet.text(top["taxonomy"]), f"{name}, the name of the file")
    themes: list[Node] = []
    for key, node in sheet.map(top.get("themes"), None).items():
        _theme(sheet, key, node, themes, 1, regulated=False)
    intents: list[Node] = []
    for key, node in sheet.map(top.get("intents"), None).items():
        fields = sheet.map(node, ("title", "phrases", "except"), ("phrases",))
        intents.append(_node(sheet, key, key, fields, regulated=False))
    return Taxonomy(name=name, themes=tuple(themes), intents=tuple(intents))


def _theme(sheet: Sheet, path: str, node: YamlNode, into: list[Node], depth: int, *, regulated: bool) -> None:
    key = path.rsplit("/", 1)[-1]
    if not all(c.isalnum() or c == "-" for c in key):
        sheet.problem(node, f"the name {key}", "letters, digits and - (it becomes part of a path)")
    fields = sheet.map(node, _KEYS)
    regulated = sheet.flag(fields.get("regulated"), regulated)
    into.append(_node(sheet, path, key, fields, regulated=regulated))
    topics = sheet.map(fields.get("topics"), None)
    if topics and depth == MAX_DEPTH:
        sheet.problem(fields["topics"], "a fourth level", "theme, sub-theme and topic at most")
        return
    if not topics and "phrases" not in fields:
        sheet.problem(node, f"the theme {path} that nothing can show", "phrases: or topics:")
    for name, topic in topics.items():
        _theme(sheet, f"{path}/{name}", topic, into, depth + 1, regulated=regulated)


def _node(sheet: Sheet, path: str, key: str, fields: dict[str, YamlNode], *, regulated: bool) -> Node:
    return Node(
        path=path,
        title=sheet.text(fields.get("title"), key.replace("-", " ").capitalize()),
        phrases=_phrases(sheet, fields.get("phrases")),
        excepts=_phrases(sheet, fields.get("except")),
        regulated=regulated,
    )


def _phrases(sheet: Sheet, node: YamlNode | None) -> tuple[str, ...]:
    phrases = []
    for member in sheet.list(node):
        phrase = sheet.text(member)
        try:
            forms(phrase)
        except ValueError as error:
            sheet.problem(member, f"the phrase {phrase!r} ({error})", "words, a * at the end, or forms like leak(s|ed)")
        else:
            phrases.append(phrase)
    return tuple(phrases)
