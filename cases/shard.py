"""A shard: the drawer that holds the cases of all the customers hashed to it, and the step that changes them.

`step` is the whole engine after the rules: stored bytes and items in, stored bytes and events out, time passed
in. Every item first fires all that was due before its own time, in the whole drawer, and is then applied; so
what is said does not hang on where a tick fell. What fails is isolated to its case: nothing of it is kept,
the failure is an event, and the others go on. `flows/keyed.py` drives this under Bytewax.
"""

import traceback
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from cases import case as cases
from cases import sealing
from cases.acting import act
from cases.case import REMEMBERED, Case, FiredRule
from cases.erasing import erased_elsewhere, leaf_of_forgotten, needs_keys
from cases.events import Event, caseless
from cases.lifecycle import Status
from cases.opening import begin, join, open_case, starting_later, update
from cases.refusal import Refusal, reason_of
from cases.restating import restate
from cases.sealing import Keys
from cases.systemic import Found, Names, ended, joined, open_systemic, raised_again
from cases.telling import Moment, Telling
from cases.waking import fire_due
from feedback.ids import CaseId, case_id, case_number, response_key, short_hash
from feedback.instants import Instant, rfc3339
from feedback.records import Action, Response, Restate, Tick, Verb
from rules.model import Priority, Trigger
from rules.ruleset import RuleSet
from scoring.reading import Reading

VERSION = 3
"""Of the stored form: `Drawer`, `Entry`, `Case`, `Clock`, `ClockSpec`. A change of their fields needs an `upgrade`."""
READABLE = (1, 2, 3)
"""Forms that `upgrade` knows."""

RETRY_AFTER_S = 3600
"""A case whose clocks cannot be worked out is looked at again this much later: one bad case is no busy loop."""


class Judged(msgspec.Struct, frozen=True, kw_only=True):
    """A response that fired, or that a case may already know."""

    response: Response
    reading: Reading
    triggers: tuple[Trigger, ...]


class Item(msgspec.Struct, frozen=True, kw_only=True):
    """What a shard is given: the thing, and what was known when it was taken up."""

    shard: int
    what: Judged | Action | Tick | Restate | Found
    rules: Mapping[str, RuleSet]
    """The rule set in force for each programme, when this item was judged."""
    seen_at: Instant
    """Engine time when the source gave it out; becomes `detected_at`."""
    outages: tuple[tuple[Instant, Instant], ...] = ()
    """[from, until) in which nobody looked at the clocks."""
    keys: Keys | None = None
    """The vault under which what is personal is sealed; without one nothing is."""
    names: Names | None = None
    """Which case a response has, as far as this process knows."""


class Entry(msgspec.Struct, array_like=True, gc=False):
    """One case in the drawer: what must be known without unpacking it, and the packed rest."""

    id: CaseId
    identity: int
    customer: int
    """Hash of (programme, customer): finds the same customer's other cases."""
    wake_at: Instant | None
    open: bool
    responses: list[tuple[int, int, int]]
    """(response key, hash of what it said, how often it said something new), newest last, `REMEMBERED` at most."""
    packed: bytes


Known = tuple[int, int]
"""(key of a response, the number of the case that remembers it: `feedback.ids.case_number`)."""

FEW = 3
"""So many cases are stored without a sample, which is as large as one of them."""

Erased = tuple[int, str]
"""(key that was given up, case that was erased): nothing is sealed under that key any more (`sealing.Keys.leaf`)."""


class Drawer(msgspec.Struct, array_like=True):
    """What is stored of a shard."""

    entries: list[Entry]
    erased: list[Erased] = []
    """What erasures gave up and is not destroyed yet: whoever holds the vault is told of it until it is."""
    like: bytes = b""
    """A sample of its cases (`case.sample`), which stays while there are any; empty while they are few."""

    def case(self, entry: Entry, keys: Keys | None = None) -> Case:
        """The case of one of its entries."""
        return cases.unpack(entry.packed, keys, self.like)


