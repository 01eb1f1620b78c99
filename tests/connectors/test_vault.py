"""The vault: the same keys for everybody who has the file, and none for whom it was destroyed."""

import stat
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from connectors.vault import Vault, VaultError, vault_at


def vault(folder: Path) -> Vault:
    return Vault(folder / "vault" / "keys", create=True)


def test_every_process_that_has_the_file_has_the_same_keys(tmp_path: Path) -> None:
    one, other = vault(tmp_path), vault(tmp_path)
    leaf = one.leaf("default", "c1", "0")
    assert (other.id, other.leaf("default", "c1", "0"), other.key(leaf)) == (one.id, leaf, one.key(leaf))
    assert one.leaf("default", "c1", "0") != one.leaf("default", "c10", "")
    assert len(one.key(leaf) or b"") == 32


def test_two_vaults_have_nothing_in_common(tmp_path: Path) -> None:
    one, other = vault(tmp_path / "a"), vault(tmp_path / "b")
    assert one.id != other.id
    assert one.leaf("c1") != other.leaf("c1")
    assert one.key(7) != other.key(7)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.integers(0, 2**64 - 1) | st.integers(0, 40), min_size=1, max_size=12),
    st.sets(st.integers(0, 2**64 - 1) | st.integers(0, 40), max_size=12),
)
def test_a_destroyed_key_is_gone_for_good_and_every_other_is_as_it_was(
    tmp_path: Path, destroyed: list[int], others: set[int]
) -> None:
    path = tmp_path / "vault" / "keys"
    path.unlink(missing_ok=True)
    one = Vault(path, create=True)
    before = {leaf: one.key(leaf) for leaf in others}
    one.destroy(destroyed[:1])
    one.destroy(destroyed)
    for again in (one, Vault(path)):
        assert [leaf for leaf in destroyed if again.key(leaf) is not None] == []
        assert {leaf: again.key(leaf) for leaf in others if leaf not in destroyed} == {
            leaf: key for leaf, key in before.items() if leaf not in destroyed
        }


def test_what_another_process_destroyed_is_gone_after_a_refresh(tmp_path: Path) -> None:
    engine, reader = vault(tmp_path), vault(tmp_path)
    assert reader.key(5) is not None
    engine.destroy([5])
    reader.refresh()
    assert reader.key(5) is None


def test_two_that_destroy_at_once_undo_nothing_of_each_other(tmp_path: Path) -> None:
    one, other = vault(tmp_path), vault(tmp_path)
    one.destroy([1])
    other.destroy([2])
    assert [Vault(one.path).key(leaf) for leaf in (1, 2)] == [None, None]


def test_the_file_is_its_owners_alone_and_no_key_of_a_destroyed_one_stays_in_it(tmp_path: Path) -> None:
    one = vault(tmp_path)
    assert stat.S_IMODE(one.path.stat().st_mode) == 0o600
    seeds = set(one._nodes.values())
    one.destroy([9])
    assert stat.S_IMODE(one.path.stat().st_mode) == 0o600
    assert not [seed for seed in seeds if seed in one.path.read_bytes()]
    assert one.path.stat().st_size < 4096


def test_a_vault_that_cannot_be_used_says_whose_turn_it_is(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    assert vault_at(path) is None
    with pytest.raises(VaultError, match="there is no vault"):
        Vault(path)
    path.write_bytes(b"\x93garbage")
    with pytest.raises(VaultError, match="damaged"):
        Vault(path)


def test_a_vault_that_was_replaced_under_us_is_not_mistaken_for_ours(tmp_path: Path) -> None:
    one = vault(tmp_path / "a")
    other = vault(tmp_path / "b")
    one.path.write_bytes(other.path.read_bytes())
    with pytest.raises(VaultError, match="replaced by another"):
        one.refresh()
