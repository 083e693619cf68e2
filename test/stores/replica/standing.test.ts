import { Cluster, Redis } from 'ioredis'
import t, { type Test } from 'tap'
import { EVERY_IAT } from '../../../lib/stores/entry.ts'
import { outlives } from '../../../lib/stores/redis/answers.ts'
import type { Commands } from '../../../lib/stores/redis/commands.ts'
import { readStanding } from '../../../lib/stores/replica/standing.ts'
import { ownPrefix } from '../../support/app.ts'
import { eventually, startCluster, startRedis, type RedisServer } from '../../support/redis.ts'
import { held, openNode, soon, startNode } from '../../support/replica.ts'
import { on } from '../../support/stores.ts'

/*
 * Goal: a replica knows a cutoff that has outlived its entry of the log, whenever it starts.
 * Method: the entries of a log matter for a minute here, and the log is replaced by one that begins later.
 */

const SPAN = 60
const SETTINGS = { logSpan: SPAN, maxStaleness: 1000 }

/** The log as it is once the entries from before `SPAN` were trimmed: it begins with `entries`, which know their predecessors. */
const trimLog = (server: RedisServer, entries = 1) => server.cli('EVAL', `
  redis.call('DEL', KEYS[1])
  local prev = ARGV[1]
  for i = 0, ARGV[2] - 1 do prev = redis.call('XADD', KEYS[1], '*', 'entry', 'cutoff:other' .. i .. ARGV[3] .. prev .. '  ') end`,
1, 'r:log', `${(soon(0) - 10 * SPAN) * 1000}-0`, entries, ` ${soon(0)}  ${soon(50)} `)

async function standing (server: RedisServer): Promise<string[]> {
  const lines = await server.cli('ZRANGE', 'r:standing', 0, -1)
  return lines.split('\n').filter((line) => line !== '').sort()
}

const scans = (server: RedisServer) => server.commandCalls('scan')

async function setUp (t: Test) {
  const server = await startRedis(t)
  const writer = await openNode(t, server.url, { ...SETTINGS, mode: 'strict' })
  const cutOff = (name: string, at: number, until: number) => on(writer.store).cutOff(name, at, until, { unlessFrom: at })
  return { server, cutOff }
}

t.test('a replica that starts after the entry of a session or of a ban was trimmed refuses, and reads no keyspace', async (t) => {
  const { server, cutOff } = await setUp(t)
  await cutOff('sid:s1', EVERY_IAT, soon(3600))
  await cutOff('alice', soon(1800), soon(5400))
  await cutOff('tenant:a%3Ab/c', EVERY_IAT, EVERY_IAT + 3600)
  await cutOff('bob', soon(0), soon(SPAN - 10))
  t.strictSame(await standing(server), ['alice', 'sid:s1', 'tenant:a%3Ab/c'], 'an ordinary cutoff is not named: the log has it for as long')
  await trimLog(server)
  const node = await startNode(t, server.url, SETTINGS)
  t.strictSame(held(node).map(({ name }) => name), ['alice', 'other0', 'sid:s1', 'tenant:a%3Ab/c'])
  for (const name of ['sid:s1', 'alice', 'tenant:a%3Ab/c']) t.equal(await node.ask('x', name), 'refused', name)
  t.equal(await node.ask('x', 'sid:s2'), 'accepted')
  t.strictSame(node.heard, [], 'it is no news')
  t.strictSame([await scans(server), await server.cli('XLEN', 'r:log')], [0, '1'], 'nothing is put back: others will find it as well')
})

t.test('a replica that was away reads what stands after the break, and tells of it', async (t) => {
  const { server, cutOff } = await setUp(t)
  const node = await startNode(t, server.url, SETTINGS)
  await cutOff('carol', soon(1800), soon(5400))
  await eventually('it has heard', async () => node.heard.length === 1)
  await server.cli('SET', 'r:cutoff:sid:s1', EVERY_IAT, 'EX', 3600)
  await server.cli('ZADD', 'r:standing', soon(3600), 'sid:s1')
  t.equal(await node.ask('x', 'sid:s1'), 'accepted', 'the log said nothing')
  const before = await scans(server)
  await trimLog(server, 2)
  await eventually('it refuses', async () => await node.ask('x', 'sid:s1') === 'refused')
  t.match(node.heard.find(({ name }) => name === 'sid:s1'), { kind: 'cutoff', at: EVERY_IAT })
  t.equal(await node.ask('x', 'carol'), 'refused')
  await eventually('a tick has passed', async () => node.store.status.copy.stalenessMs! < 1000)
  t.strictSame([await scans(server), await server.cli('XLEN', 'r:log')], [before, '2'], 'what stands counts as logged')
})

