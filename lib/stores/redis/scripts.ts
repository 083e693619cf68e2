/*
 * Each script touches the slot of one key on a cluster (P8). EVAL sends the source: it works after SCRIPT FLUSH and on
 * every node, and the client that we were given gets no new commands.
 *
 * No script is undone when one of its commands fails. So each one runs everything that can fail first: reads, and
 * writes that change nothing, for the sake of what an ACL forbids. What it writes comes last, a key always together
 * with its TTL.
 */
const NOW = `
local function now()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end
`

/*
 * How long to keep. `till`: milliseconds since the epoch, '' for ever; `span`: the same as milliseconds from now by the
 * caller's clock. The longer wins, so that a key ends too early only where the clocks of Redis and of the caller are
 * both ahead of a verifier's. `longest`: milliseconds that anything is kept at most, '' where there is no such bound.
 */
const KEEP = `${NOW}
-- Milliseconds from now; -1 is for ever.
local function span_of(till, span)
  if till == '' then return -1 end
  -- What is written late, and has ended meanwhile, ends at once.
  return math.max(till - now(), tonumber(span), 1000)
end
-- What stands is never shortened. A key without a TTL that should have one was left by a failure: it gets the longest.
local function kept(left, ttl, longest)
  if left == -2 then return ttl end
  if left == -1 then return longest == '' and -1 or math.max(ttl, tonumber(longest)) end
  if ttl == -1 then return -1 end
  return math.max(left, ttl)
end
`

/*
 * The log. `prev` is the id of the last entry it ever had: who reads can tell that nothing is missing in between.
 * `seconds` is how long an entry matters, '' for ever.
 */
const LOG = `
local function last(log)
  if redis.call('EXISTS', log) == 0 then return '0-0' end
  local info = redis.call('XINFO', 'STREAM', log)
  for i = 1, #info, 2 do
    if info[i] == 'last-generated-id' then return info[i + 1] end
  end
end
local function append(log, words, seconds)
  if seconds == '' then return redis.call('XADD', log, '*', 'entry', words) end
  local oldest = math.max(redis.call('TIME')[1] - seconds, 0) * 1000
  return redis.call('XADD', log, 'MINID', '~', string.format('%.0f', oldest), '*', 'entry', words)
end
`

/*
 * The three that follow write a key and, where the log is their second key, its entry: both or neither. On a cluster
 * those are two slots, and the caller appends the words that they return last.
 *
 * ARGV of all three:
 *   1 value    2 till    3 span    4 longest    5 head: the words of the entry up to `exp` (of a cutoff: its key alone)
 *   6 tail: the words after `prev`    7 seconds: of the log
 *   8 force: 'key' writes what stands already, 'log' logs it too, '' neither
 */
const LOGGED = `${KEEP}${LOG}
local key, log = KEYS[1], KEYS[2]
local till, span, longest, head, tail, seconds, force = ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6], ARGV[7], ARGV[8]
-- A log of another type fails here.
local prev = log and redis.call('XLEN', log) and last(log)
local standing = redis.call('GET', key)
local left = redis.call('PTTL', key)
-- Gives the words that the log is to have.
local function write(value, ttl, words, changed)
  local ends = ttl == -1 and '' or string.format('%.0f', math.floor((now() + ttl) / 1000 + 0.5))
  words = words .. ' ' .. ends
  if not changed and force == '' then return words end
  if log and (changed or force == 'log') then
    -- On a key that is there NX does nothing, and XX on one that is not: this shows whether SET is allowed.
    redis.call('SET', key, value, standing and 'NX' or 'XX')
    append(log, words .. ' ' .. prev .. ' ' .. tail, seconds)
  end
  if ttl == -1 then redis.call('SET', key, value) else redis.call('SET', key, value, 'PX', string.format('%.0f', ttl)) end
  return words
end
`

/* Keeps a denial. Returns 1 where it is the first, else 0; the value that stands; and the words for the log. */
export const REVOKE = `${LOGGED}
local ttl = kept(left, span_of(till, span), longest)
local value = standing or ARGV[1]
return {standing and 0 or 1, value, write(value, ttl, head, not standing or ttl ~= left)}`

const CUTOFF = `${LOGGED}
local function text(cutoff) return string.format('%.0f', cutoff) end
local before = standing and tonumber(standing)
if before and not (before >= 0 and before < 2^53) then before = nil end
local cutoff = tonumber(ARGV[1])
-- A cutoff ahead of the one that was asked for outlives it by as much.
local function stand(value, changed)
  local late = math.max(value - cutoff, 0) * 1000
  local ttl = span_of(till, span)
  if ttl ~= -1 then ttl = ttl + late end
  if longest ~= '' then longest = longest + late end
  local words = write(text(value), kept(left, ttl, longest), head .. ' ' .. text(value) .. ' ', changed)
  return {text(value), before and text(before) or '', words}
end
`

/*
 * Raises a cutoff. ARGV also: 9 enough: the second from which on a standing one is not raised, or ''; 10 most: the
 * second up to which one is raised. Returns the cutoff that stands, the one before or '', and the words for the log.
 * Where one stands already at the second that is asked for, a token that was issued after it carries the second that
 * follows it: the cutoff rises by that second.
 */
