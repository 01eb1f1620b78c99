"""The scripts by which deliveries move between the log, the queues and the dead letters, each move at once.

Keys of a programme's deliveries, all under its hash tag (`tocsin:{<programme>}:deliveries:` +):

- `holder`: string with a lifetime: the process that works on this programme; every script checks it
- `dead`: stream of dead letters: `endpoint reason detail attempts id type line since stream event`
- `to:<endpoint>:waiting`: sorted set, all that waits: entry -> since when (ms)
- `to:<endpoint>:due`: sorted set, lines by the instant (ms) when the head may be attempted
- `to:<endpoint>:attempts`: hash, line -> attempts made at its head
- `to:<endpoint>:line:<line>`: list of entries, head first; a line is a case, or a single event without a case
- `to:<endpoint>:kept`: hash, event id -> body, for a replayed event that the log no longer holds
- `to:<endpoint>:case:<case>`, `to:<endpoint>:cases`: what a target remembers (`delivery_memory.py`); no script reads it

An entry is `<stream id> <event id> <line>`; the body stays in the log, or in the log of its case. A line's head
stays where it is while it is attempted: what is under way is known to the holder alone, so when the holder dies
nothing needs to be given back. Keys are built from the first one's stem, as a cluster allows within a slot.
"""

HOLD_MS = 5000
"""A holder that has not been heard for this long has lost the programme."""
EXPIRED_AT_ONCE = 100
DEAD_KEPT = 100_000
"""Dead letters kept for each programme, about; the oldest go first."""

_PRELUDE = (
    """
local call, holder, events, dead = redis.call, KEYS[1], KEYS[2], KEYS[3]
local stem = string.sub(holder, 1, -7)
local programme_stem = string.sub(stem, 1, -12)
local given = cmsgpack.unpack(ARGV[2])

local function field(flat, name)
  for i = 1, #flat, 2 do if flat[i] == name then return flat[i + 1] end end
  return ''
end

local function to(endpoint) return stem .. 'to:' .. endpoint .. ':' end

local function parts(entry) return string.match(entry, '^(%S+) (%S+) (%S+)$') end

local function body(queue, entry)
  local stream_id, id, line = parts(entry)
  local found = call('XRANGE', events, stream_id, stream_id)[1]
  if found and field(found[2], 'id') == id then return field(found[2], 'event') end
  local own = programme_stem .. 'case:' .. line
  return call('HGET', own .. ':log', id) or call('HGET', own .. ':notices', id) or call('HGET', queue .. 'kept', id)
end

local function push(queue, entry, line, since)
  if call('ZADD', queue .. 'waiting', 'NX', since, entry) == 0 then return 0 end
  if call('RPUSH', queue .. 'line:' .. line, entry) == 1 then call('ZADD', queue .. 'due', since, line) end
  return 1
end

local function drop(queue, entry)
  local _, id, line = parts(entry)
  local list = queue .. 'line:' .. line
  local was_head = call('LINDEX', list, 0) == entry
  call('LREM', list, 1, entry)
  call('ZREM', queue .. 'waiting', entry)
  call('HDEL', queue .. 'kept', id)
  if not was_head then return end
  call('HDEL', queue .. 'attempts', line)
  local next_entry = call('LINDEX', list, 0)
  if next_entry then
    call('ZADD', queue .. 'due', call('ZSCORE', queue .. 'waiting', next_entry), line)
  else
    call('ZREM', queue .. 'due', line)
  end
end

local function bury(endpoint, entry, since, attempts, reason, detail)
  local stream_id, id, line = parts(entry)
  call('XADD', dead, 'MAXLEN', '~', DEAD_KEPT, '*', 'endpoint', endpoint, 'reason', reason, 'detail', detail,
    'attempts', attempts, 'id', id, 'line', line, 'since', since, 'stream', stream_id,
    'event', body(to(endpoint), entry) or '')
end
"""
).replace("DEAD_KEPT", str(DEAD_KEPT))

_FENCE = """
local held = call('GET', holder)
if held and held ~= ARGV[1] then return redis.error_reply('FENCED another process holds these deliveries') end
call('SET', holder, ARGV[1], 'PX', HOLD_MS)
""".replace("HOLD_MS", str(HOLD_MS))

HOLD = """
local held = redis.call('GET', KEYS[1])
if held and held ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', HOLD_MS)
return 1
""".replace("HOLD_MS", str(HOLD_MS))

RELEASE = """
if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0
"""

