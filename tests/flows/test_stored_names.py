"""Names under which state is stored. Changing one makes a resume start with nothing, in silence."""

from cases import shard as shards
from feedback.decode import Decoder
from feedback.ids import case_id, event_id, shard_key, shard_of
from feedback.metrics import STANDARD
from flows.alerts import build
from flows.engine_time import EngineClock
from flows.hearing import Hearing
from flows.indexes import DueIndex, KnownResponses
from flows.lane import LaneSource
from flows.outages import Outages
from flows.virtual import Uncounted
from tests.flows.story import Store, book


def test_the_flow_and_its_steps_keep_their_names() -> None:
    due, known = DueIndex(), KnownResponses()
    decoder = Decoder(STANDARD, frozenset({"default"}))
    hearing = Hearing(
        decoder, lambda _: book(), shards=16, known=known, clock=EngineClock(), meter=Uncounted(), outages=Outages()
    )
    source = LaneSource(lambda _: (_ for _ in ()).throw(AssertionError("not opened")))
    flow = build(source, hearing, [Store()], due=due, known=known, meter=Uncounted())
    assert flow.flow_id == "tocsin"
    assert [operator.step_id for operator in flow.substeps] == [
        "tocsin.lane", "tocsin.hear", "tocsin.split", "tocsin.noted", "tocsin.spikes", "tocsin.apart", "tocsin.windows",
        "tocsin.aside", "tocsin.shards", "tocsin.name", "tocsin.of_cases", "tocsin.heed", "tocsin.looks",
        "tocsin.notices", "tocsin.said", "tocsin.sink_0",
    ]  # fmt: skip


def test_keys_and_ids_are_what_they_were() -> None:
    assert shard_key(812) == "00812"
    assert shard_of("default", "customer-1", 4096) == GOLDEN_SHARD
    assert case_id(812, "default", "customer-1", "detractor", "", "sms", "r-1") == GOLDEN_CASE
    assert event_id("c-812-000000000000", "clock.breached", "resolve", "1") == GOLDEN_EVENT


def test_the_stored_form_has_a_version() -> None:
    assert shards.VERSION == 3


GOLDEN_SHARD = 3902
GOLDEN_CASE = "c-812-155eb9c90dea"
GOLDEN_EVENT = "e-a785869ead23f041e4506faa"
