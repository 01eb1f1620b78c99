"""What the lane expects of every reader, against the real thing: order, resume, and never waiting."""

import io
import os
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from connectors.csv_mapping import CsvRows, mapping
from connectors.files import FileReader, Lines, StdinReader
from connectors.journal import Journal, JournalReader
from connectors.kafka_link import KafkaInput
from connectors.kafka_reader import KafkaReader
from connectors.reading import Place, Reader
from connectors.redis_stream import RedisStreamReader
from feedback.metrics import STANDARD
from feedback.records import Envelope
from tests.kafka.topics import fill, fresh

Opener = Callable[[str | None], Reader]
RECORDS = [f'{{"id":"r{n}","text":"comment {n}"}}'.encode() for n in range(40)]


def jsonl(folder: Path) -> Opener:
    path = folder / "in.jsonl"
    path.write_bytes(b"".join(record + b"\n" for record in RECORDS))
    return lambda resume: FileReader(
        "in", path, Journal(folder / "journal"), resume, programme="default", follow=False, rows=Lines()
    )


def followed(folder: Path) -> Opener:
    path = folder / "in.jsonl"
    path.write_bytes(b"".join(record + b"\n" for record in RECORDS))
    return lambda resume: FileReader(
        "in", path, Journal(folder / "journal"), resume, programme="default", follow=True, rows=Lines()
    )


def table(folder: Path) -> Opener:
    path = folder / "in.csv"
    data = b"id,comment\r\n" + b"".join(f'r{n},"comment,\n{n}"\r\n'.encode() for n in range(40))
    path.write_bytes(data)
    mapped = mapping("in.csv", data, {}, STANDARD, Path("tocsin.yaml"), lambda _: None)
    return lambda resume: FileReader(
        "in", path, Journal(folder / "journal"), resume, programme="default", follow=False, rows=CsvRows(mapped)
    )


def journal(folder: Path) -> Opener:
    written = Journal(folder / "journal")
    written.append((record, "in", "default", "", "") for record in RECORDS)
    written.close()
    return lambda resume: JournalReader("in", Journal(folder / "journal"), resume)


KINDS: dict[str, Callable[[Path], Opener]] = {
    "jsonl": jsonl, "followed": followed, "csv": table, "journal": journal,
}  # fmt: skip


def on_kafka(kafka: Any) -> Opener:
    topic = KafkaInput(servers=kafka.servers, topic=fresh(kafka))
    fill(topic.servers, topic.topic, RECORDS)
    return lambda resume: KafkaReader("in", topic, resume, programme="default")


@pytest.fixture(params=[*KINDS, "redis", "mock_kafka", pytest.param("broker", marks=pytest.mark.kafka)])
def opener(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Opener]:
    if request.param in ("mock_kafka", "broker"):
        yield on_kafka(request.getfixturevalue(request.param))
        return
    if request.param != "redis":
        yield KINDS[request.param](tmp_path)
        return
    connection: Any = request.getfixturevalue("redis")
    url: str = request.getfixturevalue("store_url")
    for record in RECORDS:
        connection.xadd("in", {"record": record})
    yield lambda resume: RedisStreamReader("in", url, "in", resume, programme="default")


def read_all(reader: Reader, count: int, limit: int = 7) -> list[Envelope]:
    """Poll until *count* records came or the reader has had ten seconds."""
    found: list[Envelope] = []
    deadline = time.monotonic() + 10
    while len(found) < count and time.monotonic() < deadline:
        found += reader.poll(limit)
    return found


def place_behind(taken: list[Envelope]) -> str:
    place = Place(None)
    for envelope in taken:
        place.take(envelope.position)
    return str(place)


def test_records_come_once_and_in_order(opener: Opener) -> None:
    reader = opener(None)
    found = read_all(reader, 40)
    reader.close()
    assert [b'"r%d"' % n in e.raw for n, e in enumerate(found)] == [True] * 40
    assert [e.received_at for e in found] == sorted(e.received_at for e in found)
    assert len({e.position for e in found}) == 40


def test_a_resume_gives_exactly_the_rest_as_it_was(opener: Opener) -> None:
    first = opener(None)
    whole = read_all(first, 40)
    first.close()
    for taken in (1, 17, 39):
        again = opener(place_behind(whole[:taken]))
        assert read_all(again, 40 - taken) == whole[taken:]
        again.close()


