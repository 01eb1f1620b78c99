"""The one script that writes events, and the bytes it is given. Pure: nothing here opens a connection.

`pack` turns events into batches; a batch's bytes are the script's argument, what waits in the store's
backlog, and what a snapshot keeps, so an event is encoded once. The script is a no-op for an event id that
it has written, and keeps of every case the record with the highest sequence: whatever order batches come
in, and however often, the outcome is the same. `redis_store.py` sends them.
"""

from base64 import b64encode
from collections.abc import Iterable, Iterator
from hashlib import sha1
from typing import Any

import msgspec

from cases.events import Event, Standing, encode
from connectors.keyspace import Keys
from feedback.instants import Instant, rfc3339

FORMAT = 1
"""First member of every packed batch. Batches wait in snapshots, so a change needs an upgrade in `read`."""
FORMAT_OF_FACTS = 2
"""The same, with facts for other lanes in it: a release that knows none refuses it, and loses nothing."""
BATCH_EVENTS = 200
BATCH_BYTES = 1 << 20
SEEN_FOR_S = 2 * 86_400
"""How long an event without a case is remembered; those of a case are remembered by its log."""
DEAD_TYPES = frozenset({"response.rejected", "item.quarantined"})
"""Events whose `data.original` (or its token) goes to the dead letters and is left out of the event itself."""

# Redis's cmsgpack (0.4) knows no binary: everything in a batch is text, JSON too.
# A batch is [FORMAT, programme, [run...]], a run [case, entries, tail, responses].
#   without a case:  ["", [id, type, time, json, dead]*, [], []], dead the flat fields of a dead letter or [];
#                    without an id, it is no event: json is a record for the stream whose last part is dead's one member
#   with one:        [case, [id, type, time, sequence, json]*, tail, responses], consecutive events of one case; those
#                    of sequence 0 are no part of its trail (what became of its notices)
#   tail             [] or [sequence, record, standing, status, open, owner, opened_at, due_at or false,
#                    type, subject, customer, priority]: the case after the run's last event; for one that is told
#                    again, without entries, the instant of that is the thirteenth
#   responses        [field, sequence, json]*
# A response is kept as {"sequence":n,"response":{...}}, so that an older event cannot overwrite a newer one.
SCRIPT = """
local call, stream = redis.call, KEYS[1]
local stem = string.sub(stream, 1, -7)
local fold = ARGV[1] == 'fold'
local fresh = 0

local function place(case, tail)
  local key = stem .. 'case:' .. case
  local sequence, owner, due = tail[1], tail[6], tail[8]
  local was = call('HMGET', key, 'sequence', 'owner')
  local known = was[1] and tonumber(was[1])
  if known and known > sequence then return end
  call('HSET', key, 'id', case, 'sequence', sequence, 'record', tail[2], 'status', tail[4], 'open', tail[5],
    'owner', owner, 'opened_at', tail[7], 'due_at', due or '', 'type', tail[9], 'subject', tail[10],
    'customer', tail[11], 'priority', tail[12])
  if not known then call('ZADD', stem .. 'cases', tail[7], case) end
  if was[2] and was[2] ~= '' and (was[2] ~= owner or tail[5] == 0) then
    call('ZREM', stem .. 'owner:' .. was[2], case)
  end
  if tail[5] == 1 then
    call('ZADD', stem .. 'open', tail[7], case)
    if owner ~= '' then call('ZADD', stem .. 'owner:' .. owner, due or tail[7], case) end
    if due then call('ZADD', stem .. 'due', due, case)
    elseif known then call('ZREM', stem .. 'due', case) end
  elseif known then
    call('ZREM', stem .. 'open', case)
    call('ZREM', stem .. 'due', case)
  end
end

-- A case told again (`cases/restating.py`): where its history is not all here, the record says up to where.
local function say_what_is_gone(case, sequence, at)
  local key = stem .. 'case:' .. case
  if call('HLEN', key .. ':log') < sequence then
    call('HSET', key, 'rewritten_at', at, 'rewritten_sequence', sequence)
  end
end

local function keep_responses(case, responses)
  local key = stem .. 'case:' .. case
  for i = 1, #responses, 3 do
    local had = call('HGET', key, responses[i])
    local at = had and tonumber(string.match(had, '^{"sequence":(%d+)'))
    if not at or at < responses[i + 1] then
      call('HSET', key, responses[i],
        '{"sequence":' .. string.format('%d', responses[i + 1]) .. ',"response":' .. responses[i + 2] .. '}')
    end
  end
end

for _, run in ipairs(cmsgpack.unpack(ARGV[2])[3]) do
  local case, entries, tail = run[1], run[2], run[3]
  if case == '' then
    for i = 1, #entries, 5 do
      local id = entries[i]
      if id == '' then
        if not fold then call('XADD', stem .. entries[i + 4][1], '*', 'record', entries[i + 3]) end
      elseif not fold and call('SET', stem .. 'seen:' .. id, 1, 'NX', 'EX', SEEN_FOR_S) then
        fresh = fresh + 1
        call('XADD', stream, '*', 'id', id, 'type', entries[i + 1], 'time', entries[i + 2],
          'event', entries[i + 3])
        if #entries[i + 4] > 0 then call('XADD', stem .. 'dead', '*', unpack(entries[i + 4])) end
      end
    end
  else
    local own, last = stem .. 'case:' .. case, #entries - 4
    for i = 1, last, 5 do
      local id, json = entries[i], entries[i + 4]
      local log = own .. (entries[i + 3] == 0 and ':notices' or ':log')
      if call('HSETNX', log, id, json) == 1 then
        fresh = fresh + 1
        if not fold then
          if i == last and #tail > 0 then
            call('XADD', stream, '*', 'id', id, 'type', entries[i + 1], 'time', entries[i + 2], 'case', case,
              'sequence', entries[i + 3], 'standing', tail[3], 'event', json)
          else
            call('XADD', stream, '*', 'id', id, 'type', entries[i + 1], 'time', entries[i + 2], 'case', case,
              'sequence', entries[i + 3], 'event', json)
          end
        end
      end
    end
    if #tail > 0 then place(case, tail) end
    if #tail > 12 then say_what_is_gone(case, tail[1], tail[13]) end
    keep_responses(case, run[4])
  end
end
return fresh
""".replace("SEEN_FOR_S", str(SEEN_FOR_S))

