"""The rule book: the rule set of every programme, as one value with one hash, stored by that hash.

Rules change by an item of the stream that names a book, and a snapshot names the book in force; so a book must
be found by its hash as long as a replay may ask for it. A book's file holds the text of the rule files that it
was made of, and it is read back through the same parser.
"""

import json
import os
from collections.abc import Mapping
from hashlib import blake2b
from pathlib import Path

from feedback.metrics import Metric
from rules.calendar import Calendar
from rules.parse import files_of, load, load_text
from rules.problems import RuleFileErrors
from rules.ruleset import RuleSet
from rules.yaml import read_once
from scoring.reader import Reader

KEPT_OPEN = 4
"""Books kept as read."""


class BookError(Exception):
    """A book that cannot be opened. Whose turn: the operator's."""


class Book:
    """The rules in force. Immutable."""

    def __init__(self, hash_: str, sets: Mapping[str, RuleSet], metrics: Mapping[str, Metric]) -> None:
        self.hash = hash_
        self.sets = sets
        """Programme to rule set."""
        # Made at once, so that the first response does not wait a second for the language model.
        self._readers = {name: Reader(rules.taxonomies, metrics) for name, rules in sets.items()}

    def reader(self, programme: str) -> Reader:
        """What scores this programme's responses."""
        return self._readers[programme]


def book_of(choice: str, directory: Path, sets: Mapping[str, str], metrics: Mapping[str, Metric]) -> Book:
    """A book that is only looked at, never stored: *sets* (programme to set) under *directory*.

    *choice* is another directory, or a set of *directory* for every programme. Raises BookError, RuleFileErrors.
    """
    if choice and (Path(choice) / "sets").is_dir():
        directory = Path(choice)
    elif choice:
        there = sorted(path.stem for path in (directory / "sets").glob("*.yaml"))
        if choice not in there:
            raise BookError(f"{choice} is neither a directory with sets/ nor a set of {directory}: {', '.join(there)}")
        sets = dict.fromkeys(sets, choice)
    with read_once():
        return Book(choice or "settings", {p: load(directory, name, metrics) for p, name in sets.items()}, metrics)


class BookShelf:
    """Books by hash, in a folder of one engine's state directory."""

    def __init__(self, folder: Path, metrics: Mapping[str, Metric]) -> None:
        self._folder, self._metrics = folder, metrics
        self._opened: dict[str, Book] = {}
        self.calendars: dict[str, Calendar] = {}
        """Every calendar of every book that was ever put here: an open case counts on the one that it began with."""
        for path in sorted(self._calendars_folder.glob("*.json")):
            try:
                calendar = Calendar.from_text(path.read_text(encoding="utf-8"))
            except (ValueError, KeyError) as error:
                raise BookError(f"{path} is damaged ({error}); restore it from a backup") from None
            self.calendars[calendar.key] = calendar

    @property
    def is_empty(self) -> bool:
        """No book was ever put here."""
        return not any(self._folder.glob("*.json"))

    @property
    def _calendars_folder(self) -> Path:
        return self._folder / "calendars"

    def put(self, directory: Path, sets: Mapping[str, str], *, keep: str | None = None) -> Book:
        """Store the rule files under *directory* as a book: *sets* maps programme to the name of its set.

        Programmes of the book *keep* that are no longer declared stay as they were: their cases' clocks run
        on. Raises RuleFileErrors with every problem of every file.
        """
        with read_once():
            return self._put(directory, sets, keep)

    def _put(self, directory: Path, sets: Mapping[str, str], keep: str | None) -> Book:
        pages: dict[str, dict[str, object]] = {
            p: {"set": name, "files": files_of(directory, name)} for p, name in sets.items()
        }
        if keep is not None:
            pages = {**{p: page for p, page in self._pages(keep).items() if p not in pages}, **pages}
        text = json.dumps(pages, sort_keys=True, ensure_ascii=False)
        hash_ = blake2b(text.encode(), digest_size=8).hexdigest()
        if (known := self._opened.get(hash_)) is not None:
            return known
        book = self._read(hash_, pages)
        path = self._path(hash_)
        _write_once(path, text)
        while len(self._opened) >= KEPT_OPEN:  # edits would pile up; what is asked for again is read again
            self._opened.pop(next(iter(self._opened)))
        self._opened[hash_] = book
        return book

    def open(self, hash_: str) -> Book:
        """The book of that hash. Raises BookError when it is not on the shelf or cannot be read."""
        if hash_ not in self._opened:
            try:
                self._opened[hash_] = self._read(hash_, self._pages(hash_))
            except RuleFileErrors as errors:
                raise BookError(
                    f"the rules stored as {hash_} are not readable by this release:\n{errors}\n"
                    "Run the release that stored them until its cases are closed."
                ) from errors
        return self._opened[hash_]

    def _pages(self, hash_: str) -> dict[str, dict[str, object]]:
        path = self._path(hash_)
        try:
            pages: dict[str, dict[str, object]] = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise BookError(f"the saved state was judged by rules {hash_}, and {path} is gone; restore it") from None
        except ValueError as error:
            raise BookError(f"{path} is damaged ({error}); restore it from a backup") from None
        return pages

    def _read(self, hash_: str, pages: Mapping[str, Mapping[str, object]]) -> Book:
        sets = {}
        for programme, page in pages.items():
            files = page["files"]
            assert isinstance(files, dict)
            sets[programme] = rules = load_text(files, str(page["set"]), self._metrics)
            for calendar in rules.calendars.values():
                self.calendars[calendar.key] = calendar
                _write_once(self._calendars_folder / f"{calendar.key}.json", calendar.text)
            rules.calendars = self.calendars
        return Book(hash_, sets, self._metrics)

    def _path(self, hash_: str) -> Path:
        if not hash_.isalnum():
            raise BookError(f"{hash_[:40]!r} is no hash of a rule book")
        return self._folder / f"{hash_}.json"


def _write_once(path: Path, text: str) -> None:
    """*text* at *path*, whole or not at all; what is there already is the same, its name being a hash."""
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(".draft")
    with draft.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
