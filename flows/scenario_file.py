"""Scenario files: stories of what is heard and done, and what must have been said by then (docs/proving.md).

Reading only, with every problem of a file told at once and at its place; `scenarios.py` tells the stories.
"""

import re
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import msgspec

from cases.events import TYPES
from feedback.instants import Instant, as_datetime, instant, parse_instant, parse_span, rfc3339
from feedback.metrics import Metric
from flows.books import Book
from rules.parse import load, load_text
from rules.problems import Problem, RuleFileErrors, one_of, shown
from rules.ruleset import RuleSet
from rules.shipped import law_of, law_texts
from rules.yaml import Sheet, YamlNode, kind, value

START = parse_instant("2026-11-02T09:00:00Z")
"""A Monday at nine: when a story begins that does not say."""
PROGRAMME = "default"
"""Every story plays in one programme."""
_STORY = ("title", "rules", "files", "start", "ignore", "steps")
_STEP = ("at", "response", "action", "silence", "expect", "includes", "fires", "spares", "cases")
_RESPONSE = ("id", "source", "customer", "occurred_at", "channel", "touchpoint", "scores", "text", "language",
             "attributes")  # fmt: skip
_ACTION = ("id", "case", "do", "by", "at", "reason", "data")
_SILENCE = ("for", "rule", "site", "to", "by", "reason", "end")
_SPAN_FORMS = "a span such as 30m or 2h"
_CLOCK_TIME = re.compile(r"([01]?\d|2[0-3]):([0-5]\d)(?::([0-5]\d))?", re.ASCII)


class Want(msgspec.Struct, frozen=True):
    """One event that is to be said: its type, and the fields that must be so."""

    type: str
    fields: dict[str, Any]


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """One line of a story. What is None is not asked about."""

    line: int
    column: int
    at: Instant
    written: str
    """`at` as its author wrote it."""
    response: dict[str, Any] | None = None
    action: dict[str, Any] | None = None
    silence: dict[str, Any] | None = None
    """The data of a control `silence`, or of an `unsilence` where it has `end`: the place of the silence that ends."""
    expect: tuple[Want, ...] | None = None
    """Everything that is said, in order, but for the types that the story ignores."""
    includes: tuple[Want, ...] = ()
    """To be found among what is said, in this order."""
    fires: tuple[str, ...] = ()
    spares: tuple[str, ...] = ()
    cases: dict[str, dict[str, Any]] = {}
    """Alias (`$1`) to what its record must hold afterwards."""


class Story(msgspec.Struct, frozen=True, kw_only=True):
    file: str
    line: int
    column: int
    title: str
    set: str
    """Name of the shipped or own set that it is about; empty when it brings its files along."""
    book: Book
    start: Instant
    ignore: frozenset[str]
    steps: tuple[Step, ...]


