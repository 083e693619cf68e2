import { Cluster as Client, Redis } from 'ioredis'
import t, { type Test } from 'tap'
import { commandsOf } from '../../../lib/stores/redis/topology.ts'
import { scanDenylist } from '../../../lib/stores/replica/scan.ts'
import { ownPrefix } from '../../support/app.ts'
import { startProxy } from '../../support/proxy.ts'
import { eventually, startCluster, startRedis, type RedisServer } from '../../support/redis.ts'
import { openNode, soon, startNode } from '../../support/replica.ts'
import { on } from '../../support/stores.ts'

/* On a cluster the log and the keys stand on several nodes, each of which may lose its own. */

const { nodes, servers } = await startCluster(t)

function connect (t: Test, options = {}) {
  const client = new Client(nodes, options)
  client.on('error', () => {})
  t.teardown(() => client.disconnect())
  return client
}

const slotOf = async (key: string) => Number(await servers[0]!.cli('CLUSTER', 'KEYSLOT', key))
const nodeOf = async (key: string) => Math.floor(await slotOf(key) * 3 / 16_384)

/** A name whose key stands on that node. */
async function nameOn (node: number, keyPrefix: string, kind = 'revoked'): Promise<string> {
  for (let i = 0; ; i++) if (await nodeOf(`${keyPrefix}${kind}:${i}`) === node) return String(i)
}

/** The log's node, and the two others. */
async function places (keyPrefix: string) {
  const log = await nodeOf(`${keyPrefix}log`)
  return { log, others: [0, 1, 2].filter((node) => node !== log) as [number, number] }
}

/** What a node that takes over without its last writes does to the log; the rest of the keys stays. */
async function rewind (t: Test, server: RedisServer, keyPrefix: string) {
  const client = new Redis(server.url)
  client.on('error', () => {})
  t.teardown(() => client.disconnect())
  const older = await client.dumpBuffer(`${keyPrefix}log`)
  return () => client.restore(`${keyPrefix}log`, 0, older, 'REPLACE')
}

const words = async (server: RedisServer, keyPrefix: string) => await server.cli('XRANGE', `${keyPrefix}log`, '-', '+')

t.test('P1 P8 a process that starts after the log has lost its last entries refuses what the keys of other nodes say, and puts it back into the log', async (t) => {
  const keyPrefix = ownPrefix()
  const client = connect(t)
  const { log, others } = await places(keyPrefix)
  const names = await Promise.all(others.map((node) => nameOn(node, keyPrefix)))
  const subject = await nameOn(others[0], keyPrefix, 'cutoff')
  const writer = await openNode(t, client, { mode: 'strict', keyPrefix })
  await writer.revoke('before')
  await on(writer.store).cutOff(subject, soon(-60), soon(900))
  const lose = await rewind(t, servers[log]!, keyPrefix)
  for (const name of names) await writer.revoke(name)
  await on(writer.store).cutOff(subject, soon(0), soon(900))
  await lose()
  t.notOk((await words(servers[log]!, keyPrefix)).includes(`revoked:${names[0]} `), 'the log is an older one')

  const late = await openNode(t, client, { keyPrefix })
  await late.store.start()
  t.type(late.store.status.copy.stalenessMs, 'number', 'it is in step')
  for (const name of ['before', ...names]) t.ok(late.store.denials.copy.isRevoked(name), name)
  t.ok(late.store.denials.copy.cutoffOf(subject)! >= soon(-5), 'the later cutoff')
  t.equal(await late.ask('other'), 'accepted')
  t.same(late.heard, [], 'what was there before is no news')
  await eventually('the log has it all again', async () => {
    const text = await words(servers[log]!, keyPrefix)
    return names.every((name) => text.includes(`revoked:${name} `)) && text.split(`cutoff:${subject} `).length === 3
  })
  await eventually('it has heard of it', async () => [...late.store.denials.copy.entries(true)].flat().length === 0)
})

