import { setTimeout as sleep } from 'node:timers/promises'
import type { RevocationOptions } from '../../lib/index.ts'
import { startProxy, type Proxy } from '../support/proxy.ts'
import { startRedis, type Owner } from '../support/redis.ts'
import { Client } from './client.ts'
import { RefreshingClient } from './refreshing-client.ts'
import { PUT_BACK } from './durability.ts'
import { happen } from './faults.ts'
import { now, outcomeOf, type Fault, type History, type Interval, type Mode, type Run } from './history.ts'
import { Member, USER } from './member.ts'
import { plan, type PlannedFault } from './plan.ts'
import { Random } from './random.ts'
import { isAlive, ROUTES, send, type World } from './world.ts'
import type { Milliseconds } from '../../lib/time.ts'

export interface ChaosOptions {
  seed: number
  seconds: number
  /** In the place of those of the plugin in every process. */
  revocation?: RevocationOptions
}

const MEMBERS: Array<[name: string, mode: Mode]> = [['strict-1', 'strict'], ['strict-2', 'strict'], ['replica-1', 'replica'], ['replica-2', 'replica']]
const CLIENTS = 6
const REFRESHING_CLIENTS = 5
/** In seconds: sessions end within a run, and a grace passes often. */
const REFRESH = { expiresIn: 60, grace: 2 }
const STORE_TIMEOUT = 300
const MAX_STALENESS = 1000
/** With the margin of 10 s it lets tokens pass that were signed by a clock that is MAX_SIGNING_AHEAD. */
const MAX_TOKEN_LIFETIME = 60
/** After the last fault: what was lost is put back, and everything answers again. */
const SETTLING: Milliseconds = PUT_BACK + 500
const MAX_SWEPT = 100
const SWEEP_TRIES = 5

/** The faults of a run. */
export function planOf ({ seed, seconds }: ChaosOptions): PlannedFault[] {
  return plan(new Random(seed), MEMBERS.map(([name]) => name), faultsEnd(seconds), SETTLING)
}

function faultsEnd (seconds: number): Milliseconds {
  return Math.max(seconds * 1000 - SETTLING, 1000)
}

/** Lets everything happen, and gives what did. */
export async function chaos (t: Owner, options: ChaosOptions): Promise<History> {
  // The user is an argument, so that Redis knows it after each start.
  const user = ['--user', USER.name, 'on', `>${USER.password}`, '~*', '&*', '+@all']
  const redis = await startRedis(t, { persist: true, args: user })
  const runs: Run[] = []
  const faults: Fault[] = []
  const members = new Map<string, { member: Member, proxy: Proxy }>()
  for (const [name, mode] of MEMBERS) {
    const proxy = await startProxy(t, redis)
    const own = {
      redis: `redis://${USER.name}:${USER.password}@127.0.0.1:${proxy.port}`,
      storeTimeout: STORE_TIMEOUT,
      maxTokenLifetime: MAX_TOKEN_LIFETIME,
      refresh: REFRESH,
      ...(mode === 'replica' && { maxStaleness: MAX_STALENESS }),
      ...options.revocation
    }
    members.set(name, { member: new Member(t, name, mode, own, runs), proxy })
  }
  const world: World = { members: [...members.values()].map(({ member }) => member), requests: [], tokens: [], revoked: [], ended: [], grace: REFRESH.grace * 1000 }
  await Promise.all(world.members.map((member) => member.start()))

  const stalls = watchStalls(t)
  const started = now()
  const random = new Random(options.seed).fork()
  const end = { at: started + faultsEnd(options.seconds) + SETTLING }
  const clients = Array.from({ length: CLIENTS }, (_, i) => new Client(world, random.fork(), `client-${i}`).run(end))
  const refreshing = Array.from({ length: REFRESHING_CLIENTS }, (_, i) => new RefreshingClient(world, random.fork(), `device-${i}`))
  const devices = refreshing.map((client) => client.run(end))
  // A process may have taken long to come back.
  const quiet = happen(planOf(options), { redis, members, faults, copies: [] }).then(() => { end.at = Math.max(end.at, now() + SETTLING) })
  await Promise.all([quiet, ...clients, ...devices])
  // First: an access token that was given to the end is asked for as well.
  await Promise.all(refreshing.map((client) => client.settle()))
  await sweep(world, random.fork())
  // What they said may still be on its way.
  await Promise.all(world.members.map((member) => member.kill()))

  const tokens = world.tokens.map(({ token: _, ...known }) => known)
  return { started, epoch: Date.now() - now(), storeTimeout: STORE_TIMEOUT, maxStaleness: MAX_STALENESS, grace: world.grace, runs, faults, stalls, tokens, requests: world.requests }
}

/** In the end every process knows of each token what is to be known. */
async function sweep (world: World, random: Random) {
  const alive = world.tokens.filter((held) => isAlive(held)).slice(-MAX_SWEPT)
  await Promise.all(world.members.map(async (member) => {
    for (const held of alive) {
      // The last answer counts: a machine that is busy with something else may make one late.
      for (let tries = 1; tries <= SWEEP_TRIES; tries++) {
        const answer = await send(world, { member, turns: 1, method: 'GET', path: random.pick(ROUTES), held })
        const isAnswered = answer !== undefined && !['unavailable', 'unreachable'].includes(outcomeOf(answer.request))
        if (answer !== undefined && (isAnswered || tries === SWEEP_TRIES)) answer.request.settled = true
        if (isAnswered) break
        await sleep(500)
      }
    }
  }))
}

/** When this process, and with it the clients and the proxies, did not run. */
function watchStalls (t: Owner): Interval[] {
  const interval = 50
  const stalls: Interval[] = []
  let last = now()
  const timer = setInterval(() => {
    const at = now()
    if (at - last > 3 * interval) stalls.push({ from: last, to: at })
    last = at
  }, interval)
  t.after(() => clearInterval(timer))
  return stalls
}