class StoryReader:
    """Reads scenario files about the rule sets of one directory; each set is loaded once."""

    def __init__(self, rules: Path, metrics: Mapping[str, Metric]) -> None:
        self._rules, self._metrics = rules, metrics
        self._books: dict[str, Book] = {}

    def read(self, path: Path) -> list[Story]:
        """The stories of *path*. Raises RuleFileErrors with every problem of the file, OSError when unreadable."""
        problems: list[Problem] = []
        sheet = Sheet(str(path), problems)
        try:
            root = sheet.parse(path.read_text(encoding="utf-8"), aliases=True)
        except UnicodeDecodeError as error:
            raise RuleFileErrors(
                [Problem(str(path), 1, 1, f"a byte that is no UTF-8 at {error.start}", "UTF-8 text")]
            ) from None
        stories = [story for node in sheet.list(root) if (story := self._story(sheet, node)) is not None]
        if problems:
            raise RuleFileErrors(problems)
        return stories

    def _story(self, sheet: Sheet, node: YamlNode) -> Story | None:
        top = sheet.map(node, _STORY, ("title", "steps"))
        if ("rules" in top) == ("files" in top):
            sheet.problem(node, "rules and files" if "rules" in top else "neither rules nor files", "one of the two")
            return None
        book = self._own(sheet, top["files"]) if "files" in top else self._named(sheet, top["rules"])
        if book is None:
            return None
        zone = ZoneInfo(book.sets[PROGRAMME].zone)
        start = sheet.read(top.get("start"), lambda text: _date_time(text, zone), START, _TIME_FORMS)
        ignore = []
        for member in sheet.list(top.get("ignore")):
            _known_type(sheet, member, sheet.text(member))
            ignore.append(sheet.text(member))
        mark = node.start_mark
        return Story(
            file=sheet.file,
            line=mark.line + 1,
            column=mark.column + 1,
            title=sheet.text(top.get("title")),
            set=sheet.text(top.get("rules")),
            book=book,
            start=start,
            ignore=frozenset(ignore),
            steps=tuple(_steps(sheet, top.get("steps"), start, zone, book.sets[PROGRAMME])),
        )

    def _named(self, sheet: Sheet, node: YamlNode) -> Book | None:
        name = sheet.text(node)
        if name not in self._books:
            there = [path.stem for path in (self._rules / "sets").glob("*.yaml")]
            if name not in there:
                sheet.problem(node, f"no set {shown(name)} in {self._rules / 'sets'}", one_of(there, name))
                return None
            self._books[name] = Book(name, {PROGRAMME: load(self._rules, name, self._metrics)}, self._metrics)
        return self._books[name]

    def _own(self, sheet: Sheet, node: YamlNode) -> Book | None:
        texts = {path: sheet.text(text) for path, text in sheet.map(node, None).items()}
        sets = [path for path in texts if path.startswith("sets/") and path.endswith(".yaml")]
        if len(sets) != 1:
            sheet.problem(node, f"{len(sets)} sets", "one sets/<name>.yaml")
            return None
        law = law_of(texts[sets[0]], law_texts(None))
        where = f"{sheet.file}:{node.start_mark.line + 1}: "
        try:
            rules = load_text({**law, **texts}, Path(sets[0]).stem, self._metrics, prefix=where)
        except RuleFileErrors as errors:
            sheet.problems += errors.problems
            return None
        return Book(where, {PROGRAMME: rules}, self._metrics)


# -- steps -------------------------------------------------------------------------------------------------


def _steps(sheet: Sheet, node: YamlNode | None, start: Instant, zone: ZoneInfo, rules: RuleSet) -> Iterator[Step]:
    before = start
    for member in sheet.list(node):
        found = sheet.map(member, _STEP)
        if len(both := [name for name in ("response", "action", "silence") if name in found]) > 1:
            sheet.problem(member, " and ".join(both), "one of them a step")
        written = sheet.text(found.get("at"), "0")
        at = sheet.read(found.get("at"), lambda text: moment(text, start, before, zone), before, _TIME_FORMS)  # noqa: B023
        if at < before:
            sheet.problem(found["at"], f"{written}, before the step above it ({rfc3339(before)})", "a later time")
        before = max(before, at)
        known = [*(rule.id for rule in rules.rules), *(rule.window.rule for rule in rules.windows)]
        expect = found.get("expect")
        asks = any(name in found for name in ("includes", "fires", "spares", "cases"))
        yield Step(
            line=member.start_mark.line + 1,
            column=member.start_mark.column + 1,
            at=at,
            written=written,
            response=_record(sheet, found.get("response"), _RESPONSE),
            action=_action(sheet, found.get("action"), start, at, zone),
            silence=_silence(sheet, found.get("silence"), at),
            expect=None if expect is None and asks else tuple(_wants(sheet, expect)),
            includes=tuple(_wants(sheet, found.get("includes"))),
            fires=_rule_ids(sheet, found.get("fires"), known),
            spares=_rule_ids(sheet, found.get("spares"), known),
            cases={alias: _plain_map(sheet, held) for alias, held in sheet.map(found.get("cases"), None).items()},
        )


def _record(sheet: Sheet, node: YamlNode | None, known: tuple[str, ...]) -> dict[str, Any] | None:
    return None if node is None else {name: value(found) for name, found in sheet.map(node, known).items()}


