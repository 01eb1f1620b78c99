"""Phrases found as people write them, and which match counts when several meet."""

import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scoring.reading import Found
from scoring.taxonomy import MAX_FORMS, Matcher, Node, fold, forms, with_ancestors


def node(path: str, *phrases: str, excepts: tuple[str, ...] = ()) -> Node:
    return Node(path=path, title=path, phrases=phrases, excepts=excepts)


def find(text: str, *nodes: Node) -> list[tuple[str, str]]:
    return [(found.path, found.phrase) for found in Matcher(nodes).find(text, fold(text))]


@pytest.mark.parametrize(
    ("text", "phrase"),
    [
        ("There is no heating", "no heating"),
        ("NO HEATING!!", "NO HEATING"),
        ("no   heating", "no   heating"),
        ("no\n\theating", "no\n\theating"),
        ("no-heating", "no-heating"),
        ("no – heating", "no – heating"),
        ("(no heating)", "no heating"),
        ("x  y   no \xa0 heating  z", "no \xa0 heating"),
        ("İİ no  heating", "no  heating"),
        ("Straße ﬁx 😀 no heating", "no heating"),
    ],
)
def test_a_phrase_is_found_as_people_write_it(text: str, phrase: str) -> None:
    assert find(text, node("heating", "no heating")) == [("heating", phrase)]


@pytest.mark.parametrize("text", ["", "no", "heating", "no. heating", "piano heating", "no heatings", "no heating2"])
def test_a_phrase_is_found_as_whole_words_only(text: str) -> None:
    assert find(text, node("heating", "no heating")) == []


def test_mould_is_not_in_moulding_unless_a_star_says_so() -> None:
    assert find("plaster moulding", node("mould", "mould")) == []
    assert find("plaster moulding", node("mould", "mould*")) == [("mould", "moulding")]
    assert find("plaster moulding", node("mould", "mould*", excepts=("moulding",))) == []


@pytest.mark.parametrize("apostrophe", ["'", "’", "‘", "ʼ", "`", ""])
def test_an_apostrophe_may_be_straight_curly_or_left_out_of_not(apostrophe: str) -> None:
    word = f"can{apostrophe}t"
    assert find(f"I {word} breathe", node("harm", "can't breathe")) == [("harm", f"{word} breathe")]


def test_a_possessive_does_not_hide_a_word() -> None:
    assert find("the landlord’s fault", node("landlord", "landlord")) == [("landlord", "landlord")]


@pytest.mark.parametrize("word", ["leak", "leaks", "leaking", "leakage"])
def test_a_star_takes_any_ending(word: str) -> None:
    assert find(f"it {word}, again", node("leaks", "leak*")) == [("leaks", word)]


def test_brackets_list_forms() -> None:
    assert forms("leak(s|ed|)") == ("leaks", "leaked", "leak")
    assert forms("(no|without) heating") == ("no heating", "without heating")
    assert forms("(very|) damp wall*") == ("very damp wall*", "damp wall*")


@pytest.mark.parametrize(
    "phrase", ["", "   ", "*", "(a|b", "a|b", "a)", "((a|b)|c)", "le*ak", "leak* badly", "(|) ", "'s"]
)
def test_a_malformed_phrase_is_refused(phrase: str) -> None:
    with pytest.raises(ValueError, match=r"[a-z]"):
        forms(phrase)


def test_a_phrase_of_too_many_forms_is_refused_before_they_are_made() -> None:
    with pytest.raises(ValueError, match=str(MAX_FORMS)):
        forms(" ".join(["(a|b)"] * 60))


def test_a_malformed_phrase_in_a_matcher_is_taken_as_it_stands() -> None:
    assert find("ask sam (days", node("sam", "Sam (days")) == [("sam", "sam (days")]
    assert find("anything", node("nothing", "*", "")) == []


def test_several_themes_come_in_order_of_appearance() -> None:
    nodes = (node("heating", "boiler"), node("mould", "mould"), node("staff", "rude"))
    text = "Rude man, mould everywhere, and the boiler is off. Mould!"
    assert find(text, *nodes) == [("staff", "Rude"), ("mould", "mould"), ("heating", "boiler")]


def test_of_a_theme_and_its_topic_only_the_topic_is_reported() -> None:
    nodes = (node("damp", "damp"), node("damp/mould", "black mould"), node("damp/mould/health", "spores"))
    assert find("damp, black mould, spores", *nodes) == [("damp/mould/health", "spores")]
    assert find("damp and black mould", *nodes) == [("damp/mould", "black mould")]


def test_a_theme_whose_name_begins_like_another_is_not_below_it() -> None:
    assert find("rent rentals", node("rent", "rent"), node("rent-a/b", "rentals")) == [
        ("rent", "rent"),
        ("rent-a/b", "rentals"),
    ]


