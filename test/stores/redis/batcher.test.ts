import { holdMonotonic } from '../../support/monotonic.ts'
import { Cluster, Redis } from 'ioredis'
import { Redis as Redis5 } from 'ioredis5'
import { Redis as Valkey } from 'iovalkey'
import { randomUUID } from 'node:crypto'
import { setImmediate as nextTurn } from 'node:timers/promises'
import t, { type Test } from 'tap'
import type { RedisClient } from '../../../lib/types.ts'
import { bearer, buildApp, inSeconds, ownPrefix, signed } from '../../support/app.ts'
import { manualClock } from '../../support/clock.ts'
import { eventually, startCluster, startRedis } from '../../support/redis.ts'
import type { RedisStore } from '../../../lib/stores/redis/store.ts'
import { on, redisStore } from '../../support/stores.ts'
import { systemClock } from '../../../lib/time.ts'

const PATIENCE = 10_000
const MAX_BATCH = 500
const MAX_OUTSTANDING = 1000
/** Milliseconds. */
const PAUSE = 1
const ENOUGH = 8
const LEARNS_EVERY = 200

type Command = Array<string | number>

/** A client that passes everything on, in the same turn, and remembers it. */
function recorded (client: RedisClient) {
  const calls: Command[] = []
  const pipelines: unknown[][][] = []
  let answered = 0
  const recorder: RedisClient = {
    isCluster: client.isCluster,
    call (...command) {
      calls.push(command)
      return client.call(...command).finally(() => answered++)
    },
    pipeline (commands) {
      pipelines.push(commands)
      return client.pipeline(commands)
    }
  }
  return { client: recorder, calls, pipelines, get answered () { return answered } }
}

function storeOn (t: Test, client: RedisClient, { keyPrefix = ownPrefix(), storeTimeout = PATIENCE, clock = systemClock } = {}) {
  const events: string[] = []
  const store = redisStore(client, { keyPrefix, storeTimeout, logSpan: 3600, minReplicas: 0 }, {
    clock, onLost: () => events.push('lost'), onBack: () => events.push('back')
  })
  t.teardown(() => store.close())
  return { store, keyPrefix, events }
}

const check = (store: RedisStore, identity: string) => new Promise<boolean>((resolve, reject) => {
  on(store).check(identity, undefined, (error, revoked) => {
    if (error) reject(error)
    else resolve(revoked)
  })
})

const denial = { at: 1, exp: null }
const uuids = (length: number) => Array.from({ length }, () => randomUUID() as string)

t.test('P9 the checks of one turn of the event loop are one MGET', async (t) => {
  const server = await startRedis(t)
  const client = new Redis(server.url)
  t.teardown(() => client.disconnect())
  const { store } = storeOn(t, client)
  const identities = uuids(200)
  await on(store).revoke(identities[7]!, denial, null)

  for (let turn = 1; turn <= 5; turn++) {
    const answers = await Promise.all(identities.map((identity) => check(store, identity)))
    t.strictSame(answers, identities.map((_, i) => i === 7))
    t.equal(await server.commandCalls('mget'), turn)
  }

  const answers: Array<Promise<boolean>> = []
  for (const identity of identities.slice(0, 10)) {
    answers.push(check(store, identity))
    // Between two requests that arrive in one turn run microtasks and what nextTick was given.
    await null
    await new Promise<void>((resolve) => process.nextTick(resolve))
  }
  await Promise.all(answers)
  t.equal(await server.commandCalls('mget'), 6, 'also with microtasks between them')
})

/** A store whose time is let pass, and how many checks each command was for. */
async function paced (t: Test) {
  const server = await startRedis(t)
  const redis = new Redis(server.url)
  t.teardown(() => redis.disconnect())
  const { client, calls } = recorded(redis)
  const { clock, pass, timers } = manualClock()
  const { store } = storeOn(t, client, { clock })
  const under: Array<Promise<boolean>> = []
  const sent = () => calls.splice(0).map(([, ...keys]) => keys.length)
  return {
    store,
    pass,
    timers,
    sent,
    /** Checks that come in one turn. Gives what has been sent by its end, and not been looked at. */
    async ask (count: number) {
      for (const identity of uuids(count)) under.push(check(store, identity))
      await nextTurn()
      return sent()
    },
    async end () {
      pass(PAUSE)
      t.strictSame(new Set(await Promise.all(under)), new Set([false]), 'each is answered')
    }
  }
}

