import t from 'tap'
import { setImmediate as turn } from 'node:timers/promises'
import { NoAnswer } from '../../lib/errors.ts'
import { Deadline } from '../../lib/stores/deadline.ts'
import { manualClock } from '../support/clock.ts'

const never = () => new Promise<never>(() => {})

/** After the turn in which a timer goes off, and the one that still waits for an answer. */
const later = async () => {
  await turn()
  await turn()
}

t.test('one timer serves all operations, and each ends when its own time is up', async (t) => {
  const { clock, timers, pass } = manualClock()
  const told: unknown[] = []
  const deadline = new Deadline({ timeout: 100, clock, onNoAnswer: () => told.push('no answer') })
  for (const [name, left] of [['a', undefined], ['b', 50], ['c', 200], ['d', 100]] as const) {
    deadline.run(never, left).catch((error) => told.push(name, error))
    t.equal(timers.size, 1)
  }
  const noAnswer = new NoAnswer('Redis gave no answer within 100 ms')
  for (const [time, expected] of [
    [49, []], [1, ['no answer', 'b', noAnswer]], [49, []],
    [1, ['no answer', 'no answer', 'a', noAnswer, 'd', noAnswer]], [99, []], [1, ['no answer', 'c', noAnswer]]
  ] as const) {
    pass(time)
    await later()
    t.match(told.splice(0), expected, `${time} ms later`)
  }
  t.equal(timers.size, 0)
})

t.test('of what was answered, or failed, nothing is left when the timer goes off', async (t) => {
  const { clock, timers, pass } = manualClock()
  const deadline = new Deadline({ timeout: 100, clock, onNoAnswer: () => t.fail('it was answered') })
  t.equal(await deadline.run(async () => 1), 1)
  await t.rejects(deadline.run(async () => { throw new Error('of its own') }), { message: 'of its own' })
  pass(100)
  await later()
  t.equal(timers.size, 0, 'the timer serves nobody')
  t.equal(await deadline.run(async () => 2), 2, 'and another one comes with the next operation')
  t.equal(timers.size, 1)
})

t.test('it is settled once each operation that ran then has its answer, or has failed', async (t) => {
  const { clock, pass } = manualClock()
  const deadline = new Deadline({ timeout: 100, clock })
  const told: string[] = []
  const wait = (name: string) => deadline.settled().then(() => told.push(name))
  await wait('nothing runs')
  let answer!: () => void
  const answered = deadline.run(() => new Promise<void>((resolve) => { answer = resolve }))
  const failed = deadline.run(never).catch(() => {})
  wait('both')
  wait('both, asked again')
  pass(50)
  deadline.run(never).catch(() => {})
  answer()
  await answered
  await later()
  t.strictSame(told.splice(0), ['nothing runs'])
  pass(50)
  await failed
  await later()
  t.strictSame(told, ['both', 'both, asked again'], 'what began later is not waited for')
})

t.test('the process is kept alive while something runs, and no longer', async (t) => {
  const { clock, timers } = manualClock()
  const deadline = new Deadline({ timeout: 100, clock })
  const areRef = () => [...timers].map(({ isRef }) => isRef)
  const one = deadline.run(async () => 1)
  const other = deadline.run(async () => { await turn() })
  await one
  t.strictSame(areRef(), [true], 'another one runs')
  await other
  t.strictSame(areRef(), [false])
  const next = deadline.run(async () => 2)
  t.strictSame(areRef(), [true], 'the same timer serves the next')
  await next
  t.strictSame(areRef(), [false])
})

t.test('an answer counts that lay in the socket while the event loop stood still', async (t) => {
  const { clock, pass } = manualClock()
  const deadline = new Deadline({ timeout: 100, clock })
  let answer = (_value: string) => {}
  const running = deadline.run(() => new Promise<string>((resolve) => { answer = resolve }))
  pass(5000)
  answer('late')
  t.equal(await running, 'late')
})

t.test('what is called when a time is up may throw, and the others end all the same', async (t) => {
  const { clock, timers, pass } = manualClock()
  const deadline = new Deadline({ timeout: 100, clock })
  const uncaught: Array<() => void> = []
  const { nextTick } = process
  t.intercept(process, 'nextTick', {
    value: (callback: () => void, ...args: unknown[]) => String(callback).includes('throw thrown') ? uncaught.push(callback) : nextTick(callback, ...args)
  })
  deadline.begin(() => { throw new Error('of the caller') })
  const other = deadline.run(never)
  const longer = deadline.run(never, 150)
  pass(100)
  await t.rejects(other, new NoAnswer('Redis gave no answer within 100 ms'))
  t.equal(uncaught.length, 1)
  t.throws(uncaught[0]!, { message: 'of the caller' })
  pass(50)
  await t.rejects(longer, new NoAnswer('Redis gave no answer within 100 ms'))
  t.equal(timers.size, 0)
})

t.test('an operation may have all the time', async (t) => {
  const { clock, timers } = manualClock()
  const deadline = new Deadline({ timeout: Infinity, clock })
  t.equal(await deadline.run(async () => 1), 1)
  t.equal(timers.size, 0)
})
