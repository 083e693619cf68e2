import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { Cluster, Redis } from 'ioredis'
import { Redis as Valkey } from 'iovalkey'
import t, { type Test } from 'tap'
import type { RevocationOptions } from '../../lib/index.ts'
import { ownPrefix } from '../support/app.ts'
import { Load } from '../support/load.ts'
import { Rig, STORE_TIMEOUT } from '../support/outage.ts'
import { KEPT, outcomesOf, SESSIONS_KEPT, sessionsOf } from '../support/promises.ts'
import { startProxy } from '../support/proxy.ts'
import { eventually, startCluster, startRedis } from '../support/redis.ts'
import { isThorough } from '../support/runs.ts'
import { startSentinels } from '../support/sentinel.ts'

t.jobs = 3

type Given = RevocationOptions['redis'] & {}

const IN_TIME = STORE_TIMEOUT + 1000
const MODES = ['strict', 'replica'] as const

const TOPOLOGIES: Record<string, (t: Test) => Promise<Record<string, (t: Test) => Given>>> = {
  async 'one Redis' (t) {
    const { url } = await startRedis(t)
    return { 'a client of the plugin\'s own': () => url, 'a given client': (t) => given(t, new Redis(url)) }
  },
  async Sentinel (t) {
    const { sentinels, name } = await startSentinels(t)
    return {
      'a client of the plugin\'s own': () => ({ sentinels, name }),
      'a given client': (t) => given(t, new Redis({ sentinels, name })),
      'a given client of iovalkey': (t) => given(t, new Valkey({ sentinels, name }))
    }
  },
  async 'a cluster' (t) {
    const { nodes } = await startCluster(t, { replicas: 1 })
    return { 'a given client': (t) => given(t, new Cluster(nodes)) }
  }
}

for (const [topology, open] of Object.entries(TOPOLOGIES)) {
  t.test(`every promise is kept on ${topology}`, { buffered: true }, async (t) => {
    const clients = await open(t)
    for (const [client, connect] of Object.entries(clients)) {
      for (const mode of MODES) {
        for (const minReplicas of topology === 'one Redis' ? [0] : [0, 1]) {
          // What is given differs in its connections alone, and minReplicas needs one more.
          if (!isThorough && topology === 'Sentinel' && client !== 'a client of the plugin\'s own' && minReplicas === 0) continue
          await t.test(`${client}, mode ${mode}, minReplicas ${minReplicas}`, async (t) => {
            const options: RevocationOptions = { mode, minReplicas, keyPrefix: ownPrefix(), storeTimeout: 10_000, maxStaleness: 60_000, recordOnUse: true, refresh: {} }
            const [rig, neighbour] = [await Rig.startWell(t, { redis: connect(t), ...options }), await Rig.startWell(t, { redis: connect(t), ...options })]
            const patience = mode === 'replica' ? 20_000 : 0
            t.strictSame(await outcomesOf(rig.app, neighbour.app, patience), KEPT)
            t.strictSame(await sessionsOf(rig.app, neighbour.app, patience), SESSIONS_KEPT)
            t.strictSame([...rig.lines, ...neighbour.lines], [], 'the stores were there all the time')
          })
        }
      }
    }
  })
}

for (const sentinels of isThorough ? [1, 3] : [1]) {
  t.test(`P3 P4 a master dies that ${sentinels} Sentinels watch: nothing hangs, nothing acknowledged is lost, all is back by itself`, { buffered: true }, async (t) => {
    const scene = await startSentinels(t, sentinels)
    const address = { sentinels: scene.sentinels, name: scene.name }
    const keyPrefix = ownPrefix()
    const rigs: Record<string, Rig> = {}
    for (const mode of MODES) {
      const options: RevocationOptions = { mode, minReplicas: 1, keyPrefix, maxStaleness: 1000 }
      rigs[`its own client, mode ${mode}`] = await Rig.startWell(t, { redis: address, ...options })
      rigs[`a given client, mode ${mode}`] = await Rig.startWell(t, { redis: given(t, new Redis(address)), ...options })
    }
    const loads = Object.entries(rigs).map(([name, rig]) => ({ name, rig, load: new Load(t, rig) }))
    for (const { name, load } of loads) await eventually(`${name} revokes`, async () => load.acknowledged.length > 20)

    const [master] = scene.servers
    await master!.kill()
    const killed = performance.now()
    await eventually('another one is master', async () => await scene.master() !== master!.port)
    t.comment(`another master after ${Math.round(performance.now() - killed)} ms`)
    for (const { name, rig, load } of loads) {
      const before = load.acknowledged.length
      await eventually(`${name} revokes again`, async () => load.acknowledged.length > before + 5)
      t.comment(`${name} revokes again after ${Math.round(performance.now() - killed)} ms`)
      await eventually(`${name} is back`, async () => rig.available)
    }
    for (const { name, rig, load } of loads) {
      await load.stop()
      t.comment(name, load.counts, [...load.causes], `slowest ${Math.round(load.slowest)} ms`)
      t.strictSame(load.violations, [], `${name}: each answer is one that may be given`)
      t.ok(load.slowest < IN_TIME, `${name}: nothing hangs`, { found: load.slowest })
      // A stalled machine may make Sentinel change masters twice. Then the new one is without a replica for a while.
      await eventually(`${name} is back for good`, async () => rig.available)
      t.match(rig.lines.map(({ level }) => level).join(), /^50,40(,50,40)?$/, `${name}: one line when it is lost, one when it is back`)
    }
  })
}

t.test('P4 P7 connections of the plugin that are lost while Sentinel is late or silent are made again', { buffered: true }, async (t) => {
  const scene = await startSentinels(t)
  const sentinel = await startProxy(t, scene.sentinels[0]!)
  const address = { sentinels: [{ host: '127.0.0.1', port: sentinel.port }], name: scene.name }
  const options: RevocationOptions = { mode: 'replica', minReplicas: 1 }
  const [master] = scene.servers
  const admin = given(t, new Redis(master!.url))
  for (const late of [{ delayMs: 700 }, 'blackhole'] as const) {
    const rigs = [await Rig.startWell(t, { redis: address, ...options }), await Rig.startWell(t, { redis: given(t, new Redis(address)), ...options })]
    await sentinel.set(late)
    const own = String(await admin.client('LIST')).split('\n').filter((line) => line.includes(' name=fastify-jwt-revocation:'))
    t.equal(own.length, 4, 'the log and the writer of both')
    for (const line of own) await admin.client('KILL', 'ID', /^id=(\d+)/.exec(line)![1]!)
    for (const rig of rigs) await eventually('it is lost', async () => !rig.available)
    await eventually('Sentinel is asked', async () => sentinel.connections > 0)
    // By then each of them has been told to leave what does not answer.
    await sleep(3 * STORE_TIMEOUT)
    await sentinel.set('pass')
    for (const rig of rigs) {
      await eventually('it is back', async () => rig.available)
      t.match(await rig.call(() => rig.app.revocation.revoke({ jti: randomUUID() })), { status: 200 })
      await rig.app.close()
    }
    await eventually('its connections are closed', async () => !String(await admin.client('LIST')).includes(' name=fastify-jwt-revocation:'))
  }
})

function given<C extends { disconnect (): void, on (event: 'error', listener: () => void): unknown }> (t: Test, client: C): C {
  client.on('error', () => {})
  t.teardown(() => client.disconnect())
  return client
}