def test_what_was_read_and_not_snapshotted_is_read_again_as_it_was(opener: Opener) -> None:
    first = opener(None)
    some = read_all(first, 14)
    first.close()
    again = opener(None)
    assert read_all(again, 40)[:14] == some[:14]
    again.close()


def test_what_was_released_is_forgotten_when_it_is_theirs_and_nothing_else_is(opener: Opener) -> None:
    reader = opener(None)
    found = read_all(reader, 40)
    reader.release(place_behind(found[:20]))
    asked: list[bytes] = []

    def theirs(raw: bytes, programme: str) -> bool:
        asked.append(raw)
        return programme == "default" and (b'"r3"' in raw or b'"r30"' in raw)

    removed = reader.forget(theirs)
    reader.close()
    again = opener(None)
    kept = [e.raw for e in read_all(again, 40 - removed) if e.raw.strip()]
    again.close()
    if isinstance(reader, FileReader | RedisStreamReader):
        assert (removed, asked) == (1, [e.raw for e in found[:20]])
    else:  # controls are about nobody, and a topic is its owner's
        assert (removed, asked) == (0, [])
    assert kept == [e.raw for n, e in enumerate(found) if n != 3 or not removed]


def test_a_poll_with_nothing_waiting_is_empty(opener: Opener) -> None:
    reader = opener(None)
    read_all(reader, 40)
    assert list(reader.poll(10)) == []
    reader.close()


def test_a_last_line_without_its_newline_is_read_once_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "in.jsonl"
    path.write_bytes(b'{"id":"a"}\n{"id":"b"')
    reader = FileReader("in", path, Journal(tmp_path / "j"), None, programme="p", follow=True, rows=Lines())
    assert [e.raw for e in read_all(reader, 1)] == [b'{"id":"a"}']
    assert list(reader.poll(5)) == []
    with path.open("ab") as file:
        file.write(b"}\n")
    assert [e.raw for e in read_all(reader, 1)] == [b'{"id":"b"}']
    reader.close()


def test_a_file_that_was_replaced_is_read_from_its_new_beginning(tmp_path: Path) -> None:
    path = tmp_path / "in.jsonl"
    path.write_bytes(b'{"id":"a"}\n')
    reader = FileReader("in", path, Journal(tmp_path / "j"), None, programme="p", follow=True, rows=Lines())
    read_all(reader, 1)
    (tmp_path / "new").write_bytes(b'{"id":"b"}\n')
    (tmp_path / "new").rename(path)
    assert [e.raw for e in read_all(reader, 1)] == [b'{"id":"b"}']
    reader.close()


def test_a_torn_tail_of_the_journal_is_cut_and_the_rest_kept(tmp_path: Path) -> None:
    written = Journal(tmp_path / "j")
    written.append((record, "in", "default", "", "") for record in RECORDS)
    written.close()
    segment = next((tmp_path / "j").glob("*.journal"))
    os.truncate(segment, segment.stat().st_size - 5)
    again = Journal(tmp_path / "j")
    assert [entry.raw for _, entry in again.read(0, 100)] == RECORDS[:-1]
    again.close()


def test_standard_input_ends(tmp_path: Path) -> None:
    read_end, write_end = os.pipe()
    os.write(write_end, b'{"id":"a"}\n{"id":"b"}\n{"id":"c"')
    os.close(write_end)
    with io.FileIO(read_end) as stream:
        reader = StdinReader(
            "stdin",
            stream,
            Journal(tmp_path / "j"),
            None,
            programme="p",
            rows=Lines(),  # type: ignore[arg-type]
        )
        assert [e.raw for e in read_all(reader, 2)] == [b'{"id":"a"}', b'{"id":"b"}']
        reader.close()


def test_a_redis_that_takes_the_connection_and_hangs_is_trouble() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        reader = RedisStreamReader(
            "in", f"redis://127.0.0.1:{silent.getsockname()[1]}", "in", None, programme="default"
        )
        caller, _ = silent.accept()
        assert caller.recv(1)  # it has asked, and waits
        assert reader.trouble
        caller.close()
    reader.close()