t.test('P1 a replica whose log went on without entries that it had not read reads the keys', async (t) => {
  const keyPrefix = ownPrefix()
  const { log, others } = await places(keyPrefix)
  const proxies = await Promise.all(servers.map((server) => startProxy({ after: (fn) => t.teardown(fn) }, server)))
  const natMap = Object.fromEntries(servers.map(({ host, port }, i) => [`${host}:${port}`, { host, port: proxies[i]!.port }]))
  const writer = await openNode(t, connect(t), { mode: 'strict', keyPrefix })
  await writer.revoke('before')
  const node = await startNode(t, connect(t, { natMap }), { keyPrefix, maxStaleness: 1000 })
  const lose = await rewind(t, servers[log]!, keyPrefix)
  const name = await nameOn(others[0], keyPrefix)
  await proxies[log]!.set('refuse')
  await writer.revoke(name)
  // It comes up with an older log, as from a file that was not written to the end.
  await servers[log]!.kill()
  await servers[log]!.start()
  await eventually('the cluster is whole', async () => /^cluster_state:ok/m.test(await servers[log]!.cli('CLUSTER', 'INFO')))
  await lose()
  await proxies[log]!.set('pass')
  await eventually('it knows', async () => node.store.denials.copy.isRevoked(name))
  t.same(node.heard.filter((entry) => entry.name === name).length, 1, 'and it is told')
  await eventually('the log has it again', async () => (await words(servers[log]!, keyPrefix)).includes(`revoked:${name} `))
})

t.test('P1 while a slot moves a process that starts counts on Redis, and on what it has read when it has moved', async (t) => {
  const keyPrefix = ownPrefix()
  const { log, others: [from, to] } = await places(keyPrefix)
  const [source, target] = [servers[from]!, servers[to]!]
  const writer = await openNode(t, connect(t), { mode: 'strict', keyPrefix })
  const name = await nameOn(from, keyPrefix)
  const slot = await slotOf(`${keyPrefix}revoked:${name}`)
  const [sourceId, targetId] = [await source.cli('CLUSTER', 'MYID'), await target.cli('CLUSTER', 'MYID')]
  await writer.revoke('before')
  const lose = await rewind(t, servers[log]!, keyPrefix)
  await writer.revoke(name)
  await lose()

  await target.cli('CLUSTER', 'SETSLOT', slot, 'IMPORTING', sourceId)
  await source.cli('CLUSTER', 'SETSLOT', slot, 'MIGRATING', targetId)
  const warnings: string[] = []
  const node = await openNode(t, connect(t), { keyPrefix, maxStaleness: 5000, onWarning: (sentence) => warnings.push(sentence) })
  const started = node.store.start()
  for (const moved of ['nothing', 'its keys']) {
    if (moved === 'its keys') {
      const keys = (await source.cli('CLUSTER', 'GETKEYSINSLOT', slot, 100)).split('\n')
      await source.cli('MIGRATE', target.host, target.port, '', 0, 5000, 'KEYS', ...keys)
    }
    const tries = () => source.commandCalls('cluster|nodes')
    const before = await tries()
    await eventually('it has tried again', async () => await tries() > before + 2)
    t.equal(node.store.status.copy.stalenessMs, undefined, `moved ${moved}: it is not in step`)
    t.equal(await node.ask(name), 'refused', `moved ${moved}`)
    t.equal(await node.ask('other'), 'accepted', `moved ${moved}`)
  }
  t.same(node.events, [], 'the store is not lost: it answers')
  t.match(warnings.filter((sentence) => sentence.startsWith('each check')), [/^each check asks Redis as long as this holds: slots of the cluster are moving: \[\d+-[<>]-[0-9a-f]+\]$/], 'and that is said, once')
  const said = warnings.length

  for (const server of [target, source, servers[log]!]) await server.cli('CLUSTER', 'SETSLOT', slot, 'NODE', targetId)
  await started
  await eventually('it is in step', async () => node.store.status.copy.stalenessMs! < 500)
  t.ok(node.store.denials.copy.isRevoked(name))
  t.equal(await node.ask(name), 'refused')
  t.equal(warnings.length, said)
  await giveBack(slot)
})

/** As the cluster was at its start. */
async function giveBack (slot: number) {
  const from = (await Promise.all(servers.map(async (server) => ({ server, id: await server.cli('CLUSTER', 'MYID') }))))
  const owner = from[Math.floor(slot * 3 / 16_384)]!
  const holder = from.find(({ id }) => id !== owner.id)!
  for (const { server } of from) {
    const keys = (await server.cli('CLUSTER', 'GETKEYSINSLOT', slot, 100)).split('\n').filter(Boolean)
    if (keys.length > 0 && server !== owner.server) {
      await owner.server.cli('CLUSTER', 'SETSLOT', slot, 'IMPORTING', holder.id)
      await server.cli('DEL', ...keys)
    }
  }
  for (const { server } of from) await server.cli('CLUSTER', 'SETSLOT', slot, 'NODE', owner.id)
}

