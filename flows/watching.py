"""The second stage: rules with memory, over the responses of everybody, and the cases of what they find.

    hear -> facts, by what is watched -> windows (drawers of keys) -> findings -> systemic cases

What hearing makes of a response counts under a site, a theme, a product, so it is keyed by that and not by the
customer. A drawer is a key of the dataflow as a shard is. The cases that its windows open lie beside them, in a shard
of the same step whose number comes after all those of customers: so an action, a clock and a finding of one case meet
in one order, whoever looks first.
"""

from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from typing import Protocol

import msgspec
import structlog
from bytewax.operators import StatefulBatchLogic

from cases import shard as shards
from cases.events import Event
from cases.sealing import SEALED, UnknownVault, leaf_of_customer, seal, unseal
from cases.shard import Item, quarantined
from cases.systemic import Found
from feedback.instants import Instant
from feedback.layout import DRAWERS
from flows.erasures import Erasures
from flows.indexes import DueIndex
from flows.keyed import SnapshotError, check, checksum
from rules.kinds import Dropped, Finding, Window, WindowFact
from rules.kinds.drawer import Drawer
from rules.model import Trigger
from rules.ruleset import RuleSet, WindowRule

log = structlog.get_logger()

VERSION = 1
"""Of the stored form; the bytes in it have versions of their own (`rules/kinds`, `cases/shard.py`)."""
_NEW = -1
_KEY = "key"
_TELLING = frozenset({"none", "programme", "theme", "attributes.site", "attributes.product", "attributes.agent"})
"""What a window may be keyed by so that its key may lie anywhere; every other key is sealed with its case."""

Stored = tuple[int, int, int, bytes | None, bytes | None, int] | tuple[int, int, int, bytes | None, bytes | None]
"""(version, shard, form of the cases, keys of the windows, cases, checksum of both); at first without the last."""


class Meter(Protocol):
    def found(self, rule: str, kind: str) -> None:
        """An alert of *rule* was raised, joined or ended."""

    def dropped(self, rule: str, what: str, count: int) -> None:
        """Something was not counted, or forgotten before its time."""

    def keys(self, shard: int, count: int) -> None:
        """How many keys the windows of *shard* hold now."""


class Windows:
    """The rules with memory of all programmes, by what the second stage asks for."""

    def __init__(self, sets: Mapping[str, RuleSet]) -> None:
        self._sets = sets

    @cached_property
    def by_id(self) -> Mapping[str, Window]:
        """Window id to its settings; programmes of one set share them."""
        return {rule.window.id: rule.window for rules in self._sets.values() for rule in rules.windows}

    @cached_property
    def _rules(self) -> Mapping[tuple[str, str], WindowRule]:
        return {(name, rule.window.id): rule for name, rules in self._sets.items() for rule in rules.windows}

    def rule(self, programme: str, window: str) -> WindowRule | None:
        return self._rules.get((programme, window))

    def programme_of(self, finding: Finding) -> str | None:
        """Whose case it is: the window's programme, or of one over all of them that of its latest response."""
        if finding.scope:
            return finding.scope
        if finding.refs:
            return finding.refs[-1].programme
        return min((name for name, window in self._rules if window == finding.window), default=None)


class Watch(msgspec.Struct, frozen=True, kw_only=True):
    """An item for a drawer: a response that counts in it, the time, or something for one of its cases."""

    fact: WindowFact | None = None
    at: Instant
    """When it was received; or until when time has passed."""
    windows: Windows
    item: Item
    """What is for the drawer's cases; of a fact only what else was known is looked at."""
    arrived: float = 0.0
    history: bool = False
    """The fact is old: it is learned from, and raises nothing."""


def as_remembered(fact: WindowFact, by: str, customer_key: str, erasures: Erasures) -> WindowFact:
    """*fact* with its key as its drawer may keep it: that of a window by customer is sealed under the customer's own.

    The same customer has the same token until an erasure destroys their key; from then on nobody can tell whose it
    was, and what is found under it concerns nobody.
    """
    if by != "customer" or erasures.vault is None:
        return fact
    leaf = leaf_of_customer(erasures.vault, fact.scope, customer_key, erasures.is_given_up)
    token = seal(erasures.vault, leaf, (fact.window, _KEY), {_KEY: fact.key}).get(SEALED)
    return fact if token is None else msgspec.structs.replace(fact, key=token)


def watch_key(shard: int) -> str:
    """The key of the dataflow for a drawer, named by the shard of its cases."""
    return f"w{shard:05d}"


