"""Keys open what they allow, are kept only as digests, and end when they are said to."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.api_keys import ApiKey, KeyRing, mint
from connectors.key_store import KeyStore, UnknownKey
from feedback.records import Verb

NOW = 1_795_000_000


def test_a_key_is_known_by_its_text_and_kept_without_it() -> None:
    key, text = mint("crm", "default", ["capture"], NOW)
    assert KeyRing([key]).who(text, NOW) == key
    assert text.split("_")[2] not in repr(key)
    assert key.principal == "key:crm"


def test_why_a_key_is_none_has_a_name() -> None:
    key, text = mint("crm", "default", ["capture"], NOW)
    _, other = mint("crm", "default", ["capture"], NOW)
    ring = KeyRing([key, ApiKey(id="0" * 12, name="x", programme="default", allow=(), digest="", made_at=0)])
    forged = text[:16] + other[16:]
    assert [ring.who(t, NOW) for t in ("", "tk_1_2", other, forged)] == [
        "no_key", "malformed_key", "unknown_key", "wrong_key",
    ]  # fmt: skip
    assert ring.who("tk_" + "0" * 12 + "_" + "0" * 64, NOW) == "wrong_key"


@given(st.text())
def test_no_text_is_taken_for_a_key(text: str) -> None:
    key, _ = mint("crm", "default", ["capture"], NOW)
    assert isinstance(KeyRing([key]).who(text, NOW), str)


@given(st.sets(st.sampled_from([*Verb])), st.booleans(), st.sampled_from([*Verb]))
def test_a_key_allows_what_it_names_and_nothing_else(verbs: set[Verb], capture: bool, asked: Verb) -> None:
    allow = [f"act:{verb}" for verb in verbs] + (["capture"] if capture else [])
    if not allow:
        with pytest.raises(ValueError, match="allows nothing"):
            mint("k", "default", allow, NOW)
        return
    key, _ = mint("k", "default", allow, NOW)
    assert key.may(asked) == (asked in verbs)
    assert (key.may_capture(), key.may_act()) == (capture, bool(verbs))
    assert mint("k", "default", ["act:*"], NOW)[0].may(asked)


@pytest.mark.parametrize(
    ("name", "allow", "told"),
    [("a b", ["capture"], "cannot name a key"), ("", ["capture"], "cannot name"), ("k", ["act:fly"], "is no role")],
)
def test_a_key_that_makes_no_sense_is_refused(name: str, allow: list[str], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        mint(name, "default", allow, NOW)


def test_a_rotation_leaves_both_good_until_the_old_one_ends(store_url: str) -> None:
    store = KeyStore(store_url)
    _, old = store.add("crm", "default", ["capture"], NOW)
    _, new = store.rotate("crm", ["default", "housing"], NOW, overlap_s=60)
    ring = KeyRing(store.all(["default", "housing"]))
    assert not isinstance(ring.who(old, NOW + 59), str)
    assert ring.who(old, NOW + 60) == "ended_key"
    made = ring.who(new, NOW + 60)
    assert isinstance(made, ApiKey)
    assert (made.name, made.allow, made.ends_at) == ("crm", ("capture",), 0)
    assert [key.name for key in store.revoke("crm", ["default"], NOW + 61)] == ["crm"]
    with pytest.raises(UnknownKey, match="no key in force"):
        store.revoke("crm", ["default"], NOW + 62)
    store.close()


def test_a_name_that_two_programmes_use_must_be_told_apart(store_url: str) -> None:
    store = KeyStore(store_url)
    for programme in ("default", "housing"):
        store.add("crm", programme, ["capture"], NOW)
    with pytest.raises(UnknownKey, match="add --programme"):
        store.revoke("crm", ["default", "housing"], NOW)
    assert len(store.revoke("crm", ["housing"], NOW)) == 1
    store.close()
