"""Themes watched for change, through the engine: live, after a crash and in a replay the same spikes."""

from pathlib import Path
from typing import Any

import msgspec
import pytest
from bytewax.errors import BytewaxRuntimeError
from prometheus_client import CollectorRegistry

from cases.events import Event
from feedback.decode import Decoder
from feedback.instants import Instant, rfc3339
from feedback.metrics import STANDARD
from feedback.records import Envelope
from flows.books import Book
from flows.keyed import SnapshotError
from flows.metrics import EngineMetrics
from flows.recut import read_state, write_state
from flows.settings import SettingsError, load
from flows.spikes import DRAWERS, SPARE, Noted, Scout, SpikeStep
from flows.virtual import Uncounted, VirtualEngine
from rules.parse import load_text
from scoring.spikes import SpikeSettings
from tests.builders import response
from tests.flows.story import START, Store, World, envelope, run

TEXTS = {
    "sets/mood.yaml": "set: mood\nroster: r\ntaxonomies: [t]\nattributes: {site: text, product: text}\nrules:\n"
    "  - {id: bad, when: {all: ['bands.nps == \"detractor\"']}, case: {type: t, owner: lead}}\n",
    "rosters/r.yaml": "roster: r\npeople: {ann: {name: Ann}}\nroles: {lead: {default: [ann]}}\n",
    "taxonomies/t.yaml": "taxonomy: t\nthemes:\n  billing: {phrases: [bill]}\n  delivery: {phrases: [parcel]}\n",
}
RULES = Book("story", {"default": load_text(TEXTS, "mood", STANDARD)}, STANDARD)
ONE_DAY = SpikeSettings(learn_days=1)
PAST_S = 40 * 3600


def story() -> list[Envelope]:
    """Thirty hours of quiet, heard in half an hour, and then everybody in York speaks of the bill."""
    found = []
    for number in range(500):
        text = "the bill was right" if number % 21 == 0 else "the parcel came" if number % 7 == 0 else "fine"
        found.append((number, -PAST_S + number * 216, text, "york" if number % 2 else "leeds"))
    for number in range(500, 540):
        found.append((number, -PAST_S + 500 * 216 + (number - 500) * 30, "the bill is wrong again", "york"))
    return [
        envelope(n, 5 + 5 * n, {
            "customer": f"c{n}", "language": "en", "text": text, "occurred_at": rfc3339(Instant(START + at)),
            "attributes": {"site": site},
        })
        for n, at, text, site in found
    ]  # fmt: skip


STORY = story()
WORLD_S = 5.0 * len(STORY) + 200


def spikes(events: list[Event]) -> list[dict[str, Any]]:
    """By id: which of two segments is told of first hangs on their drawers."""
    found = [{**e.data, "id": e.id, "time": e.time} for e in events if e.type == "theme.spiked"]
    plain = [{k: v for k, v in one.items() if k != "detected_at"} for one in found]
    return sorted(plain, key=lambda one: str(one["id"]))


def replayed(settings: SpikeSettings = ONE_DAY) -> list[Event]:
    decoder = Decoder(STANDARD, frozenset({"default"}))
    return VirtualEngine(RULES, decoder, start=START, spikes=settings).hear(STORY)


def live(folder: Path, *, cut: int | None = None) -> Store:
    store = Store()
    for dies_at in (cut, None) if cut is not None else (None,):
        world = World(until=START + WORLD_S)
        try:
            run(store, STORY, folder, world=world, cut=dies_at, rules=RULES, spikes=ONE_DAY)
        except BytewaxRuntimeError:
            assert dies_at is not None
    return store


def test_a_spike_names_theme_segment_since_when_how_much_and_the_responses_that_say_why() -> None:
    (site,) = [one for one in spikes(replayed()) if one["segment"]["by"] == "attributes.site"]
    assert site["segment"] == {"by": "attributes.site", "value": "york"}
    assert (site["theme"], site["measure"]) == ("billing", "volume")
    assert "2026-11-01T21" < site["since"] < "2026-11-01T23:30"  # the quiet ends at 23:00
    assert site["count"] > 2 * site["expected"]
    assert site["now"] > 2 * site["usual"]
    assert "billing in site york: named by" in site["reason"]
    numbers = [int(one["id"]) for one in site["responses"]]
    assert len(numbers) == 5
    assert all(500 <= number < 540 for number in numbers)


