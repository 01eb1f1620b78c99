"""The fast path against the package it copies: equal in all four numbers, on everything we can think of."""

from functools import lru_cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from vaderSentiment.vaderSentiment import BOOSTER_DICT, NEGATE, SPECIAL_CASES, SentimentIntensityAnalyzer

from scoring import vader as fast
from scoring.reading import Sentiment
from scoring.vader import vader


@lru_cache(maxsize=1)
def package() -> SentimentIntensityAnalyzer:
    return SentimentIntensityAnalyzer()


def by_package(text: str) -> Sentiment:
    scores = package().polarity_scores(text)
    return Sentiment(scores["compound"], scores["pos"], scores["neu"], scores["neg"])


LEXICON = sorted(package().lexicon)
EMOJI = sorted(package().emojis)
TURNS = (
    "but", "But", "BUT", "but,", "least", "at least", "very least", "kind of", "sort of", "just enough", "kind", "of",
    "no", "no,", "No", "nor", "or", "never so", "never this", "so", "this", "never", "without doubt", "without a doubt",
    "doubt", "isn't", "ISN'T", "isn’t", "n't", "uh-uh", *SPECIAL_CASES,
)  # fmt: skip
PLAIN = ("the", "boiler", "I", "A", "was", "is", "café", "ΑΣ", "İstanbul", "Straße", "東京", "ǅ", "...", "&amp;", "-")

words = st.one_of(
    st.sampled_from(LEXICON),
    st.sampled_from(LEXICON),
    st.sampled_from(sorted(BOOSTER_DICT)),
    st.sampled_from(NEGATE),
    st.sampled_from(TURNS),
    st.sampled_from(TURNS),
    st.sampled_from(PLAIN),
    st.sampled_from(EMOJI),
    st.sampled_from((":)", ":-(", ":D", "<3", ";)", ">:(", "XD", "o.O")),
)
spelt = st.builds(
    lambda word, case, before, after: before + case(word) + after,
    words,
    st.sampled_from((str, str, str, str.upper, str.title)),
    st.sampled_from(("", "", "", "", '"', "(", "*")),
    st.sampled_from(("", "", "", "", ",", ".", "!", "!!!", "!!!!!", "?", "??", "????", ")", "'s", "…")),
)
gaps = st.sampled_from((" ", " ", " ", " ", "  ", "\n", "\t", "\xa0", ""))
sentences = st.lists(st.tuples(spelt, gaps), max_size=30).map(lambda parts: "".join(w + g for w, g in parts))


@settings(max_examples=1500, deadline=None)
@given(sentences)
def test_generated_feedback_scores_as_in_the_package(text: str) -> None:
    assert vader().score(text) == by_package(text)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from(("good", "good,", "bad", "but", "GOOD", "the", "not", "very")), max_size=40))
def test_equal_feelings_around_a_but_are_shifted_as_in_the_package(parts: list[str]) -> None:
    text = " ".join(parts)
    assert vader().score(text) == by_package(text)


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=200))
def test_any_unicode_scores_as_in_the_package(text: str) -> None:
    assert vader().score(text) == by_package(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "   \n\t ",
        "!!!",
        "Nobody came. AGAIN. I waited in all day and nobody even had the decency to ring!!",
        "The engineer was lovely but the boiler is still broken, and we have no hot water.",
        "At least it isn't a horrible flat.",
        "least helpful call I have ever made",
        "very least helpful",
        "The adviser was kind of helpful, sort of friendly, not rude.",
        "That was the shit, to die for, the bomb, a kiss of death? yeah right",
        "Never so happy with a repair; never this happy; without doubt great",
        "without a doubt the best",
        "NOT HAPPY",
        "I am NOT happy, really NOT",
        "ALL CAPS AND VERY ANGRY",
        "no problem, no good, no, bad",
        "no good or great help, no nor bad",
        "Great service 😀👍 thanks😀😀great 😡",
        "😀",
        " 😀 ",
        "ℹ️ information ™ good ©",
        "👩‍🔧 came and was brilliant ❤️",
        "good good good but good good bad bad but good",
        "Can't fault it. Couldn't be happier. cant complain",
        "I’m not happy; it isn’t good",
        "kind of",
        "kind",
        "it is kind of good and they are kind",
        "so so so good this this good",
        "is it good? is it?? really??? is it good????",
        "x" * 500 + " good",
    ],
)
def test_our_own_sentences_score_as_in_the_package(text: str) -> None:
    assert vader().score(text) == by_package(text)


def test_a_long_text_scores_as_in_the_package() -> None:
    text = "The heating is STILL not working, but staff were kind of helpful! " * 30
    assert vader().score(text) == by_package(text)


def test_an_empty_text_has_four_zeros() -> None:
    assert vader().score("") == Sentiment(0.0, 0.0, 0.0, 0.0)


def test_a_text_without_feeling_is_wholly_neutral() -> None:
    assert vader().score("the engineer came on Tuesday") == Sentiment(0.0, 0.0, 1.0, 0.0)


def test_no_share_is_a_negative_zero() -> None:
    assert str(vader().score("good").negative) == "0.0"


def test_a_stream_of_new_spellings_does_not_grow_memory_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    scorer = fast.Vader()
    vocabulary = scorer._word.__self__  # type: ignore[attr-defined]
    monkeypatch.setattr(fast, "REMEMBERED_SPELLINGS", 100)
    for n in range(1000):
        scorer.score(f"good{n} bad{n}")
    assert len(vocabulary) == 100
    assert scorer.score("utterly dreadful") == by_package("utterly dreadful")


def test_a_very_long_word_is_not_remembered() -> None:
    scorer = fast.Vader()
    scorer.score("g" + "o" * 10_000 + "d")
    assert max(map(len, scorer._word.__self__), default=0) <= fast.LONGEST_REMEMBERED  # type: ignore[attr-defined]
