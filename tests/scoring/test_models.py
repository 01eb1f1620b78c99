"""The models of one moment: VADER before there are any, the same words of the same version after."""

from scoring.learned import Context, Learner
from scoring.learned_themes import ThemeLearner
from scoring.models import VADER, Models, pack, unpack
from scoring.reader import Reader
from scoring.reading import Reading
from scoring.vader import vader
from tests.builders import response

READER = Reader((), {})
HERE = Context(programme="default", language="en")


def taught(count: int = 400) -> tuple[Learner, ThemeLearner]:
    learner, themes = Learner(), ThemeLearner()
    for number in range(count):
        bad = number % 2 == 1
        text = "nobody rang back" if bad else "seen at once"
        learner.learn(text, HERE, vader().score(text), bad)
        themes.learn(text, HERE, (), ["calls"] if bad else ["waiting"])
    return learner, themes


def read(models: Models, text: str, language: str = "en") -> Reading:
    heard = response(text=text, language=language)
    return models.read(heard, READER.read(heard))


def test_before_anything_is_learned_the_risk_is_vaders() -> None:
    for text in ("Awful, rude staff", "Lovely and kind", "In the corridor"):
        found = read(Models(), text)
        assert found.risk == round((1 - vader().score(text).compound) / 2, 4)
        assert (found.scored_by, found.suggested) == (VADER, ())


def test_what_cannot_be_told_has_no_risk() -> None:
    assert read(Models(), "personne n'a rappelé", "fr").risk is None
    assert read(Models(), " ").risk is None


def test_a_version_says_what_was_learned_and_by_which_words() -> None:
    version, data = pack(*taught())
    found = read(Models(version, *unpack(data)), "Nobody rang back")
    assert found.risk is not None
    assert found.risk > 0.9
    assert set(found.risk_words) & {"nobody", "rang", "back", "^ nobody", "nobody rang", "rang back", "back $"}
    assert [one.path for one in found.suggested] == ["calls"]
    assert found.scored_by == version


def test_a_version_stays_what_it_was_while_learning_goes_on() -> None:
    learner, themes = taught()
    version, data = pack(learner, themes)
    before = read(Models(version, *unpack(data)), "Nobody rang back")
    for _ in range(300):
        learner.learn("nobody rang back", HERE, None, False)
        themes.learn("nobody rang back", HERE, (), [])
    assert read(Models(version, *unpack(data)), "Nobody rang back") == before
    assert pack(learner, themes)[0] != version


def test_the_same_learning_has_the_same_version() -> None:
    assert pack(*taught()) == pack(*taught())
