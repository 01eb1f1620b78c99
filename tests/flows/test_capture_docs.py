"""What docs/capture.md shows: its commands are run against a door, its settings opened, its tables compared."""

import hmac
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from connectors import hooks
from connectors.hook_signatures import Standard, refusal
from connectors.http_settings import HttpSettings
from connectors.keyspace import Keys
from feedback import decode
from flows.capture_hooks import open_hooks
from flows.settings import load
from tests.connectors.test_hooks import KEY, WHSEC
from tests.flows.door import Caller, door, eventually

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "capture.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", PAGE, re.S)
ADDRESS = "http://127.0.0.1:8080"
SETTINGS, MAPPING = [text for kind, text in BLOCKS if kind == "yaml"]
TOOLS = dict(re.findall(r"^\| `(\w+)` \| (.*) \|$", PAGE.partition("## Feedback tools")[2], re.M))

TOCSIN = f"""#!{sys.executable}
import sys, time, urllib.request
from console.cli import main
try:
    main()
finally:
    if sys.argv[1:3] in (["keys", "add"], ["keys", "rotate"]):
        # A key counts within two seconds; the page says so, and whoever types has looked up by then.
        known = "tocsin_http_keys %d.0" % (1 if sys.argv[2] == "add" else 2)
        while known not in urllib.request.urlopen("WHERE/metrics").read().decode().splitlines():
            time.sleep(0.05)
"""
CURL = f"""#!{sys.executable}
import sys, urllib.error, urllib.request
words, headers, body, out, where = sys.argv[1:], {{}}, b"", "", ""
while words:
    word = words.pop(0)
    if word == "-H":
        name, _, value = words.pop(0).partition(":")
        headers[name] = value.strip()
    elif word in ("-d", "--data-binary"):
        given = words.pop(0)
        body = sys.stdin.buffer.read() if given == "@-" else given.encode()
    elif word == "-o":
        out = words.pop(0)
    elif word != "-s":
        where = word
try:
    answer = urllib.request.urlopen(urllib.request.Request(where, body, headers)).read()
except urllib.error.HTTPError as error:
    answer = error.read()
(open(out, "wb") if out else sys.stdout.buffer).write(answer)
"""
"""Stands in for curl where there is none."""


def program(folder: Path, name: str, text: str) -> None:
    (folder / name).write_text(text)
    (folder / name).chmod(0o755)


def agree(found: Any, shown: Any) -> bool:
    """Whether *found* is what is *shown*, in which `…` stands for any text."""
    if isinstance(shown, dict) and isinstance(found, dict):
        return shown.keys() == found.keys() and all(agree(found[name], shown[name]) for name in shown)
    if isinstance(shown, list) and isinstance(found, list):
        return len(shown) == len(found) and all(agree(*pair) for pair in zip(found, shown, strict=True))
    return shown == "…" or bool(found == shown)


def run(folder: Path, where: str, url: str) -> tuple[list[str], str]:
    """What each block of commands says, all in one shell, and the first key that it made."""
    programs = folder / "programs"
    programs.mkdir()
    program(programs, "tocsin", TOCSIN.replace("WHERE", where))
    if shutil.which("curl") is None:
        program(programs, "curl", CURL)
    script = "\n".join(text + "echo; echo =====" for kind, text in BLOCKS if kind == "sh").replace(ADDRESS, where)
    env = {**os.environ, "PYTHONPATH": str(ROOT), "TOCSIN_REDIS_URL": url,
           "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}"}  # fmt: skip
    done = subprocess.run(("sh", "-euc", f'{script}\necho "$KEY"'), cwd=folder, env=env, capture_output=True,
                          text=True, timeout=120, check=False)  # fmt: skip
    assert done.returncode == 0, done.stderr
    *said, key = done.stdout.split("=====\n")
    return said, key.strip()


