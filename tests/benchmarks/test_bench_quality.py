"""What the quality benchmark counts."""

import gzip
from collections import Counter
from pathlib import Path

import pytest

from benchmarks.bench_quality import run
from benchmarks.quality_data import LABEL, SCORE, TEXT, column, in_order, languages, lines, target, themes_of
from benchmarks.quality_figures import auc, figures, theme_figures
from scoring.learned import Context


def test_auc_counts_pairs_and_even_ones_half() -> None:
    assert auc([0.9, 0.8, 0.1], [True, True, False]) == 1.0
    assert auc([0.1, 0.9], [True, False]) == 0.0
    assert auc([0.5, 0.5, 0.5], [True, False, False]) == 0.5
    assert auc([0.9, 0.5, 0.5, 0.1], [True, True, False, False]) == 0.875


def test_figures_count_every_text_once() -> None:
    made = figures([0.9, 0.8, 0.2, 0.1], [True, True, False, False], [True, False, True, False])
    assert made["confusion"] == {"caught": 1, "missed": 1, "false_alarms": 1, "passed": 1}
    assert made["macro_f1"] == made["precision"] == made["recall"] == 0.5
    assert sum(texts for texts, _, _ in made["calibration"]) == 4


def test_columns_are_guessed_or_given() -> None:
    header = ["id", "Review", "stars", "mood"]
    assert [column(header, "", guesses) for guesses in (TEXT, SCORE, LABEL)] == ["Review", "stars", ""]
    assert column(header, "mood", LABEL) == "mood"
    assert column(header, "absent", LABEL) == ""


def test_a_file_is_read_gzipped_or_not(tmp_path: Path) -> None:
    data = '\ufefftext,score\n"two\nlines",5\nNone,1\n'.encode()
    (tmp_path / "plain.csv").write_bytes(data)
    (tmp_path / "packed.csv.gz").write_bytes(gzip.compress(data))
    read = lines(tmp_path / "plain.csv")
    assert read == [{"text": "two\nlines", "score": "5"}, {"text": "None", "score": "1"}]
    assert lines(tmp_path / "packed.csv.gz") == read


def test_a_frozen_run_counts_only_what_it_did_not_learn() -> None:
    texts = [("Awful" if number % 2 else "Lovely", Context(language="en")) for number in range(20)]
    truths = [number % 2 == 1 for number in range(20)]
    for learned, counted in ((20, 20), (14, 6)):
        made = run(texts, truths, learned)
        assert made["vader"]["auc"] == made["blend"]["macro_f1"] == 1.0
        assert sum(made["vader"]["confusion"].values()) == counted


TEXTS = ("Awful, rude, terrible", "Lovely, kind, wonderful")


def rows(name: str, *cells: str) -> list[dict[str, str]]:
    return [{"text": TEXTS[n % 2], name: cell} for n, cell in enumerate(cells)]


@pytest.mark.parametrize(
    ("name", "cells", "negative", "rule"),
    [
        ("stars", ("1", "5", "2", "4", "3", "3"), "1_1___", "2 or less of 1 to 5 stars"),
        ("rating", ("1 star", "5 stars", "2/5", "4,5"), "1_1_", "2 or less of 1 to 5 stars"),
        ("score", ("0", "10", "6", "9"), "1_1_", "6 or less of NPS 0 to 10"),
        ("nps", ("1", "5", "1", "5", "6", "5"), "111111", "6 or less of NPS 0 to 10"),
        ("score", ("1", "10", "4", "7"), "1_1_", "4 or less of 1 to 10"),
        ("score", ("-2", "3", "-0.1", "0"), "1_1_", "below zero of a scale either side of zero, -2 to 3"),
        ("label", ("5", "1", "4", "2"), "1_1_", "4 or more of 1 to 5 stars"),
        ("label", ("1", "0", "1", "0"), "1_1_", "1 or more of 0 and 1"),
        ("label", ("0", "1", "0", "1"), "1_1_", "0 or less of 0 and 1"),
        ("sentiment", ("Negative", "Neutral", "very negative", "positive"), "1_1_", "says negative"),
        ("ces", ("1", "7", "3", "6"), "1_1_", "3 or less of 1 to 7"),
    ],
)
def test_a_scale_is_known_by_its_name_and_values(name: str, cells: tuple[str, ...], negative: str, rule: str) -> None:
    found = target(rows(name, *cells), name, "text")
    assert found.truths == [mark == "1" for mark in negative]
    assert found.rule == rule


def test_what_is_negative_can_be_said() -> None:
    assert target(rows("stars", "3", "4", ""), "stars", "text", "<=3").truths == [True, False, None]
    assert target(rows("mood", "sour", "sweet"), "mood", "text", "Sour,bitter").truths == [True, False]


@pytest.mark.parametrize(
    "dates",
    [
        ("2021-03-02", "2021-01-02", "", "2020-12-31T23:00:00Z"),
        ("31/12/2020", "01/11/2020", "", "02/01/2020"),
        ("12/31/2020", "11/01/2020", "", "01/02/2020"),
        ("3 Mar 2021", "2 Jan 2021", "", "1 Jan 2021"),
        ("1614729600", "1609545600", "", "1609459200"),
        ("Wed, 03 Mar 2021 10:00:00 GMT", "Sat, 02 Jan 2021 10:00:00 GMT", "", "Fri, 01 Jan 2021 10:00:00 +0200"),
    ],
)
def test_dates_are_read_however_they_are_written(dates: tuple[str, ...]) -> None:
    given = [{"text": str(n), "date": date} for n, date in enumerate(dates)]
    assert [row["text"] for row in in_order(given, "date")[0]] == ["3", "1", "2", "0"]


def test_without_a_readable_date_the_file_has_its_own_order() -> None:
    given = [{"text": "b", "date": "soon"}, {"text": "a", "date": "later"}]
    assert in_order(given, "date") == (given, "order of the file; the dates of date are not readable")
    assert in_order(given, "") == (given, "order of the file")


def test_a_language_few_write_is_taken_for_the_commonest() -> None:
    english, french = "They never rang me back about the repair", "Le personnel était vraiment très désagréable hier"
    assert languages([english] * 30 + [french], "") == ["en"] * 31
    assert languages([english, french] * 5, "") == ["en", "fr"] * 5
    assert languages([english], "cy") == ["cy"]


def test_themes_are_parted_at_bars_and_a_comma_may_belong_to_one() -> None:
    assert themes_of("Food, drink & more|Parking") == {"Food, drink & more", "Parking"}
    assert themes_of("food,parking") == {"food", "parking"}
    assert themes_of(" ") == frozenset()


def test_themes_are_counted_each_and_together() -> None:
    made = theme_figures([{"a"}, {"a", "b"}, set()], [{"a"}, {"b"}, {"c"}], Counter(a=30, b=2, c=1))
    assert made["micro_f1"] == made["precision"] == made["recall"] == 0.6667
    assert made["macro_f1"] == round((2 / 3 + 1 + 0) / 3, 4)
    assert made["macro_f1_from_20_texts"] == 0.6667


def test_a_language_that_vader_cannot_read_is_measured_as_learned() -> None:
    texts = [("nul et lent" if n % 2 else "rapide et bien", Context(language="fr")) for n in range(400)]
    made = run(texts, [n % 2 == 1 for n in range(400)], 400)
    assert made["vader"]["auc"] == 0.5
    assert made["blend"]["auc"] > 0.9
