"""Settings of targets: what could never work is refused, with its name and without its secret."""

from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.targets.loading import DeclaredTarget, TargetSettingsError, all_ready, ready
from connectors.targets.secrets import fetching, masked
from connectors.targets.shapes import ShapeError, check, cut, fill
from connectors.targets.values import NAMES, values
from tests.connectors.targets.talking import event

PAGER = {"kind": "pagerduty", "name": "pager", "routing_key": "env:KEY"}
MAIL = {"kind": "email", "name": "m", "host": "h", "sender": "a@b.example", "to": ["c@d.example"]}


def declared(plain: dict[str, Any]) -> DeclaredTarget:
    found: DeclaredTarget = msgspec.convert(plain, DeclaredTarget)
    return found


@pytest.mark.parametrize(
    ("plain", "says"),
    [
        (PAGER | {"routing_key": "R0123456789abcdef"}, "routing_key: a secret is given as env:NAME"),
        (PAGER | {"routing_key": "env:NOT_THERE"}, "the environment has no NOT_THERE"),
        (PAGER | {"routing_key": "file:/no/such/file"}, "cannot be read"),
        (PAGER | {"name": "a b"}, "the name must be letters"),
        (PAGER | {"timeout_s": 0}, "timeout_s must be above 0"),
        (PAGER | {"url": "https://user:pass@host/"}, "url must be http"),
        (PAGER | {"link": "https://x/{{ owner }}"}, "nothing is called 'owner'"),
        ({"kind": "slack", "name": "s"}, "either url, or token and channel"),
        ({"kind": "slack", "name": "s", "url": "env:KEY", "per_second": 5}, "one message a second"),
        (MAIL | {"security": "none", "user": "u", "password": "env:KEY"}, "not sent over an open line"),
        (MAIL | {"to": ["c@d.example\nBcc: x@y.example"]}, "is no address"),
        ({"kind": "apprise", "name": "a", "url": "env:KEY"}, "say allow_private"),
        ({"kind": "jira", "name": "j", "url": "https://x", "user": "u", "token": "env:KEY", "project": 'CX" OR 1'},
         "project must be"),
        ({"kind": "http", "name": "h", "url": "https://x/y", "token": "env:BAD"}, "no header can carry"),
    ],
)  # fmt: skip
def test_what_could_never_work_is_refused(plain: dict[str, Any], says: str, tmp_path: Path) -> None:
    with pytest.raises(TargetSettingsError) as caught:
        ready(declared(plain), fetching({"KEY": "s3cr3t", "BAD": "s3cr3t\r\nX: y"}), tmp_path)

    assert says in str(caught.value)
    assert "s3cr3t" not in str(caught.value)
    assert "R0123" not in str(caught.value)


def test_a_misspelt_setting_is_refused() -> None:
    with pytest.raises(msgspec.ValidationError, match="unknown field `routng_key`"):
        declared({"kind": "pagerduty", "name": "p", "routng_key": "env:X"})


def test_two_of_one_name_are_refused(tmp_path: Path) -> None:
    with pytest.raises(TargetSettingsError, match="two are named 'pager'"):
        all_ready([declared(PAGER), declared(PAGER)], masked, tmp_path)


@pytest.mark.parametrize(
    ("template", "says"),
    [
        ("payload: {summary: '{{ nmae }}'}", "nothing is called 'nmae'"),
        ("payload: {summary: '{% if x %}'}", "or code"),
        ("payload: {summary: '{{ case '}", "or code"),
        ("paylod: {}", "nothing is called 'paylod'"),
        ("payload: 7", "expected a mapping"),
        ("payload: {a: 2026-11-02}", "date cannot be sent"),
        ("payload: [", "expected"),
    ],
)
def test_a_template_that_could_surprise_is_refused(template: str, says: str, tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(template)
    with pytest.raises(TargetSettingsError, match=says):
        ready(declared(PAGER | {"template": "mine.yaml"}), masked, tmp_path)


def test_a_template_of_ones_own_takes_the_place_of_a_section(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("payload: {summary: 'Ring {{ customer }} at {{ attributes.site }}'}")
    made = ready(declared(PAGER | {"template": "mine.yaml"}), masked, tmp_path)

    request = next(made.talk(made.hear(event("case.opened"))))
    assert request.body["payload"]["summary"] == "Ring customer-1 at leeds"


@given(st.dictionaries(st.sampled_from(sorted(NAMES.names)), st.text(max_size=30)), st.text(max_size=30))
def test_a_filled_shape_keeps_its_form_whatever_the_values_are(known: dict[str, str], key: str) -> None:
    shape = {key: ["{{ case }}", 1, None, {"x": "a {{ owner }} b"}]}
    found = fill(shape, known)

    assert found == {key: [known.get("case", ""), 1, None, {"x": f"a {known.get('owner', '')} b"}]}


def test_a_place_that_may_be_empty_goes_with_its_key() -> None:
    assert fill({"a": "{{ owner? }}", "b": ["{{ owner? }}", "x"]}, {}) == {"b": ["x"]}
    assert fill({"a": "{{ owner? }}"}, {"owner": "ann"}) == {"a": "ann"}


def test_a_shape_nested_without_end_is_refused() -> None:
    shape: Any = "x"
    for _ in range(100):
        shape = [shape]
    with pytest.raises(ShapeError, match="nested deeper"):
        check(shape, NAMES)


@given(st.text(max_size=50), st.integers(1, 50))
def test_what_is_cut_is_never_longer_than_asked(text: str, limit: int) -> None:
    assert len(cut(text, limit)) <= limit
    assert cut(text, limit) == text or len(text) > limit


PARTS = st.sampled_from(["data", "case", "response", "rules", "title", "type", "priority", "scores"])
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(PARTS, inner),
    max_leaves=20,
)


@given(ANYTHING)
def test_values_are_texts_whatever_the_event_is(event_: Any) -> None:
    found = values(event_ if isinstance(event_, dict) else {"data": event_})
    assert all(isinstance(value, str) for value in found.values())