t.test('P9 a check that follows a batch within a millisecond waits as long for others, and shares its round trip', async (t) => {
  const { ask, pass, sent, end } = await paced(t)
  t.strictSame(await ask(1), [1], 'the first waits for nobody')
  pass(PAUSE)
  t.strictSame(await ask(1), [1], 'nor does one that comes later')
  pass(0.4)
  t.strictSame(await ask(1), [])
  pass(0.9)
  t.strictSame(await ask(2), [])
  pass(0.1)
  t.strictSame(sent(), [3])
  t.strictSame(await ask(ENOUGH - 6), [])
  pass(PAUSE)
  t.strictSame(sent(), [2], 'also where fewer come than there were')
  await end()
})

t.test('P9 eight checks wait for no others, nor does the rest of their turn', async (t) => {
  const { ask, timers, sent, end } = await paced(t)
  t.strictSame(await ask(3), [3])
  t.strictSame(await ask(ENOUGH - 1), [])
  t.strictSame(await ask(5), [ENOUGH - 1 + 5])
  t.strictSame(await ask(1), [])
  t.strictSame(await ask(MAX_BATCH), [MAX_BATCH, 1], 'nor does a full batch')
  t.strictSame(await ask(1), [])
  await end()
  t.equal(timers.size, 1, 'that of the time limits is left, and none of a pause')
  t.strictSame(sent(), [1])
})

t.test('P9 checks wait for no more than came in a pause; one batch in 200 waits for all of it, to learn how many that is', async (t) => {
  const { ask, pass, sent, end } = await paced(t)
  t.strictSame(await ask(1), [1])
  for (const company of [1, 2, 5, 1]) {
    t.strictSame(await ask(1), [], 'this batch learns')
    pass(PAUSE / 2)
    t.strictSame(await ask(company - 1), [])
    pass(PAUSE / 2)
    t.strictSame(sent(), [company])
    const sizes: number[] = []
    for (let batch = 1; batch < LEARNS_EVERY; batch++) {
      for (let i = 0; i < company; i++) sizes.push(...await ask(1))
    }
    t.strictSame(sizes, Array(LEARNS_EVERY - 1).fill(company))
  }
  await end()
})

t.test('P9 a batch that learns waits no longer than for eight', async (t) => {
  const { ask, pass, sent, end } = await paced(t)
  t.strictSame(await ask(1), [1])
  t.strictSame(await ask(ENOUGH + 3), [ENOUGH + 3])
  t.strictSame(await ask(ENOUGH - 1), [])
  t.strictSame(await ask(1), [ENOUGH], 'eight are enough, whatever it learned')
  t.strictSame(await ask(ENOUGH - 1), [])
  pass(PAUSE)
  t.strictSame(sent(), [ENOUGH - 1])
  await end()
})

t.test('P9 a turn that brings eight teaches that as many come', async (t) => {
  const { ask, pass, sent, end } = await paced(t)
  t.strictSame(await ask(1), [1])
  t.strictSame(await ask(1), [])
  pass(PAUSE)
  t.strictSame(sent(), [1], 'one comes, as it learned')
  for (let batch = 1; batch < LEARNS_EVERY; batch++) t.strictSame(await ask(1), [1])
  t.strictSame(await ask(ENOUGH), [ENOUGH], 'this one learns again')
  for (let batch = 0; batch < 2; batch++) {
    t.strictSame(await ask(1), [])
    pass(PAUSE)
    t.strictSame(sent(), [1])
  }
  await end()
})

