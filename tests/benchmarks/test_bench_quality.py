"""What the quality benchmark counts."""

import gzip
from pathlib import Path

from benchmarks.bench_quality import LABEL, SCORE, TEXT, auc, column, figures, lines, run
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