SHA = sha1(SCRIPT.encode()).hexdigest()
"""Redis names a script by this; no secret hangs on it."""


class Batch(msgspec.Struct, frozen=True):
    """Some events of one programme, in order, as the script takes them."""

    programme: str
    packed: bytes
    events: int


class _Summary(msgspec.Struct):
    """What the store's flat fields take from a case's record."""

    type: str = ""
    subject: str = ""
    customer: str = ""
    priority: str | int = ""


class _Said(msgspec.Struct):
    """What `rebuild` takes from an event's JSON."""

    class Data(msgspec.Struct):
        case: msgspec.Raw = msgspec.Raw()
        response: msgspec.Raw = msgspec.Raw()

    data: Data


class _ResponseName(msgspec.Struct):
    source: str = ""
    id: str = ""


_pack = msgspec.msgpack.Encoder().encode
_json = msgspec.json.Encoder().encode
_summary = msgspec.json.Decoder(_Summary).decode
_said = msgspec.json.Decoder(_Said).decode
_response_name = msgspec.json.Decoder(_ResponseName).decode
_stood = msgspec.json.Decoder(tuple[str, bool, str, Instant, Instant | None]).decode
_TYPE: dict[str, str] = {}


def pack(events: Iterable[Event]) -> Iterator[Batch]:
    """*events* as batches, order kept; a new batch for another programme, at 200 events, or past 1 MiB.

    Lazy, so that packing the next batch can go on while Redis runs the one before. Raises TypeError or
    UnicodeEncodeError for an event that is not JSON, which is our mistake.
    """
    programme = ""
    runs: list[Any] = []
    last: Event | None = None
    entries: list[Any] = []
    responses: list[Any] = []
    count = size = 0
    form = FORMAT
    for event in events:
        if count and (event.programme != programme or count >= BATCH_EVENTS or size >= BATCH_BYTES):
            _close(runs, last)
            yield Batch(programme, _pack((form, programme, runs)), count)
            runs, last, count, size, form = [], None, 0, 0, FORMAT
        programme = event.programme
        if event.restates:
            _close(runs, last)
            runs.append((event.case or "", [], [], []))
            _close(runs, event)
            runs[-1][2].append(event.time)
            last, size, count = None, size + len(event.record or b""), count + 1
            continue
        if last is None or event.case != last.case or (event.standing is None) != (last.standing is None):
            _close(runs, last)
            entries, responses = [], []
            runs.append((event.case or "", entries, [], responses))
        type_ = _TYPE.get(event.type) or _TYPE.setdefault(event.type, "tocsin." + event.type)
        if event.case is None:
            dead: list[Any] = []
            if event.onward is not None:
                form, json = FORMAT_OF_FACTS, _json(event.data["record"]).decode()
                entries += ("", "", "", json, [_stream_of_facts(programme, event.onward)])
                last, size, count = event, size + len(json), count + 1
                continue
            if event.type in DEAD_TYPES:
                event, dead = _bury(event)
                size += len(dead[-1])
            json = encode(event).decode()
            entries += (event.id, type_, rfc3339(event.time), json, dead)
        else:
            json = encode(event).decode()
            entries += (event.id, type_, rfc3339(event.time), event.sequence, json)
            if "response" in event.data:
                responses += _response(event.sequence, _json(event.data["response"]))
        last = event
        size += len(json)
        count += 1
    if count:
        _close(runs, last)
        yield Batch(programme, _pack((form, programme, runs)), count)


