"""A phrase that is accepted stands in the file, which is otherwise as it was."""

import difflib

import pytest

from rules.accepting import AcceptError, with_phrase
from rules.shipped import SHIPPED
from rules.taxonomies import parse_taxonomy
from rules.yaml import Sheet

TEXT = """\
# What people say.
taxonomy: t
themes:
  staff:  # those we employ
    title: Staff
    phrases: [staff, "agent*"]
    topics:
      rude: {title: Rude, phrases: [rude*]}
"""


def accepted(theme: str, phrase: str = "booking page", text: str = TEXT) -> str:
    return with_phrase(text, "t", theme, phrase, "accepted by ann")


@pytest.mark.parametrize("theme", ["staff", "staff/rude", "staff/slow", "website", "website/booking/page"])
def test_the_phrase_shows_its_theme_and_the_rest_is_as_it_was(theme: str) -> None:
    after = accepted(theme)
    taxonomy = parse_taxonomy(Sheet("t.yaml", []), "t", after)
    (node,) = [node for node in taxonomy.themes if node.path == theme]
    assert node.phrases[-1] == "booking page"
    assert after.endswith("# accepted by ann\n")
    assert "# What people say." in after
    assert "# those we employ" in after
    assert accepted(theme, "another", after).count("booking page") == 1


def test_it_is_not_accepted_twice_nor_when_it_is_no_phrase_nor_under_a_fourth_level() -> None:
    with pytest.raises(AcceptError, match="already"):
        accepted("staff", "booking page", accepted("staff"))
    with pytest.raises(AcceptError, match="no phrase"):
        accepted("staff", "(booking")
    with pytest.raises(AcceptError, match="fourth level"):
        accepted("a/b/c/d")
    with pytest.raises(AcceptError, match="letters, digits"):
        accepted("staff & co")


@pytest.mark.parametrize("name", ["contact-centre", "social-housing", "software-service"])
def test_a_shipped_file_says_the_same_and_the_new_theme(name: str) -> None:
    before = (SHIPPED / "taxonomies" / f"{name}.yaml").read_text(encoding="utf-8")
    after = with_phrase(before, name, "a-new-theme", "a new phrase", "accepted by ann")
    was, now = (parse_taxonomy(Sheet(name, []), name, text) for text in (before, after))
    assert now.themes[:-1] == was.themes
    assert (now.themes[-1].path, now.intents) == ("a-new-theme", was.intents)
    changed = [line for line in difflib.unified_diff(before.split("\n"), after.split("\n"), n=0) if line[0] in "+-"]
    assert len(changed) <= 12, changed
