import { replica, type Contender } from '../contenders/contender.ts'
import type { LoadHandlers } from '../processes/load.ts'
import { MESSAGES, type Message, type Moments, type ServerHandlers } from '../processes/server.ts'
import { TOLERANCE } from '../settings.ts'
import type { Bench } from '../support/bench.ts'
import { inSession } from '../support/owner.ts'
import { Database } from '../support/redis.ts'
import { quantile } from '../support/stats.ts'
import { keysFor, tokensOf, type Token } from '../support/tokens.ts'
import { tryTokens } from './trial.ts'

export type Load = 'idle' | 'full load'

/** Milliseconds from the answer to the sender until the message took effect in another process; below 0: before the answer. */
export interface Propagation {
  delays: Record<Load, Record<Message, number[]>>
  /** Requests per second of all followers under full load, of each round. */
  perSecond: number[]
}

/** Between two messages, on average, in milliseconds. */
const PAUSE = 5
const PATIENCE = 10_000
/** Seconds. */
const WARM_UP = 2
/** So many of the tokens are tried by a real request on each process afterwards. */
const TRIED = 20
/** The ways to register differ in nothing that is measured here. */
export const FOLLOWER: Contender = replica(false, 0)

const none = (): Record<Message, number[]> => ({ revocation: [], PUBLISH: [], 'PUBLISH again': [], XREAD: [] })
export const p99 = (found: Propagation, load: Load, message: Message) => quantile(found.delays[load][message], 0.99)

/** To that of a bare PUBLISH. */
export const p99Ratio = (found: Propagation, load: Load, message: Message) => p99(found, load, message) / p99(found, load, 'PUBLISH')

export function measurePropagation (bench: Bench): Promise<Propagation> {
  return inSession(async (session) => {
    const { followers: count, warmUp, messages, connections, rounds, most } = bench.settings.propagation
    const keys = await keysFor('HS256')
    const { url: redisUrl } = await Database.start(session)
    const generator = bench.start<LoadHandlers>(session, 'load')
    await generator.call('tokens', (await tokensOf(keys, 1250)).map(({ token }) => token))
    const revoker = bench.start<ServerHandlers>(session, 'server')
    await revoker.call('start', { contender: FOLLOWER, keys, redisUrl })
    const followers = await Promise.all(Array.from({ length: count }, async () => {
      const server = bench.start<ServerHandlers>(session, 'server')
      return { server, port: await server.call('start', { contender: FOLLOWER, keys, redisUrl }) }
    }))
    const ports = followers.map(({ port }) => port)
    await generator.call('run', { ports, connections, seconds: WARM_UP })
    await send(warmUp, 0)

    const found: Propagation = { delays: { idle: none(), 'full load': none() }, perSecond: [] }
    for (let round = 0; round < most && (round < rounds || !isSettled()); round++) {
      await measure('idle')
      let goesOn = true
      const loaded = loadWhile(() => goesOn)
      await measure('full load').finally(() => { goesOn = false })
      found.perSecond.push(await loaded)
    }
    return found

    function isSettled (): boolean {
      return (['idle', 'full load'] as const).every((load) => Math.abs(p99Ratio(found, load, 'PUBLISH again') - 1) <= TOLERANCE)
    }

    async function loadWhile (goesOn: () => boolean): Promise<number> {
      const rates: number[] = []
      while (goesOn()) rates.push((await generator.call('run', { ports, connections, seconds: 2 })).perSecond)
      return quantile(rates, 0.5)
    }

    /** The sender follows the log like the others, so it hears the other messages as well. */
    async function send (count: number, pause: number) {
      const tokens = await tokensOf(keys, count)
      const claims = tokens.map(({ token, ...claims }) => claims)
      await Promise.all([revoker, ...followers.map(({ server }) => server)].map((server) => server.call('watch', claims)))
      return { tokens, answered: await revoker.call('sendEach', { tokens: claims, pause }) }
    }

    async function measure (load: Load) {
      const { tokens, answered } = await send(messages, PAUSE)
      for (const { server } of followers) {
        const arrived = await whenAll(tokens, (jtis) => server.call('arrivals', jtis))
        for (const message of MESSAGES) {
          found.delays[load][message].push(...arrived[message].map((at, i) => at! - answered[message][i]!))
        }
      }
      await tryTokens(tokens.slice(-TRIED), ports)
    }
  })
}

async function whenAll (tokens: Token[], ask: (jtis: string[]) => Promise<Moments>): Promise<Moments> {
  const end = performance.now() + PATIENCE
  for (;;) {
    const moments = await ask(tokens.map(({ jti }) => jti))
    const missing = Object.values(moments).flat().filter((at) => at === null).length
    if (missing === 0) return moments
    if (performance.now() > end) throw new Error(`${missing} messages did not reach a process`)
    await new Promise((resolve) => setTimeout(resolve, 100))
  }
}
