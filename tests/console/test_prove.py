"""The proving commands as a rule author types them."""

import json
from pathlib import Path
from typing import Any

import pytest

from cases.events import encode, readable
from connectors.history import History
from connectors.vault import Vault
from feedback.decode import Decoder
from feedback.instants import Instant
from flows.books import book_of
from flows.dead_letters import customer_of
from flows.erasures import Erasures
from flows.settings import DEFAULT_FILE, load
from flows.virtual import VirtualEngine
from tests.console.test_cli import tocsin

STORY = """
- title: A detractor is heard
  rules: contact-centre
  steps: [{response: {scores: {nps: SCORE}}, fires: instant-detractor}]
"""


def test_a_story_that_goes_as_written_is_quiet_and_one_that_does_not_exits_1(tmp_path: Path) -> None:
    (tmp_path / "good.yaml").write_text(STORY.replace("SCORE", "6"))
    (tmp_path / "bad.yaml").write_text(STORY.replace("SCORE", "7"))
    good = tocsin(tmp_path, "test", "good.yaml")
    assert (good.returncode, good.stdout) == (0, "")
    bad = tocsin(tmp_path, "test", "good.yaml", "bad.yaml")
    assert bad.returncode == 1
    assert bad.stdout.startswith("bad.yaml:4:11: A detractor is heard\n")
    assert '  ? instant-detractor: not true: bands.nps == "detractor" (bands.nps = passive)\n' in bad.stdout
    failures = json.loads(tocsin(tmp_path, "test", "bad.yaml", "--json").stdout)["failures"]
    assert [(f["file"], f["line"], f["step"]) for f in failures] == [("bad.yaml", 4, 1)]


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (("test", "nowhere.yaml"), 2, "nowhere.yaml does not exist"),
        (("test", "--rules", "."), 2, "no directory of rules"),
        (("test", "odd.yaml"), 1, "odd.yaml:1:3: error: found neither rules nor files"),
    ],
)
def test_a_mistake_says_what_to_do(tmp_path: Path, words: tuple[str, ...], code: int, told: str) -> None:
    (tmp_path / "odd.yaml").write_text("- {title: T, steps: []}\n")
    done = tocsin(tmp_path, *words)
    assert (done.returncode, told in done.stderr, "Traceback" in done.stderr) == (code, True, False), done.stderr


def explained(folder: Path, what: str) -> dict[str, Any]:
    done = tocsin(folder, "explain", what, "--json")
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def outcomes(found: dict[str, Any]) -> dict[str, str]:
    return {rule["rule"]: rule["outcome"] for rule in found["rules"]}


def test_a_response_that_was_heard_is_explained_with_whom_it_told_and_one_that_fired_nothing_too(
    tmp_path: Path,
) -> None:
    heard = [
        {"id": "1", "customer": "c1", "language": "en", "scores": {"nps": 2}, "text": "Nobody rang back."},
        {"id": "2", "customer": "c2", "language": "en", "scores": {"nps": 7}, "text": "Fine."},
    ]
    (tmp_path / "in.jsonl").write_text("".join(json.dumps(one) + "\n" for one in heard))
    (tmp_path / "one.json").write_text(json.dumps(heard[0]))
    assert tocsin(tmp_path, "run", "--input", "in.jsonl").returncode == 0
    first, second, file = (explained(tmp_path, what) for what in ("1", "2", "one.json"))
    assert outcomes(first) == outcomes(file)
    assert [rule for rule, outcome in outcomes(first).items() if outcome == "fired"] == ["instant-detractor"]
    (case,) = first["cases"]
    assert [told["type"] for told in case["told"]] == [
        "case.opened", "case.assigned", "customer.acknowledged", "notice.sent",
    ]  # fmt: skip
    assert case["told"][-1]["email"].endswith("@contact.example")
    assert (second["cases"], file["cases"]) == ([], [])
    assert second["response"]["source"] == "in.jsonl"
    assert "fired" not in outcomes(second).values()
    unknown = tocsin(tmp_path, "explain", "3")
    assert (unknown.returncode, "heard a response of that id" in unknown.stderr) == (1, True)


def test_a_response_that_the_engine_would_reject_is_said_to_be(tmp_path: Path) -> None:
    (tmp_path / "bad.json").write_text('{"id": "1", "scores": {"nps": 11}}')
    done = tocsin(tmp_path, "explain", "bad.json")
    assert (done.returncode, "score_out_of_range" in done.stderr) == (1, True)


