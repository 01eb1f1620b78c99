"""Taking records in for good: appended to a stream, once, and on disk before anybody is told.

Many requests share a write and a wait. One connection appends at once, so the engine reads a record within
milliseconds; others ask Redis how far its append-only file is on disk (a marker written after the records, then
`WAITAOF`), and only then are the requests answered. With `appendfsync everysec` that takes up to a second, with
`always` almost nothing. When the server process changed between the write and the confirmation nobody can say whether
the record is kept: the request fails, and is safe to repeat, because each record leaves a mark beside its entry, in the
same script.
"""

import asyncio
import time
from collections import deque
from collections.abc import Sequence
from hashlib import blake2b, sha1
from typing import Any

import msgspec
import structlog

from connectors.keyspace import Keys
from connectors.redis_async import AsyncLink, end
from connectors.redis_link import ScriptMissing, StoreAway, StoreError, StoreRefusing
from feedback.layout import UNKNOWN, Layout, read_layout
from feedback.records import Action, Outcome, Response

log = structlog.get_logger()

GROUP = 256
"""Requests written at once, at most."""
WAITING = 10_000
"""Requests in hand, at most: beyond that the door says so."""
CONFIRMERS = 24
"""Connections that wait for the disk at a time; at `everysec` a wait is up to a second."""
STAGGER_S = 0.05
"""A second wait begins this long after the first, while that goes on."""
DISK_S = 5.0
"""How long the disk may take before a request fails."""
UNCONFIRMABLE_AGE_S = 2.0
"""Where `WAITAOF` is not to be had (before Redis 7.2), everysec has flushed what is older than this."""
RETRY_S = 0.2

SCRIPT = """
if ARGV[1] ~= '' then
  local was = redis.call('GET', KEYS[1])
  if was and was ~= ARGV[1] then return {'other'} end
end
if ARGV[4] ~= '' then
  if (redis.call('GET', KEYS[2]) or '') ~= ARGV[3] then return {'changed'} end
end
local cut = redis.call('GET', KEYS[3]) or ''
if cut ~= ARGV[6] then return {'moved', cut} end
local answers = {}
for i = 1, #ARGV - 6 do
  local stream, mark = KEYS[2 + 2 * i], KEYS[3 + 2 * i]
  local was = redis.call('GET', mark)
  if was then
    answers[i] = '=' .. was
  else
    local id
    if ARGV[5] == '' then id = redis.call('XADD', stream, '*', 'record', ARGV[6 + i])
    else id = redis.call('XADD', stream, '*', 'record', ARGV[6 + i], 'principal', ARGV[5]) end
    redis.call('SET', mark, id, 'EX', ARGV[2])
    answers[i] = id
  end
end
if ARGV[1] ~= '' then redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[2]) end
if ARGV[4] ~= '' then redis.call('SET', KEYS[2], ARGV[4], 'EX', ARGV[2]) end
return answers
"""
SHA = sha1(SCRIPT.encode()).hexdigest()
#   KEYS: asked, partial, layout, then stream and mark of each record
#   ARGV: digest asked, lifetime, partial before, partial after, principal, layout, then each record


class Busy(Exception):
    """Too much is in hand already. Come again in a second."""


class Clash(Exception):
    """The idempotency key was used before, for something else. The sender's turn."""


class Changed(Exception):
    """A partial response was added to by somebody else meanwhile. Read it again."""


class Closed(StoreAway):
    """The store is being cut into other lanes. Come again in a minute."""


class _Moved(Exception):
    """The store is cut otherwise than the writer thought; nothing was done."""

    def __init__(self, cut: bytes) -> None:
        super().__init__()
        self.cut = cut


class Entry(msgspec.Struct, frozen=True):
    """One record to take in."""

    stream: str
    """Of lane 0; which lane it goes to is settled when it is written."""
    mark: str
    """The key that remembers it."""
    record: bytes
    case: str = ""
    """Of an action."""
    customer: str = ""
    """The key of whoever said it, of a response or an outcome."""

    def lane(self, programme: str, layout: Layout) -> int:
        """The lane that it goes to; what names neither case nor customer is for lane 0 to answer."""
        if self.case:
            return layout.lane_of_case(self.case) or 0
        return layout.lane_of_customer(programme, self.customer) if self.customer else 0


