"""Risk that is taught: VADER's at first, the learned one's when it has earned it, VADER's again when it fails."""

import random

import msgspec
import pytest

from scoring import learned
from scoring.learned import VADER_ALERT, Context, Learner, Risk, VersionUnknown
from scoring.vader import vader

HERE = Context(programme="clinic", language="en", channel="sms", question="Why?")
ELSEWHERE = Context(programme="housing", language="en")
FRENCH = Context(programme="clinic", language="fr")
BAD = ("nobody rang back", "waited four hours", "still waiting for a call", "left in the corridor for hours")
FINE = ("seen on time", "the nurse rang the same day", "in and out in minutes", "sorted on the spot")
"""All of them neutral to VADER."""


def taught(count: int, context: Context = HERE, learner: Learner | None = None, seed: int = 3) -> Learner:
    dice = random.Random(seed)
    learner = learner or Learner()
    for _ in range(count):
        label = dice.random() < 0.5
        text = dice.choice(BAD if label else FINE)
        learner.learn(text, context, vader().score(text) if context.language == "en" else None, label)
    return learner


def risk(learner: Learner, text: str, context: Context = HERE) -> Risk:
    found = learner.score(text, context, vader().score(text) if context.language == "en" else None)
    assert found is not None
    return found


@pytest.mark.parametrize("text", ["Awful, rude staff", "Lovely and kind", "In the corridor", "", "!?", "  "])
def test_cold_start_is_vader(text: str) -> None:
    compound = vader().score(text).compound
    found = risk(Learner(), text)
    assert found.risk == found.vader == (1 - compound) / 2
    assert found.is_alert == (vader().score(text).label == "negative")
    assert found.weight == 0.0


def test_few_labels_change_nothing() -> None:
    found = risk(taught(10), "nobody rang back")
    assert found.risk == found.vader
    assert found.alert_at == VADER_ALERT


def test_what_labels_teach_is_said_with_its_words() -> None:
    learner = taught(400)
    bad, fine = risk(learner, "Nobody rang back"), risk(learner, "Seen on time")
    assert bad.weight == fine.weight == 1.0
    assert bad.is_alert
    assert bad.words[0] in ("nobody", "^ nobody", "nobody rang", "rang back", "back")
    assert not fine.is_alert
    assert set(fine.words) <= {"seen", "on", "time", "seen on", "on time"}


def test_one_programme_is_not_taught_by_another() -> None:
    learner = taught(400)
    found = risk(learner, "nobody rang back", ELSEWHERE)
    assert found.risk == found.vader
    assert learner.standing("housing", "en") is None


def test_a_language_vader_cannot_read_is_unknown_until_it_is_learned() -> None:
    assert Learner().score("personne n'a rappelé", FRENCH, None) is None
    assert taught(10, FRENCH).score("nobody rang back", FRENCH, None) is None
    found = risk(taught(400, FRENCH), "nobody rang back", FRENCH)
    assert found.vader is None
    assert found.is_alert


def test_a_model_that_falls_behind_is_set_aside_and_can_come_back() -> None:
    learner, dice = taught(400), random.Random(5)
    for number in range(2000):  # labels that no word explains, and VADER does
        negative = dice.random() < 0.5
        text = f"{'awful' if negative else 'lovely'} {number}"
        scored = vader().score(text)
        shuffled = dice.choice(BAD + FINE)
        learner.learn(shuffled, HERE, scored, negative if number % 10 else not negative)
    standing = learner.standing("clinic", "en")
    assert standing is not None
    assert standing.learned_auc < standing.vader_auc + 0.05
    assert standing.reason == "behind"
    found = risk(learner, "nobody rang back")
    assert found.risk == found.vader
    back = taught(1500, learner=learner).standing("clinic", "en")
    assert back is not None
    assert back.reason == "ahead"


def test_random_labels_earn_nothing() -> None:
    learner, dice = Learner(), random.Random(9)
    for number in range(1500):
        text = f"awful {number}" if number % 2 else f"lovely {number}"
        learner.learn(text, HERE, vader().score(text), dice.random() < 0.5)
    standing = learner.standing("clinic", "en")
    assert standing is not None
    assert standing.weight == 0.0


def test_bytes_bring_back_the_same_learner() -> None:
    learner = taught(300, FRENCH, taught(333))
    again = Learner.load(learner.dump())
    assert again.dump() == learner.dump()
    for text in (*BAD, *FINE, "something new, nobody knows"):
        assert risk(again, text) == risk(learner, text)
    assert taught(50, learner=again, seed=8).dump() == taught(50, learner=learner, seed=8).dump()


def test_bytes_of_another_version_are_refused() -> None:
    with pytest.raises(VersionUnknown, match="version 2"):
        Learner.load(msgspec.msgpack.encode({"version": 2, "shape": "another"}))
    with pytest.raises(msgspec.DecodeError):
        Learner.load(b"no model")


def test_memory_is_bounded_whatever_is_said() -> None:
    learner = Learner()
    for number in range(learned.MODELS + 5):
        context = Context(programme=f"p{number}", language="en")
        learner.learn(f"word{number} " * 5000, context, vader().score("awful"), True)
    assert learner.standing("p0", "en") is None, "the one taught least recently is forgotten"
    assert learner.standing(f"p{learned.MODELS + 4}", "en") is not None
    before = len(Learner().dump())
    many = Learner()
    for number in range(3000):
        text = " ".join(f"w{number}x{n}" for n in range(40))
        many.learn(text, HERE, vader().score(text), number % 2 == 0)
    assert len(many.dump()) - before <= (learned.SLOTS + 4) * 12 + 4096


@pytest.mark.parametrize("text", ["\ud800 broken", "\0", "😡" * 500, "nah\u0300", "x" * 100_000])
def test_any_text_is_learned_and_scored(text: str) -> None:
    learner = taught(400)
    learner.learn(text, HERE, vader().score("awful"), True)
    assert 0.0 <= risk(learner, text).risk <= 1.0
