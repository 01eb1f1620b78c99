"""Each settings block and template shown in docs/targets.md can be loaded, and every kind has one."""

import base64
import re
from pathlib import Path
from typing import get_args

import pytest
from ruamel.yaml import YAML

from connectors.targets.loading import DeclaredTarget, ready
from connectors.targets.secrets import masked
from connectors.targets.sending import imagine
from connectors.targets.shapes import check
from connectors.targets.values import NAMES
from flows.capture_callbacks import open_callbacks
from flows.settings import load
from tests.connectors.targets.talking import event

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "targets.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```yaml\n(.*?)```", PAGE, re.S)
CALLBACKS = [block for block in BLOCKS if block.startswith("http:")]
SETTINGS = [block for block in BLOCKS if block.startswith("targets:")]


@pytest.mark.parametrize("block", SETTINGS, ids=lambda block: re.findall(r"kind: (\w+)", block)[0])
def test_a_block_of_settings_loads_and_has_something_to_say(block: str, tmp_path: Path) -> None:
    file = tmp_path / "tocsin.yaml"
    file.write_text(block, encoding="utf-8")

    for declared in load(file, {}).targets:
        target = ready(declared, masked, tmp_path)
        sent, _ = imagine(target.talk(target.hear(event("case.opened"))))
        assert sent


def test_the_callbacks_that_are_shown_can_be_opened(tmp_path: Path) -> None:
    [block] = CALLBACKS
    file = tmp_path / "tocsin.yaml"
    file.write_text(block, encoding="utf-8")
    whsec = "whsec_" + base64.b64encode(b"k" * 32).decode()
    environ = dict.fromkeys(re.findall(r"env:(\w+)", block), whsec)

    assert len(open_callbacks(load(file, {}).http, environ)) == 4


def test_every_kind_has_a_block_and_a_row() -> None:
    kinds = {str(one.__struct_config__.tag) for one in get_args(DeclaredTarget)}

    assert {kind for block in SETTINGS for kind in re.findall(r"kind: (\w+)", block)} == kinds
    assert set(re.findall(r"^\| `(\w+)` \|", PAGE, re.M)) >= kinds


def test_the_template_that_is_shown_can_be_used() -> None:
    [template] = [block for block in BLOCKS if block not in (*SETTINGS, *CALLBACKS)]
    check(YAML(typ="safe", pure=True).load(template), NAMES)


def test_every_name_that_a_template_may_ask_for_is_listed() -> None:
    assert not [name for name in NAMES.names if f"`{name}`" not in PAGE]


def test_the_shipped_templates_ask_only_for_what_there_is() -> None:
    for path in (ROOT / "connectors" / "targets" / "templates").glob("*.yaml"):
        check(YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8")), NAMES, path.name)
