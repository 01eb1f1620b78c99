"""Forms in which a shard was ever stored: each must keep opening, with its case and its clocks."""

from pathlib import Path

from cases import case as cases
from cases import shard as shards
from cases.clocks import State
from cases.lifecycle import Status
from flows.keyed import upgrade
from tests.builders import FixedKeys

HERE = Path(__file__).parent


def test_form_1_opens_with_its_case_and_its_clocks() -> None:
    shard, body = upgrade((1, 13, (HERE / "shard-v1.bin").read_bytes()))
    assert shard == 13
    (entry,) = shards.unpack(body).entries
    case = cases.unpack(entry.packed)
    assert (case.id, case.status, case.owner) == ("c-13-e7b45dcda7ab", Status.NEW, "ann")
    assert [clock.name for clock in case.clocks] == ["acknowledge", "first_response", "update", "resolve", "idle"]
    assert shards.summary(body)[0] == entry.wake_at


def test_form_1_opens_with_a_case_under_the_law() -> None:
    """With calendars, milestones, an issue and its hazard, an extension and a pause; a trail's last hash."""
    _, body = upgrade((1, 13, (HERE / "shard-v1-law.bin").read_bytes()))
    (entry,) = shards.unpack(body).entries
    case = cases.unpack(entry.packed)
    clocks = {clock.name: clock for clock in case.clocks}
    investigation = clocks["standard-investigation"]
    assert (investigation.issue, case.hazards) == ("damp-and-mould", {"damp-and-mould": "damp-and-mould"})
    assert investigation.spec.law.startswith("awaabs-law reg 6(2)(a)")
    assert investigation.spec.length is not None
    assert investigation.spec.length.in_words == "10 working days"
    assert investigation.spec.length.calendar.startswith("england-and-wales@")
    assert [name for _, name, _ in case.reached] == ["aware"]
    assert (clocks["resolve"].state, clocks["resolve"].first_due_at > 0) == (State.PAUSED, True)
    assert {s.name for s in case.later} >= {"written-summary", "emergency-action"}
    assert len(case.chain) == 32


def test_form_2_opens_with_what_is_sealed_in_it_and_what_was_given_up() -> None:
    _, body = upgrade((2, 3970, (HERE / "shard-v2.bin").read_bytes()))
    drawer = shards.unpack(body)
    (erased,) = [case for case in (cases.unpack(e.packed, FixedKeys()) for e in drawer.entries) if case.erased_at]
    (kept,) = [case for case in (cases.unpack(e.packed, FixedKeys()) for e in drawer.entries) if not case.erased_at]
    assert (erased.customer, erased.outcome, kept.customer) == ("", {}, "customer-77")
    assert [case for _, case in drawer.erased] == [erased.id]
    assert b"customer-77" not in (body or b"")


def test_form_3_opens_with_cases_stored_like_one_of_them() -> None:
    _, body = upgrade((3, 0, (HERE / "shard-v3.bin").read_bytes()))
    drawer = shards.unpack(body)
    customers = [drawer.case(entry, FixedKeys()).customer for entry in drawer.entries]
    assert customers == [f"customer-{number}" for number in range(6)]
    assert drawer.like
    assert b"customer-" not in (body or b"")