class Ask(msgspec.Struct, frozen=True, kw_only=True):
    """What one request hands in; all of it is taken in, or nothing."""

    programme: str
    entries: tuple[Entry, ...]
    remember_s: int
    principal: str = ""
    asked: str = ""
    """Mark of the idempotency key, if there was one."""
    digest: str = ""
    """Of what was asked under it."""
    partial: str = ""
    """Mark of a response that comes answer by answer, with what was known of it before and is now."""
    before: bytes = b""
    after: bytes = b""

    def words(self, cut: bytes) -> list[str | bytes]:
        """The arguments of the script, for a store that is cut as *cut* says (empty: nobody has opened it)."""
        keys, layout = Keys(self.programme), read_layout(cut) if cut else UNKNOWN
        named: list[str | bytes] = [keys.asked(self.asked or "-"), keys.partial(self.partial or "-"), keys.layout]
        for entry in self.entries:
            named += (keys.of_lane(entry.stream, entry.lane(self.programme, layout)), entry.mark)
        given: list[str | bytes] = [self.digest, str(self.remember_s), self.before, self.after, self.principal, cut]
        return ["EVALSHA", SHA, str(len(named)), *named, *given, *(entry.record for entry in self.entries)]


class Taken(msgspec.Struct, frozen=True):
    """What became of one record."""

    id: str
    """Of its entry in the stream."""
    is_new: bool
    """False when the very same record was there already."""


def stream_of(record: Response | Outcome | Action) -> str:
    """The stream that *record* goes into, in lane 0."""
    keys = Keys(record.programme)
    return keys.actions if isinstance(record, Action) else keys.inbox


def entry_of(record: Response | Outcome | Action, raw: bytes) -> Entry:
    """*record* to take in as *raw*. An action is remembered by its id, a response by its id and what it says."""
    keys = Keys(record.programme)
    if isinstance(record, Action):
        return Entry(stream_of(record), keys.acted(record.id), raw, case=record.case)
    if isinstance(record, Response):
        mark = keys.seen(mark_of("response", record.source, record.id, raw))
        return Entry(stream_of(record), mark, raw, customer=record.customer_key)
    mark = keys.seen(mark_of("outcome", record.customer, record.id, raw))
    return Entry(stream_of(record), mark, raw, customer=record.customer)


def mark_of(*parts: str | bytes) -> str:
    """128 bits that stand for *parts*."""
    digest = blake2b(digest_size=16)
    for part in parts:
        data = part.encode("utf-8", "surrogatepass") if isinstance(part, str) else part
        digest.update(b"%d:" % len(data))
        digest.update(data)
    return digest.hexdigest()


class _Held:
    """A request in hand."""

    __slots__ = ("future", "reply", "run_id", "words", "written_at")

    def __init__(self, words: Sequence[Any]) -> None:
        self.words = words
        self.future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.reply: Any = None
        self.run_id = ""
        self.written_at = 0.0

    def fail(self, error: Exception) -> None:
        if not self.future.done():
            self.future.set_exception(error)

    def answer(self) -> None:
        if not self.future.done():
            self.future.set_result(self.reply)


