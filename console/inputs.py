"""What `--input` and `--kafka` name, and what the settings do, opened.

Files by their ending and standard input go through a journal each; a topic of Kafka is its own journal.
"""

import re
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from connectors.csv_mapping import CsvMappingError, rows_for
from connectors.files import FileReader, Lines, Rows, StdinReader
from connectors.journal import Journal
from connectors.kafka_link import KafkaInput
from connectors.kafka_reader import KafkaReader
from connectors.reading import Reader
from flows.engine import OpenReader, journal_of
from flows.placing import Topics
from flows.settings import DEFAULT_FILE, Settings

_FORMS = {".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "jsonl", ".csv": "csv", ".tsv": "csv"}


class InputError(Exception):
    """An input cannot be read as asked. Whose turn: whoever typed it; the text says what to do."""


class Opened(dict[str, OpenReader]):
    """Openers by name, and the readers that they made."""

    def __init__(self) -> None:
        super().__init__()
        self.readers: list[Reader] = []
        self.topics = Topics()


def open_inputs(
    settings: Settings,
    paths: Sequence[str],
    *,
    follow: bool,
    form: str,
    programme: str,
    tell: Callable[[str], None],
    topics: Sequence[str] = (),
) -> Opened:
    """Openers for every input, checked as far as can be told before the engine starts. Raises InputError.

    The inputs of the settings are read where neither *paths* nor *topics* (`SERVERS/TOPIC`) name any.
    """
    opened = Opened()
    if topics and paths and not follow:
        raise InputError("a topic has no end, and a file has: add --follow, or leave out --input or --kafka")
    declared = {} if paths or topics else settings.inputs.kafka
    for name, topic in [*declared.items(), *map(named_topic, topics)]:
        _add(opened, name, _topic(name, topic, programme, opened.topics))
        opened.topics.topics[name] = topic
    for path in paths:
        if path == "-":
            _add(opened, "stdin", _stdin(settings, form or "jsonl", programme))
            continue
        file = Path(path)
        kind = form or _FORMS.get(file.suffix.lower(), "")
        if kind not in ("jsonl", "csv"):
            raise InputError(f"{path}: its name does not say what it is; add --format jsonl or --format csv")
        if not file.is_file():
            raise InputError(f"{path} does not exist, or is no file; check the path after --input")
        try:
            # The shipped settings are nobody's to edit: a file of one's own goes beside the data.
            said_in = Path("tocsin.yaml") if settings.file == DEFAULT_FILE else settings.file
            rows = rows_for(file, settings.csv, settings.metrics, said_in, tell) if kind == "csv" else None
        except CsvMappingError as error:
            raise InputError(str(error)) from None
        _add(opened, source_name(file), _file(settings, file, programme, follow, rows))
    return opened


def source_name(file: Path) -> str:
    """The name under which a file's position and journal are kept; also its records' default source."""
    return re.sub(r"[^A-Za-z0-9._-]", "-", file.name)[:100]


def _add(opened: Opened, name: str, open_reader: OpenReader) -> None:
    if name in opened:
        raise InputError(f"two inputs are called {name}; rename one of the files")

    def open_and_keep(resume: str | None) -> Reader:
        reader = open_reader(resume)
        opened.readers.append(reader)
        return reader

    opened[name] = open_and_keep


def named_topic(words: str) -> tuple[str, KafkaInput]:
    """Name and topic of `--kafka SERVERS/TOPIC`. Raises InputError."""
    servers, _, topic = words.rpartition("/")
    if not servers or not topic:
        raise InputError(f"--kafka {words}: expected SERVERS/TOPIC, as in localhost:9092/feedback")
    return topic, KafkaInput(servers=servers, topic=topic)


def _topic(name: str, topic: KafkaInput, programme: str, topics: Topics) -> OpenReader:
    try:
        KafkaReader.check(topic)
    except ValueError as error:
        raise InputError(f"{name}: {error}") from None
    return lambda resume: KafkaReader(name, topic, resume, programme=topic.programme or programme, mine=topics.mine)


def _stdin(settings: Settings, kind: str, programme: str) -> OpenReader:
    if kind != "jsonl":
        raise InputError("standard input is read as JSON lines; save a CSV as a file and name that")

    def open_reader(resume: str | None) -> Reader:
        journal = Journal(journal_of(settings.state, "stdin"), retain_s=settings.journals_retain_s)
        return StdinReader("stdin", sys.stdin.buffer, journal, resume, programme=programme, rows=Lines())

    return open_reader


def _file(settings: Settings, file: Path, programme: str, follow: bool, rows: Rows | None) -> OpenReader:
    name = source_name(file)

    def open_reader(resume: str | None) -> Reader:
        journal = Journal(journal_of(settings.state, name), retain_s=settings.journals_retain_s)
        return FileReader(
            name, file.resolve(), journal, resume, programme=programme, follow=follow, rows=rows or Lines()
        )

    return open_reader


def tails(opened: Mapping[str, OpenReader]) -> list[str]:
    """What to say of files that ended in the middle of a line."""
    readers = opened.readers if isinstance(opened, Opened) else []
    return [
        f"{reader.name}: the last line has no newline yet and was left; it is read once it is complete"
        for reader in readers
        if isinstance(reader, FileReader) and reader.unread_tail
    ]