t.test('after a loss the replicas put back what stood, with its name', async (t) => {
  const { server, cutOff } = await setUp(t)
  await cutOff('sid:s1', EVERY_IAT, soon(3600))
  await cutOff('alice', EVERY_IAT, EVERY_IAT + 3600)
  const node = await startNode(t, server.url, SETTINGS)
  await server.cli('FLUSHALL')
  await eventually('both are back', async () => (await standing(server)).length === 2)
  t.strictSame(await standing(server), ['alice', 'sid:s1'])
  t.equal(await server.cli('GET', 'r:cutoff:sid:s1'), String(EVERY_IAT))
  t.ok(Number(await server.cli('TTL', 'r:cutoff:sid:s1')) > 3500)
  await trimLog(server)
  const late = await startNode(t, server.url, SETTINGS)
  for (const { ask } of [node, late]) {
    for (const name of ['sid:s1', 'alice']) t.equal(await ask('x', name), 'refused', name)
  }
})

t.test('after a loss a replica that knows what stands by its name alone puts it back, with its name', async (t) => {
  const { server, cutOff } = await setUp(t)
  await cutOff('sid:s1', EVERY_IAT, soon(3600))
  await trimLog(server)
  const node = await startNode(t, server.url, SETTINGS)
  await server.cli('FLUSHALL')
  await eventually('the name is back', async () => (await standing(server)).length === 1)
  t.strictSame(await standing(server), ['sid:s1'])
  t.equal(await server.cli('GET', 'r:cutoff:sid:s1'), String(EVERY_IAT))
  t.ok(Number(await server.cli('TTL', 'r:standing')) > 3500, 'for as long as it stands')
  await trimLog(server)
  const late = await startNode(t, server.url, SETTINGS)
  for (const { ask } of [node, late]) t.equal(await ask('x', 'sid:s1'), 'refused')
})

t.test('the names alone are lost: a replica puts them back when it reads the log anew, and its keys stay', async (t) => {
  const { server, cutOff } = await setUp(t)
  await cutOff('sid:s1', EVERY_IAT, soon(3600))
  await trimLog(server)
  const node = await startNode(t, server.url, SETTINGS)
  const ttl = await server.cli('PEXPIRETIME', 'r:cutoff:sid:s1')
  await server.cli('DEL', 'r:standing')
  await trimLog(server)
  await eventually('the name is back', async () => (await standing(server)).length === 1)
  t.strictSame(await standing(server), ['sid:s1'])
  t.ok(Math.abs(Number(await server.cli('PEXPIRETIME', 'r:cutoff:sid:s1')) - Number(ttl)) < 60_000)
  t.equal(await node.ask('x', 'sid:s1'), 'refused')
  await trimLog(server)
  t.equal(await (await startNode(t, server.url, SETTINGS)).ask('x', 'sid:s1'), 'refused', 'one that starts after the entry was trimmed again')
})

t.test('more than a page stands, and what has ended leaves by the clock of Redis', async (t) => {
  const { server, cutOff } = await setUp(t)
  const client = new Redis(server.url)
  t.teardown(() => client.disconnect())
  const names = Array.from({ length: 1000 }, (_, i) => `sid:n${i}`)
  for (const [i, name] of names.entries()) {
    await client.pipeline().set(`r:cutoff:${name}`, EVERY_IAT, 'EX', 3600).zadd('r:standing', soon(3600 + i), name).exec()
  }
  await client.zadd('r:standing', soon(3600), 'gone', soon(-5), 'ended')
  await trimLog(server)
  const node = await startNode(t, server.url, SETTINGS)
  t.equal(node.store.status.copy.entries, 1001)
  for (const name of names) t.equal(await node.ask('x', name), 'refused', name)

  await cutOff('last', EVERY_IAT, soon(9000))
  t.equal((await standing(server)).includes('ended'), false)
  t.ok(Math.abs(await client.pttl('r:standing') - 9_000_000) < 10_000, 'the list ends with its last member')
})

t.test('a key of another type in its place is answered 503, half of nothing is written, and other cutoffs go on', async (t) => {
  const { server, cutOff } = await setUp(t)
  await server.cli('SET', 'r:standing', 'x')
  await t.rejects(cutOff('sid:s1', EVERY_IAT, soon(3600)), { message: /WRONGTYPE/ })
  t.equal(await server.cli('EXISTS', 'r:cutoff:sid:s1', 'r:log'), '0')
  t.match(await cutOff('alice', soon(0), soon(30)), { before: null })
})

