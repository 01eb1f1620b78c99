"""The books of the storm: what was sent against what Redis holds in the end. Pure; nothing here opens a connection.

`settle` compares the list of what was accepted with the event stream, the cases' logs and their records, and files
each difference under the promise that it breaks. A sound engine leaves every file empty, whatever was killed.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from cases.telling import LATE_AFTER_S
from feedback.instants import Instant, parse_instant
from tests.storm.house import CALM, SHORT

OPENED, BREACHED = "tocsin.case.opened", "tocsin.clock.breached"
OF_THE_STORE = {"tocsin.store.lost", "tocsin.store.rewritten"}
"""What is said when a store was wiped."""


class Sent(msgspec.Struct, frozen=True):
    """A response that was accepted: on disk before the engine could see it."""

    id: str
    kind: str


class Said(msgspec.Struct, frozen=True, kw_only=True):
    """An event as it stands in the stream."""

    id: str
    type: str
    case: str
    sequence: int
    at: Instant
    detected_at: Instant
    response: str
    """The response that opened the case; empty on other events than `case.opened`."""
    due: str
    """Clock and occurrence, of a breach."""
    late: bool
    by_person: bool
    action: str
    """The action that the event answers; empty when it answers none."""


class Stored(msgspec.Struct, frozen=True):
    """A case as the store keeps it: the ids in its log, and the sequence of its record (0 when there is none)."""

    log: frozenset[str]
    sequence: int
    flaw: str = ""
    """The first flaw of its trail; empty when it is whole."""
    wiped: int = 0
    """Up to this event its history went with a store that was wiped; the record says so."""


class Account(msgspec.Struct, frozen=True):
    """Findings, in words; each list must be empty."""

    lost: list[str] = []
    """Accepted, or said before, and not there."""
    doubled: list[str] = []
    """There more often than it was said."""
    unmarked_late: list[str] = []
    """Said late and not marked so, or marked and not late."""
    unfounded: list[str] = []
    """There, and nothing that was sent led to it."""
    disordered: list[str] = []
    """Of one case, a later event before an earlier one."""
    broken: list[str] = []
    """Of a case whose trail does not verify."""
    opened: int = 0
    breached: int = 0
    late: int = 0
    events: int = 0

    @property
    def balanced(self) -> bool:
        return not any((self.lost, self.doubled, self.unmarked_late, self.unfounded, self.disordered, self.broken))


class _Data(msgspec.Struct):
    class Response(msgspec.Struct):
        id: str = ""

    detected_at: str
    response: Response = msgspec.field(default_factory=Response)
    clock: str = ""
    occurrence: int = 0
    late: bool = False
    by: str = ""
    action: str = ""


class _Event(msgspec.Struct):
    data: _Data


_decode = msgspec.json.Decoder(_Event).decode


def said(fields: Mapping[bytes, bytes]) -> Said:
    """An entry of the event stream."""
    data = _decode(fields[b"event"]).data
    type_ = fields[b"type"].decode()
    return Said(
        id=fields[b"id"].decode(),
        type=type_,
        case=fields.get(b"case", b"").decode(),
        sequence=int(fields.get(b"sequence", b"0")),
        at=parse_instant(fields[b"time"].decode()),
        detected_at=parse_instant(data.detected_at),
        response=data.response.id if type_ == OPENED else "",
        due=f"{data.clock} {data.occurrence}" if type_ == BREACHED else "",
        late=data.late,
        by_person=bool(data.by),
        action=data.action,
    )


def settle(
    sent: Sequence[Sent],
    stream: Sequence[Said],
    stored: Mapping[str, Stored],
    expected: Mapping[str, Counter[str]],
    outages: Iterable[tuple[float, float]] = (),
    *,
    wiped: Sequence[Sequence[Said]] = (),
    acted: Iterable[str] = (),
) -> Account:
    """The account of a storm. *outages* are the spans, in Unix seconds, in which no engine ran.

    *wiped* are the streams, as they were, of the stores that were wiped before the one in which *stream* stands;
    *acted* the ids of the actions that were accepted.
    """
    lost, doubled, unfounded, disordered = [], [], [], []
    kinds = {response.id: response.kind for response in sent}
    cases: dict[str, list[Said]] = defaultdict(list)
    opened_by: dict[str, list[str]] = defaultdict(list)
    whole = [event for past in (*wiped, stream) for event in past]
    for past in (*wiped, stream):
        for id_, times in Counter(event.id for event in past).items():
            if times > 1:
                doubled.append(f"event {id_} stands {times} times in the stream")
    for event in {event.id: event for event in reversed(whole)}.values():
        if event.type in OF_THE_STORE and wiped:
            continue
        if not event.case:
            unfounded.append(f"event {event.id} ({event.type}) of no case")
            continue
        cases[event.case].append(event)
        if event.type == OPENED:
            opened_by[event.response].append(event.case)
    for id_, kind in kinds.items():
        found = opened_by.pop(id_, [])
        if expected[kind] and not found:
            lost.append(f"response {id_} ({kind}) opened no case")
        if not expected[kind] and found:
            unfounded.append(f"response {id_} ({kind}) opened {found}")
        if len(found) > 1:
            doubled.append(f"response {id_} opened {found}")
        for case in found:
            events = Counter(event.type for event in cases[case])
            lost += [f"case {case} of {id_}: {n} {type_}" for type_, n in (expected[kind] - events).items()]
            doubled += [f"case {case} of {id_}: {n} {type_}" for type_, n in (events - expected[kind]).items()]
    unfounded += [f"case {case} of {id_}, which was not sent" for id_, found in opened_by.items() for case in found]
    answers = Counter(id_ for id_ in {event.id: event.action for event in whole}.values() if id_)
    for id_ in {*acted}:
        if (times := answers.pop(id_, 0)) != 1:
            (doubled if times else lost).append(f"action {id_} was answered {times} times")
    unfounded += [f"action {id_} was answered and is not known to be accepted" for id_ in answers]
    now = {event.id for event in stream}
    for case, events_ in cases.items():
        _check_case(case, events_, stored.get(case, Stored(frozenset(), 0)), now, lost, doubled)
    lost += [f"case {case} is stored and not in the stream" for case in stored.keys() - cases.keys()]
    for past in (*wiped, stream):
        newest: dict[str, int] = {}
        for event in past:
            if event.case and event.sequence < newest.get(event.case, 0):
                disordered.append(f"case {event.case}: {event.sequence} after {newest[event.case]}")
            newest[event.case] = max(event.sequence, newest.get(event.case, 0))
    return Account(
        lost=lost,
        doubled=doubled,
        unmarked_late=_unmarked(whole, list(outages)),
        unfounded=unfounded,
        disordered=disordered,
        broken=[f"case {case}: {held.flaw}" for case, held in stored.items() if held.flaw],
        opened=len({event.id for event in whole if event.type == OPENED}),
        breached=len({event.id for event in whole if event.type == BREACHED}),
        late=len({event.id for event in whole if event.late}),
        events=len({event.id for event in whole}),
    )


def _check_case(
    case: str, events: list[Said], stored: Stored, now: set[str], lost: list[str], doubled: list[str]
) -> None:
    """One case: its sequence without gap or twin, each clock breached once, log and record as the stream has them."""
    sequences = Counter(event.sequence for event in events)
    newest = max(sequences)
    lost += [f"case {case}: no event has sequence {n}" for n in range(1, newest) if n not in sequences]
    doubled += [f"case {case}: {times} events have sequence {n}" for n, times in sequences.items() if times > 1]
    dues = Counter(event.due for event in events if event.due)
    doubled += [f"case {case}: clock {due} breached {times} times" for due, times in dues.items() if times > 1]
    ids = {event.id for event in events}
    kept = {event.id for event in events if event.id in now or event.sequence > stored.wiped}
    lost += [f"case {case}: event {id_} is not in its log" for id_ in kept - stored.log]
    lost += [f"case {case}: event {id_} is in its log and not in the stream" for id_ in stored.log - ids]
    if stored.sequence < newest:
        lost.append(f"case {case}: its record stands at {stored.sequence} and the stream at {newest}")


def _unmarked(stream: Sequence[Said], outages: list[tuple[float, float]]) -> list[str]:
    wrong = []
    for event in stream:
        if event.by_person:
            continue
        is_late = event.detected_at - event.at >= LATE_AFTER_S
        # Whole seconds and the harness's own clock apart, what fell due in a long enough outage must be late.
        was_down = any(a + 1 <= event.at and event.at + LATE_AFTER_S + 1 <= b for a, b in outages)
        if event.late != is_late or (was_down and event.type == BREACHED and not event.late):
            wrong.append(f"event {event.id} ({event.type}) of {event.at}, detected {event.detected_at}: {event.late=}")
    return wrong


def still_owed(sent: Sequence[Sent], stream: Iterable[Said], acted: Iterable[str] = ()) -> int:
    """How many cases, breaches and answers are yet to come; 0 says only that waiting may end."""
    stream = list(stream)
    unanswered = {*acted} - {event.action for event in stream}
    dues = sum(response.kind == SHORT for response in sent)
    opens = sum(response.kind != CALM for response in sent)
    opened = len({event.response for event in stream if event.type == OPENED})
    breached = len({event.case for event in stream if event.type == BREACHED})
    return max(0, opens - opened) + max(0, dues - breached) + len(unanswered)
