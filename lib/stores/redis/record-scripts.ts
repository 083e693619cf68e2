import { KEEP, NOW } from './scripts.ts'

/* The scripts for records. Their words are those of scripts.ts. */

/*
 * Lets an identity lead to its record that ends latest.
 *
 * KEYS: 1 key of the identity
 * ARGV: 1 id of a record   2 ends: when the record is dropped, in seconds since the epoch; '' means never
 * Returns: the id that stands.
 */
export const NAME_RECORD = `${NOW}
local key = KEYS[1]
local id, ends = ARGV[1], ARGV[2]
local standing = redis.call('GET', key)
local left = redis.call('PTTL', key)
if left == -1 then left = math.huge end
local ttl = ends == '' and math.huge or ends * 1000 - now()
-- Ends are whole seconds. Half a second tells two ends apart, however long PTTL and TIME take.
if standing and ttl < left - 500 then return standing end
if ends == '' then redis.call('SET', key, id) else redis.call('SET', key, id, 'EXAT', ends) end
return id`

/*
 * Adds a record to those of its subject, and drops those that have ended. PEXPIRE and PERSIST come before
 * ZADD: where there is no key they change nothing, and fail where an ACL forbids them.
 *
 * KEYS: 1 key of the subject's records
 * ARGV: 1 id of the record   2 expiry of its token, in seconds since the epoch or '+inf'
 *       3 till   4 lifetime   5 longest
 * Returns: 1.
 */
export const ADD_TOKEN = `${KEEP}
local key = KEYS[1]
local id, expiry, till, lifetime, longest = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local function keep(ttl)
  if ttl == -1 then return redis.call('PERSIST', key) end
  redis.call('PEXPIRE', key, string.format('%.0f', ttl))
end
local left = redis.call('PTTL', key)
local ttl = kept(left, ttl_of(till, lifetime), longest)
redis.call('ZREMRANGEBYSCORE', key, '-inf', now() / 1000)
if ttl ~= left then keep(ttl) end
redis.call('ZADD', key, expiry, id)
if left == -2 or redis.call('PTTL', key) ~= ttl then keep(ttl) end
return 1`

/*
 * Lists the ids of a subject's records, latest to expire first. Records that have ended by the clock of Redis
 * leave for good. Records that have ended by `moment` are only left out, because a caller's clock may be
 * ahead. Where `after` is gone it has expired, and so has every record that came after it.
 *
 * KEYS: 1 key of the subject's records
 * ARGV: 1 count: of ids   2 after: the id after which to go on, or ''
 *       3 moment: in seconds since the epoch, or ''
 * Returns: the ids.
 */
export const PAGE = `${NOW}
local key = KEYS[1]
local count, after, moment = ARGV[1], ARGV[2], ARGV[3]
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
