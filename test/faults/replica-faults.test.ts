import { Redis } from 'ioredis'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { bearer, buildApp, inSeconds, revoked, signed } from '../support/app.ts'
import { lived } from '../support/lived.ts'
import { startProxy } from '../support/proxy.ts'
import { eventually, startRedis, type RedisServer } from '../support/redis.ts'
import { isThorough } from '../support/runs.ts'
import { allEqual, fill, held, keysOf, newcomerEquals, openNode, soon, startNode, type Node } from '../support/replica.ts'
import { on } from '../support/stores.ts'

// Most of them wait.
t.jobs = 8

/** Rather little, so that a loss is noticed and mended soon. */
const QUICK = { maxStaleness: 2000, storeTimeout: 2000 }

const lastId = async (server: RedisServer) => (await server.cli('XREVRANGE', 'r:log', '+', '-', 'COUNT', 1)).split('\n')[0]!
const knows = (node: Node, name: string) => eventually(`${name} is known`, async () => node.store.denials.copy.isRevoked(name))

/** What was done to the log, or to all of Redis, and what it holds of the ten entries and one cutoff afterwards. */
const LOSSES: Record<string, (server: RedisServer) => Promise<unknown>> = {
  'the log trimmed to nothing': (server) => server.cli('XTRIM', 'r:log', 'MAXLEN', 0),
  'the log trimmed to its last entry': (server) => server.cli('XTRIM', 'r:log', 'MAXLEN', 1),
  'an entry deleted in the middle of the log': async (server) => {
    const [id] = (await server.cli('XRANGE', 'r:log', '-', '+', 'COUNT', 5)).split('\n').filter((line) => /^\d+-\d+$/.test(line)).slice(-1)
    return server.cli('XDEL', 'r:log', id!)
  },
  'the log deleted': (server) => server.cli('DEL', 'r:log'),
  'everything flushed': (server) => server.cli('FLUSHALL'),
  'everything flushed, and something revoked at once': (server) => server.cli('EVAL', `
    redis.call('FLUSHALL')
    redis.call('SET', 'r:revoked:late', '{"at":5,"exp":null}')
    redis.call('EXPIREAT', 'r:revoked:late', ARGV[1])
    return redis.call('XADD', 'r:log', '*', 'entry', 'revoked:late 5  ' .. ARGV[1] .. ' 0-0  ')`, 0, soon(900)),
  'some keys deleted with their entries': (server) => server.cli('EVAL', `
    for i = 1, 5 do redis.call('DEL', 'r:revoked:n' .. i) end
    return redis.call('XTRIM', 'r:log', 'MAXLEN', 3)`, 0),
  'a restart without data': async (server) => {
    await server.kill()
    await server.start()
  }
}

/** That Redis tells of only by what it lost: what it keeps all the same is not read again. */
const KEEPS_KEYS = ['the log trimmed to nothing', 'the log trimmed to its last entry', 'an entry deleted in the middle of the log', 'the log deleted']

for (const [i, [what, lose]] of Object.entries(LOSSES).entries()) {
  for (const cutOff of isThorough ? [false, true] : [i % 2 === 1]) {
    // A running replica does not read again what it has read: only who starts anew would miss these keys.
    if (what === 'some keys deleted with their entries') continue
    t.test(`${what}, while the replicas are ${cutOff ? 'cut off' : 'connected'}: they go on refusing, and Redis holds it all again`, async (t) => {
      const server = await startRedis(t)
      const proxy = await startProxy(t, server)
      await fill(server, 10)
      const nodes = await Promise.all([startNode(t, proxy.url, QUICK), startNode(t, proxy.url, QUICK)])
      await on(nodes[0]!.store).cutOff('alice', soon(0), soon(3000))
      await eventually('both know the cutoff', async () => nodes.every(({ store }) => store.denials.copy.cutoffOf('alice') !== null))
      if (cutOff) await proxy.set('refuse')
      await lose(server)
      if (cutOff) await proxy.set('pass')
      // An answer that a replica gives while this goes on is a refusal in any case.
      for (const node of nodes) t.equal(await node.ask('n3'), 'refused')
      await allEqual(t, what, nodes, server, what.includes('at once') ? 12 : 11)
      for (const node of nodes) {
        for (const name of ['n0', 'n9']) t.equal(await node.ask(name), 'refused')
        t.equal(await node.ask('other'), 'accepted')
        t.equal(await node.ask('other', 'alice'), 'refused')
      }
      await nodes[1]!.revoke('after')
      await knows(nodes[0]!, 'after')
      if (!KEEPS_KEYS.includes(what)) {
        await newcomerEquals(t, what, server)
        t.ok(Number(await server.cli('XLEN', 'r:log')) <= 26, 'no more is written than each entry twice')
      }
    })
  }
}

