"""The packs and calendars that come with Tocsin, and a team's own beside them.

A rules directory need not copy the law: what it does not hold under `packs/` or `calendars/` is taken from here,
and a file of its own by the same name comes first.
"""

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

from rules.calendar import Calendar, based_on, load_calendars
from rules.packs import Pack, parse_pack
from rules.problems import Problem, RuleFileErrors
from rules.yaml import Sheet

SHIPPED = Path(__file__).resolve().parent
FOLDERS = ("calendars", "packs")


def law_texts(directory: Path | None) -> dict[str, str]:
    """`packs/<name>.yaml` and `calendars/<name>.yaml` to their texts, *directory*'s own before the shipped."""
    texts: dict[str, str] = {}
    for root in (SHIPPED, directory):
        if root is None:
            continue
        for folder in FOLDERS:
            for path in sorted((root / folder).glob("*.yaml")):
                texts[f"{folder}/{path.name}"] = path.read_text(encoding="utf-8")
    return texts


def law_of(set_text: str, texts: Mapping[str, str]) -> dict[str, str]:
    """Of the packs and calendars in *texts* those that a set's text names, with what these build on."""
    named = {p for p in texts if p.startswith("packs/") and _names(p) in set_text}
    around = set_text + "".join(texts[p] for p in named)
    waiting = [p for p in texts if p.startswith("calendars/") and _names(p) in around]
    while waiting:
        path = waiting.pop()
        named.add(path)
        base = f"calendars/{based_on(texts[path])}.yaml"
        if base in texts and base not in named:
            waiting.append(base)
    return {p: texts[p] for p in sorted(named)}


def _names(path: str) -> str:
    return path.rpartition("/")[2].removesuffix(".yaml")


@lru_cache(maxsize=4)
def law(directory: Path | None = None) -> tuple[dict[str, Pack], dict[str, Calendar]]:
    """Every pack and calendar by name. Raises RuleFileErrors with every problem of every file."""
    problems: list[Problem] = []
    found = read_law(law_texts(directory), problems)
    if any(not p.warning for p in problems):
        raise RuleFileErrors(problems)
    return found


def read_law(
    texts: dict[str, str], problems: list[Problem], prefix: str = ""
) -> tuple[dict[str, Pack], dict[str, Calendar]]:
    """The packs and calendars of *texts*, with problems noted."""
    calendars = load_calendars(texts, problems, prefix)
    packs = {}
    for path in sorted(p for p in texts if p.startswith("packs/")):
        name = path.removeprefix("packs/").removesuffix(".yaml")
        pack = parse_pack(Sheet(prefix + path, problems), name, texts[path], calendars)
        if pack is not None:
            packs[name] = pack
    return packs, calendars
