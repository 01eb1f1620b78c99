"""Who may act for one programme cannot act on another's cases, though a case id leads to the shard of both."""

from tests.builders import START, book, engine, envelope
from tests.cases.test_second_thoughts import FILES


def test_an_action_of_one_programme_finds_no_case_of_another() -> None:
    running = engine(book({"default": FILES, "housing": FILES}))
    heard = running.hear([envelope({"id": "1", "customer": "c", "text": "damp"})])
    (opened,) = (event for event in heard if event.type == "case.opened")
    close = {"kind": "action", "id": "a", "case": opened.case, "do": "note", "by": "ann", "reason": "seen"}
    said = running.hear([envelope(close, START + 60, "2", programme="housing", principal="key:housing")])
    assert [(e.type, e.programme, e.data["reason"]) for e in said] == [("action.refused", "housing", "unknown_case")]
    said = running.hear([envelope(close, START + 61, "3")])
    assert "action.refused" not in {e.type for e in said}
