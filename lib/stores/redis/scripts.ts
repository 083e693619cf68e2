import { EVERY_IAT } from '../entry.ts'

/*
 * The scripts that write revocations and read the log; those for records are in record-scripts.ts.
 *
 * Each script touches the slot of one key on a cluster (P8). EVAL sends the source, so it works after SCRIPT
 * FLUSH and on every node. A client that was given to us gets no new commands.
 *
 * Redis does not undo a script when one of its commands fails. So each script first runs every command that
 * can fail: reads, and writes that change nothing but show what an ACL forbids. What a script writes comes
 * last, and a key always gets its TTL together with its value.
 *
 * Words that mean the same in every script:
 *   till      when a key ends, in milliseconds since the epoch; '' means never
 *   lifetime  the same moment in milliseconds from now by the caller's clock; '' means never
 *   longest   how long a key is kept at most, in milliseconds; '' means without a bound
 *   ttl       milliseconds from now; -1 means for ever
 *   left      what PTTL says of a key: as `ttl`, and -2 means that there is no key
 *   span      how long an entry of the log matters, in seconds; '' means for ever
 */
export const NOW = `
local function now()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end
`

/*
 * How long to keep a key. The later of `till` and `lifetime` wins: a key ends too early only where the clocks
 * of Redis and of the caller are both ahead of a verifier's. A standing key is never shortened. A key without
 * a TTL that should have one was left by a failure, and gets the longest.
 */
export const KEEP = `${NOW}
local function ttl_of(till, lifetime)
  if till == '' then return -1 end
  -- What has ended before it is written ends at once.
  return math.max(till - now(), tonumber(lifetime), 1000)
end
local function kept(left, ttl, longest)
  if left == -2 then return ttl end
  if left == -1 then return longest == '' and -1 or math.max(ttl, tonumber(longest)) end
  if ttl == -1 then return -1 end
  return math.max(left, ttl)
end
`

/*
 * `last` gives the id of the last entry that the log ever had, or '0-0'. Each entry names its predecessor by
 * it, so that a reader notices a gap. `append` adds an entry, drops the entries that are older than `span`,
 * and gives the new id.
 */
const LOG = `
local function last(log)
  if redis.call('EXISTS', log) == 0 then return '0-0' end
  local info = redis.call('XINFO', 'STREAM', log)
  for i = 1, #info, 2 do
    if info[i] == 'last-generated-id' then return info[i + 1] end
  end
end
local function append(log, words, span)
  if span == '' then return redis.call('XADD', log, '*', 'entry', words) end
  local oldest = string.format('%.0f', math.max(redis.call('TIME')[1] - span, 0) * 1000)
  return redis.call('XADD', log, 'MINID', '~', oldest, '*', 'entry', words)
end
`

/*
 * `stand` names a cutoff that outlives its entry of the log, so that a replica that starts later finds it.
 * `try_to_stand` drops the names of cutoffs that have ended, and fails where `stand` would.
 */
const STAND = `
local function keep_standing(standing)
  local last = redis.call('ZREVRANGE', standing, 0, 0, 'WITHSCORES')[2]
  redis.call('PEXPIRE', standing, string.format('%.0f', last and last * 1000 - now() or 1000))
end
local function try_to_stand(standing, name)
  redis.call('ZREMRANGEBYSCORE', standing, '-inf', math.floor(now() / 1000))
  -- With XX and GT this ZADD changes nothing.
  redis.call('ZADD', standing, 'XX', 'GT', 0, name)
  keep_standing(standing)
end
local function stand(standing, name, ends)
  redis.call('ZADD', standing, 'GT', ends == '' and '${EVERY_IAT}' or ends, name)
  keep_standing(standing)
end
`

/*
 * The head of REVOKE, CUT_OFF and KEEP_CUTOFF. They write a key and its entry in the log: both or neither. On
 * a cluster the two are in different slots, so there is no second key, and the caller appends the words that
 * the script returns.
 *
 * KEYS: 1 key   2 log, absent on a cluster   3 standing, absent there and for a revocation
 * ARGV: 1 asked: the value to write   2 till   3 lifetime   4 longest
 *       5 head: the words of the entry up to `exp`; for a cutoff its key alone
 *       6 tail: the words after `prev`   7 span
 *       8 force: 'key' writes what stands already, 'log' also logs it, '' does neither
 *
 * `write` gives the words of the entry before `prev`.
 */
const LOGGED = `${KEEP}${LOG}${STAND}
local key, log, standing_names = KEYS[1], KEYS[2], KEYS[3]
local asked, till, lifetime, longest = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local head, tail, span, force = ARGV[5], ARGV[6], ARGV[7], ARGV[8]
-- A log of another type fails here.
local prev = log and redis.call('XLEN', log) and last(log)
local standing = redis.call('GET', key)
local left = redis.call('PTTL', key)
local function write(value, ttl, words, changed)
  local ends = ttl == -1 and '' or string.format('%.0f', math.floor((now() + ttl) / 1000 + 0.5))
  words = words .. ' ' .. ends
  if not changed and force == '' then return words end
  local outlives = standing_names and span ~= '' and (ttl == -1 or ttl > span * 1000)
  local name = string.sub(head, #'cutoff:' + 1)
  if log and (changed or force == 'log') then
    -- This SET changes nothing, and fails where an ACL forbids SET.
    redis.call('SET', key, value, standing and 'NX' or 'XX')
    if outlives then try_to_stand(standing_names, name) end
    append(log, words .. ' ' .. prev .. ' ' .. tail, span)
    if outlives then stand(standing_names, name, ends) end
  end
  if ttl == -1 then redis.call('SET', key, value)
  else redis.call('SET', key, value, 'PX', string.format('%.0f', ttl)) end
  return words
end
`