def _stream_of_facts(programme: str, lane: int) -> str:
    keys = Keys(programme)
    return keys.of_lane(keys.facts, lane).removeprefix(keys.stem)


def _close(runs: list[Any], last: Event | None) -> None:
    """End the newest run, whose last event is *last*: that one's record stands for the whole run."""
    if last is not None and last.case is not None and last.record is not None and last.standing is not None:
        runs[-1][2].extend(_tail(last.sequence, bytes(last.record), last.standing))


def _tail(sequence: int, record: bytes, standing: Standing) -> tuple[Any, ...]:
    summary = _summary(record)
    status, open_, owner = standing.status, standing.open, standing.owner
    opened_at, due_at = standing.opened_at, standing.due_at
    return (
        sequence,
        record.decode(),
        _json((status, open_, owner, opened_at, due_at)).decode(),
        status,
        1 if open_ else 0,
        owner,
        opened_at,
        False if due_at is None else due_at,
        summary.type,
        summary.subject,
        summary.customer,
        summary.priority,
    )


def _response(sequence: int, json: bytes) -> tuple[str, int, str]:
    name = _response_name(json)
    return f"response:{name.source}:{name.id}", sequence, json.decode()


def _bury(event: Event) -> tuple[Event, list[Any]]:
    """*event* without its original, and the fields of the dead letter that keeps it."""
    data = dict(event.data)
    original, sealed = data.pop("original", b""), data.pop("sealed", "")
    fields: list[Any] = ["event", event.id]
    for name in ("reason", "detail", "source", "position", "received_at"):
        fields += (name, str(data.get(name, "")))
    if sealed:
        fields += ("sealed", sealed)
        return msgspec.structs.replace(event, data=data), fields
    try:
        fields += ("original", original.decode() if isinstance(original, bytes) else str(original))
    except UnicodeDecodeError:
        fields += ("original_base64", b64encode(original).decode())
    return msgspec.structs.replace(event, data=data), fields


def refold(programme: str, entries: Iterable[dict[bytes, bytes]]) -> bytes:
    """Entries of an `events` stream as a batch that, sent with mode `fold`, writes all but the streams."""
    runs: list[Any] = []
    for entry in entries:
        case = entry.get(b"case")
        if case is None:
            continue
        sequence, json = int(entry[b"sequence"]), entry[b"event"]
        said = _said(json).data
        tail: tuple[Any, ...] = ()
        if b"standing" in entry:
            tail = _tail(sequence, bytes(said.case), _standing(entry[b"standing"]))
        responses = _response(sequence, bytes(said.response)) if bytes(said.response) else ()
        names = (entry[name].decode() for name in (b"id", b"type", b"time"))
        runs.append((case.decode(), (*names, sequence, json.decode()), tail, responses))
    return _pack((FORMAT, programme, runs))


def _standing(stood: bytes) -> Standing:
    status, open_, owner, opened_at, due_at = _stood(stood)
    return Standing(status=status, open=open_, owner=owner, opened_at=opened_at, due_at=due_at)


class _Header(msgspec.Struct, array_like=True):
    format: int
    programme: str
    runs: list[msgspec.Raw]


_header = msgspec.msgpack.Decoder(_Header).decode


def read(packed: bytes) -> Batch:
    """A batch out of a snapshot; raises ValueError when it is not of a format that we know."""
    try:
        header = _header(packed)
    except msgspec.DecodeError as error:
        raise ValueError(f"not a packed batch of events: {error}") from error
    if header.format not in (FORMAT, FORMAT_OF_FACTS):
        raise ValueError(
            f"a batch of events of format {header.format}; this version reads up to {FORMAT_OF_FACTS}: resume with "
            "the version that wrote the snapshot"
        )
    return Batch(header.programme, packed, 0)


def call(batch: Batch, mode: str = "write") -> bytes:
    """The Redis command that runs the script on *batch*, ready for the socket."""
    return evalsha(Keys(batch.programme).events, batch.packed, mode)


def evalsha(stream: str, packed: bytes, mode: str) -> bytes:
    """As `call`. Built by hand: a fifth of the time that a client library takes for five arguments."""
    key = stream.encode()
    return b"*6\r\n$7\r\nEVALSHA\r\n$40\r\n%b\r\n$1\r\n1\r\n$%d\r\n%b\r\n$%d\r\n%b\r\n$%d\r\n%b\r\n" % (
        _SHA,
        len(key),
        key,
        len(mode),
        mode.encode(),
        len(packed),
        packed,
    )


_SHA = SHA.encode()
