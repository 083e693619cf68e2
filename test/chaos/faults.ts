import { readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Proxy, ProxyMode } from '../support/proxy.ts'
import type { RedisServer } from '../support/redis.ts'
import { answering } from '../support/resp.ts'
import { now, type Fault, type Interval } from './history.ts'
import { USER, type Member } from './member.ts'
import { clockOf, commandOf, LOSSES, thingOf, type FaultKind, type PlannedFault } from './plan.ts'

/** Everything that Redis held at a moment of the interval, as a file that Redis starts from. */
export interface Copy extends Interval {
  file: Buffer
}

export interface Stage {
  redis: RedisServer
  members: Map<string, { member: Member, proxy: Proxy }>
  faults: Fault[]
  /** The oldest first. */
  copies: Copy[]
}

/** Begins, and gives how it ends. `fault` is what the history will say of it. */
type Act = (stage: Stage, planned: PlannedFault, fault: Fault) => Promise<() => Promise<void> | void>

const MAX_DELAY = 200
const MAX_COPIES = 4

const nothing = () => {}

/** Connections that have lost bytes on the way, as those of TCP never do, must not go on: answers would reach other commands. */
const linkIs = (mode: ProxyMode): Act => async ({ members }, { on }) => {
  const { proxy } = members.get(on)!
  await proxy.set(mode)
  return async () => {
    proxy.cut()
    await proxy.set('pass')
  }
}

const ACTS: Record<FaultKind, Act> = {
  async 'redis killed' ({ redis }) {
    await redis.kill()
    return () => redis.start()
  },
  async 'redis replaced' ({ redis }) {
    const dir = await folderOf(redis)
    await redis.kill()
    await removeData(dir)
    return () => redis.start()
  },
  async 'redis paused' ({ redis }) {
    redis.pause()
    return () => redis.resume()
  },
  async 'memory full' ({ redis }) {
    const used = /^used_memory:(\d+)/m.exec(await redis.cli('INFO', 'memory'))![1]!
    await redis.cli('CONFIG', 'SET', 'maxmemory-policy', 'noeviction', 'maxmemory', used)
    return async () => { await redis.cli('CONFIG', 'SET', 'maxmemory', 0) }
  },
  async 'everything flushed' ({ redis }) {
    await redis.cli('FLUSHALL')
    return nothing
  },
  async 'clients killed' ({ redis }) {
    await redis.cli('CLIENT', 'KILL', 'TYPE', 'normal')
    return nothing
  },
  async 'scripts flushed' ({ redis }) {
    await redis.cli('SCRIPT', 'FLUSH')
    return nothing
  },
  async 'command forbidden' ({ redis }, { strength }, fault) {
    fault.what = commandOf(strength)
    await redis.cli('ACL', 'SETUSER', USER.name, `-${fault.what}`)
    return async () => { await redis.cli('ACL', 'SETUSER', USER.name, `+${fault.what}`) }
  },
  async 'log restored' ({ redis, copies }, { strength }, fault) {
    // The last one was taken just now: it is restored where there is no other.
    const { file, from, to } = copies[Math.floor(strength * (copies.length - 1))]!
    fault.copied = { from, to }
    const dir = await folderOf(redis)
    await redis.kill()
    await removeData(dir)
    await writeFile(join(dir, 'appendonly.aof'), file)
    return () => redis.start()
  },
  async 'link cut' ({ members }, { on }) {
    members.get(on)!.proxy.cut()
    return nothing
  },
  'link refused': linkIs('refuse'),
  // From what a revocation of several round trips has time for, to what no check has.
  'link delayed': async ({ members }, { on, strength }) => {
    const { proxy } = members.get(on)!
    await proxy.set({ delayMs: Math.round(MAX_DELAY * strength ** 2) })
    return () => proxy.set('pass')
  },
  'link half-open': linkIs('blackhole'),
  'link garbage': linkIs('garbage'),
  // Something that is the right answer to none of our commands.
  'link nonsense': linkIs({ replace: answering('$3\r\nfoo\r\n') }),
  async 'process paused' ({ members }, { on }) {
    const { member } = members.get(on)!
    member.pause()
    return () => member.resume()
  },
  async 'process killed' ({ members }, { on }) {
    const { member } = members.get(on)!
    await member.kill()
    return () => member.start()
  },
  async 'clock ahead' ({ members }, planned, fault) {
    const { member } = members.get(planned.on)!
    const clock = clockOf(planned)
    fault.what = `${clock.by / 1000} s`
    await member.kill()
    await member.start(clock)
    return async () => {
      await member.kill()
      await member.start()
    }
  }
}

async function folderOf (redis: RedisServer): Promise<string> {
  return (await redis.cli('CONFIG', 'GET', 'dir')).split('\n')[1]!
}

/** Both forms: of Redis 6 and of those that came later. */
async function removeData (dir: string) {
  await rm(join(dir, 'appendonlydir'), { recursive: true, force: true })
  await rm(join(dir, 'appendonly.aof'), { force: true })
}

/** An append-only file may begin with a snapshot: every version of Redis starts from one that is nothing else. */
async function copyOf (redis: RedisServer): Promise<Copy> {
  const from = now()
  await redis.cli('SAVE')
  const to = now()
  return { from, to, file: await readFile(join(await folderOf(redis), 'dump.rdb')) }
}

/** Makes everything happen that is planned. Resolves when all of it is over. */
export async function happen (plan: PlannedFault[], stage: Stage): Promise<void> {
  const started = now()
  /** A process may take longer to start than it was to be away. */
  const busy = new Map<string, Promise<void>>()
  const all = plan.map(async (fault) => {
    await sleep(Math.max(fault.at - (now() - started), 0))
    const thing = thingOf(fault)
    const before = busy.get(thing)
    const during = (async () => {
      await before
      await one(fault, stage)
    })()
    busy.set(thing, during)
    await during
  })
  await Promise.all(all)
}

async function one (planned: PlannedFault, stage: Stage) {
  const { kind, on, lasts } = planned
  const fault: Fault = { kind, on, from: now(), to: Infinity, ...(LOSSES.includes(kind) && { loses: true }) }
  stage.faults.push(fault)
  // Redis is whole before each of its faults.
  if (on === 'redis') stage.copies = [...stage.copies, await copyOf(stage.redis)].slice(-MAX_COPIES)
  const end = await ACTS[kind](stage, planned, fault)
  await sleep(lasts)
  await end()
  fault.to = now()
}