for (const [what, lose] of [
  ['trimmed to nothing', LOSSES['the log trimmed to nothing']],
  ['trimmed to its last entry', LOSSES['the log trimmed to its last entry']],
  ['without an entry in the middle', LOSSES['an entry deleted in the middle of the log']],
  ['without its last entry', async (server) => server.cli('XDEL', 'r:log', await lastId(server))],
  ['with a last id that none of its entries has', (server) => server.cli('XSETID', 'r:log', `${Date.now() + 1000}-5`)],
  ['deleted', LOSSES['the log deleted']]
] as Array<[what: string, lose: (server: RedisServer) => Promise<unknown>]>) {
  t.test(`a start with a log ${what}: the keys are scanned, and the log has it all again`, async (t) => {
    const server = await startRedis(t)
    // More than a replica reads at first.
    await fill(server, 400)
    await server.cli('SET', 'r:cutoff:alice', soon(0), 'EX', 3000)
    await server.cli('SET', 'r:revoked:for%20ever', '{"at":5,"exp":null}')
    await server.cli('SET', 'r:revoked:in a form of its own', 'x', 'EX', 3000)
    await server.cli('LPUSH', 'r:revoked:of another type', 'x')
    await server.cli('SET', 'r:revoked:', '{"at":5,"exp":null}')
    await server.cli('SET', 'R:revoked:x', '{"at":5,"exp":null}')
    await lose(server)
    const node = await openNode(t, server.url)
    await node.store.start()
    const refused = await Promise.all(['n0', 'n399', 'for%20ever', 'in a form of its own'].map((name) => node.ask(name)))
    t.same(refused, ['refused', 'refused', 'refused', 'refused'])
    t.same(await node.ask('other', 'alice'), 'refused')
    for (const name of ['other', 'x']) t.equal(await node.ask(name), 'accepted')
    t.same(node.heard, [], 'what was there before is no news')
    const expected = 402 + held(node).filter(({ name }) => name.startsWith('since')).length
    await eventually('the log is complete', async () => {
      const read = await startNode(t, server.url)
      read.close()
      return read.store.denials.copy.size >= expected && [...read.store.denials.copy.entries(true)].flat().length <= 1
    })
  })
}

t.test('a log that lost its last entry is not read without an end', async (t) => {
  const server = await startRedis(t)
  await fill(server, 10)
  await server.cli('XDEL', 'r:log', await lastId(server))
  const node = await startNode(t, server.url, QUICK)
  const { onBroken, broken } = countBreaks(node)
  t.teardown(onBroken)
  await sleep(1500)
  t.ok(broken() <= 1, `read again ${broken()} times`)
})

function countBreaks ({ store }: Node) {
  let count = 0
  const { unlog } = store.denials.copy
  store.denials.copy.unlog = function () {
    count++
    return unlog.call(this)
  }
  return { onBroken: () => { store.denials.copy.unlog = unlog }, broken: () => count }
}

