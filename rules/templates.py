"""Messages to customers and owners: text with `{{ name }}` in it, and no code.

A template file is `Subject: …`, an empty line, and the body. A placeholder that nothing fills is a problem when
the rules are loaded, never a surprise in a letter.
"""

import re
from collections.abc import Mapping

import msgspec

from rules.problems import Problem, one_of

PLACEHOLDERS = frozenset(
    {
        "case", "type", "subject", "priority", "customer", "owner", "rule", "why", "due_at", "next_best_action",
        "channel", "touchpoint", "programme", "opened_at",
    }
)  # fmt: skip
"""What a template may ask for."""
_HOLE = re.compile(r"\{\{\s*([^{}]*?)\s*\}\}")


class Template(msgspec.Struct, frozen=True):
    subject: str
    body: str


class Message(msgspec.Struct, frozen=True):
    subject: str
    body: str


def parse_template(file: str, text: str, problems: list[Problem]) -> Template:
    """The template written in *text*; what is wrong with it is added to *problems*."""
    lines = text.splitlines()
    if not lines or not lines[0].lower().startswith("subject:"):
        problems.append(Problem(file, 1, 1, "no subject", "a first line `Subject: …`"))
        return Template("", text)
    if len(lines) < 3 or lines[1].strip():
        problems.append(Problem(file, 2, 1, "no body", "an empty line, then the message"))
    for number, line in enumerate(lines, 1):
        for hole in _HOLE.finditer(line):
            if hole[1] not in PLACEHOLDERS:
                problems.append(
                    Problem(file, number, hole.start() + 1, f"{{{{ {hole[1]} }}}}", one_of(PLACEHOLDERS, hole[1]))
                )
        rest = _HOLE.sub("", line)
        if "{{" in rest or "{%" in rest:
            problems.append(Problem(file, number, 1, "a brace that is not closed, or code", "{{ name }} and text"))
    return Template(lines[0].partition(":")[2].strip(), "\n".join(lines[2:]).strip() + "\n")


def render(template: Template, values: Mapping[str, str]) -> Message:
    """*template* with its placeholders filled from *values*; a missing one is left empty."""

    def fill(text: str) -> str:
        return _HOLE.sub(lambda hole: values.get(hole[1], ""), text)

    # A subject is one line whatever a value holds: it becomes a mail header.
    return Message(" ".join(fill(template.subject).split()), fill(template.body))
