import { holdIntervals } from '../../support/intervals.ts'
import { Redis } from 'ioredis'
import { setImmediate as nextTurn } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { Deadline } from '../../../lib/stores/deadline.ts'
import { Health } from '../../../lib/stores/redis/health.ts'
import { inSeconds, ownPrefix } from '../../support/app.ts'
import { lived } from '../../support/lived.ts'
import { startRedis } from '../../support/redis.ts'
import { on, redisStore } from '../../support/stores.ts'
import { systemClock } from '../../../lib/time.ts'

/** A second is over when a test says so. */
function intervalsOf (t: Test) {
  const intervals = holdIntervals(t)
  return {
    intervals,
    /** Each interval has its turn, and what a probe that is settled sets off is done. */
    async tick () {
      intervals.pass()
      await nextTurn()
    }
  }
}

type Probe = () => Promise<unknown>

function healthOf (t: Test, probe: Probe) {
  const events: unknown[] = []
  let probes = 0
  const health = new Health({
    clock: systemClock,
    async probe () {
      probes++
      await probe()
    },
    onLost: (error) => events.push(error),
    onBack: () => events.push('back')
  })
  t.teardown(() => health.close())
  return { health, events, get probes () { return probes } }
}

const answers = async () => 'OK'

t.test('P4 a store is lost once, with the first failure', async (t) => {
  const { intervals } = intervalsOf(t)
  const { health, events } = healthOf(t, answers)
  t.equal(health.available, true)
  t.strictSame(intervals.running, [])
  for (const failure of ['first', 'second', 'third']) {
    health.failed(failure)
    t.equal(health.available, false)
  }
  t.strictSame(events, ['first'])
  t.strictSame(intervals.running, [{ milliseconds: 1000, unrefed: true }], 'it is tried again every second, which keeps no process alive')
})

t.test('P4 a store is back once, after a quiet second and an answered probe', async (t) => {
  const { intervals, tick } = intervalsOf(t)
  const subject = healthOf(t, answers)
  const { health, events } = subject
  health.failed('lost')
  t.equal(subject.probes, 0)
  await tick()
  t.equal(subject.probes, 1)
  t.equal(health.available, true)
  t.strictSame(events, ['lost', 'back'])
  t.equal(intervals.running.length, 0)

  health.failed('lost again')
  await tick()
  t.strictSame(events, ['lost', 'back', 'lost again', 'back'], 'and can be lost again')
})

t.test('P4 a store that fails now and then is not back', async (t) => {
  const { tick } = intervalsOf(t)
  const subject = healthOf(t, answers)
  const { health, events } = subject
  health.failed('lost')
  for (let second = 0; second < 100; second++) {
    health.failed(`again ${second}`)
    await tick()
  }
  t.ok(subject.probes > 0, 'although it answers when it is asked again')
  t.strictSame(events, ['lost'])
  await tick()
  t.strictSame(events, ['lost', 'back'], 'until a second without failures')
})

t.test('P4 a store is not back while its probe fails', async (t) => {
  const { tick } = intervalsOf(t)
  const failing: Probe[] = [
    async () => { throw new Error('down') },
    () => { throw new Error('down at once') }
  ]
  let probe = failing[0]!
  const subject = healthOf(t, () => probe())
  const { health, events } = subject
  health.failed('lost')
  for (probe of failing) {
    for (let second = 0; second < 3; second++) await tick()
  }
  t.equal(subject.probes, 6)
  t.equal(health.available, false)
  probe = answers
  await tick()
  t.strictSame(events, ['lost', 'back'])
})

t.test('P4 a store is not back when something fails while its probe is under way', async (t) => {
  const { tick } = intervalsOf(t)
  const answer: Array<() => void> = []
  const { health, events } = healthOf(t, () => new Promise<void>((resolve) => answer.push(resolve)))
  health.failed('lost')
  await tick()
  health.failed('meanwhile')
  answer.shift()!()
  await nextTurn()
  t.strictSame(events, ['lost'])
  await tick()
  answer.shift()!()
  await nextTurn()
  t.strictSame(events, ['lost'], 'and the second was not a quiet one')

  await tick()
  await tick()
  t.equal(answer.length, 1, 'one probe at a time')
  answer.shift()!()
  await nextTurn()
  t.strictSame(events, ['lost', 'back'])
})

t.test('P4 a store that is asked again and gives no answer is stuck, each time', async (t) => {
  const { tick } = intervalsOf(t)
  let stuck = 0
  let up = false
  const health = new Health({
    clock: systemClock,
    async probe () { if (!up) throw new Error('no answer') },
    onLost () {},
    onBack () {},
    onStuck () { stuck++ }
  })
  t.teardown(() => health.close())
  health.failed('lost')
  t.equal(stuck, 0)
  await tick()
  await tick()
  t.equal(stuck, 2)
  up = true
  await tick()
  t.equal(stuck, 2)
  t.equal(health.available, true)
})

t.test('a closed store is neither lost nor back, and is not asked again', async (t) => {
  const { intervals, tick } = intervalsOf(t)
  let answer = () => {}
  const subject = healthOf(t, () => new Promise<void>((resolve) => { answer = resolve }))
  const { health, events } = subject
  health.failed('lost')
  await tick()
  health.close()
  t.equal(intervals.running.length, 0)
  answer()
  await nextTurn()
  t.strictSame(events, ['lost'])
  health.failed('after')
  t.equal(intervals.running.length, 0)
  t.equal(subject.probes, 1)

  const other = healthOf(t, answers)
  other.health.close()
  other.health.failed('after')
  t.strictSame(other.events, [])
  t.equal(intervals.running.length, 0)
})

