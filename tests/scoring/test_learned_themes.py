"""Themes that are taught: beside the taxonomy, surer with labels, silent without, and rare ones not drowned."""

import random

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scoring import learned_themes
from scoring.learned import Context, VersionUnknown
from scoring.learned_themes import ThemeLearner
from scoring.reading import Found

HERE = Context(programme="clinic", language="en", question="Why?")
ABOUT = {
    "waiting": ("sat there for four hours", "the queue never moved", "seen long after my slot", "hours in a corridor"),
    "parking": (
        "nowhere to leave the car",
        "the car park was full",
        "drove round for a space",
        "paid a fortune to park",
    ),
    "food": ("lunch was cold", "nothing vegetarian to eat", "the soup tasted of water", "breakfast came at noon"),
}


def taught(count: int, learner: ThemeLearner | None = None, seed: int = 4, context: Context = HERE) -> ThemeLearner:
    dice = random.Random(seed)
    learner = learner or ThemeLearner()
    for _ in range(count):
        about = dice.sample(sorted(ABOUT), dice.choice((0, 1, 1, 2)))
        text = " and ".join(dice.choice(ABOUT[path]) for path in about) or f"all fine {dice.random()}"
        learner.learn(text, context, (), about)
    return learner


def paths(learner: ThemeLearner, text: str, found: tuple[Found, ...] = (), context: Context = HERE) -> set[str]:
    return {one.path for one in learner.suggest(text, context, found)}


def test_untaught_it_says_nothing() -> None:
    assert ThemeLearner().suggest("sat there for four hours", HERE) == ()


def test_a_theme_with_two_labels_is_not_suggested() -> None:
    learner = ThemeLearner()
    for _ in range(learned_themes.FEWEST - 1):
        learner.learn("the car park was full", HERE, (), ["parking"])
    assert paths(learner, "the car park was full") == set()
    learner.learn("the car park was full", HERE, (), ["parking"])
    assert paths(learner, "the car park was full") == {"parking"}


def test_what_was_taught_is_suggested_with_its_words() -> None:
    learner = taught(300)
    assert paths(learner, "The queues never moved, and the soup was cold") == {"waiting", "food"}
    assert paths(learner, "all fine") == set()
    assert learner.why("The soup was cold", HERE, "food")[0] in ("soup", "cold")
    assert all(0.5 < one.sure <= 1.0 for one in learner.suggest("the car park was full", HERE))


def test_an_ending_never_seen_is_known_by_its_pieces() -> None:
    learner = taught(300)
    assert paths(learner, "vegetarians breakfasts lunches") == {"food"}


def test_what_the_taxonomy_found_is_not_suggested_again() -> None:
    learner = taught(300)
    assert paths(learner, "the car park was full", (Found("parking/spaces", "car park"),)) == set()


def test_a_match_of_the_taxonomy_can_teach() -> None:
    learner, match = ThemeLearner(), (Found("site/car-park", "bay"),)
    for number in range(60):
        learner.learn(f"bay {number}", HERE, match, ["parking"])
        learner.learn(f"ward {number}", HERE, (), [])
    assert paths(learner, "somewhere else", match) == {"parking"}
    assert paths(learner, "somewhere else") == set()


def test_a_rare_theme_is_not_drowned() -> None:
    learner = taught(100)
    for _ in range(5):
        learner.learn("my hearing aid was lost", HERE, (), ["property"])
    taught(1500, learner, seed=6)
    assert paths(learner, "they lost my hearing aid") == {"property"}


def test_a_correction_is_learned() -> None:
    learner, text = taught(300), "the soup queue never moved, soup was cold"
    assert "food" in paths(learner, text)
    for _ in range(6):
        learner.learn(text, HERE, (), ["waiting"], ["food"])
    assert paths(learner, text) == {"waiting"}
    assert paths(learner, "the soup tasted of water") == {"food"}


def test_a_label_of_some_themes_says_nothing_of_the_others() -> None:
    learner = taught(300)
    before = learner.mastery("clinic")
    learner.learn("the car park was full", HERE, (), ["food"], [])
    after = learner.mastery("clinic")
    assert after["food"].labels == before["food"].labels + 1
    assert "parking" in paths(learner, "the car park was full")


def test_one_programme_is_not_taught_by_another() -> None:
    assert paths(taught(300), "the car park was full", context=Context(programme="other")) == set()


WORDS = st.sampled_from([*" ".join(text for texts in ABOUT.values() for text in texts).split(), "unheard", "!", "é"])


@settings(max_examples=60, deadline=None)
@given(st.lists(WORDS, max_size=30), st.booleans())
def test_the_frozen_model_says_what_the_learner_says(words: list[str], is_found: bool) -> None:
    learner = _TAUGHT
    found = (Found("waiting", "x"),) if is_found else ()
    frozen = learner.frozen("clinic")
    assert frozen is not None
    for _ in range(2):
        assert frozen.suggest(" ".join(words), HERE, found) == learner.suggest(" ".join(words), HERE, found)


_TAUGHT = taught(200)


def test_a_frozen_model_learns_nothing_more() -> None:
    learner = taught(200)
    frozen = learner.frozen("clinic")
    assert frozen is not None
    before = [frozen.suggest(text, HERE) for texts in ABOUT.values() for text in texts]
    for _ in range(60):
        learner.learn("the car park was full", HERE, (), ["waiting"])
    assert [frozen.suggest(text, HERE) for texts in ABOUT.values() for text in texts] == before


def test_bytes_bring_back_the_same_learner() -> None:
    learner = taught(205)
    again = ThemeLearner.load(learner.dump())
    assert again.dump() == learner.dump()
    assert taught(30, again, seed=9).dump() == taught(30, learner, seed=9).dump()
    assert again.suggest("the soup queue", HERE) == learner.suggest("the soup queue", HERE)


def test_bytes_of_another_version_are_refused() -> None:
    with pytest.raises(VersionUnknown, match="version 2"):
        ThemeLearner.load(msgspec.msgpack.encode({"version": 2}))


def test_memory_is_bounded_whatever_is_taught() -> None:
    learner = ThemeLearner()
    for number in range(learned_themes.THEMES + 10):
        learner.learn(f"word{number}", HERE, (), [f"theme{number}"])
    assert len(learner.mastery("clinic")) == learned_themes.THEMES
    for number in range(learned_themes.PROGRAMMES + 1):
        learner.learn("a text", Context(programme=f"p{number}"), (), ["theme"])
    assert learner.mastery("clinic") == {}


@pytest.mark.parametrize(
    "text", ["", "\ud800 broken", "\0", "😡" * 500, "x" * 100_000, " ".join(map(str, range(3000)))]
)
def test_any_text_is_learned_and_scored(text: str) -> None:
    learner = taught(20)
    learner.learn(text, HERE, (), ["food"])
    frozen = learner.frozen("clinic")
    assert frozen is not None
    assert frozen.suggest(text, HERE) == learner.suggest(text, HERE)