def test_within_a_theme_the_longer_match_counts() -> None:
    nodes = (node("billing/refund", "money back"), node("billing/thanks", "money back so quickly"))
    assert find("got my money back so quickly", *nodes) == [("billing/thanks", "money back so quickly")]


def test_different_themes_do_not_disturb_each_other() -> None:
    nodes = (node("heating", "boiler"), node("staff", "boiler man was rude"))
    assert find("boiler man was rude", *nodes) == [("staff", "boiler man was rude"), ("heating", "boiler")]


def test_the_same_words_may_show_two_topics() -> None:
    nodes = (node("a/x", "cold"), node("a/y", "cold"))
    assert find("so cold", *nodes) == [("a/x", "cold"), ("a/y", "cold")]


def test_an_except_silences_what_it_overlaps_and_nothing_else() -> None:
    mould = node("mould", "mould", excepts=("no mould",))
    assert find("there is no mould here", mould) == []
    assert find("no mould in the hall, but mould in the bath", mould) == [("mould", "mould")]


def test_an_except_silences_below_its_theme_but_not_elsewhere() -> None:
    nodes = (node("pests", excepts=("computer mouse",)), node("pests/mice", "mouse"), node("it", "mouse"))
    assert find("a computer mouse", *nodes) == [("it", "mouse")]


def test_a_match_longer_than_the_except_counts() -> None:
    mould = node("mould", "mould", "no mould wash", excepts=("no mould",))
    assert find("no mould wash was done", mould) == [("mould", "no mould wash")]


def test_themes_and_intents_are_found_in_one_pass_and_kept_apart() -> None:
    matcher = Matcher([node("leave", "cancel")], [node("leave", "cancel my contract", excepts=("not cancel",))])
    text = "Cancel my contract"
    assert matcher.find_both(text, fold(text)) == ((Found("leave", "Cancel"),), (Found("leave", text),))


def test_no_phrases_find_nothing() -> None:
    assert find("anything at all") == []


@pytest.mark.parametrize("text", ["no mould " * 3640, "mould " * 5461, "mould" * 6553, "x" * 32_768, " " * 32_768])
def test_a_text_of_the_greatest_length_is_read_to_its_end(text: str) -> None:
    found = find(text + " leak", node("mould", "mould*", excepts=("no mould",)), node("leaks", "leak"))
    assert ("leaks", "leak") in found


def test_only_one_letter_grows_in_lower_case() -> None:
    growing = [c for n in range(sys.maxunicode + 1) if len((c := chr(n)).lower()) != 1]
    assert growing == ["İ"]


@given(st.text())
def test_folding_moves_no_letter(text: str) -> None:
    assert len(fold(text)) == len(text)


@given(st.text())
def test_folding_twice_is_folding_once(text: str) -> None:
    assert fold(fold(text)) == fold(text)


WORDS = st.sampled_from(("damp", "mould", "mouldy", "no", "wall", "black", "Damp", "MOULD", "wall’s", "İ", "😀"))
GAPS = st.sampled_from((" ", "  ", "-", ", ", "\n", "."))


@given(st.lists(st.tuples(WORDS, GAPS), max_size=25))
def test_one_pass_finds_what_a_search_for_each_phrase_finds(parts: list[tuple[str, str]]) -> None:
    text = "".join(word + gap for word, gap in parts)
    plain = "".join(c if c.isalnum() else " " if c.isspace() or c == "-" else "." for c in fold(text))
    padded = "." + " ".join(plain.split(" ")) + "."
    while "  " in padded:
        padded = padded.replace("  ", " ")
    expected = {p for p in ("damp", "black mould", "no wall", "wall") if _stands_in(p, padded)}
    nodes = [node(p.replace(" ", "-"), p) for p in ("damp", "black mould", "no wall", "wall")]
    assert {path.replace("-", " ") for path, _ in find(text, *nodes)} == expected


def _stands_in(phrase: str, text: str) -> bool:
    start = text.find(phrase)
    while start >= 0:
        if not text[start - 1].isalnum() and not text[start + len(phrase)].isalnum():
            return True
        start = text.find(phrase, start + 1)
    return False


@given(st.lists(st.tuples(WORDS, GAPS), max_size=25))
def test_every_phrase_reported_stands_in_the_text(parts: list[tuple[str, str]]) -> None:
    text = "".join(word + gap for word, gap in parts)
    for _, phrase in find(text, node("a", "black mould"), node("b", "mould*"), node("c", "no wall"), node("d", "damp")):
        assert phrase in text
        assert fold(phrase)[0] in "bmnd"


def test_ancestors_come_deepest_first() -> None:
    assert with_ancestors("a/b/c") == ["a/b/c", "a/b", "a"]
