import t from 'tap'
import type { Command, Commands, Done } from '../../../lib/stores/redis/commands.ts'
import { Follower, type FollowerOptions } from '../../../lib/stores/replica/follower.ts'
import { START } from '../../../lib/stores/redis/log.ts'
import { RedisTime } from '../../../lib/stores/replica/redis-time.ts'
import { entryOf } from '../../../lib/stores/replica/scan.ts'
import type { Entry } from '../../../lib/stores/entry.ts'
import { systemClock, type Clock } from '../../../lib/time.ts'

// The pauses of a follower keep no process alive.
const alive = setInterval(() => {}, 1000)
t.teardown(() => clearInterval(alive))

const OPTIONS = { key: 'log', block: 10_000, storeTimeout: 1000, span: 3600 }
const now = 1_800_000_000_000
const line = (id: string, prev: string, name = id) => `${id}\nrevoked:${name} 5 ${now / 1000 + 900} ${now / 1000 + 910} ${prev}  `

/** What XREAD answers when these lines are added. */
const heard = (...lines: string[]) => [['log', lines.map((text) => [text.slice(0, text.indexOf('\n')), ['entry', text.slice(text.indexOf('\n') + 1)]])]]
const isWait = ([name]: Command) => name === 'xread'

/**
 * Reads what the answers say, one after another, and then no more. What waits for news hears one of `news`, or that the
 * time is up.
 */
function following (
  answers: unknown[], { isApart = false, news = [], clock = systemClock, onAsk = () => {}, ...options }:
  Partial<FollowerOptions> & { isApart?: boolean, news?: unknown[], clock?: Clock, onAsk?: () => void } = {}
) {
  const told: string[] = []
  const commands: Command[] = []
  const learnt: Entry[] = []
  let ended = () => {}
  const end = new Promise<void>((resolve) => { ended = resolve })
  const redis = {
    isApart,
    together: async ([command]: [Command]) => {
      commands.push(command)
      onAsk()
      if (answers.length > 0) {
        const answer = answers.shift()
        if (answer instanceof Error) throw answer
        // What Redis' clock says comes with each answer, and which server it is.
        return [Array.isArray(answer) && answer.length === 2 ? [...answer, now, ''] : answer]
      }
      follower.close()
      ended()
      return [[START, '', now, '']]
    },
    proven: async (command: Command, done: Done) => {
      commands.push(command)
      onAsk()
      const heard = news.length > 0 ? news.shift() : null
      await Promise.resolve()
      if (heard instanceof Error) done(heard)
      else done(null, heard)
    }
  } as unknown as Commands
  const follower = new Follower(redis, { ...OPTIONS, ...options }, {
    clock,
    time: new RedisTime(clock),
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
    t.strictSame(commands.filter((command) => !isWait(command)).map((command) => command[4]), [START, a, START, a], what)
    t.strictSame(commands.map(isWait), [false, true, false, false, true, false], 'it waits where it has come to the end')
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
    const { told: found, names, commands } = await following(answers, { isApart: true })
    t.strictSame(found, told, what)
    t.equal(names[0], a)
    t.strictSame([...new Set(commands.filter((command) => !isWait(command)).map((command) => command.at(-1)))], [1], 'it asks which one it is')
  }
})

t.test('news that goes on where the log was left needs no page', async (t) => {
  const [a, b, c, d] = [1, 2, 3, 4].map((i) => `${now}-${i}`) as [string, string, string, string]
  const start: [string, string] = [a, line(a, START)]
  for (const [what, news, names, asked] of [
    ['one entry', [heard(line(b, a))], [a, b], [START, a, b, b]],
    ['several at once, and later', [heard(line(b, a), line(c, b)), heard(line(d, c))], [a, b, c, d], [START, a, c, d, d]],
    ['from a client that gives objects', [{ log: heard(line(b, a))[0]![1] }], [a, b], [START, a, b, b]]
  ] as Array<[string, unknown[], string[], string[]]>) {
    const { told, names: learnt, commands } = await following([start], { news })
    t.strictSame(told, ['complete'], what)
    t.strictSame(learnt, names, what)
    t.strictSame(commands.map((command) => isWait(command) ? command.at(-1) : command[4]), asked, what)
    t.strictSame(commands.map(isWait), asked.map((_, i) => i > 0 && i < asked.length - 1), what)
  }
})

t.test('after news it leaves other processes a moment before it asks again, unless the event loop is busy', async (t) => {
  const [a, b, c, d] = [1, 2, 3, 4].map((i) => `${now}-${i}`) as [string, string, string, string]
  for (const [what, took, between, expected] of [
    ['a breath as long as it should be', 1, 0, 3],
    ['one of a busy event loop: then none for a while', 50, 0, 1],
    ['and again after that', 50, 200, 3]
  ] as const) {
    let time = 0
    let breaths = 0
    const clock: Clock = {
      ...systemClock,
      monotonic: () => time,
      after (act, milliseconds) {
        if (milliseconds > 1) return systemClock.after(act, milliseconds)
        breaths++
        time += took
        return systemClock.after(act, 0)
      }
    }
    const news = [heard(line(b, a)), heard(line(c, b)), heard(line(d, c))]
    const { names } = await following([[a, line(a, START)]], { clock, news, onAsk: () => { time += between } })
    t.strictSame(names, [a, b, c, d], what)
    t.equal(breaths, expected, what)
  }
})