t.test('P9 a full batch leaves nothing to the turns that follow', async (t) => {
  const { ask, pass, sent, end } = await paced(t)
  t.strictSame(await ask(MAX_BATCH), [MAX_BATCH])
  t.strictSame(await ask(1), [], 'waits as one that follows any other')
  pass(PAUSE)
  t.strictSame(sent(), [1])
  await end()
})

t.test('P9 a check that comes while a turn ends waits once', async (t) => {
  const { store, ask, pass, sent, timers, end } = await paced(t)
  // It comes between what the first check of a turn leaves to its end, and what a full batch does.
  const between = new Promise<void>((resolve) => {
    on(store).check('first', undefined, () => {})
    setImmediate(() => on(store).check('between', undefined, () => resolve()))
  })
  t.strictSame(await ask(MAX_BATCH - 1), [MAX_BATCH])
  await nextTurn()
  t.equal(timers.size, 2, 'that of the time limits, and that of one pause')
  t.strictSame(sent(), [])
  pass(PAUSE)
  t.strictSame(sent(), [1])
  await between
  await end()
})

t.test('P9 a read that belongs to an operation waits for nobody, nor do those that wait when it comes', async (t) => {
  const { store, ask, sent, timers, end } = await paced(t)
  t.strictSame(await ask(1), [1])
  for (const how of ['checkShared', 'checkEither'] as const) {
    const alone = new Promise((resolve) => store.denials[how]({ identity: 'a' }, (error, revoked) => resolve({ error, revoked })))
    await nextTurn()
    t.strictSame(sent(), [1])
    t.strictSame(await alone, { error: null, revoked: false })
    t.strictSame(await ask(2), [])
    store.denials[how]({ identity: 'a' }, () => {})
    t.strictSame(await ask(1), [4])
  }
  await end()
  t.equal(timers.size, 1, 'that of the time limits is left')
})

t.test('P9 what a batch learned before an operation ended it does not count: the next one learns', async (t) => {
  const { store, ask, pass, sent, end } = await paced(t)
  t.strictSame(await ask(1), [1])
  t.strictSame(await ask(1), [])
  store.denials.checkShared({ identity: 'a' }, () => {})
  t.strictSame(await ask(0), [2])
  t.strictSame(await ask(3), [], 'two would be enough, if that had been learned')
  pass(PAUSE)
  t.strictSame(sent(), [3])
  t.strictSame([...await ask(2), ...await ask(1)], [3], 'three are what was learned')
  await end()
})

t.test('P9 requests that arrive together share one round trip', async (t) => {
  holdMonotonic(t)
  const server = await startRedis(t)
  const app = await buildApp(t, { revocation: { redis: server.url, keyPrefix: ownPrefix(), storeTimeout: PATIENCE } })
  const tokens = await Promise.all(uuids(40).map((jti) => signed({ jti, exp: inSeconds(60) })))
  const before = await server.commandCalls('mget')
  const responses = await Promise.all(tokens.map((token) => app.inject({ url: '/me', headers: bearer(token) })))
  t.strictSame(new Set(responses.map(({ statusCode }) => statusCode)), new Set([200]))
  t.equal(await server.commandCalls('mget') - before, 1)
})

t.test('P4 checks that wait for others while the application closes are answered, and a revoked token is not accepted', async (t) => {
  const server = await startRedis(t)
  for (let round = 0; round < 5; round++) {
    const app = await buildApp(t, { revocation: { redis: server.url, keyPrefix: ownPrefix(), storeTimeout: PATIENCE } })
    const [good, bad] = [await app.revocation.issue({ sub: 'alice' }), await app.revocation.issue({ sub: 'alice' })]
    await app.revocation.revoke({ jti: bad.jti })
    const url = await app.listen({ port: 0, host: '127.0.0.1' })
    // A connection that the server has not read from yet is cut.
    const status = (token: string) => fetch(`${url}/me`, { headers: { ...bearer(token), connection: 'close' } })
      .then(({ status }) => status, () => 'cut')
    t.strictSame([await status(good.token), await status(bad.token)], [200, 401])
    const waiting = [good, bad, good, bad].map(({ token }) => status(token))
    await new Promise((resolve) => { app.server.once('request', resolve) })
    await app.close()
    for (const [i, status] of (await Promise.all(waiting)).entries()) {
      t.ok([i % 2 === 0 ? 200 : 401, 503, 'cut'].includes(status), `round ${round}, ${i}`, { status })
    }
  }
})