t.test('of many replicas that notice a loss nobody writes what another one has written', async (t) => {
  const server = await startRedis(t)
  const count = 1500
  await fill(server, count)
  const nodes = await Promise.all(Array.from({ length: 5 }, () => startNode(t, server.url)))
  await server.cli('FLUSHALL')
  await eventually('all is back', async () => (await server.cli('DBSIZE')) === String(count + 1))
  await sleep(1000)
  const written = Number(await server.cli('XLEN', 'r:log'))
  // Each of its own accord would be five times as many. Usually it is less than twice, now and then nearly three times.
  t.ok(written <= 3.5 * count, `${written} entries for ${count}`)
  await allEqual(t, 'flushed', nodes, server, count)
})

t.test('what one answer of many refuses to put back is tried again', async (t) => {
  const server = await startRedis(t)
  const client = new Redis(server.url)
  t.teardown(() => client.disconnect())
  const node = await startNode(t, client)
  await fill(server, 10)
  await knows(node, 'n9')
  let refusals = 1
  const { pipeline } = client
  t.intercept(client, 'pipeline', {
    value (commands: unknown[][]) {
      const real = pipeline.call(client, commands as never)
      const index = commands.findIndex(([name, , , key]) => name === 'eval' && key === 'r:revoked:n5')
      if (index < 0 || refusals-- <= 0) return real
      return { exec: async () => (await real.exec())!.map((answer, i) => i === index ? [new Error('OOM command not allowed when used memory > \'maxmemory\''), undefined] : answer) }
    }
  })
  const script = "redis.call('FLUSHALL') return 1"
  await server.cli('EVAL', script, 0)
  await eventually('the others are back', async () => (await keysOf(server)).length >= 9)
  await server.cli('DEL', 'r:revoked:n5')
  await eventually('its entry is back in the log', async () => node.store.denials.copy.isLogged({ kind: 'revoked', name: 'n5', at: 0, exp: null, until: null })).catch(() => {})
  t.ok(node.store.denials.copy.isLogged({ kind: 'revoked', name: 'n5', at: 0, exp: null, until: null }))
})

t.test('a cutoff of another process is told, although the log brings it while this process raises the cutoff as well', async (t) => {
  const server = await startRedis(t)
  const client = new Redis(server.url)
  t.teardown(() => client.disconnect())
  const [one, two] = [await startNode(t, client), await startNode(t, server.url)]
  let answer = () => {}
  const mayAnswer = new Promise<void>((resolve) => { answer = resolve })
  const { pipeline } = client
  t.intercept(client, 'pipeline', {
    value (commands: unknown[][]) {
      const real = pipeline.call(client, commands as never)
      if (commands[0]![3] !== 'r:cutoff:alice') return real
      return {
        async exec () {
          const answers = await real.exec()
          await mayAnswer
          return answers
        }
      }
    }
  })
  const now = soon(0)
  const raised = on(one.store).cutOff('alice', now, soon(910))
  await eventually('it is written', async () => two.heard.length === 1)
  const { cutoff } = await on(two.store).cutOff('alice', now, soon(910))
  await eventually('both know the second one', async () => one.store.denials.copy.cutoffOf('alice') === cutoff)
  t.same(one.heard, [], 'nothing is told yet')
  answer()
  t.match(await raised, { cutoff: cutoff - 1 })
  t.match(one.heard, [{ kind: 'cutoff', name: 'alice', at: cutoff }], 'its own is told by the answer')
  t.equal(one.heard.length, 1)
  t.match(two.heard, [{ at: cutoff - 1 }])
  t.equal(two.heard.length, 1)
})

t.test('a key of another type keeps nothing else from being put back', async (t) => {
  const server = await startRedis(t)
  const node = await startNode(t, server.url, QUICK)
  await node.revoke('bad')
  await on(node.store).cutOff('alice', soon(0), soon(910))
  await server.cli('EVAL', "redis.call('FLUSHALL') return redis.call('LPUSH', 'r:revoked:bad', 'x')", 0)
  await eventually('the other is back', async () => await server.cli('EXISTS', 'r:cutoff:alice') === '1')
})

