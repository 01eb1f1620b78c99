"""An erasure in the running program: after it the words are in no file and no key, and nothing else changed."""

import os
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from cases.sealing import opened_event
from connectors.records import Records
from connectors.redis_link import client
from connectors.vault import Vault
from console.export import file_of, reopened, verify_store
from feedback.encode import encode_action
from feedback.instants import Instant
from feedback.records import Action, Verb
from tests.flows.test_store_lost import KEYS, World, until

WORDS, NOTE, CUSTOMER = b"a secret that is mine alone", b"rang her at her mother's", b"marigold-77"


def files_with(word: bytes, *folders: Path) -> list[str]:
    """Files in which *word* stands; the feed is the customer's own."""
    found = []
    for folder in folders:
        for at, _, names in os.walk(folder):
            for path in (Path(at) / name for name in names):
                if path.name != "feed.jsonl" and word in path.read_bytes():
                    found.append(str(path.relative_to(folder)))
    return found


def kept_in_redis(url: str) -> bytes:
    """Every value of every key, whatever its type."""
    with client(url) as redis:
        kept = []
        for key in redis.scan_iter(count=1000):
            match redis.type(key):
                case b"hash":
                    kept.append(repr(redis.hgetall(key)))
                case b"stream":
                    kept.append(repr(redis.xrange(key)))
                case b"string":
                    kept.append(repr(redis.get(key)))
                case b"zset":
                    kept.append(repr(redis.zrange(key, 0, -1)))
                case b"set":
                    kept.append(repr(redis.smembers(key)))
                case other:
                    raise AssertionError(other)
        return "\n".join(kept).encode()


class Told(World):
    """A world in which one customer, among others, has said something that is theirs."""

    def tell(self) -> str:
        """Say it; the case that it opens, on which somebody made a note."""
        self.say(range(20))
        record = {
            "id": "mine",
            "customer": CUSTOMER.decode(),
            "text": WORDS.decode(),
            "language": "en",
            "attributes": {"fuse": "long"},
        }
        broken = b'{"id": "half", "customer": "' + CUSTOMER + b'", "text": "' + WORDS
        with self.feed.open("ab") as file:
            file.write(msgspec.json.encode(record) + b"\n" + broken + b"\n")
        case = until(self._case)
        self.act(case, Verb.NOTE, reason=NOTE.decode(), id_="note-1")
        until(lambda: "tocsin.response.rejected" in self.types())
        return str(case)

    def _case(self) -> str | None:
        with self.records() as records:
            return next((c["id"] for c in records.cases("default") if c.get("customer") == CUSTOMER.decode()), None)

    @property
    def vault(self) -> Path:
        return self.feed.parent / "state" / "vault" / "keys"

    def records(self) -> Records:
        return Records(self.server.url, Vault(self.vault))

    def act(self, case: str, do: Verb, reason: str, id_: str) -> None:
        now = Instant(int(time.time()))
        action = Action(
            id=id_, programme="default", case=case, do=do, by="ann", at=now, received_at=now, arrived=now, reason=reason
        )
        with self.records() as records:
            after = records.last_event("default")
            records.act("default", action.id, encode_action(action), principal="test")
            assert records.answers("default", action.id, after, wait_s=30)

    def is_unreadable(self, case: str) -> bool:
        with self.records() as records:
            record = records.case("default", case)
            assert record is not None
            return bool(record["responses"][0].get("erased"))


@pytest.fixture
def told(tmp_path: Path) -> Iterator[Told]:
    found = Told(tmp_path)
    yield found
    found.engine.kill()
    found.server.kill()


def test_after_an_erasure_the_words_are_in_no_file_and_no_key(told: Told, tmp_path: Path) -> None:
    case = told.tell()
    assert files_with(WORDS, tmp_path), "before it they are somewhere, in the journal of the input"
    told.act(case, Verb.ERASE, reason="asked in writing", id_="erase-1")
    until(lambda: told.is_unreadable(case))
    kept = kept_in_redis(told.server.url)
    assert [word for word in (WORDS, NOTE, CUSTOMER) if word in kept] == []
    until(lambda: not files_with(NOTE, told.data))  # the server rewrites its file in the background
    assert [files_with(word, tmp_path) for word in (WORDS, NOTE, CUSTOMER)] == [[], [], []]
    with told.records() as records:
        assert [flaw for _, _, flaw in verify_store(records, [])] == [None] * 5
        assert sum("erased_at" in found for found in records.cases("default")) == 1
    told.say(range(20, 30))
    until(lambda: told.types().count("tocsin.case.opened") == 7)
    assert not told.engine.crashes


def test_an_engine_that_is_killed_in_the_middle_erases_all_the_same(told: Told, tmp_path: Path) -> None:
    case = told.tell()
    told.act(case, Verb.ERASE, reason="asked in writing", id_="erase-1")
    told.engine.kill()
    assert not told.is_unreadable(case), "the key must outlive every snapshot that may be gone back to"
    told.engine.start()
    until(lambda: told.is_unreadable(case))
    assert [files_with(word, tmp_path / "state") for word in (WORDS, NOTE, CUSTOMER)] == [[], [], []]
    assert told.types().count("tocsin.case.erased") == 1
    with told.records() as records:
        assert [flaw for _, _, flaw in verify_store(records, [case])] == [None]
    with client(told.server.url) as redis:
        raw = msgspec.json.decode(redis.xrevrange(KEYS.events, count=1)[0][1][b"event"])
    assert "sealed" not in opened_event(Vault(told.vault), raw)["data"]


def test_an_export_that_was_kept_sealed_falls_with_the_key(told: Told, tmp_path: Path) -> None:
    case = told.tell()
    at = Instant(int(time.time()))
    records = Records(told.server.url)
    sealed = file_of(records, case, at=at, zone="Europe/London")
    records.close()
    path = tmp_path / "sealed.json"
    path.write_bytes(msgspec.json.encode(sealed))
    assert WORDS not in path.read_bytes()
    assert reopened(path, Vault(told.vault))["responses"][0]["text"] == WORDS.decode()
    told.act(case, Verb.ERASE, reason="asked in writing", id_="erase-1")
    until(lambda: told.is_unreadable(case))
    again = reopened(path, Vault(told.vault))
    assert again["responses"][0]["erased"]
    assert again["trail"]["whole"]
    assert WORDS.decode() not in str(again)
