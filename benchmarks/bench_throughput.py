"""Responses a second from decode to Redis, on one core, as a share of a bare loop that only scores the same texts.

The engine is the real one, fed from a file through its journal, with 50 rules, one response in ten firing; Redis runs
on another core. The bare loop is the vaderSentiment package on the same texts, on the engine's core, in the same run.
"""

import argparse
import os
import tempfile
import time
from pathlib import Path

import msgspec
from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer

from benchmarks.common import report, texts
from cases.events import Event
from connectors.embedded import Embedded
from connectors.files import FileReader, Lines
from connectors.journal import Journal
from connectors.reading import Reader
from flows.engine import run_engine
from flows.run import Stop
from flows.settings import CHECKOUT, DEFAULT_FILE, EngineSettings, Programme, Settings, load

THEMES = (
    "waiting",
    "staff/rude",
    "billing",
    "delivery/late",
    "product/faulty",
    "network",
    "digital/broken",
    "account/fraud",
)


def rule_set() -> str:
    """Fifty rules: one that every tenth response fires, the rest on themes, attributes and scores."""
    case = (
        "{type: t, priority: high, owner: team_lead, acknowledge_within: 30m, notice: owner-alert, "
        "clocks: {first_response: {within: 24h, warn: [50%]}, resolve: {within: 72h}}}"
    )
    rules = [f"  - {{id: fires, title: Fires, when: {{all: ['bands.nps == \"detractor\"']}}, case: {case}}}"]
    for number in range(49):
        lines = (
            f"'\"{THEMES[number % len(THEMES)]}\" in themes', 'attributes.site == \"s{number}\"'",
            f"'scores.csat <= {1 + number % 2}', 'channel == \"c{number}\"'",
            f"'sentiment.compound <= -0.9', 'attributes.segment == \"g{number}\"'",
        )[number % 3]
        rules.append(f"  - {{id: r{number}, when: {{all: [{lines}]}}, case: {{type: u, owner: team_lead}}}}")
    head = "set: bench\ntaxonomies: [contact-centre, intents]\nroster: contact-centre\nrules:\n"
    return head + "\n".join(rules) + "\n"


def rules_directory(folder: Path) -> Path:
    """The shipped taxonomies, rosters and templates, and our fifty rules."""
    for name in ("taxonomies", "rosters", "templates"):
        (folder / name).symlink_to(CHECKOUT / "rules" / name)
    (folder / "sets").mkdir()
    (folder / "sets" / "bench.yaml").write_text(rule_set())
    return folder


def settings_for(folder: Path, url: str, shards: int = 4096) -> Settings:
    rules = folder / "rules"
    rules.mkdir()
    return msgspec.structs.replace(
        load(DEFAULT_FILE),
        rules=rules_directory(rules),
        programmes={"default": Programme(rules="bench")},
        engine=EngineSettings(shards=shards),
        state=folder / "state",
        redis=url,
        metrics_port=0,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=60_000, help="responses")
    count = parser.parse_args().count
    words = texts(count)
    cores = sorted(os.sched_getaffinity(0))
    folder = Path(tempfile.mkdtemp())
    os.sched_setaffinity(0, {cores[-1]})
    server = Embedded(folder / "server")  # inherits the other core
    os.sched_setaffinity(0, {cores[0]})
    package = SentimentIntensityAnalyzer()
    started = time.perf_counter()
    for text in words[: count // 4]:
        package.polarity_scores(text)
    vader = (count // 4) / (time.perf_counter() - started)
    source = folder / "responses.jsonl"
    with source.open("wb") as file:
        for number, text in enumerate(words):
            score = 2 if number % 10 == 0 else 9
            record = {"id": str(number), "customer": f"c{number}", "channel": "web", "language": "en", "text": text,
                      "scores": {"nps": score}, "attributes": {"site": "leeds"}}  # fmt: skip
            file.write(msgspec.json.encode(record) + b"\n")
    settings = settings_for(folder, server.url)
    seen: list[tuple[float, int]] = []
    began = 0.0

    def open_reader(resume: str | None) -> Reader:
        nonlocal began
        began = time.perf_counter()
        journal = Journal(folder / "journal")
        return FileReader("in", source, journal, resume, programme="default", follow=False, rows=Lines())

    def watched(events: list[Event]) -> None:
        seen.append((time.perf_counter(), sum(e.type == "case.opened" for e in events)))

    run_engine(settings, {"in": open_reader}, ends=True, stop=Stop(), watched=watched)
    seconds = seen[-1][0] - began
    opened = sum(number for _, number in seen)
    server.close()
    ours = count / seconds
    report(
        "bench_throughput",
        [
            ("responses, of them firing", f"{count}, {opened}"),
            ("ours, decode to Redis", f"{ours:,.0f} responses/s on one core"),
            ("vaderSentiment alone", f"{vader:,.0f} texts/s on the same core"),
            ("ratio (aim 0.6)", f"{ours / vader:.2f}"),
        ],
        {"responses_per_s": round(ours), "vader_per_s": round(vader), "ratio": round(ours / vader, 3)},
    )


if __name__ == "__main__":
    main()