class WindowStep:
    """One drawer: items in, events out. Under Bytewax and under virtual time alike."""

    def __init__(self, stored: Stored | None, due: DueIndex, meter: Meter, erasures: Erasures) -> None:
        """Raises SnapshotError."""
        self._due, self._meter, self._erasures = due, meter, erasures
        if stored is None:
            stored = (VERSION, _NEW, shards.VERSION, None, None, 0)
        version, self._shard, form, keys, cases, *crc = stored
        if version != VERSION:
            raise SnapshotError(
                f"windows are stored in form {version} and this release reads {VERSION}; "
                "run the release that wrote them, or a later one"
            )
        if crc:
            check(f"the windows of shard {self._shard}", crc[0], keys, cases)
        self._held = Drawer(keys, DRAWERS)
        self._body = shards.upgrade(form, cases)
        self._case_wake, _, erased = shards.summary(self._body)
        erasures.ask(erased)
        self._in_force: frozenset[str] | None = None
        if self._shard != _NEW:
            self._register()

    def take(self, watch: Watch) -> list[Event]:
        """Let time pass until it, count it, and give its cases what was found and what is for them.

        Never raises: a mistake of ours in a window costs the memory of the key that it was made on, and is an event.
        """
        self._shard = watch.item.shard
        items: list[Item] = []
        events: list[Event] = []
        try:
            items = self._find(watch)
        except Exception as error:
            place = watch.fact.place if watch.fact is not None else ("", "", "")
            which = "/".join(place[:2]) if watch.fact is not None else f"shard {self._shard}"
            log.error("window.quarantined", which=which, error=type(error).__name__)
            self._held.forget(place)
            programme = watch.fact.ref.programme if watch.fact is not None else min(watch.item.rules)
            events.append(quarantined("window", which, programme, watch.item.seen_at, error))
        if watch.fact is None:
            items.append(watch.item)
        if items:
            stepped = shards.step(self._shard, self._body, items)
            self._body, self._case_wake = stepped.body, stepped.wake_at
            self._erasures.ask(stepped.erased)
            events += stepped.events
        self._register()
        return events

    def _find(self, watch: Watch) -> list[Item]:
        """What the windows find by the watch's time and by its fact, in the order in which it could be known."""
        by_id = watch.windows.by_id
        events = []
        if watch.fact is not None and watch.fact.window not in by_id:  # of a lane whose rules are ahead of ours
            self._meter.dropped(watch.fact.rule, "not_in_force", 1)
        if self._in_force != (in_force := frozenset(by_id)):
            events += self._held.retire(by_id, watch.at)
            self._in_force = in_force
        if not watch.history:
            events += self._held.wake(by_id, watch.at)
        if watch.fact is not None and watch.history:
            events += self._held.learn(by_id, watch.fact)
        elif watch.fact is not None:
            events += self._held.step(by_id, watch.fact, watch.at)
        items: list[Item] = []
        for event in events:
            if isinstance(event, Dropped):
                self._meter.dropped(event.rule, event.what, event.count)
            elif (found := self._found(event, watch)) is not None:
                self._meter.found(event.rule, event.kind)
                items.append(msgspec.structs.replace(watch.item, what=found))
        return sorted(items, key=lambda item: item.what.at if isinstance(item.what, Found) else 0)

    @property
    def is_empty(self) -> bool:
        """Nothing is remembered: the key may be forgotten."""
        return not len(self._held) and self._body is None

    def stored(self) -> Stored:
        keys = self._held.pack()
        return (VERSION, self._shard, shards.VERSION, keys, self._body, checksum(keys, self._body))

    @property
    def open_cases(self) -> int:
        """Systemic cases that are not closed."""
        return sum(entry.open for entry in shards.unpack(self._body).entries)

    def _register(self) -> None:
        due = [at for at in (self._held.wake_at(), self._case_wake) if at is not None]
        self._due.register(self._shard, min(due, default=None))
        self._meter.keys(self._shard, len(self._held))

    def _found(self, finding: Finding, watch: Watch) -> Found | None:
        programme = watch.windows.programme_of(finding)
        if programme is None or programme not in watch.item.rules:
            return None  # of a rule, or a programme, that is no more
        rule, window = watch.windows.rule(programme, finding.window), watch.windows.by_id.get(finding.window)
        by = window.by if window is not None else ""
        if by == "customer":
            if (key := self._opened(finding)) is None:
                return None  # of somebody who was erased
            finding = msgspec.structs.replace(finding, key=key)
        return Found(
            finding=finding,
            programme=programme,
            at=_known_at(finding, window, watch),
            trigger=None if rule is None else _trigger(rule, finding),
            customer=finding.key if by == "customer" else "",
            routing={"site": finding.key} if by == "attributes.site" else {},
            theme=finding.key if by == "theme" else "",
            tells=by in _TELLING,
            arrived=watch.arrived,
        )

    def _opened(self, finding: Finding) -> str | None:
        """The customer under whose key it was found; None when that was destroyed."""
        if self._erasures.vault is None:
            return finding.key
        try:
            private = unseal(self._erasures.vault, (finding.window, _KEY), finding.key)
        except (ValueError, UnknownVault):
            return finding.key  # remembered before sealing was turned on
        return None if private is None else str(private[_KEY])


def _known_at(finding: Finding, window: Window | None, watch: Watch) -> Instant:
    """When *finding* could be known: with the response that made it so, or once nobody in time could change it.

    The same whether a response or a tick found it, and whenever the tick came.
    """
    late_s = window.late_s if window is not None else 0
    settled = Instant(max(finding.until, finding.ripe_at) + late_s)
    return min(settled, watch.at) if watch.fact is not None else settled


def _trigger(rule: WindowRule, finding: Finding) -> Trigger:
    window = rule.window
    return Trigger(rule=window.rule, version=window.version, title=window.title, why=(finding.why,), case=rule.case)


class WindowLogic(StatefulBatchLogic[Watch, Event, Stored]):
    """A drawer under Bytewax."""

    def __init__(self, step: WindowStep) -> None:
        self._step = step

    def on_batch(self, values: list[Watch]) -> tuple[Iterable[Event], bool]:
        said = [event for watch in values for event in self._step.take(watch)]
        return said, self._step.is_empty

    def on_notify(self) -> tuple[Iterable[Event], bool]:
        return (), False

    def on_eof(self) -> tuple[Iterable[Event], bool]:
        return (), False

    def notify_at(self) -> None:
        return None

    def snapshot(self) -> Stored:
        return self._step.stored()


def window_builder(due: DueIndex, meter: Meter, erasures: Erasures) -> Callable[[Stored | None], WindowLogic]:
    """What builds a drawer's logic from what was stored under its key."""

    def build(stored: Stored | None) -> WindowLogic:
        return WindowLogic(WindowStep(stored, due, meter, erasures))

    return build
