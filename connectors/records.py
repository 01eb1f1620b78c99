"""Reading what the store keeps, and handing in actions and responses: the command line's side of Redis."""

import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import islice
from typing import Any, Self

import msgspec
import redis

from cases.sealing import SEALED, opened, opened_event
from cases.sealing import Keys as SealingKeys
from connectors.keyspace import CALENDARS, PROBE, PROGRAMMES, Keys
from connectors.redis_link import client
from feedback.instants import Instant, rfc3339
from feedback.layout import UNKNOWN, Layout, read_layout

ACTED_FOR_S = 7 * 86_400
"""How long an action id is remembered at the door; the case itself remembers its newest 64 for good."""

_ACT = """
local was = redis.call('GET', KEYS[2])
if was then return was end
local cut = redis.call('GET', KEYS[3]) or ''
if cut ~= ARGV[4] then return {cut} end
local id = redis.call('XADD', KEYS[1], '*', 'record', ARGV[1], 'principal', ARGV[2])
redis.call('SET', KEYS[2], id, 'EX', ARGV[3])
return id
"""

Row = dict[str, Any]


class StoreClosed(Exception):
    """The store is being cut anew (`tocsin reshard`), and takes nothing in meanwhile. Come again later."""


def batched(items: Iterable[str], size: int) -> Iterator[list[str]]:
    """*items* in lists of *size* and a last shorter one."""
    left = iter(items)
    while batch := list(islice(left, size)):
        yield batch


