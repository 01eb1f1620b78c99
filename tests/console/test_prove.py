"""The proving commands as a rule author types them."""

import json
from pathlib import Path

import pytest

from tests.console.test_cli import tocsin

STORY = """
- title: A detractor is heard
  rules: contact-centre
  steps: [{response: {scores: {nps: SCORE}}, fires: instant-detractor}]
"""


def test_a_story_that_goes_as_written_is_quiet_and_one_that_does_not_exits_1(tmp_path: Path) -> None:
    (tmp_path / "good.yaml").write_text(STORY.replace("SCORE", "6"))
    (tmp_path / "bad.yaml").write_text(STORY.replace("SCORE", "7"))
    good = tocsin(tmp_path, "test", "good.yaml")
    assert (good.returncode, good.stdout) == (0, "")
    bad = tocsin(tmp_path, "test", "good.yaml", "bad.yaml")
    assert bad.returncode == 1
    assert bad.stdout.startswith("bad.yaml:4:11: A detractor is heard\n")
    assert '  ? instant-detractor: not true: bands.nps == "detractor" (bands.nps = passive)\n' in bad.stdout
    failures = json.loads(tocsin(tmp_path, "test", "bad.yaml", "--json").stdout)["failures"]
    assert [(f["file"], f["line"], f["step"]) for f in failures] == [("bad.yaml", 4, 1)]


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (("test", "nowhere.yaml"), 2, "nowhere.yaml does not exist"),
        (("test", "--rules", "."), 2, "no directory of rules"),
        (("test", "odd.yaml"), 1, "odd.yaml:1:3: error: found neither rules nor files"),
    ],
)
def test_a_mistake_says_what_to_do(tmp_path: Path, words: tuple[str, ...], code: int, told: str) -> None:
    (tmp_path / "odd.yaml").write_text("- {title: T, steps: []}\n")
    done = tocsin(tmp_path, *words)
    assert (done.returncode, told in done.stderr, "Traceback" in done.stderr) == (code, True, False), done.stderr
