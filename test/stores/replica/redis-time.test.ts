import t from 'tap'
import { RedisTime } from '../../../lib/stores/replica/redis-time.ts'

const NOW = 1_800_000_000_000
const HOUR = 3600_000

/** A monotonic clock that goes on when the test says so. */
function stopped (now = 5000) {
  const clock = { now, monotonic: () => clock.now }
  return { clock, time: new RedisTime(clock) }
}

t.test('before Redis has said what time it is nothing is over, and an end is what it is by the own clock', async (t) => {
  const { time } = stopped()
  t.strictSame([time.earliest, time.latest], [-Infinity, -Infinity])
  t.strictSame([time.endOf(5, NOW), time.endOf(0, NOW), time.endOf(null, NOW)], [5, 0, null])
})

t.test('of an answer that was on its way for a while one reading is by its arrival, the other by its question', async (t) => {
  const { clock, time } = stopped()
  time.hear(NOW, clock.now - 700)
  t.strictSame([time.earliest, time.latest], [NOW, NOW + 700], 'never ahead of Redis, and never behind it')
  clock.now += 40
  t.strictSame([time.earliest, time.latest], [NOW + 40, NOW + 740], 'both go on')
})

t.test('the earlier reading follows a clock that is set back, and not one that is set ahead; the later one follows both', async (t) => {
  const { clock, time } = stopped()
  const hear = (ahead: number) => {
    clock.now += 100
    time.hear(NOW + ahead + clock.now, clock.now)
  }
  const offsets = () => [time.earliest, time.latest].map((reading) => (reading - NOW - clock.now) / 1000)
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
  const { clock, time } = stopped()
  time.hear(NOW, clock.now)
  const own = (ahead: number) => time.endOf(NOW / 1000 + ahead / 1000 + 900, NOW + ahead)! - NOW / 1000
  t.equal(own(0), 900)
  t.equal(own(-HOUR), 900, 'of a process that is behind')
  t.equal(own(HOUR), 3600 + 900, 'of one that is ahead')
})
