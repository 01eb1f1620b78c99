"""Tells scenario files under virtual time, and compares what is said with what was expected.

`tocsin test` and the project's own stories stand on it; the format is read by `scenario_file.py`. A story ends
at its first step that goes wrong: what comes after would only echo it.
"""

from collections.abc import Iterable, Sequence
from difflib import SequenceMatcher
from typing import Any

import msgspec

from cases.events import Event
from feedback.decode import Decoder
from feedback.instants import Instant, parse_instant, rfc3339
from feedback.metrics import Metric
from feedback.records import Envelope, Response
from flows.explaining import RuleSaid, explain
from flows.scenario_file import PROGRAMME, Step, Story, Want
from flows.virtual import VirtualEngine

SOURCE = "scenario"
_TOLD = ("case", "clock", "rules", "owner", "to", "due_at", "change", "reason", "detail")
"""Fields of an event that tell it from its like, in a diff."""


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """One step that went otherwise than its author expected."""

    file: str
    line: int
    column: int
    title: str
    step: int
    """From 1."""
    at: str
    diff: tuple[str, ...]
    """Lines: `- ` expected and not said, `+ ` said and not expected, `~ ` said otherwise, `? ` why not."""


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """How a story went."""

    story: Story
    failure: Failure | None
    fired: frozenset[str]
    """Rules that fired in it."""
    spared: frozenset[str]
    """Rules that it says must not fire on a response, and that did not."""


class _World:
    """One engine, and the cases by the order in which they opened."""

    def __init__(self, story: Story, metrics: dict[str, Metric]) -> None:
        self.decoder = Decoder(metrics, frozenset({PROGRAMME}))
        self.engine = VirtualEngine(story.book, self.decoder, start=story.start)
        self.cases: list[str] = []
        self.silences = 0
        self.records: dict[str, dict[str, Any]] = {}

    def alias(self, case: object) -> str:
        return f"${self.cases.index(str(case)) + 1}" if str(case) in self.cases else ""

    def keep(self, events: Iterable[Event]) -> None:
        for event in events:
            if event.type == "case.opened" and str(event.case) not in self.cases:
                self.cases.append(str(event.case))
            if event.record is not None:
                self.records[self.alias(event.case)] = msgspec.json.decode(event.record)


def tell(story: Story, metrics: dict[str, Metric]) -> Told:
    """Tell *story* from its start to its end, or to the first step that goes wrong."""
    world = _World(story, metrics)
    fired: set[str] = set()
    spared: set[str] = set()
    for number, step in enumerate(story.steps, 1):
        envelope, trouble = _envelope(world, step, number)
        events = world.engine.advance(step.at) if envelope is None else world.engine.hear([envelope])
        world.keep(events)
        firing = {rule["id"] for event in events if event.case for rule in event.data.get("rules", ())}
        fired |= firing
        verdicts = _verdicts(story, world, envelope) if step.response is not None else ()
        diff = [*trouble, *_diff(story, step, events, firing, verdicts, world)]
        if diff:
            return Told(
                story=story,
                failure=Failure(
                    file=story.file,
                    line=step.line,
                    column=step.column,
                    title=story.title,
                    step=number,
                    at=f"{step.written} ({rfc3339(step.at)})",
                    diff=tuple(diff),
                ),
                fired=frozenset(fired),
                spared=frozenset(spared),
            )
        spared.update(step.spares)
    return Told(story=story, failure=None, fired=frozenset(fired), spared=frozenset(spared))


def _envelope(world: _World, step: Step, number: int) -> tuple[Envelope | None, list[str]]:
    """What the step puts in front of the engine, and what is wrong with it."""
    trouble: list[str] = []
    if step.response is not None:
        record = {"id": f"r{number}", "customer": "c1", "language": "en", **step.response}
    elif step.action is not None:
        record = {"kind": "action", "id": f"a{number}", **step.action}
        case = str(record.get("case", ""))
        if case.startswith("$"):
            place = int(case[1:]) if case[1:].isdecimal() else 0
            if 1 <= place <= len(world.cases):
                record["case"] = world.cases[place - 1]
            else:
                trouble.append(f"? {case} names no case: {len(world.cases)} opened so far")
    elif step.silence is not None:
        record = _silence(world, step.silence, trouble)
    else:
        return None, []
    raw = msgspec.json.encode(record)
    at = float(step.at)
    return Envelope(raw=raw, source=SOURCE, position=str(number), received_at=at, programme=PROGRAMME), trouble


def _silence(world: _World, silence: dict[str, Any], trouble: list[str]) -> dict[str, Any]:
    data = {"programme": PROGRAMME, **silence}
    if "end" not in data:
        world.silences += 1
        data["silence"] = f"s{world.silences}"
    elif (name := str(data.pop("end"))) in {f"s{number}" for number in range(1, world.silences + 1)}:
        data["silence"] = name
    else:
        trouble.append(f"? {name} names no silence: {world.silences} begun so far, from s1")
    do = "silence" if "until" in data else "unsilence"
    return {"kind": "control", "id": f"{do} {data.get('silence')}", "do": do, "by": data.pop("by"), "data": data}


def _verdicts(story: Story, world: _World, envelope: Envelope | None) -> Sequence[RuleSaid]:
    record = None if envelope is None else world.decoder.decode(envelope)
    return explain(story.book, record).rules if isinstance(record, Response) else ()


# -- comparing ---------------------------------------------------------------------------------------------


