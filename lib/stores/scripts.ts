/*
 * Each script touches the slot of one key on a cluster (P8), and none is loaded by name: EVAL works after SCRIPT FLUSH and on every node, and
 * the client that we were given gets no new commands.
 *
 * Two arguments tell how long to keep: `until`, milliseconds since the epoch, '' for ever; and `for`, the same as
 * milliseconds from now by the caller's clock. The longer wins, so that a key ends too early only where the clocks of
 * Redis and of the caller are both ahead of a verifier's. What stands is never shortened.
 */
const KEEP = `
local function now()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end
-- Whether that changed anything.
local function keep(fresh, till, span)
  if till == '' then return redis.call('PERSIST', KEYS[1]) == 1 or fresh end
  local ttl = math.max(till - now(), tonumber(span))
  local left = redis.call('PTTL', KEYS[1])
  local longer = fresh or (left >= 0 and ttl > left)
  if longer then redis.call('PEXPIRE', KEYS[1], ttl) end
  return longer
end
`

/*
 * The log. `prev` is the id of the last entry it ever had: who reads can tell that nothing is missing in between.
 * `span` is how many seconds an entry matters, '' for ever.
 */
const LOG = `
local function last(log)
  if redis.call('EXISTS', log) == 0 then return '0-0' end
  local info = redis.call('XINFO', 'STREAM', log)
  for i = 1, #info, 2 do
    if info[i] == 'last-generated-id' then return info[i + 1] end
  end
end
local function append(log, before, after, span)
  local words = before .. ' ' .. last(log) .. ' ' .. after
  if span == '' then return redis.call('XADD', log, '*', 'entry', words) end
  local oldest = math.max(redis.call('TIME')[1] - span, 0) * 1000
  return redis.call('XADD', log, 'MINID', '~', string.format('%.0f', oldest), '*', 'entry', words)
end
`

/*
 * The three that follow write a key and, where the log is their second key, its entry: at once, or neither. On a cluster
 * those are two slots, and the caller appends what they return last. ARGV from the fourth on: the words of the entry up
 * to `exp` (of a cutoff: its key alone), those after `prev`, span. `until` is what the key has, by the clock of Redis.
 */
const LOGGED = `${KEEP}${LOG}
local function logged(words, changed)
  local left = redis.call('PTTL', KEYS[1])
  words = words .. ' ' .. (left < 0 and '' or string.format('%.0f', math.floor((now() + left) / 1000 + 0.5)))
  if KEYS[2] and changed then append(KEYS[2], words, ARGV[5], ARGV[6]) end
  return words
end
-- A log of another type fails before anything is written.
if KEYS[2] then redis.call('XLEN', KEYS[2]) end
`

/*
 * Keeps a denial. ARGV: its value, until, for; and '1' where it is to be written and logged, stand it or not. Returns whether it is the first, and
 * the value that stands.
 * GET comes first: on a key of another type it fails before anything is changed.
 */
export const REVOKE = `${LOGGED}
local standing = redis.call('GET', KEYS[1])
-- A write in any case where it is asked for: WAIT counts nothing else.
if not standing or ARGV[7] == '1' then redis.call('SET', KEYS[1], standing or ARGV[1], 'KEEPTTL') end
local changed = keep(not standing, ARGV[2], ARGV[3])
return {standing and 0 or 1, standing or ARGV[1], logged(ARGV[4], changed or ARGV[7] == '1')}`

/*
 * Sets a subject's cutoff. ARGV: the cutoff in seconds, until, for; and '' or the second from which on a standing one is
 * enough; and '1' where that one is to be written again. Returns the cutoff that stands, and the one before or ''. Else it always rises: a token that was issued after
 * the standing one carries the second that follows it.
 */
export const CUT_OFF = `${LOGGED}
local before = redis.call('GET', KEYS[1])
local cutoff = tonumber(ARGV[1])
local late = 0
if before and ARGV[7] ~= '' and tonumber(before) >= tonumber(ARGV[7]) then
  if ARGV[8] == '1' then redis.call('SET', KEYS[1], before, 'KEEPTTL') end
  return {before, before, logged(ARGV[4] .. ' ' .. before .. ' ', false)}
end
if before and tonumber(before) >= cutoff then
  late = (tonumber(before) + 1 - cutoff) * 1000
  cutoff = tonumber(before) + 1
end
local value = string.format('%.0f', cutoff)
redis.call('SET', KEYS[1], value, 'KEEPTTL')
if ARGV[2] == '' then keep(not before, '', '') else keep(not before, ARGV[2] + late, ARGV[3] + late) end
return {value, before or '', logged(ARGV[4] .. ' ' .. value .. ' ', true)}`

/* Puts a cutoff back: it stands unless a later one does. ARGV: the cutoff in seconds, until, for. Returns as CUT_OFF. */
export const KEEP_CUTOFF = `${LOGGED}
local before = redis.call('GET', KEYS[1])
local value = ARGV[1]
if before and (tonumber(before) or 0) >= tonumber(value) then value = before else redis.call('SET', KEYS[1], value, 'KEEPTTL') end
keep(not before, ARGV[2], ARGV[3])
return {value, before or '', logged(ARGV[4] .. ' ' .. value .. ' ', true)}`

/* Appends to the log alone. ARGV: the words before `prev`, those after it, span. */
export const APPEND = `${LOG}
return append(KEYS[1], ARGV[1], ARGV[2], ARGV[3])`

/* Adds a record to its subject's. ARGV: id, expiry in seconds or '+inf', until, for, now in seconds. Those that have expired leave. */
export const ADD_TOKEN = `${KEEP}
local fresh = redis.call('EXISTS', KEYS[1]) == 0
redis.call('ZADD', KEYS[1], ARGV[2], ARGV[1])
keep(fresh, ARGV[3], ARGV[4])
return redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', ARGV[5])`

/*
 * The ids of a subject's records, latest to expire first. ARGV: how many, the id after which to go on or '', now in seconds.
 * An id that is gone has expired, and with it all that came after it.
 */
export const PAGE = `
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', ARGV[3])
local first = 0
if ARGV[2] ~= '' then
  local rank = redis.call('ZREVRANK', KEYS[1], ARGV[2])
  if not rank then return {} end
  first = rank + 1
end
return redis.call('ZREVRANGE', KEYS[1], first, first + ARGV[1] - 1)`

/*
 * What comes in the log after an entry. ARGV: its id, how many, and '1' where the end is to be looked at in any case.
 * Returns the id of the last entry that the log ever had, be it there or not; else, where something came, of the last
 * that came: what is missing behind it shows in what comes next, or does not come. And lines: an id, its words, the next
 * id. One string, because a million entries as arrays of their own take a client longer to read than all that is done
 * with them.
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
return {ARGV[3] ~= '1' and lines[#lines - 1] or last(KEYS[1]), table.concat(lines, '\\n')}`