def test_no_word_of_a_customer_and_no_customer_is_in_it() -> None:
    said = msgspec.json.encode(spikes(replayed()))
    assert b"wrong again" not in said
    assert b'"c5' not in said


@pytest.mark.parametrize("cut", [None, 350, 506])
def test_live_and_through_a_crash_the_spikes_are_those_of_the_replay(tmp_path: Path, cut: int | None) -> None:
    store = live(tmp_path / "recovery", cut=cut)
    assert spikes([*store.events.values()]) == spikes(replayed())
    assert len(spikes([*store.events.values()])) == 2


def test_a_store_that_is_cut_anew_keeps_what_is_usual(tmp_path: Path) -> None:
    live(tmp_path / "a" / "recovery")
    state = read_state(tmp_path / "a" / "recovery")
    assert state.spikes
    write_state(tmp_path / "b", state)
    assert read_state(tmp_path / "b" / "recovery").spikes == state.spikes


def test_nothing_is_watched_that_is_turned_off() -> None:
    assert spikes(replayed(SpikeSettings(watch=False))) == []


def scouted(settings: SpikeSettings, count: int, **fields: Any) -> list[Noted]:
    scout = Scout(settings, STANDARD)
    scout.take_up(RULES.sets)
    for number in range(count):
        site = fields.get("site", f"site-{number}")
        given = response(id=f"r{number}", customer=f"c{number}", text="the bill", attributes={"site": site})
        scout.note(given, RULES.reader("default").read(given), START)
    return [noted for _, noted in scout.give()]


def test_segments_past_the_limit_are_forgotten_the_oldest_first_and_counted() -> None:
    registry = CollectorRegistry()
    metrics = EngineMetrics(registry, "0")
    settings, most = SpikeSettings(by=("attributes.site",), segments=32), 2 + SPARE
    for noted in scouted(settings, 500):
        step = SpikeStep(None, settings, metrics)
        step.take(noted)
        kept = [note.place for note in noted.notes][-most:]
        assert [*step._packed] == kept
    assert registry.get_sample_value("tocsin_spike_segments") == most * DRAWERS
    assert registry.get_sample_value("tocsin_spike_unwatched_total", {"what": "segments"}) == 500 - most * DRAWERS


def test_a_mistake_in_one_segment_is_an_event_and_the_others_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = SpikeSettings(by=("attributes.site",))
    (noted,) = scouted(settings, 1)
    broken = msgspec.structs.replace(noted.notes[0], said=msgspec.structs.replace(noted.notes[0].said, themes=None))  # type: ignore[arg-type]
    step = SpikeStep(None, settings, Uncounted())
    said = step.take(Noted(noted.drawer, (broken, *noted.notes)))
    assert [event.type for event in said] == ["item.quarantined"]
    assert len(step._packed) == 1


def test_a_snapshot_that_a_disk_has_altered_is_not_believed() -> None:
    settings = SpikeSettings(by=("attributes.site",))
    (noted,) = scouted(settings, 1)
    step = SpikeStep(None, settings, Uncounted())
    step.take(noted)
    version, drawer, body, crc = step.stored()
    with pytest.raises(SnapshotError, match="altered"):
        SpikeStep((version, drawer, body[:-1] + b"\0", crc), settings, Uncounted())
    with pytest.raises(SnapshotError, match="form 9"):
        SpikeStep((9, drawer, body, crc), settings, Uncounted())


def test_settings_are_read_and_checked(tmp_path: Path) -> None:
    file = tmp_path / "tocsin.yaml"
    file.write_text("spikes: {by: [attributes.branch], score: nps, times: 3}\n")
    assert load(file, {}).spikes == SpikeSettings(by=("attributes.branch",), score="nps", times=3)
    file.write_text("spikes: {score: happiness}\n")
    with pytest.raises(SettingsError, match="happiness"):
        load(file, {})
    file.write_text("spikes: {by: [customer]}\n")
    with pytest.raises(SettingsError, match=r"spikes\.by: 'customer'"):
        load(file, {})