class Stepped(msgspec.Struct, frozen=True):
    """What a step leaves behind."""

    drawer: Drawer
    events: list[Event]
    wake_at: Instant | None
    knows: list[Known]
    """All the responses that a case here remembers."""
    erased: list[Erased]
    """`Drawer.erased`, as it stands."""

    @property
    def body(self) -> bytes | None:
        """The drawer as it is stored; None when it is empty: forget the key."""
        return pack(self.drawer)


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Drawer).decode
_decode_1 = msgspec.msgpack.Decoder(list[Entry]).decode
_plain = msgspec.json.Encoder(order="deterministic").encode


def unpack(body: bytes | None) -> Drawer:
    return _decode(body) if body else Drawer([])


def pack(drawer: Drawer) -> bytes | None:
    """What `unpack` reads; None of a drawer that is empty."""
    return _encode(drawer) if drawer.entries or drawer.erased else None


def upgrade(version: int, body: bytes | None) -> bytes | None:
    """A drawer stored in an earlier form, in the present one. Raises ValueError for a form that is not known."""
    if version in (2, VERSION) or body is None:  # in form 2 a case was sealed apart from its record: `case.unpack`
        return body
    if version == 1:  # before erasures: the entries alone
        return _encode(Drawer(_decode_1(body)))
    raise ValueError(f"form {version}")


def summary(body: bytes | None) -> tuple[Instant | None, list[Known], list[Erased]]:
    """(earliest wake, remembered responses, what to destroy) of a stored drawer: what loading it needs."""
    return _summary(unpack(body))


def _summary(drawer: Drawer) -> tuple[Instant | None, list[Known], list[Erased]]:
    wake = min((e.wake_at for e in drawer.entries if e.wake_at is not None), default=None)
    knows = [(key, case_number(e.id)) for e in drawer.entries for key, _, _ in e.responses]
    return wake, knows, drawer.erased


def step(shard: int, stored: bytes | Drawer | None, items: Sequence[Item], *, alike: bool = True) -> Stepped:
    """Apply *items* in order to a drawer, as it is stored or unpacked. Never raises for what an item says.

    A drawer that is given unpacked is taken over. Without *alike* its cases are not made small: it is never stored.
    """
    drawer = _Drawer(shard, stored if isinstance(stored, Drawer) else unpack(stored), alike)
    for item in items:
        drawer.take(item)
    left = Drawer(drawer.entries, drawer.erased, drawer.like if drawer.entries else b"")
    wake, knows, erased = _summary(left)
    return Stepped(left, drawer.events, wake, knows, erased)