t.test('a loss in the middle of the first read is noticed, and what was read by then put back', async (t) => {
  const server = await startRedis(t)
  await fill(server, 3000)
  const proxy = await startProxy(t, server)
  await proxy.set({ delayMs: 100 })
  const node = await openNode(t, proxy.url)
  const started = node.store.start()
  await eventually('it has read a page', async () => node.store.denials.copy.size >= 1000)
  await server.cli('FLUSHALL')
  await fill(server, 1, { name: 'late' })
  await started
  await proxy.set('pass')
  t.ok(node.store.denials.copy.size > 1000)
  await eventually('all that it knows is back', async () => (await keysOf(server)).length === node.store.denials.copy.size)
})

t.test('a foreign entry does not hide that all before it is gone', async (t) => {
  const server = await startRedis(t)
  const node = await startNode(t, server.url, QUICK)
  await node.revoke('a')
  await eventually('it is read', async () => node.store.denials.copy.isLogged({ kind: 'revoked', name: 'a', at: 0, exp: null, until: null }))
  await server.cli('EVAL', "redis.call('FLUSHALL') return redis.call('XADD', 'r:log', '*', 'x', 'y')", 0)
  await eventually('it is back', async () => (await keysOf(server)).length > 0)
  t.same((await keysOf(server)).map(({ name }) => name), ['a'])
})

t.test('a foreign entry is passed over, and what comes with it is read', async (t) => {
  const server = await startRedis(t)
  const nodes = [await startNode(t, server.url), await startNode(t, server.url)] as const
  for (const fields of [['x', 'y'], ['entry', ''], ['entry', 'revoked:x 1 2'], ['a', 'b', 'entry', 'revoked:x 1  9999999999 0-0  ']]) await server.cli('XADD', 'r:log', '*', ...fields)
  await nodes[0].revoke('a')
  await knows(nodes[1], 'a')
  t.equal(await nodes[1].ask('x'), 'accepted')
  t.same(nodes[1].heard.map(({ name }) => name), ['a'])
  await newcomerEquals(t, 'with foreign entries', server)
})

t.test('a name in the log that nobody can read keeps no other entry from being known', async (t) => {
  const server = await startRedis(t)
  const app = await buildApp(t, { revocation: { redis: server.url, mode: 'replica', keyPrefix: 'r:' } })
  await server.cli('EVAL', `
    local id = redis.call('XADD', KEYS[1], '*', 'entry', 'revoked:%E0 1  ' .. ARGV[1] .. ' 0-0  ')
    redis.call('SET', 'r:revoked:x', '{"at":1,"exp":null}')
    return redis.call('XADD', KEYS[1], '*', 'entry', 'revoked:x 1  ' .. ARGV[1] .. ' ' .. id .. '  ')`, 1, 'r:log', soon(910))
  await eventually('it has read both', async () => app.revocation.status().entries! > 0)
  const response = await app.inject({ url: '/me', headers: bearer(await signed({ jti: 'x', iat: inSeconds(0), exp: inSeconds(60) })) })
  t.match({ statusCode: response.statusCode, ...response.json() }, { statusCode: 401, code: 'FST_JWT_REVOKED', message: 'Token has been revoked' })
})

t.test('a connection that is cut in the middle of the first read is made again, and the read goes on', async (t) => {
  const server = await startRedis(t)
  await fill(server, 4500)
  const proxy = await startProxy(t, server)
  await proxy.set({ delayMs: 20 })
  const node = await openNode(t, proxy.url)
  const started = node.store.start()
  for (const size of [1, 1500, 3000]) {
    await eventually('it has read a part', async () => node.store.denials.copy.size >= size)
    t.ok(node.store.denials.copy.size < 4500)
    t.not(await node.ask('n4499'), 'accepted', 'what is not known yet is asked of Redis')
    proxy.cut()
  }
  await started
  await eventually('it has read all', async () => node.store.denials.copy.size === 4500)
  await allEqual(t, 'cut', [node], server, 4500)
  t.same(node.heard, [], 'what was there before is no news')
})

