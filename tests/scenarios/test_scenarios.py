"""Every story goes as it is written: those of the project, and those shipped beside the rules."""

from functools import cache
from pathlib import Path

import pytest

from feedback.metrics import STANDARD
from flows.scenario_file import StoryReader
from flows.scenarios import Told, tell
from flows.settings import CHECKOUT
from rules.parse import load

RULES = CHECKOUT / "rules"
SHIPPED = sorted((RULES / "scenarios").glob("*.yaml"))
FILES = [*sorted(Path(__file__).parent.glob("*.yaml")), *SHIPPED]
SETS = sorted(path.stem for path in (RULES / "sets").glob("*.yaml"))


@cache
def told(file: Path) -> list[Told]:
    return [tell(story, dict(STANDARD)) for story in StoryReader(RULES, STANDARD).read(file)]


@pytest.mark.parametrize("file", FILES, ids=lambda f: f"{f.parent.parent.name}-{f.stem}")
def test_stories_go_as_written(file: Path) -> None:
    wrong = [one.failure for one in told(file) if one.failure is not None]
    assert not wrong, "\n".join(f"{f.file}:{f.line}: {f.title}\n  " + "\n  ".join(f.diff) for f in wrong)


@pytest.mark.parametrize("name", SETS)
def test_every_shipped_rule_has_a_story_that_fires_it_and_a_near_miss(name: str) -> None:
    stories = [one for file in SHIPPED for one in told(file) if one.story.set == name]
    named = {rule for one in stories for step in one.story.steps for rule in step.fires}
    spared = set().union(*(one.spared for one in stories))
    loaded = load(RULES, name, STANDARD)
    rules = {rule.id for rule in loaded.rules} | {rule.window.rule for rule in loaded.windows}
    assert (rules - named, rules - spared) == (set(), set())
