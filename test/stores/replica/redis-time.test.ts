import t from 'tap'
import { RedisTime } from '../../../lib/stores/replica/redis-time.ts'
import { systemClock } from '../../../lib/time.ts'

const NOW = 1_800_000_000_000
const HOUR = 3600_000

/** Both readings, and between which moments of the monotonic clock they were taken. */
function read (time: RedisTime) {
  const from = performance.now()
  const { earliest, latest } = time
  return { earliest, latest, from, to: performance.now() }
}

t.test('before Redis has said what time it is nothing is over, and an end is what it is by the own clock', async (t) => {
  const time = new RedisTime(systemClock)
  t.strictSame([time.earliest, time.latest], [-Infinity, -Infinity])
  t.strictSame([time.endOf(5, NOW), time.endOf(0, NOW), time.endOf(null, NOW)], [5, 0, null])
})

t.test('of an answer that was on its way for a while one reading is by its arrival, the other by its question', async (t) => {
  const time = new RedisTime(systemClock)
  const since = performance.now() - 700
  const before = performance.now()
  time.hear(NOW, since)
  const after = performance.now()
  const { earliest, latest, from, to } = read(time)
  t.ok(earliest >= NOW + from - after && earliest <= NOW + to - before, 'never ahead of Redis')
  t.ok(latest >= NOW + from - since && latest <= NOW + to - since, 'never behind it')
})

t.test('the earlier reading follows a clock that is set back, and not one that is set ahead; the later one follows both', async (t) => {
  const time = new RedisTime(systemClock)
  const hear = (ahead: number) => time.hear(NOW + ahead + performance.now(), performance.now())
  const offsets = () => {
    const { earliest, latest, from } = read(time)
    return [earliest, latest].map((reading) => Math.round((reading - NOW - from) / 1000))
  }
  hear(0)
  t.strictSame(offsets(), [0, 0])
  hear(HOUR)
  t.strictSame(offsets(), [0, 3600])
  hear(-HOUR)
  t.strictSame(offsets(), [-3600, -3600])
  hear(0)
  t.strictSame(offsets(), [-3600, 0])
})

t.test('an end is the later of what the own clock says and of as long by the clock of Redis, as it is in Redis', async (t) => {
  const time = new RedisTime(systemClock)
  time.hear(NOW, performance.now())
  const own = (ahead: number) => Math.round(time.endOf(NOW / 1000 + ahead / 1000 + 900, NOW + ahead)! - NOW / 1000)
  t.equal(own(0), 900)
  t.equal(own(-HOUR), 900, 'of a process that is behind')
  t.equal(own(HOUR), 3600 + 900, 'of one that is ahead')
})