t.test('a connection that is half open in the middle of the scan is left, and the scan made again', async (t) => {
  const server = await startRedis(t)
  await fill(server, 4000, { log: false })
  await fill(server, 1)
  await server.cli('XTRIM', 'r:log', 'MAXLEN', 0)
  const proxy = await startProxy(t, server)
  await proxy.set({ delayMs: 50 })
  const node = await openNode(t, proxy.url)
  const started = node.store.start()
  await eventually('it scans', async () => node.store.denials.copy.size >= 1000)
  await proxy.set('blackhole')
  await sleep(1500)
  await proxy.set('pass')
  await started
  await eventually('it is in step', async () => node.store.status.copy.stalenessMs !== undefined && node.store.denials.copy.size === 4000)
})

t.test('a log under whose name something else is kept: checks go to Redis, whose connection stays', async (t) => {
  const server = await startRedis(t)
  await server.cli('SET', 'r:log', 'x')
  const node = await openNode(t, server.url, QUICK)
  await server.cli('SET', 'r:revoked:a', '{"at":5,"exp":null}')
  await node.store.start()
  const connections = async () => (await server.cli('CLIENT', 'LIST')).split('\n').map((line) => /^id=(\d+) .* name=fastify-jwt-revocation /.exec(line)?.[1]).filter(Boolean)
  await eventually('it is lost', async () => node.events.length > 0)
  const before = await connections()
  t.equal(before.length, 1)
  for (const end = Date.now() + 2500; Date.now() < end; await sleep(20)) {
    if (await node.ask('a') !== 'refused' || await node.ask('b') !== 'accepted') t.fail('a check failed')
  }
  t.same(await connections(), before)
  await server.cli('DEL', 'r:log')
  await eventually('it is back', async () => node.events.length > 1)
  t.same(node.events, ['lost', 'back'])
})

for (const [what, count, delayMs] of [
  ['', 3000, 0],
  [', also where it takes longer than maxStaleness to read the log', 7000, 200]
] as Array<[what: string, count: number, delayMs: number]>) {
  t.test(`a store that was away when the process started is back once, not twice${what}`, async (t) => {
    const server = await startRedis(t)
    await fill(server, count)
    const proxy = await startProxy(t, server)
    await proxy.set('refuse')
    const node = await openNode(t, proxy.url, QUICK)
    await node.store.start()
    t.same(node.events, ['lost'])
    await sleep(2 * QUICK.maxStaleness)
    await proxy.set({ delayMs })
    await eventually('it follows', async () => node.store.denials.copy.size === count)
    await proxy.set('pass')
    await eventually('it is back', async () => node.events.length > 1)
    const slowest = await slowestAnswer(t, server, 2000)
    t.same(node.events.slice(0, 2), ['lost', 'back'])
    // A machine that keeps Redis or this process waiting so long may lose the store once more.
    if (slowest < QUICK.maxStaleness / 2) t.same(node.events, ['lost', 'back'])
  })
}

/** How long Redis, or this process, keeps somebody else waiting in the meantime. */
async function slowestAnswer (t: Test, { url }: RedisServer, milliseconds: number) {
  const other = new Redis(url)
  t.teardown(() => other.disconnect())
  const until = performance.now() + milliseconds
  let slowest = 0
  while (performance.now() < until) {
    const asked = performance.now()
    await Promise.all([other.ping(), sleep(10)])
    slowest = Math.max(slowest, performance.now() - asked)
  }
  return slowest
}

t.test('a start that is closed ends', async (t) => {
  const server = await startRedis(t)
  await server.cli('SET', 'r:log', 'x')
  const node = await openNode(t, server.url, QUICK)
  let ended = false
  const started = node.store.start().then(() => { ended = true })
  await sleep(300)
  t.notOk(ended)
  node.close()
  await eventually('it ends', async () => ended)
  await started
})