class _Drawer:
    def __init__(self, shard: int, stored: Drawer, alike: bool) -> None:
        self.shard, self.alike = shard, alike
        self.entries, self.erased, self.like = stored.entries, stored.erased, stored.like
        self.events: list[Event] = []

    def take(self, item: Item) -> None:
        what, keys = item.what, item.keys
        if self.erased and keys is not None:
            self.erased = [(leaf, case) for leaf, case in self.erased if keys.key(leaf) is not None]
        if isinstance(what, Tick):
            self._fire_due(what.at, item)
        elif isinstance(what, Restate):
            self.events += restate((self._case(entry, keys) for entry in self.entries), what.at, keys)
        elif isinstance(what, Action):
            self._fire_due(what.received_at, item)
            self._guarded(lambda: self._act(what, item), "action", what.id, what.programme, item)
        elif isinstance(what, Found):
            self._fire_due(what.at, item)
            self._guarded(lambda: self._find(what, item), "finding", what.finding.alert, what.programme, item)
        else:
            self._fire_due(what.response.received_at, item)
            where = f"{what.response.source} {what.response.id}"
            self._guarded(lambda: self._hear(what, item), "response", where, what.response.programme, item)

    # -- time ---------------------------------------------------------------------------------------------

    def _fire_due(self, at: Instant, item: Item) -> None:
        due = [e for e in self.entries if e.wake_at is not None and e.wake_at <= at]
        for entry in sorted(due, key=lambda e: (e.wake_at or 0, e.id)):
            try:
                self._wake(entry, at, item)
            except Exception as error:
                entry.wake_at = Instant(item.seen_at + RETRY_AFTER_S)
                self._quarantine("case", entry.id, "default", item, error)

    def _wake(self, entry: Entry, at: Instant, item: Item) -> None:
        case = self._case(entry, item.keys)
        if case.status is Status.CLOSED:
            self.entries.remove(entry)  # remembered long enough; the store's record stays
            return
        telling = self._telling(case, self._moment(item, case.programme, 0.0))
        fire_due(telling, at, item.names)
        self._keep(entry, telling)

    # -- responses ----------------------------------------------------------------------------------------

    def _hear(self, judged: Judged, item: Item) -> None:
        response, triggers = judged.response, list(judged.triggers)
        key = response_key(response.programme, response.source, response.id)
        said = _hash_of(response)
        moment = self._moment(item, response.programme, response.arrived)
        known = [e for e in self.entries if any(k == key for k, _, _ in e.responses)]
        for holder in known:
            triggers = self._hear_again(holder, judged, triggers, key, said, moment)
        groups: dict[tuple[str, str], list[Trigger]] = {}
        for trigger in triggers:
            groups.setdefault((trigger.case.type, trigger.subject), []).append(trigger)
        for (type_, subject), group in groups.items():
            identity = short_hash(response.programme, response.customer_key, type_, subject)
            entry = next((e for e in self.entries if e.identity == identity and e.open), None)
            if entry is None:
                self._open(identity, judged, group, key, said, moment)
                continue
            telling = self._telling(self._case(entry, moment.keys), moment)
            join(telling, response, judged.reading, group, self._remember(entry, key, said))
            self._keep(entry, telling)

    def _hear_again(
        self, entry: Entry, judged: Judged, triggers: list[Trigger], key: int, said: int, moment: Moment
    ) -> list[Trigger]:
        """Update a case that knows the response; returns the triggers that it does not answer for."""
        case = self._case(entry, moment.keys)
        rules = {rule.id for rule in case.rules}
        mine = [t for t in triggers if t.rule in rules]
        if not any((k, s) == (key, said) for k, s, _ in entry.responses):
            telling = self._telling(case, moment)
            update(telling, judged.response, judged.reading, mine, self._remember(entry, key, said))
            self._keep(entry, telling)
        return [t for t in triggers if t.rule not in rules]

    def _open(
        self, identity: int, judged: Judged, triggers: list[Trigger], key: int, said: int, moment: Moment
    ) -> None:
        response = judged.response
        customer = short_hash(response.programme, response.customer_key)
        type_, subject = triggers[0].case.type, triggers[0].subject
        id_ = case_id(
            self.shard,
            response.programme,
            response.customer_key,
            type_,
            subject,
            response.source,
            response.id,
        )
        if any(e.id == id_ for e in self.entries):
            return  # this response has opened this case before, and its rules have been renamed since
        # A case that was found, not said, has no responses.
        said_by_them = [e for e in reversed(self.entries) if e.customer == customer and e.responses]
        earlier = [str(e.id) for e in said_by_them[:5]]
        leaf = self._leaf(moment, response.programme, response.customer_key)
        telling = open_case(id_, response, judged.reading, triggers, earlier=earlier, moment=moment, leaf=leaf)
        self._file(id_, identity, customer, [(key, said, 1)], telling)

    def _file(
        self, id_: CaseId, identity: int, customer: int, responses: list[tuple[int, int, int]], telling: Telling
    ) -> None:
        entry = Entry(id_, identity, customer, None, True, responses, b"")
        self._keep(entry, telling)
        self.entries.append(entry)

    @staticmethod
    def _remember(entry: Entry, key: int, said: int) -> str:
        """Keep what the response says now; returns what tells this reading of it from every other."""
        times = 1 + max((n for k, _, n in entry.responses if k == key), default=0)
        entry.responses = [*(kept for kept in entry.responses if kept[0] != key), (key, said, times)][-REMEMBERED:]
        return f"{said:016x} {times}"

    # -- findings -----------------------------------------------------------------------------------------

    def _find(self, found: Found, item: Item) -> None:
        """A rule with memory raised an alert, one more joined it, or it ended."""
        finding, trigger = found.finding, found.trigger
        moment = self._moment(item, found.programme, found.arrived)
        identity = short_hash(found.programme, found.key)
        entry = next((e for e in self.entries if e.identity == identity and e.open), None)
        if entry is None:
            if finding.kind == "raised" and trigger is not None:
                self._open_systemic(found, trigger, identity, moment)
            return  # people closed it while its alert went on: it opens again when it is raised again
        telling = self._telling(self._case(entry, moment.keys), moment)
        if finding.kind == "joined":
            joined(telling, found)
        elif finding.kind == "ended":
            ended(telling, found, item.names)
        elif telling.case.alarm is None or telling.case.alarm.alert != finding.alert:
            raised_again(telling, found)
        self._keep(entry, telling)

    def _open_systemic(self, found: Found, trigger: Trigger, identity: int, moment: Moment) -> None:
        id_ = case_id(self.shard, found.programme, found.key, trigger.case.type, "", "window", found.finding.alert)
        if any(e.id == id_ for e in self.entries):
            return  # found again by a replay, and closed since
        whose = found.customer or found.key
        customer = short_hash(found.programme, whose)
        # What is found comes by a way of its own, so whether a customer's other case came just before it is chance.
        alike = [e for e in reversed(self.entries) if e.customer == customer and not found.customer]
        earlier = [str(e.id) for e in alike[:5]]
        leaf = self._leaf(moment, found.programme, whose)
        telling = open_systemic(id_, found, trigger, leaf=leaf, earlier=earlier, moment=moment)
        self._file(id_, identity, customer, [], telling)

    # -- actions ------------------------------------------------------------------------------------------

    def _act(self, action: Action, item: Item) -> None:
        entry = next((e for e in self.entries if e.id == action.case), None)
        moment = self._moment(item, action.programme, action.arrived)
        if entry is None:
            self._act_on_unknown(action, moment)
            return
        case = self._case(entry, moment.keys)
        if case.programme != action.programme:
            # A door lets somebody act for one programme; another's case is as unknown to them as none.
            refusal = Refusal("unknown_case", "no case of that id is open or remembered here")
            self.events.append(refused(action, refusal, moment.seen_at))
            return
        mark = short_hash(action.id)
        if mark in case.actions:
            return  # the same action again changes nothing
        telling = self._telling(case, moment)
        leaf = case.leaf
        try:
            self._one_for_each_identity(entry, action)
            if action.do is Verb.ERASE:
                needs_keys(moment.keys)
            act(telling, action)
        except Refusal as refusal:
            # Of the attempt only the refusal is kept, so the case is unpacked afresh.
            telling = self._telling(self._case(entry, moment.keys), moment)
            telling.say("action.refused", action.received_at, (action.id,), **reason_of(action, refusal))
        else:
            if action.do is Verb.ERASE:
                self._give_up(leaf, entry.id)
                self._erase(entry.customer, action, moment, beside=entry)
                self._forget_customer(entry, action.programme)
        telling.case.actions = [*telling.case.actions, mark][-REMEMBERED:]
        self._keep(entry, telling)

    def _one_for_each_identity(self, entry: Entry, action: Action) -> None:
        """Refuse to reopen a closed case beside one that opened since for the same customer, type and subject."""
        if action.do is not Verb.REOPEN or entry.open:
            return
        other = next((e for e in self.entries if e.identity == entry.identity and e.open), None)
        if other is not None:
            raise Refusal("open_already", f"{other.id} opened since about the same thing; go on there")

    def _act_on_unknown(self, action: Action, moment: Moment) -> None:
        record = action.data.get("record")
        if action.do is Verb.REOPEN and isinstance(record, dict) and action.reason:
            self._reopen_linked(action, record, moment)
            return
        if action.do is Verb.ERASE and isinstance(record, dict) and action.reason:
            self._erase_forgotten(action, record, moment)
            return
        refusal = Refusal("unknown_case", "no case of that id is open or remembered here")
        self.events.append(refused(action, refusal, moment.seen_at))

    def _reopen_linked(self, action: Action, record: dict[str, Any], moment: Moment) -> None:
        """The case was forgotten; from its record (`data.record`) a new one opens that names it."""
        at = action.received_at
        customer = str(record.get("customer", ""))
        rules = moment.rules
        first: dict[str, Any] = next(iter(record.get("rules") or []), {})
        rule = next((r for r in rules.rules if r.id == first.get("id")), None)
        if rule is None:
            refusal = Refusal("unknown_rule", "the rule that opened it is no longer in force; open it by a response")
            self.events.append(refused(action, refusal, moment.seen_at))
            return
        spec = rule.case
        key = customer or f"anonymous {action.case}"
        type_, subject = spec.type, str(record.get("subject", ""))
        id_ = case_id(self.shard, action.programme, key, type_, subject, action.case, action.id)
        if any(e.id == id_ for e in self.entries):
            return
        case = Case(
            id=id_,
            programme=action.programme,
            customer=customer,
            type=type_,
            subject=subject,
            priority=Priority(spec.priority),
            role=spec.role,
            fallback_role=spec.fallback_role,
            opened_at=at,
            rules=[FiredRule(rule.id, rule.version, rule.title)],
            routing={},
            clocks=[],
            notice=spec.notice,
            next_best_action=spec.next_best_action,
            statutory=spec.statutory,
            reopen_for_s=spec.reopen_for_s,
            status_at=at,
            earlier=[action.case],
            linked=action.case,
            leaf=self._leaf(moment, action.programme, key),
        )
        telling = Telling(case, moment)
        case.later = starting_later([spec])
        begin(
            telling,
            [spec],
            at,
            f"reopened by {action.by}",
            by=action.by,
            linked=action.case,
            said=action.reason,
        )
        self._file(
            id_,
            short_hash(action.programme, key, type_, subject),
            short_hash(action.programme, key),
            [],
            telling,
        )

    # -- erasures -----------------------------------------------------------------------------------------

    def _erase(self, customer: int, action: Action, moment: Moment, *, beside: Entry | None = None) -> None:
        """All that the drawer holds of *customer* is erased, and the key is given up; *beside* is taken care of."""
        for entry in self.entries:
            if entry.customer != customer or entry is beside:
                continue
            telling = self._telling(self._case(entry, moment.keys), moment)
            self._give_up(telling.case.leaf, entry.id)
            erased_elsewhere(telling, action)
            self._forget_customer(entry, action.programme)
            self._keep(entry, telling)

    def _forget_customer(self, entry: Entry, programme: str) -> None:
        """Whoever it was: what they say from now on finds a case of its own."""
        entry.customer = entry.identity = short_hash(programme, f"erased {entry.id}")
        entry.responses = []

    def _erase_forgotten(self, action: Action, record: dict[str, Any], moment: Moment) -> None:
        """The case was forgotten here; its record (`data.record`) holds whose key is to go."""
        try:
            leaf, customer = leaf_of_forgotten(action, record, moment.keys)
        except Refusal as refusal:
            self.events.append(refused(action, refusal, moment.seen_at))
            return
        self._erase(short_hash(action.programme, customer or f"anonymous {action.case}"), action, moment)
        self._give_up(leaf, action.case)
        data = {
            "of": action.case,
            "action": action.id,
            "by": action.by,
            "reason": action.reason,
            "detected_at": rfc3339(moment.seen_at),
        }
        occurrence = (action.case, action.id)
        self.events.append(
            caseless("case.erased", action.programme, action.received_at, occurrence, data, action.arrived)
        )

    def _give_up(self, leaf: int, case: str) -> None:
        self.erased = [*self.erased, (leaf, case)]

    def _leaf(self, moment: Moment, programme: str, customer_key: str) -> int:
        """Under which key a customer's cases are sealed: after an erasure another than before."""
        keys = moment.keys
        if keys is None:
            return 0
        given_up = {leaf for leaf, _ in self.erased}
        return sealing.leaf_of_customer(keys, programme, customer_key, given_up.__contains__)

    # -- keeping ------------------------------------------------------------------------------------------

    def _case(self, entry: Entry, keys: Keys | None) -> Case:
        return cases.unpack(entry.packed, keys, self.like)

    def _telling(self, case: Case, moment: Moment) -> Telling:
        if not case.leaf and moment.keys is not None:  # opened before there was a vault
            case.leaf = self._leaf(moment, case.programme, case.customer or f"anonymous {case.id}")
        return Telling(case, moment)

    def _keep(self, entry: Entry, telling: Telling) -> None:
        said = telling.finish()
        if self.alike and not self.like and len(self.entries) >= FEW:
            self.like = cases.sample(telling.case)
        entry.packed = cases.pack(telling.case, telling.moment.keys, self.like)
        entry.open = telling.case.is_open
        entry.wake_at = cases.wake_at(telling.case)
        self.events += said

    @staticmethod
    def _moment(item: Item, programme: str, arrived: float) -> Moment:
        return Moment(
            rules=item.rules[programme],
            seen_at=item.seen_at,
            received_at=_received_at(item.what),
            history=isinstance(item.what, Judged) and item.what.response.history,
            arrived=arrived,
            outages=item.outages,
            keys=item.keys,
        )

    def _guarded(self, do: Callable[[], None], kind: str, which: str, programme: str, item: Item) -> None:
        kept = [(e, (e.id, e.identity, e.customer, e.wake_at, e.open, e.responses, e.packed)) for e in self.entries]
        said, erased, like = len(self.events), self.erased, self.like
        try:
            do()
        except Exception as error:
            self.entries, self.erased, self.like = [e for e, _ in kept], erased, like
            for entry, fields in kept:
                for name, value in zip(Entry.__struct_fields__, fields, strict=True):
                    setattr(entry, name, value)
            del self.events[said:]
            self._quarantine(kind, which, programme, item, error)

    def _quarantine(self, kind: str, which: str, programme: str, item: Item, error: Exception) -> None:
        self.events.append(quarantined(kind, which, programme, item.seen_at, error))