# given = {group, {{stream id, event id, line, since, {endpoint...}}...}, {{stream id, reason}...}}; the bytes of
# what was poison follow as further arguments, because cmsgpack knows text only.
# An entry is queued for all who want it and acknowledged in one go: one that is no longer pending is done already.
TAKE_IN = (
    _PRELUDE
    + _FENCE
    + """
for _, item in ipairs(given[2]) do
  if call('XACK', events, given[1], item[1]) == 1 then
    local entry = item[1] .. ' ' .. item[2] .. ' ' .. item[3]
    for _, endpoint in ipairs(item[5]) do push(to(endpoint), entry, item[3], item[4]) end
  end
end
local poisoned = 0
for i, item in ipairs(given[3]) do
  if call('XACK', events, given[1], item[1]) == 1 then
    poisoned = poisoned + 1
    call('XADD', dead, 'MAXLEN', '~', DEAD_KEPT, '*', 'endpoint', '', 'reason', item[2], 'detail', '',
      'attempts', 0, 'id', '', 'line', '', 'since', 0, 'stream', item[1], 'event', ARGV[2 + i])
  end
end
return poisoned
""".replace("DEAD_KEPT", str(DEAD_KEPT))
)

# given = {endpoint, now, expire what waits since before, want, hasten, {line under way...},
#          {{entry, verb, attempts made, at, reason, detail}...}}
# Settles the attempts that ended (`done`, `retry`, `dead`, `keep`), expires what is too old, and hands out heads
# that are due. Settling an entry that no longer waits changes nothing, so a call may be repeated.
# Returns {heads, earliest due after now or -1, number waiting, oldest since or -1, number expired};
# a head is {line, entry, attempts made, since, body or nil}.
TURN = (
    _PRELUDE
    + _FENCE
    + """
local endpoint, now, want = given[1], given[2], given[4]
local queue = to(endpoint)
local due, waiting, attempts = queue .. 'due', queue .. 'waiting', queue .. 'attempts'

for _, s in ipairs(given[7]) do
  local entry, verb = s[1], s[2]
  local since = call('ZSCORE', waiting, entry)
  local _, _, line = parts(entry)
  if since and call('LINDEX', queue .. 'line:' .. line, 0) == entry then
    if verb == 'dead' then bury(endpoint, entry, since, s[3], s[5], s[6]) end
    if verb == 'done' or verb == 'dead' then
      drop(queue, entry)
    else
      call('HSET', attempts, line, s[3])
      if verb == 'retry' then call('ZADD', due, s[4], line) end
    end
  end
end

local under_way = {}
for _, line in ipairs(given[6]) do under_way[line] = true end

local expired = 0
local old = call('ZRANGE', waiting, '-inf', '(' .. string.format('%d', given[3]), 'BYSCORE', 'LIMIT', 0,
  EXPIRED_AT_ONCE + #given[6], 'WITHSCORES')
for i = 1, #old, 2 do
  local entry = old[i]
  local _, _, line = parts(entry)
  local is_head = call('LINDEX', queue .. 'line:' .. line, 0) == entry
  if not (is_head and under_way[line]) then
    bury(endpoint, entry, old[i + 1], is_head and call('HGET', attempts, line) or 0, 'expired', '')
    drop(queue, entry)
    expired = expired + 1
  end
end

if given[5] then
  for _, line in ipairs(call('ZRANGE', due, '(' .. string.format('%d', now), '+inf', 'BYSCORE')) do
    call('ZADD', due, now, line)
  end
end

local heads = {}
if want > 0 then
  for _, line in ipairs(call('ZRANGE', due, '-inf', now, 'BYSCORE', 'LIMIT', 0, want + #given[6])) do
    if #heads < want and not under_way[line] then
      local entry = call('LINDEX', queue .. 'line:' .. line, 0)
      local since = entry and call('ZSCORE', waiting, entry)
      if since then
        heads[#heads + 1] = {line, entry, tonumber(call('HGET', attempts, line) or 0), tonumber(since),
          body(queue, entry)}
      else
        call('ZREM', due, line)  -- somebody deleted keys by hand
      end
    end
  end
end
local next_due = call('ZRANGE', due, '(' .. string.format('%d', now), '+inf', 'BYSCORE', 'LIMIT', 0, 1, 'WITHSCORES')
local oldest = call('ZRANGE', waiting, 0, 0, 'WITHSCORES')
return {heads, tonumber(next_due[2] or -1), call('ZCARD', waiting), tonumber(oldest[2] or -1), expired}
""".replace("EXPIRED_AT_ONCE", str(EXPIRED_AT_ONCE))
)

# given = {now, {dead letter's stream id...}}. Needs no holder: it only adds to a queue's end. Returns how many went.
REPLAY = (
    _PRELUDE
    + """
local moved = 0
for _, letter in ipairs(given[2]) do
  local found = call('XRANGE', dead, letter, letter)[1]
  local endpoint = found and field(found[2], 'endpoint') or ''
  if endpoint ~= '' then
    local flat = found[2]
    local id, line, event = field(flat, 'id'), field(flat, 'line'), field(flat, 'event')
    if event ~= '' then
      local queue, entry = to(endpoint), field(flat, 'stream') .. ' ' .. id .. ' ' .. line
      if not body(queue, entry) then call('HSET', queue .. 'kept', id, event) end
      push(queue, entry, line, given[1])
      call('XDEL', dead, letter)
      moved = moved + 1
    end
  end
end
return moved
"""
)
