"""A state directory is taken up with the shape, the release and the vault that made it, or not at all."""

import json
from pathlib import Path

import msgspec
import pytest

from cases import shard as shards
from flows.engine import vault_of
from flows.run import StateError
from flows.settings import DEFAULT_FILE, Privacy, Settings, load
from flows.stores import owned


def settings(state: Path, *, seal: bool = True) -> Settings:
    return msgspec.structs.replace(load(DEFAULT_FILE), state=state, privacy=Privacy(seal=seal), vault_file=None)


def guard(state: Path, shard_count: int, vault: str = "") -> None:
    """What an engine does before it starts."""
    with owned(state, shard_count=shard_count) as store:
        store.seal(vault)
        if store.is_new:
            store.settle(0)


def shape(state: Path) -> dict[str, object]:
    return dict(json.loads((state / "store.json").read_text()))


def test_a_store_of_the_form_before_is_carried_over_and_the_release_before_refuses_it(tmp_path: Path) -> None:
    old = {"flow": "tocsin", "shards": 256, "form": 1}
    (tmp_path / "store.json").write_text(json.dumps(old))
    guard(tmp_path, 256, "0a0b0c0d")
    now = shape(tmp_path)
    assert {**old, "form": shards.VERSION, "vault": "0a0b0c0d"}.items() <= now.items()
    assert (now["lanes"], now["slots"]) == (1, 0)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"shards": 512}, "shards was 256 and is now 512"),
        ({"vault": "ffffffff"}, "vault was '0a0b0c0d' and is now 'ffffffff'"),
        ({"vault": ""}, "vault was '0a0b0c0d' and is now ''"),
    ],
)
def test_another_shape_is_refused(changed: dict[str, object], words: str, tmp_path: Path) -> None:
    guard(tmp_path, 256, "0a0b0c0d")
    now: dict[str, object] = {"shards": 256, "vault": "0a0b0c0d", **changed}
    with pytest.raises(StateError, match=words):
        guard(tmp_path, int(str(now["shards"])), str(now["vault"]))


def test_a_form_of_a_later_release_is_refused(tmp_path: Path) -> None:
    (tmp_path / "store.json").write_text(json.dumps({"flow": "tocsin", "shards": 256, "form": 99, "vault": ""}))
    with pytest.raises(StateError, match="form was 99"):
        guard(tmp_path, 256)


def test_a_sealed_store_whose_vault_is_gone_is_not_given_a_new_one(tmp_path: Path) -> None:
    made = vault_of(settings(tmp_path))
    assert made is not None
    guard(tmp_path, 256, made.id.hex())
    made.path.unlink()
    with pytest.raises(StateError, match="there is no vault"):
        vault_of(settings(tmp_path))
    assert not made.path.exists()


def test_without_sealing_there_is_no_vault(tmp_path: Path) -> None:
    assert vault_of(settings(tmp_path, seal=False)) is None
    assert not (tmp_path / "vault").exists()