t.test('P1 an application that closes answers the checks that are under way, also where a store that fails accepts', async (t) => {
  const server = await startRedis(t)
  for (const mode of ['strict', 'replica'] as const) {
    for (let turns = 0; turns < 6; turns++) {
      const app = await buildApp(t, { revocation: { redis: server.url, mode, keyPrefix: ownPrefix(), onStoreFailure: 'accept' } })
      const { revocation } = app
      const tokens = await Promise.all(Array.from({ length: 30 }, () => revocation.issue({ sub: 'alice' })))
      await Promise.all(tokens.map(({ jti }) => revocation.revoke({ jti })))
      // A batch has left just now, so that what comes next may wait for others.
      await revocation.isRevoked({ jti: 'a', iat: inSeconds(0), exp: inSeconds(60) })
      const answers = tokens.slice(0, 3).map(({ token }) => app.inject({ url: '/me', headers: bearer(token) }))
      for (let turn = 0; turn < turns; turn++) await nextTurn()
      const revoking = revocation.revoke({ jti: tokens[0]!.jti })
      await app.close()
      // Fastify itself answers 503 to a request that comes to its routes too late.
      const codes = (await Promise.all(answers)).map(({ statusCode }) => statusCode)
      t.strictSame(codes.filter((code) => code !== 401 && !(turns === 0 && code === 503)), [], `${mode}, ${turns} turns`)
      t.equal((await revoking).first, false, 'an operation that is under way has its answer as well')
    }
  }
})

t.test('P4 an application closes although Redis answers nothing', async (t) => {
  const server = await startRedis(t)
  const app = await buildApp(t, { revocation: { redis: server.url, keyPrefix: ownPrefix(), storeTimeout: 300 } })
  const claims = { jti: 'a', iat: inSeconds(0), exp: inSeconds(60) }
  t.equal(await app.revocation.isRevoked(claims), false)
  server.pause()
  const check = app.revocation.isRevoked(claims)
  const told = check.catch(({ code }) => code)
  await app.close()
  t.equal(await told, 'FST_JWT_REVOCATION_UNAVAILABLE')
  server.resume()
})

t.test('P9 an identity that is asked for twice in one turn is one key', async (t) => {
  const server = await startRedis(t)
  const redis = new Redis(server.url)
  t.teardown(() => redis.disconnect())
  const { client, calls } = recorded(redis)
  const { store, keyPrefix } = storeOn(t, client)
  await on(store).revoke('a', denial, null)
  calls.length = 0
  t.strictSame(await Promise.all(['a', 'b', 'a', 'b', 'a'].map((identity) => check(store, identity))), [true, false, true, false, true])
  t.strictSame(calls, [['mget', `${keyPrefix}revoked:a`, `${keyPrefix}revoked:b`]])
})

t.test('more identities than a batch takes are read in several, none of them lost', async (t) => {
  const server = await startRedis(t)
  const redis = new Redis(server.url)
  t.teardown(() => redis.disconnect())
  for (const [count, batches] of [
    [1, [1]], [MAX_BATCH - 1, [MAX_BATCH - 1]], [MAX_BATCH, [MAX_BATCH]], [MAX_BATCH + 1, [MAX_BATCH, 1]], [3 * MAX_BATCH - 300, [MAX_BATCH, MAX_BATCH, MAX_BATCH - 300]]
  ] as Array<[number, number[]]>) {
    const { client, calls } = recorded(redis)
    const { store, keyPrefix } = storeOn(t, client)
    const identities = uuids(count)
    const revoked = new Set([0, MAX_BATCH - 1, MAX_BATCH, count - 1].map((i) => identities[i]).filter((identity) => identity !== undefined))
    for (const identity of revoked) await on(store).revoke(identity, denial, null)
    calls.length = 0
    const answers = await Promise.all(identities.map((identity) => check(store, identity)))
    t.strictSame(answers, identities.map((identity) => revoked.has(identity)))
    t.strictSame(calls.map(([name, ...keys]) => [name, keys.length]), batches.map((length) => ['mget', length]))
    t.strictSame(calls.flatMap(([, ...keys]) => keys), identities.map((identity) => `${keyPrefix}revoked:${identity}`))
  }
})

