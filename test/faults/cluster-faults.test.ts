import { Cluster as Client, Redis } from 'ioredis'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import type { RevocationOptions } from '../../lib/index.ts'
import { genuine } from '../support/app.ts'
import { livedWith } from '../support/lived.ts'
import { Load } from '../support/load.ts'
import { isUnavailable, Rig, STORE_TIMEOUT } from '../support/outage.ts'
import { eventually, startCluster, type RedisServer } from '../support/redis.ts'

const TOO_FEW = '0 of the 1 replicas that option "minReplicas" asks for hold the write'
const IN_TIME = STORE_TIMEOUT + 1000
/** Of who may be answered nothing else than what it asks for, so long that a busy machine answers within it. */
const PATIENCE = 10_000

// Slots whose master lives are served while those of another one are not: `yes` would answer 503 to all.
const { nodes, servers } = await startCluster(t, { replicas: 1, args: ['--cluster-require-full-coverage', 'no'] })
const masters = servers.slice(0, 3) as [RedisServer, RedisServer, RedisServer]
const replicas = servers.slice(3) as [RedisServer, RedisServer, RedisServer]
for (const i of masters.keys()) await inStep(i)

/** The first of these texts whose slot is this master's. Slots are dealt out in order. */
async function found (text: (i: number) => string, master: number): Promise<string> {
  for (let i = 0; ; i++) {
    const slot = Number(await masters[2].cli('CLUSTER', 'KEYSLOT', text(i)))
    if (Math.floor(slot * 3 / 16_384) === master) return text(i)
  }
}

/** A replica is online before it is sent anything. */
async function inStep (i: number) {
  const client = new Client(nodes)
  const key = await found((n) => `{step-${n}}`, i)
  await client.set(key, 'x')
  client.disconnect()
  await eventually('the replica is in step', async () => (await replicas[i]!.keys('{step*')).includes(key))
}

/** A keyPrefix that puts everything, the log as well, into one slot of this master's. */
async function prefixOn (master: number) {
  const own = ++prefixes
  return await found((i) => `{${own}-${i}}`, master)
}
let prefixes = 0

async function start (t: Test, keyPrefix: string, revocation: RevocationOptions = {}) {
  const client = new Client(nodes)
  client.on('error', () => {})
  t.teardown(() => client.disconnect())
  return await Rig.startWell(t, { redis: client, keyPrefix, ...revocation })
}

async function ends (t: Test, name: string, load: Load, limit = IN_TIME) {
  await load.stop()
  t.comment(name, load.counts, [...load.causes], `slowest ${Math.round(load.slowest)} ms`)
  t.strictSame(load.violations, [], `${name}: each answer is one that may be given`)
  t.ok(load.acknowledged.length > 0, `${name}: some were revoked`)
  t.ok(load.slowest < limit, `${name}: nothing hangs`, { found: load.slowest })
}

async function move (t: Test, keyPrefix: string, from: RedisServer, to: RedisServer, meanwhile: (moved: string) => Promise<unknown>) {
  const slot = await from.cli('CLUSTER', 'KEYSLOT', keyPrefix)
  const [source, target] = [await from.cli('CLUSTER', 'MYID'), await to.cli('CLUSTER', 'MYID')]
  await to.cli('CLUSTER', 'SETSLOT', slot, 'IMPORTING', source)
  await from.cli('CLUSTER', 'SETSLOT', slot, 'MIGRATING', target)
  await meanwhile('nothing')
  let kept = (await from.cli('CLUSTER', 'GETKEYSINSLOT', slot, 10_000)).split('\n').sort()
  t.ok(kept.includes(`${keyPrefix}log`), 'the log is there')
  for (const half of [kept.filter((key) => !key.endsWith('log')), [`${keyPrefix}log`]]) {
    await from.cli('MIGRATE', to.host, to.port, '', 0, 5000, 'KEYS', ...half)
    await meanwhile(half.length > 1 ? 'all but the log' : 'the log')
  }
  do {
    kept = (await from.cli('CLUSTER', 'GETKEYSINSLOT', slot, 10_000)).split('\n').filter(Boolean)
    if (kept.length > 0) await from.cli('MIGRATE', to.host, to.port, '', 0, 5000, 'KEYS', ...kept)
  } while (kept.length > 0)
  await to.cli('CLUSTER', 'SETSLOT', slot, 'NODE', target)
  await from.cli('CLUSTER', 'SETSLOT', slot, 'NODE', target)
}

/** Sooner than `eventually` gives up. */
async function soon (holds: () => Promise<boolean>): Promise<boolean> {
  const redis = new Redis(masters[2].url)
  const time = livedWith(redis)
  try {
    while (time.now() < 10_000) {
      if (await holds()) return true
      await sleep(20)
    }
    return false
  } finally {
    time.stop()
    redis.disconnect()
  }
}

const turns = async (load: Load, n: number) => {
  const checks = () => Object.values(load.counts).reduce((sum, count) => sum + count, 0)
  const end = checks() + n
  await eventually('the load goes on', async () => checks() >= end)
}