t.test('P4 the start waits for the first answer', async (t) => {
  const { intervals } = intervalsOf(t)
  for (const failures of [0, 1, 3]) {
    let left = failures
    const subject = healthOf(t, async () => {
      if (left-- > 0) throw new Error('not yet')
    })
    await subject.health.start(60_000)
    t.equal(subject.probes, failures + 1)
    t.equal(subject.health.available, true)
    t.strictSame(subject.events, [])
  }
  t.equal(intervals.running.length, 0)
})

t.test('P4 the start gives up at the timeout, and goes on without the store', async (t) => {
  const { intervals, tick } = intervalsOf(t)
  let up = false
  const subject = healthOf(t, async () => {
    if (!up) throw new Error(`no answer ${subject.probes}`)
  })
  const started = lived()
  await subject.health.start(200)
  // As this process lived it: it asks nobody else.
  t.ok(lived() - started < 1000)
  t.ok(subject.probes > 1)
  t.equal(subject.health.available, false)
  t.match(subject.events, [{ message: `no answer ${subject.probes}` }], 'with the last error')
  t.equal(subject.events.length, 1)
  t.equal(intervals.running.length, 1)
  up = true
  await tick()
  t.equal(subject.events[1], 'back')

  const atOnce = healthOf(t, async () => { throw new Error('no answer') })
  await atOnce.health.start(1)
  t.equal(atOnce.probes, 1, 'one probe is made in any case')
  t.equal(atOnce.health.available, false)
})

t.test('P4 the start gives up on a probe that is never answered', async (t) => {
  const { intervals } = intervalsOf(t)
  const subject = healthOf(t, () => new Promise(() => {}))
  await subject.health.start(50)
  t.equal(subject.probes, 1)
  t.equal(subject.health.available, false)
  t.match(subject.events, [{ message: 'Redis gave no answer within 50 ms' }])
  t.equal(intervals.running.length, 1)
})

t.test('a start that is closed meanwhile reports nothing', async (t) => {
  const subject = healthOf(t, async () => { throw new Error('no answer') })
  const started = subject.health.start(100)
  subject.health.close()
  await started
  t.strictSame(subject.events, [])
})

t.test('a deadline calls when its time is up, unless it was cancelled', async (t) => {
  const deadline = new Deadline({ timeout: 20, clock: systemClock, why: () => { throw new TypeError('a client of another kind') } })
  t.equal(deadline.timeout, 20)
  const never = () => new Promise<never>(() => {})
  const began = performance.now()
  await t.rejects(deadline.run(never), { message: 'Redis gave no answer within 20 ms' })
  t.ok(performance.now() - began >= 19)

  t.equal(await deadline.run(async () => 'in time'), 'in time')
  // Answers after the deadline's timer, which is as long and older, and before what that has put off.
  const stalled = deadline.run(() => new Promise((resolve) => { setTimeout(() => resolve('after a stall'), deadline.timeout) }))
  stall(40)
  t.equal(await stalled, 'after a stall')
  await t.rejects(deadline.run(never), { message: 'Redis gave no answer within 20 ms' })
})

/** The event loop does nothing, as under a long synchronous task. */
function stall (milliseconds: number) {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, milliseconds)
}

t.test('P4 after a stall of the event loop an answer that lies in the socket still counts', async (t) => {
  const server = await startRedis(t)
  const record = { id: 'r', jti: 'a', issuedAt: '2026-11-01T00:00:00.000Z', expiresAt: null }
  for (const enableAutoPipelining of [false, true]) {
    const client = new Redis(server.url, { enableAutoPipelining })
    t.teardown(() => client.disconnect())
    const events: unknown[] = []
    const store = redisStore(client, { keyPrefix: ownPrefix(), storeTimeout: 300, logSpan: 3600, minReplicas: 0 }, {
      clock: systemClock, onLost: (error) => events.push(error), onBack: () => events.push('back')
    })
    t.teardown(() => store.close())
    await client.ping()

    for (const [what, operation, expected] of [
      ['revoke', () => on(store).revoke('a', { at: 1, exp: null }, inSeconds(60)), { at: 1, exp: null, first: true }],
      ['saveRecord', () => store.records.save({ record, identity: 'a', exp: null, keptUntil: inSeconds(60) }), null],
      ['record', () => store.records.byId('r'), record],
      ['check', () => new Promise((resolve, reject) => on(store).check('a', undefined, (error, revoked) => error ? reject(error) : resolve(revoked))), true]
    ] as Array<[string, () => Promise<unknown>, unknown]>) {
      const answer = operation()
      // Until the batch is read, then until the pipeline is written.
      for (let turn = 0; turn < 3; turn++) await nextTurn()
      // A busy machine may keep this process from its stall, and Redis from answering for as long.
      stall(700)
      t.strictSame(await answer.catch((error) => error), expected, `${what} with enableAutoPipelining: ${enableAutoPipelining}`)
    }
    t.strictSame(events, [])
  }
})
