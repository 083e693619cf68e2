import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Proxy, ProxyMode } from '../support/proxy.ts'
import type { RedisServer } from '../support/redis.ts'
import { answering } from '../support/resp.ts'
import { now, type Fault } from './history.ts'
import type { Member } from './member.ts'
import { LOSSES, thingOf, type FaultKind, type PlannedFault } from './plan.ts'

export interface Stage {
  redis: RedisServer
  members: Map<string, { member: Member, proxy: Proxy }>
  faults: Fault[]
}

/** Begins, and gives how it ends. */
type Act = (stage: Stage, on: string, strength: number) => Promise<() => Promise<void> | void>

const MAX_DELAY = 200

const nothing = () => {}

/** Connections that have lost bytes on the way, as those of TCP never do, must not go on: answers would reach other commands. */
const linkIs = (mode: ProxyMode): Act => async ({ members }, on) => {
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
    const [, dir] = (await redis.cli('CONFIG', 'GET', 'dir')).split('\n')
    await redis.kill()
    await rm(join(dir!, 'appendonlydir'), { recursive: true, force: true })
    await rm(join(dir!, 'appendonly.aof'), { force: true })
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
  async 'link cut' ({ members }, on) {
    members.get(on)!.proxy.cut()
    return nothing
  },
  'link refused': linkIs('refuse'),
  // From what a revocation of several round trips has time for, to what no check has.
  'link delayed': async ({ members }, on, strength) => {
    const { proxy } = members.get(on)!
    await proxy.set({ delayMs: Math.round(MAX_DELAY * strength ** 2) })
    return () => proxy.set('pass')
  },
  'link half-open': linkIs('blackhole'),
  'link garbage': linkIs('garbage'),
  // Something that is the right answer to none of our commands.
  'link nonsense': linkIs({ replace: answering('$3\r\nfoo\r\n') }),
  async 'process paused' ({ members }, on) {
    const { member } = members.get(on)!
    member.pause()
    return () => member.resume()
  },
  async 'process killed' ({ members }, on) {
    const { member } = members.get(on)!
    await member.kill()
    return () => member.start()
  }
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

async function one ({ kind, on, lasts, strength }: PlannedFault, stage: Stage) {
  const fault: Fault = { kind, on, from: now(), to: Infinity, ...(LOSSES.includes(kind) && { loses: true }) }
  stage.faults.push(fault)
  const end = await ACTS[kind](stage, on, strength)
  await sleep(lasts)
  await end()
  fault.to = now()
}