export const CUT_OFF = `${CUTOFF}
if standing and not before then return redis.error_reply('BADVALUE the key of a cutoff holds no number') end
if not before or before < cutoff then
  if not before or ARGV[9] == '' or before < tonumber(ARGV[9]) then return stand(cutoff, true) end
elseif before < tonumber(ARGV[10]) and (ARGV[9] == '' or before < tonumber(ARGV[9])) then
  return stand(before + 1, true)
end
return stand(before, false)`

/* Puts a cutoff back: it stands unless a later one does. Returns as CUT_OFF. */
export const KEEP_CUTOFF = `${CUTOFF}
return stand(before and before > cutoff and before or cutoff, true)`

/* Appends to the log alone. ARGV: the words before `prev`, those after it, seconds. */
export const APPEND = `${LOG}
return append(KEYS[1], ARGV[1] .. ' ' .. last(KEYS[1]) .. ' ' .. ARGV[2], ARGV[3])`

/*
 * Names the record of an identity that ends latest. ARGV: its id; until when it is kept, in seconds since the epoch, or ''
 * for ever. Returns the id that stands.
 */
export const NAME_RECORD = `${NOW}
local key, id, till = KEYS[1], ARGV[1], ARGV[2]
local standing = redis.call('GET', key)
local left = redis.call('PTTL', key)
if left == -1 then left = math.huge end
local ttl = till == '' and math.huge or till * 1000 - now()
-- Ends are whole seconds: half of one tells them apart, whatever passes between two commands.
if standing and ttl < left - 500 then return standing end
if till == '' then redis.call('SET', key, id) else redis.call('SET', key, id, 'EXAT', till) end
return id`

/*
 * Adds a record to its subject's, and drops those that have ended. ARGV: id, expiry in seconds or '+inf', till, span,
 * longest. PEXPIRE and PERSIST come before ZADD: of a key that is not there they change nothing.
 */
export const ADD_TOKEN = `${KEEP}
local key = KEYS[1]
local function keep(ttl)
  if ttl == -1 then return redis.call('PERSIST', key) end
  redis.call('PEXPIRE', key, string.format('%.0f', ttl))
end
local left = redis.call('PTTL', key)
local ttl = kept(left, span_of(ARGV[3], ARGV[4]), ARGV[5])
redis.call('ZREMRANGEBYSCORE', key, '-inf', now() / 1000)
if ttl ~= left then keep(ttl) end
redis.call('ZADD', key, ARGV[2], ARGV[1])
if left == -2 or redis.call('PTTL', key) ~= ttl then keep(ttl) end
return 1`

/*
 * The ids of a subject's records, latest to expire first. ARGV: how many; the id after which to go on or ''; and a
 * moment in seconds or '': those that have ended by then are left out. Those that have ended by the clock of Redis leave
 * for good: a process whose clock is ahead must not make them. An id that is gone has expired, and with it all that
 * came after it.
 */
export const PAGE = `${NOW}
local key, count, after, moment = KEYS[1], ARGV[1], ARGV[2], ARGV[3]
redis.call('ZREMRANGEBYSCORE', key, '-inf', now() / 1000)
local first = 0
if after ~= '' then
  local rank = redis.call('ZREVRANK', key, after)
  if not rank then return {} end
  first = rank + 1
end
local ids = {}
local rows = redis.call('ZREVRANGE', key, first, first + count - 1, 'WITHSCORES')
for i = 1, #rows, 2 do
  if moment ~= '' and tonumber(rows[i + 1]) <= tonumber(moment) then break end
  ids[#ids + 1] = rows[i]
end
return ids`

/*
 * What comes in the log after an entry. ARGV: its id, how many, and '1' where the end is to be looked at in any case.
 * Returns the id of the last entry that the log ever had, be it there or not; else, where something came, of the last
 * that came: what is missing behind it shows in what comes next, or does not come. And lines: an id, its words, the next
 * id. One string, because a million entries as arrays of their own take a client longer to read than all that is done
 * with them. And the clock of Redis, in milliseconds: by it is decided what is over. ARGV[4] is '1' where it matters which
 * run of which server answers: that comes last, else ''.
 */
export const LOG_PAGE = `${LOG}
local lines = {}
for i, row in ipairs(redis.call('XRANGE', KEYS[1], '(' .. ARGV[1], '+', 'COUNT', ARGV[2])) do
  local fields = row[2]
  local words = fields[2]
  if fields[1] ~= 'entry' or string.find(words, '\\n', 1, true) then words = '' end
  lines[2 * i - 1] = row[1]
  lines[2 * i] = words
end
local time = redis.call('TIME')
local run = ARGV[4] == '1' and string.match(redis.call('INFO', 'server'), 'run_id:(%w+)') or ''
return {ARGV[3] ~= '1' and lines[#lines - 1] or last(KEYS[1]), table.concat(lines, '\\n'), time[1] * 1000 + math.floor(time[2] / 1000), run}`
