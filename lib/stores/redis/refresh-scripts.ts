import { MAX_USES } from '../refresh.ts'
import { NOW } from './scripts.ts'

/*
 * The scripts for sessions that can be refreshed. What they change stands at the beginning of a JSON object,
 * so that they need not read the rest: decoding and encoding it in Lua would change numbers and empty arrays.
 */

/*
 * Looks at a refresh token, or uses it. The clock of Redis decides how long ago its first use was.
 *
 * KEYS: 1 key of the refresh token
 * ARGV: 1 secret: what the successor follows from, if this is the first use; '' changes nothing
 *       2 grace: in milliseconds   3 since: when this use began, in milliseconds since the epoch, or ''
 * Returns: nil where there is no such token; else its state, its value, and the clock of Redis in ms.
 */
export const USE_REFRESH = `${NOW}
local key = KEYS[1]
local secret, grace, since = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local time = now()
local value = redis.call('GET', key)
if not value then return nil end
local function set(used, uses, more)
  value = '{"used":' .. used .. ',"uses":' .. uses .. ',' .. more
  redis.call('SET', key, value, 'KEEPTTL')
end
local used, uses, more = string.match(value, '^{"used":([%d.]+),"uses":(%d+),(.*)$')
if not used then
  if secret ~= '' then
    set(string.format('%.3f', time / 1000), 1, '"key":"' .. secret .. '",' .. string.sub(value, 2))
  end
  return {'fresh', value, time}
end
if (since or time) - math.floor(used * 1000 + 0.5) >= grace then return {'reused', value, time} end
if tonumber(uses) >= ${MAX_USES} then return {'exhausted', value, time} end
if secret ~= '' then set(used, uses + 1, more) end
return {'again', value, time}`

/*
 * Drops what a spent refresh token is not asked for again: the claims, which come last.
 *
 * KEYS: 1 key of the refresh token
 * ARGV: 1 rest: what is left behind the key of its successor
 * Returns: 1.
 */
export const SETTLE_REFRESH = `
local key = KEYS[1]
local rest = ARGV[1]
local head = string.match(redis.call('GET', key) or '', '^{"used":[%d.]+,"uses":%d+,"key":"[%w_-]+",')
if head then redis.call('SET', key, head .. rest, 'KEEPTTL') end
return 1`

/** How the record of a session begins that has ended. */
const ENDED = '{"endedAt":'

/*
 * Keeps the record of a session, unless it has ended. Of two refreshes at once, the one whose clock is ahead
 * may come first: `refreshedAt` stays the latest, by which a log-out of the subject finds a token that its
 * cutoff does not reach.
 *
 * KEYS: 1 key of the record
 * ARGV: 1 record   2 ends: when the record is dropped, in seconds since the epoch
 * Returns: 1, or 0 where the session has ended.
 */
export const SAVE_SESSION = `
local key = KEYS[1]
local record, ends = ARGV[1], ARGV[2]
local standing = redis.call('GET', key) or ''
if string.sub(standing, 1, ${ENDED.length}) == '${ENDED}' then return 0 end
local refreshed = '^{"refreshedAt":"[^"]+"'
local before, now = string.match(standing, refreshed), string.match(record, refreshed)
if before and now and before > now then record = before .. string.sub(record, #now + 1) end
redis.call('SET', key, record, 'EXAT', ends)
return 1`

/*
 * Says in the record of a session when it ended, unless the record says so already.
 *
 * KEYS: 1 key of the record
 * ARGV: 1 time: ISO 8601
 * Returns: 1.
 */
export const END_SESSION = `
local key = KEYS[1]
local time = ARGV[1]
local record = redis.call('GET', key)
if record and string.sub(record, 1, ${ENDED.length}) ~= '${ENDED}' then
  redis.call('SET', key, '${ENDED}"' .. time .. '",' .. string.sub(record, 2), 'KEEPTTL')
end
return 1`
