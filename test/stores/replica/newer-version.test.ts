import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { startRedis, eventually, type RedisServer } from '../../support/redis.ts'
import { held, openNode, soon, startNode } from '../../support/replica.ts'

/* A newer version of the plugin writes to the same log: entries of kinds that this one does not know, and longer ones. */

const UNKNOWN = ['session:s1', 'refresh:a/b', 'cutoff', 'x', ':']

/** Appends as the scripts do: `words` has PREV where the id of the entry before goes. */
const append = (server: RedisServer, words: string, ...more: string[]) => server.cli('EVAL', `
  local last = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)
  local prev = last[1] and last[1][1] or '0-0'
  return redis.call('XADD', KEYS[1], '*', 'entry', (string.gsub(ARGV[1], 'PREV', prev)), unpack(ARGV, 2))`, 1, 'r:log', words, ...more)

/** What another version writes around each of our revocations. */
async function interleave (server: RedisServer, count: number, name: string) {
  for (let i = 0; i < count; i++) {
    await append(server, `${UNKNOWN[i % UNKNOWN.length]} of its own PREV and more`)
    await append(server, `revoked:${name}${i} ${soon(0)} ${soon(900)} ${soon(910)} PREV id-${i} alice more words=1 `)
    await append(server, `cutoff:${name}${i} ${soon(0)}  ${soon(900)} PREV   more`)
    await append(server, `${UNKNOWN[i % UNKNOWN.length]}    PREV`)
  }
}

t.test('entries of a newer version cost no replica a second reading, and none of ours is missed among them', async (t) => {
  const server = await startRedis(t)
  await interleave(server, 10, 'before')
  const reads = async () => ({ scans: await server.commandCalls('scan'), written: await server.cli('XLEN', 'r:log') })
  const nodes = [await startNode(t, server.url, { maxStaleness: 1000 }), await startNode(t, server.url, { maxStaleness: 1000 })]
  let broken = 0
  for (const { store } of nodes) {
    const { unlog } = store.denials.copy
    t.intercept(store.denials.copy, 'unlog', { value () { broken++; return unlog.call(store.denials.copy) } })
  }
  t.strictSame(nodes.map(({ store }) => store.status.copy.entries), [20, 20])
  await interleave(server, 10, 'after')
  await eventually('all is known', async () => nodes.every(({ store }) => store.status.copy.entries === 40))
  for (const node of nodes) {
    for (let i = 0; i < 10; i++) {
      for (const name of [`before${i}`, `after${i}`]) {
        t.equal(await node.ask(name), 'refused', name)
        t.equal(await node.ask('other', name), 'refused', name)
      }
    }
    t.equal(await node.ask('other', 'other'), 'accepted')
    t.match(node.heard.filter(({ kind }) => kind === 'revoked')[0], { name: 'after0', id: 'id-0', sub: 'alice' })
    t.equal(node.heard.length, 20)
  }
  // Several reads that bring nothing, and ticks.
  await sleep(1000)
  t.strictSame([await reads(), broken], [{ scans: 0, written: '80' }, 0], 'nothing was read again, nothing written')
  for (const { events } of nodes) t.same(events, [])
})

t.test('an entry of which nobody can tell what came before it is a loss: the keys are read', async (t) => {
  const server = await startRedis(t)
  await server.cli('SET', 'r:revoked:lost', '{"at":5,"exp":null}')
  for (const words of ['session:s1 of its own', 'session:s1 of its own  x', 'revoked:a x  12 PREV  ']) {
    await server.cli('DEL', 'r:log')
    await append(server, `revoked:a ${soon(0)}  ${soon(900)} PREV  `)
    await append(server, words)
    const node = await startNode(t, server.url)
    t.equal(await node.ask('lost'), 'refused', words)
    node.close()
  }
})

t.test('cutoffs by names of a newer version are kept and put back after a loss as they are', async (t) => {
  const server = await startRedis(t)
  const names = ['sid:s1', 'sid:https%3A%2F%2Fa/s1', '!sid:alice', 'tenant:a%3Ab/c%20d', 'sid:', ':']
  for (const [i, name] of names.entries()) {
    await append(server, `cutoff:${name} ${soon(i)}  ${soon(900)} PREV  `)
    await server.cli('SET', `r:cutoff:${name}`, soon(i), 'EX', 900)
  }
  const node = await startNode(t, server.url, { maxStaleness: 1000 })
  const before = held(node).map(({ kind, name, at }) => `${kind}:${name} ${at}`)
  t.strictSame(before.map((line) => line.split(' ')[0]).sort(), names.map((name) => `cutoff:${name}`).sort())
  await server.cli('FLUSHALL')
  await eventually('the log has them', async () => Number(await server.cli('XLEN', 'r:log')) === names.length)
  const keys = await server.keys('r:cutoff:*')
  t.strictSame(keys, names.map((name) => `r:cutoff:${name}`).sort())
  for (const key of keys) t.ok(before.includes(`${key.slice(2)} ${await server.cli('GET', key)}`), key)
  const late = await openNode(t, server.url)
  await late.store.start()
  t.strictSame(held(late).map(({ kind, name, at }) => `${kind}:${name} ${at}`), before, 'a newcomer has the same')
})