t.test('P8 P9 on a cluster the checks of one turn are sent together, each to the node of its key', async (t) => {
  const { nodes, servers } = await startCluster(t)
  for (const enableAutoPipelining of [false, true]) {
    const cluster = new Cluster(nodes, { enableAutoPipelining })
    t.teardown(() => cluster.disconnect())
    const recorder = recorded(cluster)
    const { store, keyPrefix } = storeOn(t, recorder.client)
    const identities = uuids(MAX_BATCH + 100)
    for (const i of [3, MAX_BATCH + 3]) await on(store).revoke(identities[i]!, denial, null)
    const counted = async (name: string) => Promise.all(servers.map((server) => server.commandCalls(name)))
    const before = await counted('get')

    recorder.calls.length = 0
    const answered = recorder.answered
    const answers = Promise.all(identities.map((identity) => check(store, identity)))
    await nextTurn()
    t.strictSame(recorder.calls, identities.map((identity) => ['get', `${keyPrefix}revoked:${identity}`]), 'all are sent')
    t.equal(recorder.answered, answered, 'before one is answered')
    t.strictSame(await answers, identities.map((_, i) => i === 3 || i === MAX_BATCH + 3))

    const gets = (await counted('get')).map((count, i) => count - before[i]!)
    t.equal(gets.reduce((sum, count) => sum + count), identities.length)
    for (const count of gets) t.ok(count > 100, 'each node answers its part')
    t.strictSame(await counted('mget'), [0, 0, 0])
  }
})

t.test('P4 reads that are never answered are bounded: further checks fail at once, until Redis answers again', async (t) => {
  const server = await startRedis(t)
  const redis = new Redis(server.url)
  t.teardown(() => redis.disconnect())
  const { client, calls } = recorded(redis)
  // So long that a busy machine asks and answers within it.
  const storeTimeout = 2000
  const { store, events } = storeOn(t, client, { storeTimeout })
  await store.start()
  await on(store).revoke('revoked', denial, null)
  calls.length = 0

  server.pause()
  // But for the store's own look whether Redis is back, which a busy machine may come to meanwhile.
  const asked = () => calls.filter(([name, key]) => name === 'mget' && !String(key).endsWith('revoked:')).length
  const messages: string[] = []
  let settled = 0
  const ask = (identity: string) => {
    on(store).check(identity, undefined, (error) => {
      settled++
      messages.push((error as Error).message)
    })
  }
  const all = MAX_OUTSTANDING * ENOUGH
  for (let i = 0; i < all; i++) {
    ask(String(i))
    if ((i + 1) % ENOUGH === 0) await nextTurn()
  }
  t.equal(asked(), MAX_OUTSTANDING)
  const before = settled
  ask('one too many')
  t.equal(settled, before + 1, 'it is refused in the same turn')
  t.equal(messages.at(-1), `Redis owes answers to ${MAX_OUTSTANDING} reads`)
  await nextTurn()
  t.equal(asked(), MAX_OUTSTANDING, 'and nothing is sent for it')

  await eventually('every check has failed', async () => settled === all + 1)
  t.strictSame(new Set(messages), new Set([`Redis gave no answer within ${storeTimeout} ms`, `Redis owes answers to ${MAX_OUTSTANDING} reads`]))
  ask('still too many')
  t.equal(settled, all + 2, 'it is the answers that count, not the deadlines')
  t.notOk(store.status.available)

  server.resume()
  await eventually('the reads have been answered', async () => await check(store, 'revoked').catch(() => false))
  t.equal(await check(store, 'unknown'), false)
  await eventually('the store is back', async () => store.status.available)
  t.strictSame(events, ['lost', 'back'])
  t.equal(settled, all + 2, 'no check is answered twice')
})

