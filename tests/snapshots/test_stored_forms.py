"""Forms in which a shard was ever stored: each must keep opening, with its case and its clocks."""

from pathlib import Path

from cases import case as cases
from cases import shard as shards
from cases.lifecycle import Status
from flows.keyed import upgrade

HERE = Path(__file__).parent


def test_form_1_opens_with_its_case_and_its_clocks() -> None:
    shard, body = upgrade((1, 13, (HERE / "shard-v1.bin").read_bytes()))
    assert shard == 13
    (entry,) = shards.unpack(body)
    case = cases.unpack(entry.packed)
    assert (case.id, case.status, case.owner) == ("c-13-e7b45dcda7ab", Status.NEW, "ann")
    assert [clock.name for clock in case.clocks] == ["acknowledge", "first_response", "update", "resolve", "idle"]
    assert shards.summary(body)[0] == entry.wake_at
