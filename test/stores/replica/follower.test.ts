import t from 'tap'
import type { Command, Commands } from '../../../lib/stores/redis/commands.ts'
import { Follower, type FollowerOptions } from '../../../lib/stores/replica/follower.ts'
import { START } from '../../../lib/stores/redis/log.ts'
import { RedisTime } from '../../../lib/stores/replica/redis-time.ts'
import { entryOf } from '../../../lib/stores/replica/scan.ts'
import type { Entry } from '../../../lib/stores/entry.ts'
import { systemClock } from '../../../lib/time.ts'

// The pauses of a follower keep no process alive.
const alive = setInterval(() => {}, 1000)
t.teardown(() => clearInterval(alive))

const OPTIONS = { key: 'log', block: 10, storeTimeout: 1000, span: 3600 }
const now = 1_800_000_000_000
const line = (id: string, prev: string, name = id) => `${id}\nrevoked:${name} 5 ${now / 1000 + 900} ${now / 1000 + 910} ${prev}  `

/** Reads what the answers say, one after another, and then no more. */
function following (answers: unknown[], options: Partial<FollowerOptions> = {}, isApart = false) {
  const told: string[] = []
  const commands: Command[][] = []
  const learnt: Entry[] = []
  let ended = () => {}
  const end = new Promise<void>((resolve) => { ended = resolve })
  const redis = {
    isApart,
    together: async (given: Command[]) => {
      commands.push(given)
      if (answers.length > 0) {
        const answer = answers.shift()
        if (answer instanceof Error) throw answer
        // What Redis' clock says comes with each answer, and which server it is.
        const whole = Array.isArray(answer) && answer.length === 2 ? [...answer, now, ''] : answer
        return given.length === 1 ? [whole] : [null, whole]
      }
      follower.close()
      ended()
      return [[START, '', now, '']]
    }
  } as unknown as Commands
  const follower = new Follower(redis, { ...OPTIONS, ...options }, {
    clock: systemClock,
    time: new RedisTime(systemClock),
    onEntries: (entries) => { learnt.push(...entries) },
    onBroken: async () => { told.push('broken') },
    onRead: async (complete) => { told.push(complete ? 'complete' : 'incomplete') },
    onFailed: (error) => { told.push(String(error)) },
    renew () {}
  })
  follower.run()
  return end.then(() => ({ told, names: learnt.map(({ name }) => name), commands, follower }))
}

t.test('nonsense about the log is no end of it', async (t) => {
  for (const answer of [
    'OK', null, 1, [], ['x', ''], [START], [START, 1], [START, null], ['5-1', 'x'], ['5-1', '5-1'], ['5-1', 'x\ny z'],
    [START, '', null, ''], [START, '', 'x', ''], [START, '', 0, ''], [START, '', -1, ''], [START, '', now], [START, '', now, 5]
  ]) {
    const { told, follower } = await following([answer])
    t.strictSame(told, ['TypeError: Redis answered nonsense about the log'], JSON.stringify(answer))
    t.equal(follower.heardAt, undefined)
  }
})

t.test('what was read from the start is complete where nothing that matters can be missing', async (t) => {
  const old = `${now - 3700_000}-0`
  const young = `${now - 3500_000}-0`
  for (const [what, answer, expected] of [
    ['one entry, the first ever', [young, line(young, START)], ['complete']],
    ['one after what is too old to matter', [young, line(young, old)], ['complete']],
    ['one after what may still matter', [`${now}-0`, line(`${now}-0`, young)], ['incomplete']],
    ['nothing, where nothing ever was: the keys may tell more', [START, ''], ['incomplete']],
    ['nothing, of what there was', [young, ''], ['incomplete']],
    ['not the last', [`${now}-0`, line(young, START)], ['incomplete']],
    ['what is no entry of ours', [young, `${young}\nx`], ['incomplete']]
  ] as Array<[string, unknown, string[]]>) {
    const { told, follower } = await following([answer])
    t.strictSame(told, expected, what)
    t.type(follower.heardAt, 'number', what)
  }
})