/*
 * Keeps a revocation. KEYS, ARGV as in LOGGED.
 * Returns: 1 where it is the first, else 0; the value that stands; the words for the log.
 */
export const REVOKE = `${LOGGED}
local ttl = kept(left, ttl_of(till, lifetime), longest)
local value = standing or asked
return {standing and 0 or 1, value, write(value, ttl, head, not standing or ttl ~= left)}`

/*
 * The head of CUT_OFF and KEEP_CUTOFF. `keep_cutoff` keeps a cutoff, and gives what both scripts return. What
 * lasts a minute longer than before is written, too.
 */
const CUTOFF = `${LOGGED}
local function text(cutoff) return string.format('%.0f', cutoff) end
local before = standing and tonumber(standing)
if before and not (before >= 0 and before < 2^53) then before = nil end
local cutoff = tonumber(asked)
local function keep_cutoff(value, changed)
  -- A cutoff that is later than the caller asked for is kept longer by the difference.
  local late = math.max(value - cutoff, 0) * 1000
  local ttl = ttl_of(till, lifetime)
  if ttl ~= -1 then ttl = ttl + late end
  if longest ~= '' then longest = longest + late end
  ttl = kept(left, ttl, longest)
  changed = changed or (ttl == -1) ~= (left == -1) or ttl > left + 60000
  local words = write(text(value), ttl, head .. ' ' .. text(value) .. ' ', changed)
  return {text(value), before and text(before) or '', words}
end
`

/*
 * Raises a cutoff. A token that was issued after the standing cutoff carries the second that follows it. So
 * where a cutoff stands at the second that the caller asks for, or later, it rises by one second.
 *
 * ARGV: 1 to 8 as in LOGGED
 *       9 unless_from: a cutoff that stands at this second or later is not raised; '' means no such second
 *       10 highest: a cutoff rises by itself up to this second
 * Returns: the cutoff that stands; the one before or ''; the words for the log.
 */
export const CUT_OFF = `${CUTOFF}
local unless_from, highest = tonumber(ARGV[9]), tonumber(ARGV[10])
if standing and not before then return redis.error_reply('BADVALUE the key of a cutoff holds no number') end
if not before then return keep_cutoff(cutoff, true) end
if not unless_from or before < unless_from then
  if before < cutoff then return keep_cutoff(cutoff, true) end
  if before < highest then return keep_cutoff(before + 1, true) end
end
return keep_cutoff(before, false)`

/* Puts a cutoff back, unless a later one stands. KEYS, ARGV as in LOGGED. Returns: as CUT_OFF. */
export const KEEP_CUTOFF = `${CUTOFF}
return keep_cutoff(before and before > cutoff and before or cutoff, true)`

/*
 * Names a cutoff that outlives its entry of the log. On one node the scripts above do it.
 *
 * KEYS: 1 standing
 * ARGV: 1 name: what the cutoff is of   2 ends: in seconds since the epoch; '' means never
 * Returns: 1.
 */
export const NAME_STANDING = `${NOW}${STAND}
local standing = KEYS[1]
local name, ends = ARGV[1], ARGV[2]
try_to_stand(standing, name)
stand(standing, name, ends)
return 1`

/*
 * Appends an entry to the log alone.
 *
 * KEYS: 1 log
 * ARGV: 1 head: the words before `prev`   2 tail: the words after it   3 span
 * Returns: the id of the entry.
 */
export const APPEND = `${LOG}
local log = KEYS[1]
local head, tail, span = ARGV[1], ARGV[2], ARGV[3]
return append(log, head .. ' ' .. last(log) .. ' ' .. tail, span)`

/*
 * Reads what follows an entry in the log. It returns one string for all entries: a client takes longer to
 * read a million entries as arrays than all other work on them takes.
 *
 * KEYS: 1 log
 * ARGV: 1 after: the id of the entry   2 count: of entries
 *       3 tells_run: '1' where the caller must know which run of which server answers
 * Returns: the id of the last entry that the log ever had, even if that entry is gone; lines (an id, its
 *   words, the next id, and so on); the clock of Redis in ms; the run or ''.
 */
export const LOG_PAGE = `${LOG}${NOW}
local log = KEYS[1]
local after, count, tells_run = ARGV[1], ARGV[2], ARGV[3] == '1'
local rows = redis.call('XRANGE', log, '(' .. after, '+', 'COUNT', count)
local lines, find = {}, string.find
for i = 1, #rows do
  local row = rows[i]
  local fields = row[2]
  local words = fields[2]
  if fields[1] ~= 'entry' or find(words, '\\n', 1, true) then words = '' end
  lines[2 * i - 1] = row[1]
  lines[2 * i] = words
end
local time = now()
local run = tells_run and string.match(redis.call('INFO', 'server'), 'run_id:(%w+)') or ''
return {last(log), table.concat(lines, '\\n'), time, run}`