t.test('a cutoff that is asked for again lasts longer in Redis, in the log and by its name', async (t) => {
  const { server, cutOff } = await setUp(t)
  const node = await startNode(t, server.url, SETTINGS)
  await cutOff('sid:s1', EVERY_IAT, soon(3600))
  await cutOff('sid:s1', EVERY_IAT, soon(3605))
  t.equal(await server.cli('XLEN', 'r:log'), '1', 'seconds are not worth an entry')
  await cutOff('sid:s1', EVERY_IAT, soon(7200))
  t.ok(Number(await server.cli('TTL', 'r:cutoff:sid:s1')) > 7100)
  t.ok(Number(await server.cli('ZSCORE', 'r:standing', 'sid:s1')) > soon(7100))
  await eventually('the replica keeps it as long', async () => held(node).some(({ until }) => until! > soon(7100)))
  t.equal(node.heard.length, 1, 'and listeners hear once')
})

t.test('what ends after its entry of the log stands, and nothing does where the log is never trimmed', async (t) => {
  const now = 1_800_000_000
  for (const [ends, span, expected] of [['', 60, true], ['', null, false], [now + 60, 60, false], [now + 61, 60, true], [now + 61, null, false]] as const) {
    t.equal(outlives(String(ends), span, now * 1000), expected, `${ends} ${span}`)
  }
  const server = await startRedis(t)
  const writer = await openNode(t, server.url, { ...SETTINGS, logSpan: null, mode: 'strict' })
  await on(writer.store).cutOff('sid:s1', EVERY_IAT, null)
  t.equal(await server.cli('EXISTS', 'r:standing'), '0')
})

t.test('P4 nonsense in the place of the names fails the reading', async (t) => {
  const parts = readStanding({
    redis: { send: async () => 'OK' } as unknown as Commands, keyPrefix: 'r:', within: (call) => call(), now: () => 0
  })
  await t.rejects(parts.next(), { name: 'TypeError', message: 'Redis answered nonsense about standing cutoffs' })
})

t.test('P8 on a cluster the name is written by a command of its own, before the answer', async (t) => {
  const cluster = await startCluster(t)
  const client = new Cluster(cluster.nodes)
  t.teardown(() => client.disconnect())
  const keyPrefix = ownPrefix()
  const writer = await openNode(t, client, { ...SETTINGS, mode: 'strict', keyPrefix })
  for (let i = 0; i < 20; i++) await on(writer.store).cutOff(`sid:s${i}`, EVERY_IAT, soon(3600), { unlessFrom: EVERY_IAT })
  await on(writer.store).cutOff('alice', soon(0), soon(30))
  t.strictSame((await client.zrange(`${keyPrefix}standing`, '0', '-1')).sort(), Array.from({ length: 20 }, (_, i) => `sid:s${i}`).sort())
  t.ok(await client.pttl(`${keyPrefix}standing`) > 3_500_000)
  await client.del(`${keyPrefix}log`)
  const node = await startNode(t, client, { ...SETTINGS, keyPrefix })
  for (let i = 0; i < 20; i++) t.equal(await node.ask('x', `sid:s${i}`), 'refused')

  await on(writer.store).cutOff('bob', soon(0), soon(30))
  await eventually('it has heard', async () => node.heard.some(({ name }) => name === 'bob'))
  for (const server of cluster.servers) await server.cli('FLUSHALL')
  await eventually('after a loss all names are back', async () => await client.zcard(`${keyPrefix}standing`) === 20)
  t.ok(await client.pttl(`${keyPrefix}standing`) > 3_500_000)
  t.strictSame((await Promise.all(Array.from({ length: 20 }, (_, i) => client.get(`${keyPrefix}cutoff:sid:s${i}`)))), Array(20).fill(String(EVERY_IAT)))

  await client.del(`${keyPrefix}standing`)
  await client.set(`${keyPrefix}standing`, 'x')
  await t.rejects(on(writer.store).cutOff('sid:late', EVERY_IAT, soon(3600)), { message: /WRONGTYPE/ })
  await client.del(`${keyPrefix}standing`)
  await eventually('what is owed is written', async () => await client.zscore(`${keyPrefix}standing`, 'sid:late') !== null)
})
