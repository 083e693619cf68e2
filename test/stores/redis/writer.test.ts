import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { ReplicaStore } from '../../../lib/stores/replica/replica.ts'
import type { Entry } from '../../../lib/stores/entry.ts'
import { APPEND, REVOKE } from '../../../lib/stores/redis/scripts.ts'
import type { RedisClient } from '../../../lib/types.ts'
import { eventually } from '../../support/redis.ts'
import type { RedisStore } from '../../../lib/stores/redis/store.ts'
import { on, redisStore } from '../../support/stores.ts'
import { systemClock } from '../../../lib/time.ts'

const OPTIONS = { keyPrefix: 'x:', storeTimeout: 5000, logSpan: 3600, minReplicas: 0 }
const CONTEXT = { clock: systemClock, onLost () {}, onBack () {} }

type Answer = (script: string, command: unknown[]) => unknown

/** A cluster as its client shows it, by what it answers to scripts and to EXISTS. */
function clusterOf (t: Test, answer: Answer, logSpan: number | null = 3600) {
  const client = {
    isCluster: true,
    call: async (name: string, ...args: unknown[]) => answer(name, [name, ...args]),
    pipeline: (commands: unknown[][]) => ({
      exec: () => Promise.all(commands.map(async (command): Promise<[Error | null, unknown]> => {
        try {
          return [null, await answer(String(command[1]), command)]
        } catch (error) {
          return [error as Error, undefined]
        }
      }))
    })
  }
  const store = redisStore(client as unknown as RedisClient, { ...OPTIONS, logSpan }, CONTEXT)
  t.teardown(() => store.close())
  return store
}

const revoke = (store: RedisStore, name: string) => on(store).revoke(name, { at: 1, exp: null }, Math.ceil(Date.now() / 1000) + 60)
const denied = (name: unknown) => [1, '{"at":1,"exp":null}', `revoked:${String(name)} 1  9`]

t.test('on a cluster a revocation that failed halfway is tried until it is whole', async (t) => {
  const tries: string[] = []
  const written: unknown[] = []
  const finished: unknown[] = []
  const failures = [new Error('down'), new Error('down again')]
  const areThere = [0, 1, 1]
  const store = clusterOf(t, async (script, command) => {
    if (script === REVOKE) {
      if (command[3] === 'x:revoked:a') written.push(command[3])
      return denied(command[3])
    }
    if (script === APPEND) {
      tries.push('append')
      const failure = failures.shift()
      if (failure) throw failure
      finished.push(command[4])
      return '1-1'
    }
    if (script === 'exists') return areThere.shift()
  })
  await t.rejects(revoke(store, 'a'), { message: 'down' })
  await eventually('it is in the log, and its key there', async () => written.length === 4)
  t.equal(tries.length, 3, 'failed, failed again, whole')
  t.equal(finished.length, 1)
  t.equal(areThere.length, 2, 'the key that was lost was written again')
  await sleep(1200)
  t.equal(tries.length, 3, 'no more than that')
})

t.test('P11 a late answer and a write of what is owed tell once, in whatever order they are heard', async (t) => {
  for (const kind of ['revoked', 'cutoff'] as const) {
    const entry: Entry = { kind, name: 'a', at: 5, exp: null, until: Math.ceil(Date.now() / 1000) + 60 }
    const answer = (isFirst: boolean) => kind === 'revoked'
      ? [isFirst ? 1 : 0, '{"at":5,"exp":null}', 'revoked:a 5  9']
      : ['5', isFirst ? '' : '5', 'cutoff:a 5  9']
    let hear = () => {}
    const answers: Array<() => unknown> = [
      () => { throw new Error('down') },
      // Redis takes the caller's write first, and its answer is heard last.
      () => new Promise((resolve) => { hear = () => resolve(answer(true)) }),
      () => answer(false),
      // It was lost, and is revoked anew.
      () => answer(true)
    ]
    const store = clusterOf(t, async (script, command) => {
      if (script === APPEND) return '1-1'
      if (script === 'exists') return 1
      // Probes write under another key.
      if (command[3] === `x:${kind}:a`) return answers.shift()!()
      return denied('')
    })
    let told = 0
    const write = () => store.denials.write(entry, { made: () => { told++ }, unlessFrom: 5 })
    await t.rejects(write(), { message: 'down' })
    const late = write()
    await eventually('what is owed is written', async () => told === 1)
    hear()
    await late
    t.equal(told, 1, kind)
    await write()
    t.equal(told, 2, `${kind}: what stands anew is told anew`)
  }
})

t.test('on a cluster a key that is lost between the two writes is written again', async (t) => {
  const scripts: string[] = []
  const store = clusterOf(t, async (script, command) => {
    scripts.push(script)
    return script === REVOKE ? denied(command[3]) : script === APPEND ? '1-1' : 0
  })
  t.match(await revoke(store, 'a'), { first: true })
  t.strictSame(scripts, [REVOKE, APPEND, 'exists', REVOKE])
})

