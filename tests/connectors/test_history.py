"""A history is heard in the order of its time, each record once, whatever order it stands in."""

import json
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from connectors.files import Lines
from connectors.history import History
from connectors.journal import Journal
from feedback.instants import Instant, rfc3339

BASE = 1_790_000_000


def history(folder: Path, lines: list[dict[str, object] | str], **more: object) -> History:
    path = folder / "h.jsonl"
    path.write_text("\n".join(one if isinstance(one, str) else json.dumps(one) for one in lines))
    return History(path, Lines(), source="h", programme="default", **more)  # type: ignore[arg-type]


def response(number: int, at: int) -> dict[str, object]:
    return {"id": str(number), "occurred_at": rfc3339(Instant(BASE + at))}


@given(times=st.lists(st.integers(0, 50), max_size=40), window=st.integers(1, 45))
def test_every_record_is_heard_once_in_order_and_those_within_the_window_at_their_own_time(
    tmp_path_factory: object, times: list[int], window: int
) -> None:
    folder = tmp_path_factory.mktemp("h")  # type: ignore[attr-defined]
    found = history(folder, [response(n, at) for n, at in enumerate(times)], window=window)
    heard = list(found)
    received = [envelope.received_at - BASE for envelope in heard]
    own = [times[int(json.loads(envelope.raw)["id"])] for envelope in heard]
    assert received == sorted(received)
    assert sorted(own) == sorted(times)
    assert sum(at != mine for at, mine in zip(received, own, strict=True)) == found.late
    assert found.sorted + found.late == sum(at < max(times[:n], default=0) for n, at in enumerate(times))
    if window >= len(times):
        assert (own, found.late) == (sorted(times), 0)


def test_an_action_is_received_when_it_was_done_and_what_says_no_time_at_the_time_reached(tmp_path: Path) -> None:
    action = {"kind": "action", "id": "a", "at": rfc3339(Instant(BASE + 9))}
    found = history(tmp_path, [response(1, 5), action, {"id": "2"}, "no json", {"kind": "control", "do": "rules"}])
    assert [envelope.received_at - BASE for envelope in found] == [5, 9, 9, 9]
    assert (found.untimed, found.controls, found.records) == (2, 1, 4)


def test_what_lies_outside_is_left_out_and_the_last_line_needs_no_newline(tmp_path: Path) -> None:
    found = history(tmp_path, [response(n, n) for n in range(5)], since=Instant(BASE + 1), until=Instant(BASE + 4))
    assert [json.loads(envelope.raw)["id"] for envelope in found] == ["1", "2", "3"]
    assert found.outside == 2


def test_a_journal_keeps_the_received_times_that_it_has_and_is_not_touched(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j", now=lambda: BASE + 0.5)
    journal.append((raw, "web", "default", "", "") for raw in (b'{"id": "1", "occurred_at": ""}', b'{"id": "2"}'))
    journal.close()
    before = {path.name: path.read_bytes() for path in (tmp_path / "j").iterdir()}
    found = History(tmp_path / "j", None, source="j", programme="other")
    assert [(e.received_at, e.source, e.programme) for e in found] == [(BASE + 0.5, "web", "default")] * 2
    assert {path.name: path.read_bytes() for path in (tmp_path / "j").iterdir()} == before