t.test('P4 a slot moves, with the log: ASK and MOVED are followed, no token is accepted that was revoked', async (t) => {
  const keyPrefix = await prefixOn(0)
  const options: Record<string, RevocationOptions> = { strict: { storeTimeout: PATIENCE }, replica: { mode: 'replica', maxStaleness: 1000 } }
  const rigs = await Promise.all(Object.entries(options).map(async ([name, revocation]) => [name, await start(t, keyPrefix, revocation)] as const))
  const loads = rigs.map(([name, rig]) => [name, new Load(t, rig), rig] as const)
  await Promise.all(loads.map(([, load]) => turns(load, 50)))
  await move(t, keyPrefix, masters[0], masters[1], async (moved) => {
    t.comment(`moved: ${moved}`)
    await Promise.all(loads.map(([, load]) => turns(load, 50)))
  })
  const done = performance.now()
  for (const [name, load, rig] of loads) {
    const before = load.counts['revoke 200'] ?? 0
    await eventually(`${name} revokes again`, async () => (load.counts['revoke 200'] ?? 0) > before + 3)
    await eventually(`${name} is back`, async () => rig.available)
    t.comment(`${name} is back after ${Math.round(performance.now() - done)} ms`)
  }
  for (const [name, load] of loads) {
    await ends(t, name, load, name === 'strict' ? PATIENCE + 1000 : IN_TIME)
    if (name === 'strict') t.strictSame(Object.keys(load.counts).filter((name) => name.endsWith('503')), [], 'nothing was answered 503')
  }
  const late = await start(t, keyPrefix, { mode: 'replica' })
  for (const [, load] of loads) {
    for (const token of load.acknowledged) t.equal((await late.http('GET', '/me', token)).status, 401)
  }
})

t.test('P4 a slot moves: with minReplicas revocations go on by themselves', async (t) => {
  const keyPrefix = await prefixOn(0)
  const rig = await start(t, keyPrefix, { minReplicas: 1 })
  const load = new Load(t, rig)
  await turns(load, 50)
  await move(t, keyPrefix, masters[0], masters[1], () => turns(load, 50))
  const revokes = async () => (await rig.call(() => rig.app.revocation.revoke({ jti: 'x' }))).status === 200
  t.ok(await soon(revokes), 'a revocation is acknowledged')
  t.ok(await soon(async () => rig.available), 'the store is back')
  await ends(t, 'minReplicas', load)
})

t.test('P3 on a cluster minReplicas counts the replicas of the master that has the key, for who revokes again as well', async (t) => {
  const keyPrefix = (await found((i) => `again-${i}:log`, 1)).slice(0, -'log'.length)
  const jti = (await found((i) => `${keyPrefix}revoked:${i}`, 0)).slice(`${keyPrefix}revoked:`.length)
  const [one, two] = [await start(t, keyPrefix, { minReplicas: 1 }), await start(t, keyPrefix, { minReplicas: 1 })]
  replicas[0].pause()
  for (const rig of [one, one, two, two]) {
    const outcome = await rig.call(() => rig.app.revocation.revoke({ jti }))
    isUnavailable(t, outcome, 'revoke()')
    t.match(outcome.cause, { message: TOO_FEW })
  }
  replicas[0].resume()
  await eventually('both are back', async () => one.available && two.available)
  t.match(await two.call(() => two.app.revocation.revoke({ jti })), { status: 200 })
  t.equal(await replicas[0].cli('EXISTS', `${keyPrefix}revoked:${jti}`).catch(({ message }) => message.split(' ')[0]), 'MOVED')
  t.ok((await replicas[0].keys(`${keyPrefix}*`)).includes(`${keyPrefix}revoked:${jti}`))
})

t.test('P3 P4 a master dies: its slots are answered 503 until its replica is promoted, the others go on, nothing acknowledged is lost', async (t) => {
  const [dying, other] = [await prefixOn(0), await prefixOn(1)]
  const strict = await start(t, dying, { minReplicas: 1 })
  const replica = await start(t, dying, { minReplicas: 1, mode: 'replica', maxStaleness: 1000 })
  const plain = await start(t, dying)
  const elsewhere = await start(t, other, { minReplicas: 1, storeTimeout: PATIENCE })
  const loads = { strict: new Load(t, strict), replica: new Load(t, replica), elsewhere: new Load(t, elsewhere) }
  await Promise.all(Object.values(loads).map((load) => turns(load, 50)))

  const { token: active } = await genuine()
  await masters[0].kill()
  const killed = performance.now()
  await eventually('a check is answered 503', async () => (await strict.http('GET', '/me', active)).status === 503)
  await eventually('checks work again', async () => (await strict.http('GET', '/me', active)).status === 200)
  t.comment(`checks work again after ${Math.round(performance.now() - killed)} ms`)
  const revoking = () => strict.call(() => strict.app.revocation.revoke({ jti: 'x' }))
  isUnavailable(t, await revoking(), 'the promoted master has no replica: revoke()')
  t.ok(await soon(async () => ((await revoking()).cause as Error | undefined)?.message === TOO_FEW), 'that is what it says')
  t.ok(await soon(async () => (await plain.call(() => plain.app.revocation.revoke({ jti: 'y' }))).status === 200), 'without minReplicas it is acknowledged')
  t.strictSame(Object.keys(loads.elsewhere.counts).filter((name) => name.endsWith('503') && !name.startsWith('revoke ')), [], 'the slots of others were served', { counts: loads.elsewhere.counts, causes: [...loads.elsewhere.causes] })

  await masters[0].start()
  await eventually('the old master follows', async () => (await masters[0].cli('INFO', 'replication')).includes('master_link_status:up'))
  t.ok(await soon(async () => (await revoking()).status === 200), 'revocations work again')
  t.ok(await soon(async () => strict.available && replica.available), 'the stores are back')
  await eventually('the others are back', async () => plain.available && elsewhere.available)
  for (const [name, load] of Object.entries(loads)) await ends(t, name, load, name === 'elsewhere' ? PATIENCE + 1000 : IN_TIME)
  t.same(plain.lines.map(({ level }) => level), plain.lines.length === 0 ? [] : [50, 40], 'one line when it is lost, one when it is back')
})

// The servers of all would keep the process.
t.end()