t.test('a gap in the first reading is read again, and is a hole where it is there again', async (t) => {
  const [a, b, c] = [1, 2, 3].map((i) => `${now}-${i}`) as [string, string, string]
  const holed: [string, string] = [c, `${line(a, START)}\n${line(c, b)}`]
  const { told, names } = await following([holed, holed])
  t.strictSame(told, ['broken', 'incomplete'])
  t.strictSame(names, [a, a, c])
})

t.test('whatever does not go on where the reading stopped is read from its start', async (t) => {
  const [a, b, c] = [1, 2, 3].map((i) => `${now}-${i}`) as [string, string, string]
  const first: [string, string] = [a, line(a, START)]
  for (const [what, next] of [
    ['an entry after one that never came', [c, line(c, b)]],
    ['what is no entry of ours', [b, `${b}\nx`]],
    ['a last id that is earlier', [START, '']],
    ['a last id that did not come', [b, '']]
  ] as Array<[string, unknown]>) {
    const { told, commands } = await following([first, next, first])
    t.strictSame(told, ['complete', 'broken', 'complete'], what)
    t.strictSame(commands.map((given) => given.at(-1)![4]), [START, a, START, a], what)
    t.strictSame(commands.map((given) => given.length), [1, 2, 1, 2], 'it waits where it has come to the end')
  }
})

t.test('a log that goes on at another server, or after a restart, is taken up as when it was read for the first time', async (t) => {
  const [a, b, c] = [1, 2, 3].map((i) => `${now}-${i}`) as [string, string, string]
  const page = (run: string, last: string, text = '') => [last, text, now, run]
  for (const [what, answers, told] of [
    ['the same one', [page('x', a, line(a, START)), page('x', a), page('x', b, line(b, a))], ['complete']],
    ['another one that has the same', [page('x', a, line(a, START)), page('y', a), page('y', b, line(b, a))], ['complete', 'complete']],
    ['with more', [page('x', a, line(a, START)), page('y', b, line(b, a)), page('y', b)], ['complete', 'complete']],
    ['without what was read', [page('x', b, `${line(a, START)}\n${line(b, a)}`), page('y', a), page('y', a, line(a, START))], ['complete', 'broken', 'complete']],
    ['with another entry in its place', [page('x', b, `${line(a, START)}\n${line(b, a)}`), page('y', c, line(c, a)), page('y', c, `${line(a, START)}\n${line(c, a)}`)], ['complete', 'broken', 'complete']]
  ] as Array<[string, unknown[], string[]]>) {
    const { told: found, names, commands } = await following(answers, {}, true)
    t.strictSame(found, told, what)
    t.equal(names[0], a)
    t.strictSame([...new Set(commands.map((given) => given.at(-1)!.at(-1)))], [1], 'it asks which one it is')
  }
})

t.test('a key is an entry as long as it is there, and ours', async (t) => {
  const entry = { kind: 'revoked', name: 'a', at: 5, exp: 9, until: now / 1000 + 60 }
  for (const [kind, value, left, expected] of [
    ['revoked', '{"at":5,"exp":9}', 60_000, entry],
    ['revoked', '{"at":5}', -1, { ...entry, exp: null, until: null }],
    ['revoked', 'in a form of its own', 60_000, { ...entry, at: now / 1000, exp: null }],
    ['revoked', null, -2, null],
    ['revoked', '{"at":5,"exp":9}', -2, null],
    ['cutoff', '5', 60_000, { ...entry, kind: 'cutoff', exp: null }],
    ['cutoff', 'x', 60_000, null],
    ['cutoff', 'Infinity', 60_000, null],
    ['cutoff', ' ', 60_000, null]
  ] as Array<['revoked' | 'cutoff', unknown, number, unknown]>) t.strictSame(entryOf(kind, 'a', value, left, now), expected, `${value} ${left}`)
})