def _action(
    sheet: Sheet, node: YamlNode | None, start: Instant, before: Instant, zone: ZoneInfo
) -> dict[str, Any] | None:
    record = _record(sheet, node, _ACTION)
    if record is not None and "at" in record:
        at = sheet.map(node, None)["at"]
        record["at"] = rfc3339(
            sheet.read(at, lambda text: _past_moment(text, start, before, zone), before, _TIME_FORMS)
        )
    return record


def _silence(sheet: Sheet, node: YamlNode | None, at: Instant) -> dict[str, Any] | None:
    record = _record(sheet, node, _SILENCE)
    if record is None or node is None:
        return None
    if ("for" in record) == ("end" in record):
        sheet.problem(node, "for and end" if "for" in record else "neither for nor end", "one of the two")
    elif "for" in record:
        length = sheet.read(
            sheet.map(node, None)["for"], lambda text: Instant(parse_span(text)), Instant(0), _SPAN_FORMS
        )
        record["until"] = rfc3339(Instant(at + length))
        del record["for"]
    return {"by": "scenario", "reason": "a scenario", **record}


def _plain_map(sheet: Sheet, node: YamlNode) -> dict[str, Any]:
    return {name: value(found) for name, found in sheet.map(node, None).items()}


def _wants(sheet: Sheet, node: YamlNode | None) -> Iterator[Want]:
    """`nothing` stands for an empty list; an event may be its type alone."""
    if node is not None and value(node) == "nothing":
        return
    for member in sheet.list(node):
        if kind(member) == "text":
            _known_type(sheet, member, sheet.text(member))
            yield Want(sheet.text(member), {})
            continue
        fields = sheet.map(member, None, ("type",))
        if "type" in fields:
            type_ = sheet.text(fields.pop("type"))
            _known_type(sheet, member, type_)
            yield Want(type_, {name: value(found) for name, found in fields.items()})


def _known_type(sheet: Sheet, node: YamlNode, type_: str) -> None:
    if type_ not in TYPES:
        sheet.problem(node, f"the event {shown(type_)}", one_of(TYPES, type_))


def _rule_ids(sheet: Sheet, node: YamlNode | None, known: list[str]) -> tuple[str, ...]:
    named = []
    for member in sheet.list(node):
        id_ = sheet.text(member)
        if id_ not in known:
            sheet.problem(member, f"the rule {shown(id_)}", one_of(known, id_))
        named.append(id_)
    return tuple(named)


# -- times -------------------------------------------------------------------------------------------------

_TIME_FORMS = "a span since the start (4h), a time of day (17:01), a local time (2026-11-03 09:00) or RFC 3339"


def moment(text: str, start: Instant, before: Instant, zone: ZoneInfo) -> Instant:
    """A span since *start*, the next time of day at or after *before*, or a date and time. Raises ValueError."""
    if text == "0":
        return start
    if match := _CLOCK_TIME.fullmatch(text):
        hour, minute, second = (int(part or 0) for part in match.groups())
        day = as_datetime(before).astimezone(zone)
        at = instant(day.replace(hour=hour, minute=minute, second=second, microsecond=0, fold=0))
        if at < before:  # a local day later, which need not be 24 hours
            naive = day.replace(hour=hour, minute=minute, second=second, tzinfo=None) + timedelta(days=1)
            at = instant(naive.replace(tzinfo=zone))
        return at
    return _date_time(text, zone) if "-" in text else Instant(start + parse_span(text))


def _past_moment(text: str, start: Instant, step_at: Instant, zone: ZoneInfo) -> Instant:
    """As `moment`, of something that is told at *step_at*: a time of day is the last one before."""
    at = moment(text, start, step_at, zone)
    if at > step_at and _CLOCK_TIME.fullmatch(text):
        naive = as_datetime(at).astimezone(zone).replace(tzinfo=None) - timedelta(days=1)
        return instant(naive.replace(tzinfo=zone))
    return at


def _date_time(text: str, zone: ZoneInfo) -> Instant:
    try:
        return parse_instant(text)
    except ValueError:
        at = datetime.fromisoformat(text)
    return instant(at if at.tzinfo is not None else at.replace(tzinfo=zone))