def test_the_commands_of_the_page_do_what_it_shows(store_url: str, redis: Any, tmp_path: Path) -> None:
    with door(store_url) as here:
        said, key = run(tmp_path, here.where, store_url)
        eventually(lambda: Caller(here.where, key).respond({"id": "late"}).status == 401)
    kinds = [kind for kind, _ in BLOCKS if kind in ("sh", "json")]
    shown = iter(text for kind, text in BLOCKS if kind == "json")
    followed = [after == "json" for kind, after in zip(kinds, [*kinds[1:], ""], strict=True) if kind == "sh"]
    for text, is_shown in zip(said, followed, strict=True):
        if is_shown:
            last = text.strip().splitlines()[-1]
            assert agree(json.loads(last), json.loads(next(shown))), last
    assert next(shown, None) is None
    records = [json.loads(fields[b"record"]) for _, fields in redis.xrange(Keys("default").inbox)]
    assert [r["id"] for r in records] == ["r-1", "r-2", "e-1", "r-4", "r-4", "r-5", "r-7"]
    ((_, action),) = redis.xrange(Keys("default").actions)
    assert (json.loads(action[b"record"])["do"], action[b"principal"]) == ("acknowledge", b"key:crm")


def test_the_limits_are_those_of_the_settings() -> None:
    rows = dict(re.findall(r"^\| `(\w+)` \| (\d+) ", PAGE, re.M))
    defaults = msgspec.to_builtins(HttpSettings())
    assert {name: float(value) for name, value in rows.items()} == {name: defaults[name] for name in rows}
    assert {"max_body", "max_batch", "rate", "burst", "inbox_limit", "remember_s"} == set(rows)
    said = re.search(
        r"A record has (\d+) bytes, its text (\d+) characters, an id (\d+), an attribute (\d+), and (\d+)", PAGE
    )
    assert said is not None
    assert [int(n) for n in said.groups()] == [
        decode.MAX_RECORD, decode.MAX_TEXT, decode.MAX_ID, decode.MAX_ATTRIBUTE, decode.MAX_ATTRIBUTES,
    ]  # fmt: skip


def test_every_tool_is_in_the_settings_that_are_shown_and_they_can_be_opened(tmp_path: Path) -> None:
    file = tmp_path / "tocsin.yaml"
    file.write_text(SETTINGS, encoding="utf-8")
    environ = {name: WHSEC if "FORMBRICKS" in name else KEY for name in re.findall(r"env:(\w+)", SETTINGS)}
    assert {tool for tool, _ in open_hooks(load(file, {}).http, environ)} == set(hooks.tools())


@pytest.mark.parametrize("tool", hooks.tools())
def test_a_tool_has_a_row_with_its_signature_and_what_is_taken(tool: str) -> None:
    mapping, row = hooks.load(tool), TOOLS[tool]
    verify = mapping.verify
    assert f"`{'webhook-signature' if isinstance(verify, Standard) else verify.form_field or verify.header}`" in row
    assert [score for score in mapping.response.scores if f"`{score}`" not in row] == []
    assert ("fetch" in row) == (mapping.fetch is not None)


def test_the_mapping_that_is_shown_makes_a_response(tmp_path: Path) -> None:
    (tmp_path / "kiosk.yaml").write_text(MAPPING, encoding="utf-8")
    mapping = hooks.load("kiosk", tmp_path)
    answer = {"id": "k-1", "email": "a@example.com", "at": "2026-11-02T09:00:00Z", "face": "angry"}
    said = {"event": "answer.created", "device": {"site": "leeds"}, "answer": answer}
    body = json.dumps(said).encode()
    signature = hmac.new(KEY.encode(), body, "sha256").hexdigest()
    assert refusal(mapping.verify, [KEY], {"x-kiosk-signature": signature}, {}, body, 0.0) == ""
    assert hooks.response_of(mapping, said) == {
        "source": "kiosk", "id": "k-1", "customer": "a@example.com", "occurred_at": "2026-11-02T09:00:00Z",
        "channel": "kiosk", "scores": {"csat": 1},
        "attributes": {"site": "leeds"},
    }  # fmt: skip
