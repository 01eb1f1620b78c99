"""The language of a text: declared, or told by English words, a detector, or not at all."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scoring.language import CANDIDATES, declared, detector
from scoring.taxonomy import fold


def detect(text: str) -> str:
    return detector().detect(fold(text))


@pytest.mark.parametrize(
    ("given_as", "language"),
    [("en", "en"), ("en-GB", "en"), ("EN", "en"), ("en_US.UTF-8", "en"), ("fr-CA", "fr"), ("zh-Hant-TW", "zh"),
     (" cy ", "cy"), ("cym", "cym"), ("", ""), ("English", ""), ("e", ""), ("-", ""), ("12", "")],
)  # fmt: skip
def test_a_declared_language_is_its_short_code(given_as: str, language: str) -> None:
    assert declared(given_as) == language


@pytest.mark.parametrize(
    "text",
    [
        "Awful service", "ok", "OK!", "Nothing", "nothing.", "None", "No", "no comment", "n't happy", "Rubbish!!!",
        "Staff", "Great", "waiting times", "Prompt service", "Faster response.", "Mould again", "thx", "no idea.",
        "don’t know", "cant complain", "the café", "Use…..", "£20 more", "Better parking", "boiler broken AGAIN",
        "The heating has been off since Friday and nobody rings back",
        "Spoke to Siobhán O’Brien, who sorted it within the hour",
        "Been waiting 6 weeks for a plumber!!! Joke.",
        "PLEASE CALL ME ABOUT THE LEAK IN MY KITCHEN",
        "My son Paweł has asthma and his room is covered in black mould",
    ],
)  # fmt: skip
def test_english_is_not_taken_for_another_language(text: str) -> None:
    assert detect(text) == "en"


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("fr", "Le chauffage ne marche plus depuis trois jours"),
        ("fr", "Très bon service, merci beaucoup à toute l’équipe"),
        ("fr", "Service client nul, je pars à la concurrence"),
        ("de", "Die Heizung funktioniert seit drei Tagen nicht mehr"),
        ("de", "Was in der Mail stand war leider nicht so"),
        ("de", "Alles super, gerne wieder bei Ihnen"),
        ("es", "La calefacción no funciona desde hace tres días"),
        ("es", "Nadie contesta nunca al teléfono"),
        ("pl", "W pokoju mojego syna jest pleśń"),
        ("pl", "Prosze o szybki kontakt w tej sprawie"),
        ("cy", "Mae llwydni yn ystafell wely fy mab"),
        ("cy", "Diolch am eich help gyda’r boeler"),
        ("ro", "Vreau sa vorbesc cu un manager acum"),
        ("ar", "التدفئة لا تعمل منذ ثلاثة أيام"),
        ("ur", "تین دن سے ہیٹنگ کام نہیں کر رہی ہے"),
        ("zh", "暖气已经三天没有工作了"),
        ("pa", "ਹੀਟਿੰਗ ਤਿੰਨ ਦਿਨਾਂ ਤੋਂ ਕੰਮ ਨਹੀਂ ਕਰ ਰਹੀ"),
    ],
)
def test_another_language_is_recognised(language: str, text: str) -> None:
    assert detect(text) == language


@pytest.mark.parametrize(
    "text", ["muy bien", "No funciona", "sehr gut", "merci beaucoup", "Service nul", "bardzo dobrze"]
)
def test_a_short_text_without_english_words_is_not_called_english(text: str) -> None:
    assert detect(text) == ""


@pytest.mark.parametrize("text", ["", " ", "!!!", "?", ":)", "👍👍", "12345", "10/10", "s", "- -", "……"])
def test_symbols_have_no_language(text: str) -> None:
    assert detect(text) == ""


def test_a_long_text_is_told_by_its_beginning() -> None:
    assert detect("Die Heizung funktioniert nicht mehr. " * 800) == "de"
    assert detect("The heating does not work any more. " * 800) == "en"


@settings(deadline=None)
@given(st.text(max_size=300))
def test_any_unicode_has_a_known_language_or_none(text: str) -> None:
    assert detect(text) in {*CANDIDATES, ""}