def _diff(
    story: Story, step: Step, events: list[Event], firing: set[str], verdicts: Sequence[RuleSaid], world: _World
) -> list[str]:
    """Lines of what differs; empty when all is as expected."""
    said = [(event, _seen(event, world)) for event in events]
    lines: list[str] = []
    if step.expect is not None:
        lines += _whole(step.expect, [pair for pair in said if pair[0].type not in story.ignore])
    lines += _included(step.includes, said)
    by_rule = {verdict.rule: verdict for verdict in verdicts}
    for rule in step.fires:
        if rule not in firing:
            lines.append(f"- the rule {rule} fires")
    for rule in step.spares:
        if rule in firing or (rule in by_rule and by_rule[rule].fired):
            lines.append(f"+ the rule {rule} fires: {by_rule[rule].words if rule in by_rule else 'on this step'}")
    for alias, wanted in step.cases.items():
        record = world.records.get(alias)
        lines += [f"- {alias}: no such case"] if record is None else _against(f"{alias} ", wanted, _by_name(record))
    rejected = [event for event in events if event.type == "response.rejected"]
    if rejected and (lines or step.expect is None):
        lines += [f"? the response was rejected: {e.data['reason']}: {e.data['detail']}" for e in rejected]
    if lines and verdicts and not rejected:
        lines += _why_not(step, firing, verdicts)
    return lines


def _why_not(step: Step, firing: set[str], verdicts: Sequence[RuleSaid]) -> list[str]:
    """For a case that did not open: what each rule that was wanted said, or every rule when none was named."""
    opening = [want for want in (*(step.expect or ()), *step.includes) if want.type in ("case.opened", "case.updated")]
    named = {*step.fires, *(str(rule) for want in opening for rule in want.fields.get("rules", ()))}
    if not named and (not opening or firing):
        return []
    return [
        f"? {v.rule}: {v.outcome.replace('_', ' ')}: {v.words}"
        for v in verdicts
        if not v.fired and (v.rule in named or not named)
    ]


def _seen(event: Event, world: _World) -> dict[str, Any]:
    plain = msgspec.to_builtins(event.data)
    if event.case:  # a digest's rules are numbers, and are compared as they are
        plain["rules"] = [rule["id"] for rule in event.data.get("rules", ())]
    return {**plain, "case": world.alias(event.case)}


def _whole(wanted: Sequence[Want], said: list[tuple[Event, dict[str, Any]]]) -> list[str]:
    lines: list[str] = []
    matcher = SequenceMatcher(None, [w.type for w in wanted], [event.type for event, _ in said], autojunk=False)
    for tag, a, b, c, d in matcher.get_opcodes():
        if tag == "equal":
            for want, (event, seen) in zip(wanted[a:b], said[c:d], strict=True):
                lines += _against(f"{event.type} ", want.fields, seen)
            continue
        lines += [f"- {want.type}{_fields(want.fields)}" for want in wanted[a:b]]
        lines += [f"+ {event.type}{_fields(_telling(seen))}" for event, seen in said[c:d]]
    return lines


def _included(wanted: Sequence[Want], said: list[tuple[Event, dict[str, Any]]]) -> list[str]:
    """Each of *wanted* found in order; one that is not is shown with what came nearest."""
    lines: list[str] = []
    left = list(said)
    for want in wanted:
        place = next((i for i, (e, seen) in enumerate(left) if e.type == want.type and not _wrong(want, seen)), None)
        if place is not None:
            left = left[place + 1 :]
            continue
        lines.append(f"- {want.type}{_fields(want.fields)}")
        alike = [(event, seen) for event, seen in said if event.type == want.type]
        lines += [f"+ {event.type}{_fields(_telling(seen))}" for event, seen in alike or said]
    return lines


def _wrong(want: Want, seen: dict[str, Any]) -> list[str]:
    return _against("", want.fields, seen)


def _against(where: str, wanted: dict[str, Any], found: dict[str, Any]) -> list[str]:
    """A line for each of *wanted* that *found* does not hold; maps are compared by what they name."""
    lines: list[str] = []
    for name, value in wanted.items():
        got = found.get(name)
        if isinstance(value, dict) and isinstance(got, dict):
            lines += _against(f"{where}{name}.", value, got)
        elif name not in found:
            lines.append(f"~ {where}{name}: expected {_text(value)}, and nothing of that name was said")
        elif not _same(value, got):
            lines.append(f"~ {where}{name}: expected {_text(value)}, said {_text(got)}")
    return lines


def _same(wanted: Any, got: Any) -> bool:
    """Equal; or two times that are the same instant."""
    return bool(wanted == got) or (_as_instant(wanted) is not None and _as_instant(wanted) == _as_instant(got))


def _as_instant(value: Any) -> Instant | None:
    try:
        return parse_instant(value) if isinstance(value, str) and "T" in value else None
    except ValueError:
        return None


def _by_name(record: dict[str, Any]) -> dict[str, Any]:
    """A case's record with its clocks by name, the newest of each, and its rules by id."""
    clocks = {clock["name"]: clock for clock in record.get("clocks", ())}
    return {**record, "clocks": clocks, "rules": [rule["id"] for rule in record.get("rules", ())]}


def _telling(seen: dict[str, Any]) -> dict[str, Any]:
    return {name: seen[name] for name in _TOLD if seen.get(name) not in (None, "", [])}


def _fields(fields: dict[str, Any]) -> str:
    return "".join(f"  {name}={_text(value)}" for name, value in fields.items())


def _text(value: Any) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()