class Intake:
    """Hands records to one Redis. Use as an async context manager."""

    def __init__(self, url: str, *, marker: str, wait_for_disk: bool) -> None:
        """*marker*: a key that is counted up. Without *wait_for_disk* an answer means only that Redis has it."""
        self._url, self._marker, self._wait_for_disk = url, marker, wait_for_disk
        self._writer = AsyncLink(url, timeout_s=5.0)
        self._confirmers = [AsyncLink(url, timeout_s=DISK_S + 1) for _ in range(CONFIRMERS)]
        self._waiting: deque[_Held] = deque()
        self._written: list[_Held] = []
        self._to_write, self._to_confirm = asyncio.Event(), asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._rounds: set[asyncio.Task[None]] = set()
        self._cuts: dict[str, bytes] = {}
        """Programme to how the store is cut, as the store last said."""
        self.in_hand = 0
        """Requests that were not answered yet."""
        self.trouble = "not connected yet"
        """Why nothing can be taken in just now; empty when all is well."""
        self.confirms_by_age = False
        """This Redis has no `WAITAOF`."""

    async def __aenter__(self) -> "Intake":
        self._tasks = [asyncio.create_task(self._write()), asyncio.create_task(self._confirm())]
        return self

    async def __aexit__(self, *_: object) -> None:
        await end((*self._tasks, *self._rounds))
        for held in (*self._waiting, *self._written):
            held.fail(StoreAway("stopping"))
        for link in (self._writer, *self._confirmers):
            await link.close()

    async def hand_in(self, ask: Ask) -> list[Taken]:
        """Take in all of *ask*, and return when it is on disk: one answer for each entry, in order.

        Raises Busy, Clash, Changed; StoreAway and StoreRefusing when it is not known to be kept (Closed while the
        store is cut anew), and StoreError when Redis is set up so that it cannot be. After any of these the same may
        be handed in again.
        """
        while True:
            cut = self._cuts.get(ask.programme, b"")
            if cut and read_layout(cut).closed:
                self._cuts.pop(ask.programme)  # looked at afresh the next time
                raise Closed("the store is being cut into other lanes")
            try:
                reply = await self.do(ask.words(cut))
                break
            except _Moved as moved:
                self._cuts[ask.programme] = moved.cut
        return [Taken(id_.decode().removeprefix("="), not id_.startswith(b"=")) for id_ in reply]

    async def do(self, words: Sequence[Any]) -> Any:
        """Give Redis one command, and return its reply when what it wrote is on disk. Raises as `hand_in` does."""
        if self.in_hand >= WAITING:
            raise Busy(f"{self.in_hand} requests are in hand")
        held = _Held(words)
        self.in_hand += 1
        self._waiting.append(held)
        self._to_write.set()
        try:
            return await held.future
        finally:
            self.in_hand -= 1

    # -- writing ------------------------------------------------------------------------------------------

    async def _write(self) -> None:
        while True:
            try:
                if not self._writer.is_open:
                    await self._open_writer()
                await self._to_write.wait()
                self._to_write.clear()
                while self._waiting:
                    await self._write_some()
            except (StoreAway, StoreRefusing, StoreError, ScriptMissing) as error:
                self._lost(error)
                await asyncio.sleep(RETRY_S)

    async def _open_writer(self) -> None:
        await self._writer.open()
        if self._wait_for_disk and not self._writer.has_aof:
            await self._writer.close()
            raise StoreError("this Redis keeps nothing on disk (appendonly no); turn it on, or set http.durability")
        await self._writer.call("SCRIPT", "LOAD", SCRIPT)
        if self.trouble:
            log.info("intake.connected", run_id=self._writer.run_id[:8])
        self.trouble = ""

    async def _write_some(self) -> None:
        group = [self._waiting.popleft() for _ in range(min(GROUP, len(self._waiting)))]
        try:
            replies = await self._writer.calls([held.words for held in group])
        except BaseException as error:
            for held in group:
                held.fail(error if isinstance(error, StoreAway) else StoreAway("stopping"))
            raise
        now, missing = time.monotonic(), False
        for held, reply in zip(group, replies, strict=True):
            if isinstance(reply, ScriptMissing):
                self._waiting.appendleft(held)  # nothing was done
                missing = True
            elif isinstance(reply, Exception):
                held.fail(reply)
            elif reply == [b"other"]:
                held.fail(Clash())
            elif reply == [b"changed"]:
                held.fail(Changed())
            elif isinstance(reply, list) and reply[:1] == [b"moved"]:
                held.fail(_Moved(reply[1]))
            else:
                held.reply, held.run_id, held.written_at = reply, self._writer.run_id, now
                self._written.append(held)
        if missing:
            await self._writer.call("SCRIPT", "LOAD", SCRIPT)
        if self._written:
            self._to_confirm.set()

    def _lost(self, error: Exception) -> None:
        words = str(error)[:200] or type(error).__name__
        if not self.trouble:
            log.error("intake.away", error=words)
        self.trouble = words
        while self._waiting:
            self._waiting.popleft().fail(error)

    # -- confirming ---------------------------------------------------------------------------------------

    async def _confirm(self) -> None:
        while True:
            await self._to_confirm.wait()
            self._to_confirm.clear()
            if self._rounds:
                await asyncio.wait(self._rounds, timeout=STAGGER_S, return_when=asyncio.FIRST_COMPLETED)
            while len(self._rounds) >= CONFIRMERS:
                await asyncio.wait(self._rounds, return_when=asyncio.FIRST_COMPLETED)
            group, self._written = self._written, []
            if not group:
                continue
            if not self._wait_for_disk:
                for held in group:
                    held.answer()
                continue
            task = asyncio.create_task(self._round(group))
            self._rounds.add(task)
            task.add_done_callback(self._rounds.discard)

    async def _round(self, group: list[_Held]) -> None:
        """See *group* onto the disk and answer it, or fail it."""
        link = self._confirmers.pop()
        try:
            if not link.is_open:
                await link.open()
            if not self.confirms_by_age:
                await self._wait_aof(link)
            if self.confirms_by_age:
                oldest = max(held.written_at for held in group)
                await asyncio.sleep(max(0.0, oldest + UNCONFIRMABLE_AGE_S - time.monotonic()))
                await link.call("PING")
        except (StoreAway, StoreRefusing, StoreError) as error:
            for held in group:
                held.fail(error)
        except BaseException:
            for held in group:
                held.fail(StoreAway("stopping"))
            raise
        else:
            for held in group:
                if held.run_id == link.run_id:
                    held.answer()
                else:
                    held.fail(StoreAway("Redis was restarted before this was on disk"))
        finally:
            self._confirmers.append(link)

    async def _wait_aof(self, link: AsyncLink) -> None:
        _, reply = await link.calls([("INCR", self._marker), ("WAITAOF", "1", "0", str(int(DISK_S * 1000)))])
        if isinstance(reply, StoreError) and "unknown command" in str(reply).lower():
            log.warning("intake.confirms_by_age", reason="this Redis has no WAITAOF (it came with 7.2)")
            self.confirms_by_age = True
        elif isinstance(reply, Exception):
            raise reply
        elif not reply[0]:
            raise StoreAway(f"not on disk within {DISK_S:.0f} s")