t.test('one that fails again while it is finished is not taken for finished', async (t) => {
  let isDown = true
  let appended = 0
  const store: RedisStore = clusterOf(t, async (script, command) => {
    if (script === REVOKE) return denied(command[3])
    if (script === 'exists') return 1
    if (isDown) throw new Error('down')
    if (appended++ === 0) {
      isDown = true
      await t.rejects(revoke(store, 'a'), { message: 'down' })
      isDown = false
    }
    return '1-1'
  })
  await t.rejects(revoke(store, 'a'), { message: 'down' })
  isDown = false
  await eventually('it is finished twice', async () => appended === 2)
})

t.test('nonsense for an answer is no acknowledgement, and of many that fail not all are remembered', async (t) => {
  let append: unknown = 5
  const store = clusterOf(t, async (script, command) => script === REVOKE ? denied(command[3]) : script === APPEND ? append : 1)
  await t.rejects(revoke(store, 'a'), { message: 'Redis answered nonsense to an entry of the log' })
  append = undefined
  for (let i = 0; i < 10_010; i++) await revoke(store, `n${i}`).catch(() => {})
  t.pass('they are refused all the same')
})

t.test('a replica that is not in step asks Redis, and goes by the later cutoff', async (t) => {
  let answer: Array<string | null> | Error = []
  const client = {
    isCluster: false,
    call: async () => { if (answer instanceof Error) throw answer; return answer },
    pipeline: () => ({ exec: async () => [] })
  } as unknown as RedisClient
  const store = new ReplicaStore({ connection: { client }, log: { client }, options: { ...OPTIONS, maxStaleness: 1000 }, context: CONTEXT })
  t.teardown(() => store.close())
  const check = (subject: string) => new Promise((resolve) => on(store).check('a', subject, (...result) => resolve(result)))
  const until = Math.ceil(Date.now() / 1000) + 60
  store.denials.copy.add({ kind: 'cutoff', name: 'alice', at: 7, exp: null, until }, true)
  answer = [null, '9']
  t.strictSame(await check('alice'), [null, false, 9])
  answer = [null, '5']
  t.strictSame(await check('alice'), [null, false, 7])
  answer = [null, null]
  t.strictSame(await check('alice'), [null, false, 7])
  answer = [null, '5']
  t.strictSame(await check('bob'), [null, false, 5])
  answer = [null, null]
  t.strictSame(await check('bob'), [null, false, null])
  const shared = (identity: string | undefined, subject: string | undefined) => new Promise((resolve) => on(store).checkShared(identity, subject, (...result) => resolve(result)))
  store.denials.copy.add({ kind: 'revoked', name: 'c', at: 7, exp: null, until }, true)
  for (const [found, identity, subject, expected] of [
    [['{}'], 'c', undefined, [null, true, null]],
    [[null], 'c', undefined, [null, false, null]],
    [['{}'], 'b', undefined, [null, false, null]],
    [['9'], undefined, 'alice', [null, false, 7]],
    [['5'], undefined, 'alice', [null, false, 5]],
    [[null], undefined, 'alice', [null, false, null]],
    [['5'], undefined, 'bob', [null, false, null]]
  ] as const) {
    answer = [...found]
    t.strictSame(await shared(identity, subject), expected, 'known here, and kept for all')
  }
  answer = new Error('down')
  t.match(await check('alice'), [{ message: 'down' }, false, 7], 'what it knows it knows without Redis')
  t.match(await check('bob'), [{ message: 'down' }, false, null])
})

t.test('nonsense from the scripts is no acknowledgement', async (t) => {
  let answer: unknown
  const spans: unknown[] = []
  const store = clusterOf(t, async (script, command) => {
    if (script === 'exists') return 1
    if (script !== APPEND) return answer
    spans.push(command[6])
    return '1-1'
  }, null)
  for (answer of [[2, '{}', 'w'], ['x', '{}', 'w'], [1, 5, 'w'], [1, null, 'w'], [1, '{}', 5], [1, '{}'], 'OK', null]) {
    await t.rejects(revoke(store, 'a'), { name: 'TypeError', message: 'Redis answered nonsense to a revocation' }, JSON.stringify(answer))
  }
  for (answer of [[null, '', 'w'], ['1', '', 'w']]) {
    await t.rejects(on(store).cutOff('alice', 5, null), { name: 'TypeError', message: 'Redis answered nonsense to a cutoff' }, JSON.stringify(answer))
  }
  for (answer of [['x', '', 'w'], ['5', undefined, 'w']]) {
    await t.rejects(on(store).cutOff('alice', 5, null), { name: 'TypeError', message: 'Redis holds no number under the key of a cutoff' }, JSON.stringify(answer))
  }
  t.strictSame([...new Set(spans)], [''], 'kept for ever, in the log as well')
})