type Nodes = ReturnType<Client['nodes']>

/** Reads all keys, and gives their names; `during` once the first of them have come. */
async function scan (client: Client | Redis, keyPrefix: string, during?: () => Promise<unknown>): Promise<string[]> {
  const names: string[] = []
  for await (const part of scanDenylist({ redis: commandsOf({ client }), keyPrefix, within: (call) => call(), now: Date.now })) {
    names.push(...part.map(({ name }) => name))
    await during?.()
    during = undefined
  }
  return names.sort()
}

t.test('a walk over the keys counts where it came by every slot, once, and no slot moved', async (t) => {
  const keyPrefix = ownPrefix()
  const client = connect(t, { slotsRefreshInterval: 0 })
  const writer = await openNode(t, client, { mode: 'strict', keyPrefix })
  const names = Array.from({ length: 30 }, (_, i) => String(i)).sort()
  for (const name of names) await writer.revoke(name)
  const all = client.nodes('master')
  t.equal(all.length, 3)
  t.strictSame(await scan(client, keyPrefix), names)

  const { nodes } = client
  const shows = (masters: Nodes) => { client.nodes = () => masters }
  t.teardown(() => { client.nodes = nodes })
  for (const [what, masters, message] of [
    ['none', [], /^0 of the cluster's masters say that they have slot 0$/],
    ['one missing', all.slice(1), /^0 of the cluster's masters say that they have slot \d+$/],
    ['one twice', [...all, all[0]!], /^2 of the cluster's masters say that they have slot \d+$/]
  ] as const) {
    shows([...masters])
    await t.rejects(scan(client, keyPrefix), { message }, what)
  }
  shows(all)

  const slot = 100
  const ids = await Promise.all(servers.map((server) => server.cli('CLUSTER', 'MYID')))
  const setSlot = async (on: RedisServer[], ...state: string[]) => { for (const server of on) await server.cli('CLUSTER', 'SETSLOT', slot, ...state) }
  const [owner, other] = servers as [RedisServer, RedisServer]
  const moving = { message: /^slots of the cluster are moving: \[100-[<>]-[0-9a-f]{40}\]$/ }
  await setSlot([other], 'IMPORTING', ids[0]!)
  await t.rejects(scan(client, keyPrefix), moving, 'one comes')
  await setSlot([other], 'STABLE')
  await setSlot([owner], 'MIGRATING', ids[1]!)
  await t.rejects(scan(client, keyPrefix), moving, 'one goes')
  await setSlot([owner], 'STABLE')
  t.strictSame(await scan(client, keyPrefix), names)
  await t.rejects(scan(client, keyPrefix, () => setSlot([owner], 'MIGRATING', ids[1]!)), moving, 'one begins to go meanwhile')
  await setSlot([owner], 'STABLE')
  await t.rejects(scan(client, keyPrefix, () => setSlot([other, owner], 'NODE', ids[1]!)), { message: /^(?:slots of the cluster have moved while keys were read|0 of the cluster's masters say that they have slot 100)$/ }, 'one goes meanwhile')
  await eventually('all masters have heard of it', () => scan(client, keyPrefix).then(() => true, () => false))
  t.strictSame(await scan(client, keyPrefix), names)
  await setSlot([owner, other], 'NODE', ids[0]!)

  all[1]!.call = async () => 'nonsense'
  await t.rejects(scan(client, keyPrefix), { message: 'Redis answered nonsense about the cluster' })
})

t.test('one node: a cursor of a lost connection is worth nothing', async (t) => {
  const server = await startRedis({ after: (fn) => t.teardown(fn) })
  const single = new Redis(server.url)
  t.teardown(() => single.disconnect())
  await single.set('r:revoked:a', '{"at":5,"exp":null}')
  const cut = async () => {
    const closed = new Promise((resolve) => single.once('close', resolve))
    single.disconnect(true)
    await closed
  }
  await t.rejects(scan(single, 'r:', cut), { message: 'the connection was lost while keys were read' })
  t.equal(single.listenerCount('close'), 0)
})

// The servers of all would keep the process.
t.end()