class Records:
    """One store, read."""

    def __init__(self, url: str, keys: SealingKeys | None = None) -> None:
        """*keys* open what is sealed; without them it is given as a token (`sealed`)."""
        self.keys = keys
        self._redis = client(url)
        self._act = self._redis.register_script(_ACT)

    def programmes(self) -> list[str]:
        """Programmes that this store has been opened for."""
        return sorted(name.decode() for name in self._redis.smembers(PROGRAMMES))

    def find(self, case: str) -> str | None:
        """The programme that has *case*; None when none has."""
        for programme in self.programmes():
            if self._redis.exists(Keys(programme).case(case)):
                return programme
        return None

    def case(self, programme: str, case: str) -> Row | None:
        """The record of one case with its `responses`, its `log` and what became of its `notices`; None: there is none.

        The log is as it was written, for whoever verifies it; `read` opens an event of it.
        """
        fields = self._redis.hgetall(Keys(programme).case(case))
        if not fields:
            return None
        record = self._record(case, fields[b"record"])
        responses = [msgspec.json.decode(v) for k, v in fields.items() if k.startswith(b"response:")]
        responses.sort(key=lambda kept: kept["sequence"])
        place = (case, "response")
        record["responses"] = [opened(self.keys, place, kept["response"]) for kept in responses]
        if b"rewritten_at" in fields:
            # The store lost this case once; the history up to that event, and texts before it, are gone.
            at, sequence = Instant(int(fields[b"rewritten_at"])), int(fields[b"rewritten_sequence"])
            record["rewritten"] = {"at": rfc3339(at), "sequence": sequence}
        log = [msgspec.json.decode(event) for event in self._redis.hvals(Keys(programme).log(case))]
        record["log"] = sorted(log, key=lambda event: int(event.get("sequence", 0)))
        told = [msgspec.json.decode(event) for event in self._redis.hvals(Keys(programme).notices(case))]
        record["notices"] = sorted(told, key=lambda event: (event["time"], event["id"]))
        return record

    def token(self, programme: str, case: str) -> str | None:
        """What is sealed in the record of *case*, as it is; None when nothing is, or it was erased."""
        raw = self._redis.hget(Keys(programme).case(case), "record")
        token = msgspec.json.decode(raw).get(SEALED) if raw is not None else None
        return str(token) if token is not None else None

    def read(self, event: Row) -> Row:
        """*event* with what is sealed in it opened, or marked as erased."""
        return opened_event(self.keys, event)

    def _record(self, case: str, raw: bytes) -> Row:
        return opened(self.keys, (case, "case"), msgspec.json.decode(raw))

    def cases(
        self,
        programme: str,
        *,
        owner: str = "",
        overdue_at: int | None = None,
        closed: bool = False,
        limit: int = 100,
    ) -> Iterator[Row]:
        """Records, the one due first in front: open ones, an owner's, overdue ones, or all there ever were."""
        keys = Keys(programme)
        if overdue_at is not None:
            ids = self._redis.zrange(keys.due, "-inf", overdue_at, byscore=True, offset=0, num=limit)
        elif owner:
            ids = self._redis.zrange(keys.owner(owner), 0, limit - 1)
        elif closed:
            ids = self._redis.zrevrange(keys.cases, 0, limit - 1)
        else:
            due = self._redis.zrange(keys.due, 0, limit - 1)
            seen = set(due)
            rest = [case for case in self._redis.zrange(keys.open, 0, limit - 1) if case not in seen]
            ids = [*due, *rest][:limit]
        pipeline = self._redis.pipeline(transaction=False)
        for id_ in ids:
            pipeline.hget(keys.case(id_.decode()), "record")
        for id_, raw in zip(ids, pipeline.execute(), strict=True):
            if raw is not None:
                yield self._record(id_.decode(), raw)

    def all_cases(self, programme: str) -> Iterator[str]:
        """Ids of every case there ever was, oldest first."""
        start, size = 0, 1000
        while found := self._redis.zrange(Keys(programme).cases, start, start + size - 1):
            yield from (id_.decode() for id_ in found)
            start += size

    def holding(self, programme: str, response: str) -> list[str]:
        """Cases that hold a response of this id, oldest first. Looks at every case: a person's question."""
        found: list[str] = []
        for ids in batched(self.all_cases(programme), 1000):
            pipeline = self._redis.pipeline(transaction=False)
            for case in ids:
                pipeline.hkeys(Keys(programme).case(case))
            ending = f":{response}".encode()
            for case, fields in zip(ids, pipeline.execute(), strict=True):
                if any(field.startswith(b"response:") and field.endswith(ending) for field in fields):
                    found.append(case)
        return found

    def counted(self, programme: str, response: str, within_s: float) -> dict[str, Row]:
        """Systemic cases whose alert counted a response of this id, with the event that says so. Looks far back."""
        found: dict[str, Row] = {}
        for event in self.newest(programme, ("tocsin.case.updated",), within_s):
            data = event["data"]
            if data.get("change") == "affected" and any(one["id"] == response for one in data.get("responses", ())):
                found.setdefault(event["subject"], event)
        return found

    def logs(self, programme: str) -> Iterator[list[Row]]:
        """The events of every case there ever was, case by case, each in order."""
        for ids in batched(self.all_cases(programme), 200):
            pipeline = self._redis.pipeline(transaction=False)
            for case in ids:
                pipeline.hvals(Keys(programme).log(case))
            for events in pipeline.execute():
                log = [self.read(msgspec.json.decode(event)) for event in events]
                yield sorted(log, key=lambda event: int(event.get("sequence", 0)))

    def waiting(self, programme: str, response: str) -> Row | None:
        """The newest response of this id in the programme's input stream, which keeps what fired nothing, too."""
        newest = "+"
        while page := self._redis.xrevrange(Keys(programme).inbox, max=newest, count=1000):
            for id_, fields in page:
                try:
                    record = msgspec.json.decode(fields.get(b"record", b""))
                except (msgspec.DecodeError, UnicodeDecodeError):
                    continue
                if isinstance(record, dict) and str(record.get("id")) == response:
                    return {**record, "received_at": rfc3339(Instant(int(id_.split(b"-")[0]) // 1000))}
            newest = f"({page[-1][0].decode()}"
        return None

    def counts(self, programme: str, now: int) -> tuple[int, int]:
        """(open, overdue) cases."""
        keys = Keys(programme)
        return int(self._redis.zcard(keys.open)), int(self._redis.zcount(keys.due, "-inf", now))

    def due_within(self, programme: str, now: int, spans: Iterable[int]) -> list[int]:
        """How many open cases have their next deadline after *now* and at most each of *spans* seconds ahead."""
        pipeline = self._redis.pipeline(transaction=False)
        for span in spans:
            pipeline.zcount(Keys(programme).due, f"({now}", now + span)
        return [int(count) for count in pipeline.execute()]

    def owned(self, programme: str, owners: Sequence[str]) -> dict[str, int]:
        """How many open cases each of *owners* has."""
        pipeline = self._redis.pipeline(transaction=False)
        for owner in owners:
            pipeline.zcard(Keys(programme).owner(owner))
        return {owner: int(count) for owner, count in zip(owners, pipeline.execute(), strict=True)}

    def overdue_by_owner(self, programme: str, now: int, limit: int = 5000) -> dict[str, int]:
        """Owner to overdue cases; empty is nobody. Of the *limit* that are overdue longest."""
        keys, found = Keys(programme), Counter[str]()
        ids = self._redis.zrange(keys.due, "-inf", now, byscore=True, offset=0, num=limit)
        pipeline = self._redis.pipeline(transaction=False)
        for id_ in ids:
            pipeline.hget(keys.case(id_.decode()), "owner")
        for owner in pipeline.execute():
            found[(owner or b"").decode()] += 1
        return dict(found)

    def due_before(self, programme: str, before: Instant, offset: int, limit: int) -> list[Row]:
        """Records of open cases with a live clock due at or before *before*, the earliest first."""
        keys = Keys(programme)
        ids = self._redis.zrange(keys.due, "-inf", before, byscore=True, offset=offset, num=limit)
        pipeline = self._redis.pipeline(transaction=False)
        for id_ in ids:
            pipeline.hget(keys.case(id_.decode()), "record")
        return [msgspec.json.decode(raw) for raw in pipeline.execute() if raw is not None]

    def clocks(self, programme: str) -> int:
        """Open cases with a clock that runs."""
        return int(self._redis.zcard(Keys(programme).due))

    def probe(self, programme: str) -> None:
        """Write something small: a server whose disk or memory is full answers every question and takes nothing.

        Raises RedisError.
        """
        self._redis.incr(Keys(programme).marker_of(PROBE))

    def keep_calendars(self, texts: Mapping[str, str]) -> None:
        """Keep the calendars that clocks count on, by key, for whoever reads a ledger; one is never changed."""
        if self._redis.hlen(CALENDARS) < len(texts):
            for key, text in texts.items():
                self._redis.hsetnx(CALENDARS, key, text)

    def calendars(self) -> dict[str, str]:
        """Key to text of every calendar that a clock of this store was counted on."""
        return {key.decode(): text.decode() for key, text in self._redis.hgetall(CALENDARS).items()}

    def dead(self, programme: str, limit: int = 100) -> list[Row]:
        """The newest dead letters, newest first: what could not be read, and why."""
        found = self._redis.xrevrange(Keys(programme).dead, count=limit)
        return [self._letter({k.decode(): v.decode("utf-8", "replace") for k, v in f.items()}) for _, f in found]

    def _letter(self, fields: Row) -> Row:
        letter = opened(self.keys, (fields.get("event", ""), "dead"), fields)
        original = letter.get("original")
        return {**letter, "original": original.decode("utf-8", "replace")} if isinstance(original, bytes) else letter

    def act(self, programme: str, action_id: str, action: bytes, principal: str) -> str:
        """Hand in an action, in the lane of its case; its stream id. The same action id again hands in nothing.

        Raises StoreClosed, LayoutError.
        """
        case = str(msgspec.json.decode(action).get("case", ""))
        return self._hand_in(programme, action_id, action, principal, lambda layout: layout.lane_of_case(case) or 0)

    def tell_lanes(self, programme: str, control_id: str, control: bytes, principal: str) -> None:
        """Hand in a control to every lane. Raises StoreClosed, LayoutError."""
        cut = self._redis.get(Keys(programme).layout)
        for lane in range(read_layout(cut).lanes if cut else 1):
            self._hand_in(programme, f"{control_id} {lane}", control, principal, partial(_always, lane))

    def _hand_in(
        self, programme: str, action_id: str, action: bytes, principal: str, lane_in: Callable[[Layout], int]
    ) -> str:
        keys = Keys(programme)
        cut = self._redis.get(keys.layout) or b""
        while True:
            layout = read_layout(cut) if cut else UNKNOWN
            if layout.closed:
                raise StoreClosed(f"the store is being cut into other lanes; hand in {action_id} again in a minute")
            stream = keys.of_lane(keys.actions, lane_in(layout))
            given = [action, principal, ACTED_FOR_S, cut]
            reply = self._act(keys=[stream, keys.acted(action_id), keys.layout], args=given)
            if not isinstance(reply, list):
                return str(reply.decode())
            cut = reply[0]  # the cut changed since we looked

    def layout(self, programme: str) -> Layout | None:
        """How the store is cut into lanes; None when no engine has opened it. Raises LayoutError."""
        found = self._redis.get(Keys(programme).layout)
        return read_layout(found) if found else None

    def lay_out(self, programmes: Iterable[str], layout: Layout) -> None:
        """From now on whoever writes to a lane finds it by *layout*."""
        for programme in programmes:
            self._redis.set(Keys(programme).layout, layout.text())

    def respond(self, programme: str, response: bytes) -> str:
        """Hand in a response, in the lane of its customer; its stream id. Raises StoreClosed, LayoutError.

        What cannot be read is handed in too: the engine rejects it and keeps it aside.
        """
        keys, layout = Keys(programme), self.layout(programme) or UNKNOWN
        if layout.closed:
            raise StoreClosed("the store is being cut into other lanes; hand it in again in a minute")
        try:
            said = msgspec.json.decode(response)
        except (msgspec.DecodeError, UnicodeDecodeError):
            said = None
        if isinstance(said, dict):
            anonymous = f"anonymous {said.get('source') or f'{programme}:in'} {said.get('id')}"
            lane = layout.lane_of_customer(programme, str(said.get("customer") or anonymous))
        else:
            lane = 0  # nobody's: any lane can reject it
        return str(self._redis.xadd(keys.of_lane(keys.inbox, lane), {"record": response}).decode())

    def events(self, programme: str, after: str = "0-0", limit: int = 500) -> list[tuple[str, Row]]:
        """Events after a stream id, as (stream id, CloudEvent), opened."""
        found = self._redis.xrange(Keys(programme).events, min=f"({after}", count=limit)
        return [(id_.decode(), self.read(msgspec.json.decode(fields[b"event"]))) for id_, fields in found]

    def last_event(self, programme: str) -> str:
        """Stream id of the newest event, to look for later ones from; `0-0` when there is none."""
        found = self._redis.xrevrange(Keys(programme).events, count=1)
        return found[0][0].decode() if found else "0-0"

    def answers(self, programme: str, action_id: str, after: str, *, wait_s: float) -> list[Row]:
        """The events that an action led to, once the engine has answered; empty when it did not within *wait_s*."""
        deadline = time.monotonic() + wait_s
        while (left := deadline - time.monotonic()) > 0:
            stream = Keys(programme).events
            reply = self._redis.xread({stream: after}, count=500, block=max(1, min(1000, int(left * 1000))))
            for _, entries in reply or ():
                after = entries[-1][0].decode()
                said = [msgspec.json.decode(fields[b"event"]) for _, fields in entries]
                mine = [event for event in said if event["data"].get("action") == action_id]
                if mine:
                    cases = {event.get("subject") for event in mine}
                    first = said.index(mine[0])
                    return [self.read(event) for event in said[first:] if event.get("subject") in cases]
        return []

    def answer_to(self, programme: str, silence: str, after: str, *, wait_s: float) -> Row | None:
        """The event that says what became of a *silence* asked for since *after*; None within *wait_s*."""
        deadline = time.monotonic() + wait_s
        while (left := deadline - time.monotonic()) > 0:
            stream = Keys(programme).events
            for _, entries in self._redis.xread({stream: after}, count=500, block=max(1, min(1000, int(left * 1000)))):
                after = entries[-1][0].decode()
                for _, fields in entries:
                    if fields[b"type"].startswith(b"tocsin.silence."):
                        event: Row = msgspec.json.decode(fields[b"event"])
                        if event["data"].get("silence") == silence:
                            return event
        return None

    def newest(self, programme: str, types: Collection[str], within_s: float) -> Iterator[Row]:
        """Events of those *types* that were written within the last *within_s*, newest first. A person's question."""
        wanted = {type_.encode() for type_ in types}
        newest, oldest = "+", f"{int((time.time() - within_s) * 1000)}"
        while page := self._redis.xrevrange(Keys(programme).events, max=newest, min=oldest, count=1000):
            for _, fields in page:
                if fields.get(b"type") in wanted:
                    yield msgspec.json.decode(fields[b"event"])
            newest = f"({page[-1][0].decode()}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._redis.close()


def _always(lane: int, _: Layout) -> int:
    return lane


RedisError = redis.RedisError
"""What any of this raises when Redis cannot be reached or refuses."""
