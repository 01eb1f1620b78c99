"""Phrases that grow are proposed, those that were always there are not, and nobody's own words are kept."""

import random

import pytest

from feedback.instants import Instant
from scoring.reading import Found
from scoring.topics import CANDIDATES, IN_WORDS, Topics, phrases_of

DAY = 86_400
BEGAN = 20_000
USUAL = ("the queue was long", "my parcel came late", "lovely staff as ever", "the price went up", "nothing to add")


def hear(topics: Topics, day: int, text: str, who: int, programme: str = "p") -> None:
    found = (Found("staff", "staff"),) if "staff" in text else ()
    topics.hear(programme, text, found, who, Instant((BEGAN + day) * DAY + who % 1000), ("survey", f"r{who}"))


def heard(days: int = 14, a_day: int = 60, flood: str = "", flooded: int = 20, seed: int = 1) -> Topics:
    """Quiet days, and then one on which *flooded* customers say *flood*."""
    topics, dice, who = Topics(), random.Random(seed), 0
    for day in range(days + 1):
        for _ in range(a_day):
            who += 1
            hear(topics, day, dice.choice(USUAL), who)
    for number in range(flooded if flood else 0):
        hear(topics, days, flood, 10**6 + number)
    return topics


def test_a_phrase_that_nobody_used_before_is_proposed_once_in_its_longest_form_with_its_responses() -> None:
    (topic,) = heard(flood="The booking page froze again.").proposed("p")
    assert topic.phrase == "booking page froze"
    assert (topic.count, topic.since) == (20, (BEGAN + 14) * DAY)
    assert topic.expected < 1
    assert topic.responses == tuple(("survey", f"r{10**6 + number}") for number in range(15, 20))


def test_what_people_always_say_is_not_proposed_however_many_answer() -> None:
    for seed in range(5):
        topics = heard(seed=seed)
        for who in range(600):
            hear(topics, 14, USUAL[who % len(USUAL)], 10**6 + who)
        assert topics.proposed("p") == []


def test_a_usual_phrase_that_grows_is_proposed() -> None:
    (topic,) = heard(flood="my parcel came late", flooded=200).proposed("p")
    assert topic.phrase == "parcel came late"
    assert topic.count > 2 * topic.expected


def test_one_customer_is_one_however_often_they_say_it() -> None:
    topics = heard()
    for _ in range(100):
        hear(topics, 14, "the booking page froze", 10**6)
    assert topics.proposed("p") == []


def test_nothing_is_proposed_before_a_week_is_known() -> None:
    assert heard(days=5, flood="the booking page froze").proposed("p") == []


def test_words_that_show_a_theme_are_no_news() -> None:
    assert phrases_of("Rude staff today", (Found("staff", "staff"),)) == ["rude", "today"]
    assert phrases_of("We rang 0123 456789 twice. Never again!") == ["rang", "twice"]
    assert phrases_of("It was the heating: no heating at all") == ["heating"]


def test_what_fewer_than_several_say_is_kept_nowhere_in_words() -> None:
    few = heard(flood="margery winterbottom was wonderful", flooded=IN_WORDS - 1).dump()
    enough = heard(flood="margery winterbottom was wonderful", flooded=IN_WORDS).dump()
    assert b"winterbottom" not in few
    assert b"winterbottom" in enough


def test_stored_and_taken_up_again_it_proposes_the_same_and_is_bounded() -> None:
    topics = heard(flood="the booking page froze")
    again = Topics.load(topics.dump())
    assert again.proposed("p") == topics.proposed("p") != []
    for number in range(CANDIDATES + 50):
        for who in range(IN_WORDS):
            hear(topics, 14, f"word{chr(97 + number % 26)}{chr(97 + number // 26)}".replace("1", ""), 10**7 + who)
    assert len(topics.dump()) < 1_200_000
    with pytest.raises(ValueError, match="form 9"):
        Topics.load(topics.dump().replace(b"version\x01", b"version\x09", 1))


def test_programmes_do_not_hear_one_another() -> None:
    topics = heard(flood="the booking page froze")
    hear(topics, 14, "the booking page froze", 1, programme="other")
    assert topics.proposed("other") == topics.proposed("nobody") == []