t.test('entries that end during a break are forgotten, and those made meanwhile are news', async (t) => {
  const server = await startRedis(t)
  const proxy = await startProxy(t, server)
  const far = await startNode(t, proxy.url, QUICK)
  const near = await startNode(t, server.url, QUICK)
  await near.revoke('short', { exp: soon(1), until: soon(1) })
  await near.revoke('long')
  await knows(far, 'long')
  await proxy.set('refuse')
  await near.revoke('meanwhile')
  await eventually('the short one has ended', async () => (await keysOf(server)).length === 2)
  t.equal(await far.ask('long'), 'refused', 'what is known')
  await eventually('it is stale', async () => await far.ask('meanwhile') !== 'accepted')
  t.equal(await far.ask('meanwhile'), 'failed', 'what is not')
  await proxy.set('pass')
  await knows(far, 'meanwhile')
  t.equal(await far.ask('short'), 'accepted')
  t.same(far.heard.map(({ name }) => name), ['short', 'long', 'meanwhile'])
  await allEqual(t, 'after the break', [far, near], server, 2)
})

const MAX_STALENESS = 8000

for (const mode of ['refuse', 'blackhole', 'garbage'] as const) {
  for (const onStoreFailure of isThorough || mode === 'blackhole' ? ['reject', 'accept'] as const : ['reject'] as const) {
    t.test(`Redis gone (${mode}): a replica goes on until maxStaleness, then ${onStoreFailure}s what it does not know`, async (t) => {
      const server = await startRedis(t)
      const proxy = await startProxy(t, server)
      const lines: Array<{ level: number, msg: string }> = []
      const events: string[] = []
      const app = await buildApp(t, {
        fastify: { logger: { stream: { write (line: string) { if (line.includes('the store is')) lines.push(JSON.parse(line)) } } } },
        revocation: { redis: proxy.url, mode: 'replica', keyPrefix: 'r:', maxStaleness: MAX_STALENESS, storeTimeout: MAX_STALENESS, onStoreFailure },
        after (app) {
          app.revocation.on('storeLost', () => events.push('storeLost'))
          app.revocation.on('storeBack', () => events.push('storeBack'))
        }
      })
      const known = await revoked(app)
      await app.revocation.revokeSubject('alice', {})
      const sign = (claims: object = {}) => signed({ sub: 'bob', jti: String(Math.random()), iat: inSeconds(0), exp: inSeconds(60), ...claims })
      const ended = await sign({ sub: 'alice', iat: inSeconds(-5) })
      const ask = async (token: string) => {
        const response = await app.inject({ url: '/me', headers: bearer(token) })
        return [response.statusCode, response.json().code, response.json().message]
      }
      const refusal = [401, 'FST_JWT_REVOKED', 'Token has been revoked']
      await eventually('it follows', async () => app.revocation.status().stalenessMs! < 1000)
      await proxy.set(mode)
      const gone = lived()
      t.equal((await ask(await sign()))[0], 200, 'at first it goes on')
      for (const token of [known, ended]) t.strictSame(await ask(token), refusal)
      t.same(events, [], 'in silence')
      await eventually('it is told without any request', async () => events.length > 0)
      t.ok(lived() - gone <= MAX_STALENESS + 700, 'in time')
      await eventually('it is stale', async () => app.revocation.status().stalenessMs! > MAX_STALENESS)
      t.match(await ask(await sign()), onStoreFailure === 'accept' ? [200] : [503, 'FST_JWT_REVOCATION_UNAVAILABLE', 'Token revocation is unavailable, try again'])
      for (const token of [known, ended]) t.strictSame(await ask(token), refusal, 'what is known stays refused')
      t.match(app.revocation.status(), { mode: 'replica', available: false })
      await proxy.set('pass')
      await eventually('it is back', async () => app.revocation.status().available)
      t.same(await ask(await sign()).then(([status]) => status), 200)
      for (const token of [known, ended]) t.strictSame(await ask(token), refusal)
      await sleep(1200)
      t.same(events, ['storeLost', 'storeBack'])
      t.same(lines.map(({ level }) => level), [50, 40], { found: lines })
      t.match(lines[0]!.msg, /^jwt revocation: the store is lost; once nothing was heard from it for 8000 ms, /)
    })
  }
}

