"""`tocsin backfill`: a history teaches and pages nobody, as its operator sees it."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from connectors.embedded import Embedded
from feedback.instants import Instant, rfc3339
from tests.console.test_cli import tocsin, until
from tests.console.test_reloading import House
from tests.leftovers import shut_down

SET = """
set: mine
roster: mine
attributes: {site: text}
rules:
  - id: low
    when: {all: ['scores.nps <= 6']}
    case: {type: detractor, owner: lead}
  - id: hazard
    when: {all: ['text.contains("gas")']}
    case: {type: hazard, owner: lead, statutory: true, clocks: {first_response: {within: 24h}}}
  - id: new-channel
    window: {kind: new_value, by: none, value: channel, learn: 14d}
    case: {type: systemic, owner: lead}
  - id: many
    when: {all: ['scores.nps <= 6']}
    window: {kind: count, by: site, count: 5, within: 1d}
    case: {type: many, owner: lead}
"""
DAY_S = 86_400
BEGAN = 1_790_000_000


def record(number: int, at: int, **more: Any) -> dict[str, Any]:
    response = {"id": f"r{number}", "customer": f"c{number}", "scores": {"nps": 2}, "channel": "sms", "language": "en"}
    return {**response, "attributes": {"site": "leeds"}, "occurred_at": rfc3339(Instant(at)), **more}


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    made = House(tmp_path)
    (tmp_path / "rules" / "sets" / "mine.yaml").write_text(SET)
    lines = [record(n, BEGAN + n * DAY_S // 4) for n in range(200)]
    lines[7] |= {"text": "I smell gas", "scores": {}}
    lines += [{"id": "timeless", "scores": {"nps": 1}}]
    lines += [{"kind": "action", "id": "a", "case": "c-1-0", "do": "close", "by": "ann"}]
    (tmp_path / "history.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    yield made
    shut_down(tmp_path / ".tocsin")


def test_a_history_opens_only_what_the_law_asks_for_and_tells_nobody(house: House) -> None:
    done = tocsin(house.folder, "backfill", "history.jsonl", "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told == {"opened": 1, "rejected": 1, "withheld": {"low": 199}, "open_cases": 1, "stopped": False}
    kept = Embedded(house.folder / ".tocsin")
    try:
        (opened,) = house.events("case.opened")
        assert (opened["history"], opened["type"]) == (True, "hazard")
        (armed,) = house.events("clock.armed")
        said_at = BEGAN + 7 * DAY_S // 4
        assert armed["due_at"] == rfc3339(Instant(said_at + DAY_S)), "the law counts from when it was said"
        assert house.events("notice.sent") == house.events("clock.breached") == []
        assert "occurred_at" in house.events("response.rejected")[0]["detail"]
    finally:
        kept.close()
    again = tocsin(house.folder, "backfill", "history.jsonl", "--json")
    assert json.loads(again.stdout)["withheld"] == {}, "what was read is not read again"


def test_what_was_learned_is_known_when_the_engine_starts(house: House) -> None:
    assert tocsin(house.folder, "backfill", "history.jsonl").returncode == 0
    with house.running():
        until(lambda: house.events("clock.breached"))  # of the case that the law asked for, late as it is
        assert house.events("clock.breached")[0]["late"] is True
        house.give({"id": "n1", "customer": "x1", "channel": "sms", "language": "en", "scores": {"nps": 9}})
        house.give({"id": "n2", "customer": "x2", "channel": "fax", "language": "en", "scores": {"nps": 9}})
        until(lambda: [case for case in house.events("case.opened") if case["type"] == "systemic"])
        (found,) = [case for case in house.events("case.opened") if case["type"] == "systemic"]
        assert found["alert"]["value"] == "fax", "sms was heard for weeks, fax never"
        for number in range(5):
            house.hear(f"m{number}", 1, site="leeds")
        until(lambda: [case for case in house.events("case.opened") if case["type"] == "many"])


def test_while_the_engine_runs_there_is_no_backfill(house: House) -> None:
    with house.running():
        refused = tocsin(house.folder, "backfill", "history.jsonl")
        assert refused.returncode == 2
        assert "another" in refused.stderr
