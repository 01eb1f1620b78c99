"""One response in, its reading out."""

import pytest

from feedback.instants import Instant
from feedback.metrics import STANDARD
from feedback.records import Response
from scoring import reader as readers
from scoring.reader import Reader
from scoring.reading import Found, Reading
from scoring.taxonomy import Node, Taxonomy
from scoring.vader import vader

HOUSING = Taxonomy(
    name="housing",
    themes=(
        Node(path="damp", title="Damp", phrases=("damp",), regulated=True),
        Node(path="damp/mould", title="Mould", phrases=("mould*",), regulated=True),
    ),
)
INTENTS = Taxonomy(name="intents", intents=(Node(path="wants-a-call-back", title="", phrases=("call me",)),))


def reader() -> Reader:
    return Reader((HOUSING, INTENTS), STANDARD)


def response(text: str = "", language: str = "", **scores: float) -> Response:
    return Response(
        programme="housing",
        source="survey",
        id="r1",
        occurred_at=Instant(0),
        received_at=Instant(0),
        arrived=0.0,
        text=text,
        language=language,
        scores=scores,
    )


def read(text: str = "", language: str = "", **scores: float) -> Reading:
    return reader().read(response(text, language, **scores))


def test_a_response_is_read_whole() -> None:
    text = "Damp and MOULD everywhere, awful. Call me!"
    reading = read(text, "en-GB", nps=2)
    assert reading == Reading(
        language="en",
        sentiment=vader().score(text),
        themes=(Found("damp/mould", "MOULD"),),
        intents=(Found("wants-a-call-back", "Call me"),),
        bands={"nps": "detractor"},
    )


@pytest.mark.parametrize(
    ("metric", "score", "band"),
    [
        ("nps", 0, "detractor"), ("nps", 6, "detractor"), ("nps", 7, "passive"), ("nps", 8, "passive"),
        ("nps", 9, "promoter"), ("nps", 10, "promoter"), ("csat", 2, "dissatisfied"), ("csat", 3, "neutral"),
        ("csat", 4, "satisfied"), ("ces", 3, "hard"), ("ces", 4, "neutral"), ("ces", 5, "easy"), ("stars", 1, "low"),
        ("stars", 3, "middling"), ("stars", 5, "high"),
    ],
)  # fmt: skip
def test_each_standard_metric_has_its_bands(metric: str, score: float, band: str) -> None:
    assert read(**{metric: score}).bands == {metric: band}


def test_a_score_of_an_undeclared_metric_has_no_band() -> None:
    assert read(effort=3, csat=5).bands == {"csat": "satisfied"}


@pytest.mark.parametrize("text", ["", " \n"])
def test_no_text_is_unscored_and_says_so(text: str) -> None:
    reading = read(text, "fr", csat=1)
    assert (reading.sentiment, reading.unscored, reading.language) == (None, "no_text", "fr")
    assert reading.bands == {"csat": "dissatisfied"}


def test_another_language_is_left_unscored_and_says_so() -> None:
    reading = read("Le chauffage ne marche plus, personne ne répond")
    assert (reading.language, reading.sentiment, reading.unscored) == ("fr", None, "language_fr")


def test_a_declared_language_is_believed() -> None:
    assert read("The heating is awful", "de-AT").unscored == "language_de"
    assert read("Le chauffage ne marche plus", "en").sentiment is not None


def test_a_declared_language_that_is_none_is_detected_instead() -> None:
    assert read("The heating is awful", "English (UK)").language == "en"


def test_what_has_no_language_is_unscored_and_says_so() -> None:
    reading = read("👍👍")
    assert (reading.language, reading.sentiment, reading.unscored) == ("", None, "language_unknown")


def test_themes_are_found_in_any_language() -> None:
    assert read("Dans la chambre il y a du mould partout, aidez-nous").themes == (Found("damp/mould", "mould"),)


def test_the_same_text_again_reads_the_same() -> None:
    one = reader()
    again = [one.read(response("mould again", language)) for language in ("en", "en", "fr", "", "en")]
    assert [r.language for r in again] == ["en", "en", "fr", "en", "en"]
    assert again[0] == again[1] == again[4]


def test_what_is_remembered_is_bounded_and_keeps_what_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readers, "REMEMBERED", 20)
    one = reader()
    looked: list[str] = []
    look = one._look
    monkeypatch.setattr(one, "_look", lambda text, language: looked.append(text) or look(text, language))
    for n in range(200):
        one.read(response(f"mould number {n}", "en"))
        one.read(response("the set phrase", "en"))
    assert len(one._newer) + len(one._older) <= 20
    assert looked.count("the set phrase") == 1
    assert len(looked) == 201


def test_a_long_text_is_read_but_not_remembered() -> None:
    one = reader()
    reading = one.read(response("so much mould " * 2000, "en"))
    assert reading.themes == (Found("damp/mould", "mould"),)
    assert not one._newer