t.test('a replica with the least maxStaleness that there may be is in step while nothing happens', async (t) => {
  const server = await startRedis(t)
  const node = await startNode(t, server.url, { maxStaleness: 500 })
  const other = new Redis(server.url)
  t.teardown(() => other.disconnect())
  const ages: number[] = []
  // How long Redis keeps somebody else waiting meanwhile.
  let slowest = 0
  const [began, from] = [lived(), performance.now()]
  while (lived() < began + 1500) {
    ages.push(node.store.status.copy.stalenessMs!)
    const asked = performance.now()
    await Promise.all([other.ping(), sleep(10)])
    slowest = Math.max(slowest, performance.now() - asked)
  }
  const late = performance.now() - from - (lived() - began) + slowest
  t.ok(ages.filter((age) => age > 500 + late).length < ages.length / 10, `stale ${ages.filter((age) => age > 500 + late).length} times of ${ages.length}`)
  if (late < 100) t.same(node.events, [])
})

t.test('an event loop that stalls longer than maxStaleness has not lost its store', async (t) => {
  const server = await startRedis(t)
  const node = await startNode(t, server.url, QUICK)
  await sleep(1100)
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1500)
  await sleep(500)
  t.same(node.events, [])
})

t.test('a loss between the two steps of putting back is noticed', async (t) => {
  const server = await startRedis(t)
  const client = new Redis(server.url)
  t.teardown(() => client.disconnect())
  const node = await startNode(t, client)
  await fill(server, 10)
  await knows(node, 'n9')
  let losses = 1
  const { pipeline } = client
  t.intercept(client, 'pipeline', {
    value (commands: unknown[][]) {
      const real = pipeline.call(client, commands as never)
      if (!commands.some(([name, , , key]) => name === 'eval' && key === 'r:log') || losses-- <= 0) return real
      return {
        exec: async () => {
          await server.cli('FLUSHALL')
          return real.exec()
        }
      }
    }
  })
  await server.cli('FLUSHALL')
  await eventually('the entries are back', async () => Number(await server.cli('XLEN', 'r:log')) >= 10)
  await eventually('all keys are back', async () => (await keysOf(server)).length === 10)
})

t.test('two breaks in a row, and one while it is mended: nothing is lost', async (t) => {
  const server = await startRedis(t)
  const proxy = await startProxy(t, server)
  await fill(server, 1000)
  const nodes = await Promise.all([startNode(t, proxy.url, QUICK), startNode(t, server.url, QUICK)])
  for (let round = 0; round < 3; round++) {
    await server.cli('FLUSHALL')
    await eventually('it is being mended', async () => Number(await server.cli('DBSIZE')) > 200)
    proxy.cut()
  }
  await server.cli('FLUSHALL')
  await allEqual(t, 'flushed four times', nodes, server, 1000)
})

t.test('a replica that is closed in the middle of anything is silent from then on', async (t) => {
  const rejections: unknown[] = []
  const note = (error: unknown) => rejections.push(error)
  process.on('unhandledRejection', note)
  t.teardown(() => process.off('unhandledRejection', note))
  const server = await startRedis(t)
  await fill(server, 2500)
  const proxy = await startProxy(t, server)
  for (const prepare of [
    async () => {},
    async () => { await server.cli('XTRIM', 'r:log', 'MAXLEN', 1) },
    async () => { await server.cli('FLUSHALL') },
    async () => { await proxy.set('blackhole') },
    async () => { await proxy.set('refuse') },
    async () => { await proxy.set('garbage') }
  ]) {
    await prepare()
    await Promise.all([0, 5, 30, 100, 400].map(async (milliseconds) => {
      const node = await openNode(t, proxy.url, QUICK)
      let started = false
      node.store.start().then(() => { started = true }, note)
      await sleep(milliseconds)
      node.close()
      const events = node.events.length
      await eventually('the start ends', async () => started)
      t.equal(node.events.length, events)
    }))
  }
  await eventually('no connection is left', async () => !(await server.cli('CLIENT', 'LIST')).includes('fastify-jwt-revocation'))
  t.same(rejections, [])
})