def _received_at(what: Judged | Action | Tick | Restate | Found) -> Instant:
    match what:
        case Judged():
            return what.response.received_at
        case Action():
            return what.received_at
        case Found():
            return what.at
    return Instant(0)  # what falls due is known when it is due


def _hash_of(response: Response) -> int:
    """64 bits of what a response says; not of its times, which a sender may leave to us."""
    said = (response.customer, response.text, response.language, response.scores, response.attributes)
    return short_hash(_plain((said, response.channel, response.touchpoint)).decode())


def refused(action: Action, refusal: Refusal, seen_at: Instant) -> Event:
    """The answer to an action that names no case of ours."""
    data = {**reason_of(action, refusal), "detected_at": rfc3339(seen_at)}
    return caseless(
        "action.refused", action.programme, action.received_at, (action.id, action.case), data, action.arrived
    )


def quarantined(
    kind: str, which: str, programme: str, seen_at: Instant, error: Exception, original: bytes = b""
) -> Event:
    """Our own mistake on one item: what it was and where it broke, so that somebody can mend it.

    *original* is the record as it came, where it is at hand; the store moves it to the dead letters.
    """
    trace = traceback.extract_tb(error.__traceback__)[-6:]
    data = {
        "kind": kind,
        "which": which,
        "error": type(error).__name__,
        # File, line and function only: a message may quote a customer.
        "traceback": [f"{frame.filename.rsplit('/', 2)[-1]}:{frame.lineno} {frame.name}" for frame in trace],
        "detected_at": rfc3339(seen_at),
        "original": original,
    }
    return caseless("item.quarantined", programme, seen_at, (kind, which), data)