/** What a client of a kind that nobody knows may fail with. */
const ODD_ERRORS: Record<string, () => unknown> = {
  undefined: () => undefined,
  null: () => null,
  false: () => false,
  'an empty string': () => '',
  zero: () => 0,
  'a string': () => 'broken',
  'an error whose message is a symbol': () => Object.assign(new Error('broken'), { message: Symbol('broken') }),
  'an error that can not be read': () => Object.defineProperty(new Error('broken'), 'message', { get () { throw new Error('unreadable') } }),
  'an error without options to explain it': () => new Error('broken')
}

for (const [name, make] of Object.entries(ODD_ERRORS)) {
  t.test(`a client that fails with ${name}: no check passes, and none is owed an answer for ever`, async (t) => {
    const server = await startRedis(t)
    const redis = new Redis(server.url)
    t.teardown(() => redis.disconnect())
    for (const throws of [false, true]) {
      let isBroken = false
      const client: RedisClient = {
        isCluster: false,
        ...(name.includes('options') && { options: null }),
        call (...command) {
          if (!isBroken) return redis.call(...command)
          if (throws) throw make()
          return Promise.reject(make())
        },
        pipeline: (commands) => redis.pipeline(commands)
      }
      const { store } = storeOn(t, client)
      await on(store).revoke('revoked', denial, null)
      isBroken = true
      let failed = 0
      for (let batch = 0; batch <= MAX_OUTSTANDING; batch++) await check(store, 'revoked').catch(() => { failed++ })
      t.equal(failed, MAX_OUTSTANDING + 1)
      isBroken = false
      t.equal(await check(store, 'revoked'), true)
      t.equal(await check(store, 'unknown'), false)
    }
  })
}

t.test('only a clear "no value" lets a token pass', async (t) => {
  const server = await startRedis(t)
  const redis = new Redis(server.url)
  t.teardown(() => redis.disconnect())
  for (const [answer, message] of [
    ...[[undefined], [5], [true], [Buffer.from('x')], [['x']], [new Error('of a key')]].map((answer) => [answer, 'Redis answered nonsense to a check'] as const),
    ...[undefined, null, 'OK', {}, [], [null, null]].map((answer) => [answer, 'Redis answered nonsense to MGET'] as const)
  ]) {
    const client: RedisClient = { isCluster: false, call: async () => answer, pipeline: (commands) => redis.pipeline(commands) }
    const { store } = storeOn(t, client)
    await t.rejects(check(store, 'a'), { message })
  }
})

for (const [name, connect] of Object.entries({
  'ioredis 6': (url: string) => new Redis(url),
  'ioredis 5': (url: string) => new Redis5(url),
  iovalkey: (url: string) => new Valkey(url)
})) {
  t.test(`a record is one write to the socket: ${name}`, async (t) => {
    const server = await startRedis(t)
    const client = connect(server.url)
    t.teardown(() => client.disconnect())
    const { store, keyPrefix } = storeOn(t, client)
    await store.start()

    const { stream } = client as unknown as { stream: NodeJS.WritableStream }
    const written: string[] = []
    t.intercept(stream, 'write', { value: (chunk: string) => written.push(String(chunk)) && Object.getPrototypeOf(stream).write.call(stream, chunk) })
    const record = { id: randomUUID(), jti: 'a', issuedAt: '2026-11-01T00:00:00.000Z', expiresAt: null }
    await store.records.save({ record, identity: 'a', exp: null, keptUntil: inSeconds(60) })
    t.equal(written.length, 1)
    t.match(written[0], `${keyPrefix}token:${record.id}`)
    t.match(written[0], `${keyPrefix}id:a`)

    written.length = 0
    await on(store).revoke('a', denial, inSeconds(60))
    t.equal(written.length, 1, 'a revocation is one, its line of the log included')
    written.length = 0
    await Promise.all(uuids(100).map((identity) => check(store, identity)))
    t.equal(written.length, 1, 'the checks of a turn are one')
  })
}