t.test('news that does not go on where the log was left is left to a page', async (t) => {
  const [a, b, c, d] = [1, 2, 3, 4].map((i) => `${now}-${i}`) as [string, string, string, string]
  const start: [string, string] = [a, line(a, START)]
  const other = (id: string, fields: unknown) => [['log', [[id, fields]]]]
  for (const [what, news, page, told, names] of [
    ['after one that never came', heard(line(c, b)), [c, line(c, b)], ['complete', 'broken', 'complete'], [a, a]],
    ['after a gap', heard(line(b, a), line(d, c)), [d, line(d, c)], ['complete', 'broken', 'complete'], [a, b, a]],
    ['a field of another name', other(b, ['other', line(b, a).slice(b.length + 1)]), [b, `${b}\n`], ['complete', 'broken', 'complete'], [a, a]],
    ['words of two lines', other(b, ['entry', `${line(b, a).slice(b.length + 1)}\n`]), [b, `${b}\n`], ['complete', 'broken', 'complete'], [a, a]],
    ['no words', other(b, ['entry', 5]), [b, line(b, a)], ['complete'], [a, b]],
    ['no fields', other(b, null), [b, line(b, a)], ['complete'], [a, b]]
  ] as Array<[string, unknown, unknown, string[], string[]]>) {
    const { told: found, names: learnt } = await following(told.length > 1 ? [start, page, start] : [start, page], { news: [news] })
    t.strictSame(found, told, what)
    t.strictSame(learnt, names, what)
  }
})

t.test('nonsense in the place of news is told, and no page is missed for it', async (t) => {
  const [a, b] = [1, 2].map((i) => `${now}-${i}`) as [string, string]
  for (const news of ['OK', 5, [], [[]], [['log']], [['log', []]], [['log', 'x']], [['log', ['x']]], [['log', [['x', ['entry', '']]]]], {}, { log: 1 }]) {
    const { told, names, follower } = await following([[a, line(a, START)], [b, line(b, a)]], { news: [news] })
    t.strictSame(told, ['complete', 'TypeError: Redis answered nonsense about the log'], JSON.stringify(news))
    t.strictSame(names, [a, b])
    t.type(follower.heardAt, 'number')
  }
})

t.test('news alone does not make the copy fresh: a page is asked for in time', async (t) => {
  const ids = Array.from({ length: 6 }, (_, i) => `${now}-${i + 1}`)
  let passed = 0
  const clock = { ...systemClock, monotonic: () => passed }
  const entries = ids.slice(1).map((id, i) => () => {
    passed += 300
    return heard(line(id, ids[i]!))
  })
  const news = { get length () { return entries.length }, shift: () => entries.shift()!() } as unknown as unknown[]
  const { commands, names, follower } = await following([[ids[0], line(ids[0]!, START)], [ids[4], '']], { block: 1000, news, clock })
  t.strictSame(names, ids)
  t.strictSame(commands.map((command) => isWait(command) ? command[4] : 'page'), ['page', 1000, 700, 400, 100, 'page', 1000, 700, 'page'])
  t.equal(follower.heardAt, 1200, 'when it asked for the page')
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

t.test('what comes a hundred at once is followed by a page, which brings the rest sooner', async (t) => {
  const ids = Array.from({ length: 101 }, (_, i) => `${now}-${i + 1}`)
  const lines = ids.slice(1).map((id, i) => line(id, ids[i]!))
  const start: [string, string] = [ids[0]!, line(ids[0]!, START)]
  for (const [count, expected] of [[99, [false, true, true, false]], [100, [false, true, false, true, false]]] as Array<[number, boolean[]]>) {
    const answers = count < 100 ? [start] : [start, [ids[100], '']]
    const { told, names, commands } = await following(answers, { news: [heard(...lines.slice(0, count))] })
    t.strictSame(told, ['complete'])
    t.equal(names.length, count + 1)
    t.strictSame(commands.map(isWait), expected, `${count}`)
  }
})

t.test('what came before nonsense is taken in, in a page as in news', async (t) => {
  const [a, b, c] = [1, 2, 3].map((i) => `${now}-${i}`) as [string, string, string]
  const start: [string, string] = [a, line(a, START)]
  const news = [['log', [...heard(line(b, a))[0]![1]!, 'x']]]
  for (const [what, answers, options] of [
    ['news', [start, [c, line(c, b)]], { news: [news] }],
    ['a page', [start, [c, `${line(b, a)}\nx\ny`], [c, line(c, b)]], {}]
  ] as Array<[string, unknown[], object]>) {
    const { told, names } = await following(answers, options)
    t.strictSame(told, ['complete', 'TypeError: Redis answered nonsense about the log'], what)
    t.strictSame(names, [a, b, c], what)
  }
})

t.test('a copy is as old as the question for its last page, though the process paused before that had left', async (t) => {
  const a = `${now}-1`
  let passed = 0
  const clock = { ...systemClock, monotonic: () => passed }
  const { follower } = await following([[a, line(a, START)]], { clock, onAsk: () => { passed += 60_000 } })
  t.equal(follower.heardAt, 0)
})

t.test('a page never hides that waiting fails', async (t) => {
  const a = `${now}-1`
  let passed = 0
  const clock = { ...systemClock, monotonic: () => passed, sleep: async () => { passed += 2000 } }
  const fails = Array.from({ length: 3 }, () => new Error('NOPERM no xread'))
  const { told, commands, follower } = await following([[a, line(a, START)], [a, '']], { block: 1000, news: [...fails, null], clock })
  t.strictSame(told, ['complete', ...fails.map(String)])
  t.strictSame(commands.map((command) => isWait(command) ? command[4] : 'page'), ['page', 1000, 1, 1, 1, 'page', 1000, 'page'])
  t.equal(follower.heardAt, 6000, 'the copy counts as old meanwhile')
})