def test_a_response_of_a_history_is_explained_among_all_the_others(tmp_path: Path) -> None:
    records = [
        {
            "id": f"r{n}", "customer": f"c{n}", "occurred_at": f"2026-02-03T10:0{n}:00Z", "language": "en",
            "scores": {"nps": 1}, "attributes": {"site": "Hull" if n != 1 else "Leeds"},
        }
        for n in range(7)
    ]  # fmt: skip
    (tmp_path / "h.jsonl").write_text("".join(json.dumps(one) + "\n" for one in records))
    done = tocsin(tmp_path, "explain", "r4", "--history", "h.jsonl", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    held = {rule["rule"]: rule["held"] for rule in found["windows"] if rule["outcome"] == "counts"}
    assert held["detractors-at-a-site"] == [
        "3 others had counted there in the 1h before it, the last at 2026-02-03T10:03:00Z"
    ]
    (case,), (alert,) = found["cases"], found["alerts"]
    assert [rule["id"] for rule in case["rules"]] == ["instant-detractor"]
    assert "case.opened" in {told["type"] for told in case["told"]}
    assert [rule["id"] for rule in alert["rules"]] == ["detractors-at-a-site"]
    assert alert["counted"]["count"] == 5  # with r5, the fifth at that site, which raised it
    shown = tocsin(tmp_path, "explain", "r4", "--history", "h.jsonl").stdout
    assert "    3 others had counted there" in shown
    unknown = tocsin(tmp_path, "explain", "r9", "--history", "h.jsonl")
    assert (unknown.returncode, "holds no response of the id r9" in unknown.stderr) == (1, True)


HISTORY = [
    {"id": "2", "customer": "c2", "occurred_at": "2026-02-03T10:00:00Z", "language": "en", "scores": {"nps": 6}},
    {"id": "1", "customer": "c1", "occurred_at": "2026-02-02T10:00:00Z", "language": "en", "scores": {"nps": 2}},
]


def test_a_history_is_replayed_and_compared_and_nothing_is_kept(tmp_path: Path) -> None:
    (tmp_path / "h.jsonl").write_text("".join(json.dumps(one) + "\n" for one in HISTORY))
    done = tocsin(tmp_path, "replay", "h.jsonl", "--compare", "housing", "--until", "2026-02-06", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["history"] | {"heard": 2, "sorted": 1} == found["history"]
    assert (found["ended_at"], found["open_cases"]) == ("2026-02-06T00:00:00Z", 2)
    assert found["clocks"]["first_response"] == 2
    change = found["changes"]["instant-detractor"]
    assert (change["only_a"], change["only_b"], change["both"]) == (2, 0, 0)
    assert change["samples_a"][0]["why_not"] == "no rule of that id"
    shown = tocsin(tmp_path, "replay", "h.jsonl")
    assert "instant-detractor" in shown.stdout
    assert "sorted 1" in shown.stdout
    assert sorted(path.name for path in tmp_path.iterdir()) == ["h.jsonl"]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("nowhere.jsonl",), "nowhere.jsonl does not exist"),
        (("h.jsonl", "--rules", "nope"), "neither a directory with sets/ nor a set of"),
        (("h.jsonl", "--from", "yesterday"), "--from: 'yesterday' is not an RFC 3339 time"),
        (("h.jsonl", "--from", "2027-01-01"), "2 lie outside --from and --until"),
        (("h.jsonl", "--programme", "other"), "programme other is not declared"),
        ((".",), "is a folder and no journal"),
        (("h.txt",), "its name does not say what it is"),
    ],
)
def test_a_history_that_cannot_be_replayed_says_what_to_do(tmp_path: Path, words: tuple[str, ...], told: str) -> None:
    (tmp_path / "h.jsonl").write_text("".join(json.dumps(one) + "\n" for one in HISTORY))
    (tmp_path / "h.txt").write_text("")
    done = tocsin(tmp_path, "replay", *words)
    assert (done.returncode, told in " ".join(done.stderr.split()), "Traceback" in done.stderr) == (2, True, False)


def test_the_recorded_input_of_a_live_run_gives_its_events_again(tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_text("".join(json.dumps(one) + "\n" for one in [*HISTORY, {"id": 3}, {"no": "id"}]))
    ran = tocsin(tmp_path, "run", "--input", "in.jsonl", "--output", "jsonl")
    live = [json.loads(line) for line in ran.stdout.splitlines()]
    settings = load(DEFAULT_FILE)
    rules = book_of("", settings.rules, {"default": "contact-centre"}, settings.metrics)
    decoder = Decoder(settings.metrics, frozenset({"default"}))
    erasures = Erasures(Vault(tmp_path / ".tocsin" / "vault" / "keys"), customer_of)
    shards = settings.engine.shards
    engine = VirtualEngine(rules, decoder, start=Instant(0), shard_count=shards, erasures=erasures)
    history = History(tmp_path / ".tocsin" / "journals" / "in.jsonl", None, source="in.jsonl", programme="default")
    again = [json.loads(encode(readable(event))) for event in engine.hear(history)]
    assert len(again) > 10
    assert sorted(map(said, again), key=str) == sorted(map(said, live), key=str)


def said(event: dict[str, Any]) -> dict[str, Any]:
    """But for when it was noticed; `original` goes to the dead letters, and to no other sink."""
    aside = ("detected_at", "late", "original")
    data = {name: value for name, value in event["data"].items() if name not in aside}
    return {**event, "data": data}


def test_an_invalidated_case_lowers_the_precision_of_its_rule(tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_text("".join(json.dumps(one) + "\n" for one in HISTORY))
    assert tocsin(tmp_path, "run", "--input", "in.jsonl").returncode == 0
    case = json.loads(tocsin(tmp_path, "cases", "--json").stdout)[0]["id"]
    acted = tocsin(tmp_path, "act", case, "invalidate", "--by", "ana.reyes", "--reason", "a test", "--wait", "0")
    assert acted.returncode == 0, acted.stderr
    (tmp_path / "more.jsonl").write_text("")
    (before,) = json.loads(tocsin(tmp_path, "rules", "--json").stdout)
    assert (before["rule"], before["opened"], before["precision"]) == ("instant-detractor", 2, None)
    assert tocsin(tmp_path, "run", "--input", "more.jsonl").returncode == 0
    (after,) = json.loads(tocsin(tmp_path, "rules", "instant-detractor", "--json").stdout)
    assert (after["opened"], after["invalidated"], after["decided"], after["precision"]) == (2, 1, 1, 0.0)
    assert "instant-detractor" in tocsin(tmp_path, "rules").stdout
    assert "by fraud yet" in tocsin(tmp_path, "rules", "fraud").stderr
