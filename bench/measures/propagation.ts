import { replicaName } from '../contenders/contender.ts'
import type { LoadHandlers } from '../processes/load.ts'
import type { ServerHandlers } from '../processes/server.ts'
import type { Settings } from '../settings.ts'
import { startChild } from '../support/child.ts'
import { inSession } from '../support/owner.ts'
import { Database } from '../support/redis.ts'
import { quantile } from '../support/stats.ts'
import { keysFor, tokensOf, type Token } from '../support/tokens.ts'

/** Milliseconds from the answer to a revocation until the token is refused on another process; below 0: before the answer. */
export interface Propagation {
  /** PUBLISH: the same of a bare message of Redis, which does nothing but arrive. */
  what: 'revocation' | 'PUBLISH'
  load: 'idle' | 'full load'
  samples: number
  p50: number
  p99: number
  max: number
  /** Requests per second of all followers meanwhile. */
  perSecond: number
}

/** Between two revocations, on average, in milliseconds. */
const PAUSE = 10
const PATIENCE = 10_000
/** So many of the tokens are tried by a real request on each process afterwards. */
const TRIED = 20

export function measurePropagation (settings: Settings): Promise<Propagation[]> {
  return inSession(async (session) => {
    const { followers: count, revocations, connections } = settings.propagation
    const keys = await keysFor('HS256')
    const { url: redisUrl } = await Database.start(session)
    const contender = { name: replicaName(0), kind: 'ours', mode: 'replica', entries: 0 } as const
    const generator = startChild<LoadHandlers>(session, 'load')
    await generator.call('tokens', (await tokensOf(keys, settings.tokens)).map(({ token }) => token))
    const revoker = startChild<ServerHandlers>(session, 'server')
    await revoker.call('start', { contender, keys, redisUrl })
    const followers = await Promise.all(Array.from({ length: count }, async () => {
      const server = startChild<ServerHandlers>(session, 'server')
      return { server, port: await server.call('start', { contender, keys, redisUrl }) }
    }))
    const ports = followers.map(({ port }) => port)
    await generator.call('run', { ports, connections, seconds: settings.warmUp.seconds })

    return [...await measure('idle'), ...await measure('full load')]

    async function measure (load: Propagation['load']): Promise<Propagation[]> {
      const tokens = await tokensOf(keys, revocations)
      const claims = tokens.map(({ token, ...claims }) => claims)
      await Promise.all(followers.map(({ server }) => server.call('watch', claims)))
      await Promise.all(followers.map(({ server }) => server.call('hear')))
      // Longer than the revocations take: full load makes them slower.
      const seconds = revocations * 2 * PAUSE / 1000 * 2 + 1
      const loaded = load === 'idle' ? undefined : generator.call('run', { ports, connections, seconds })
      const answered = await revoker.call('revokeEach', { tokens: claims, pause: PAUSE })
      const perSecond = (await loaded)?.perSecond ?? 0
      const delays = { revoked: [] as number[], published: [] as number[] }
      for (const { server } of followers) {
        const refused = await whenAll(tokens, (jtis) => server.call('refusedAt', jtis))
        delays.revoked.push(...refused.map((at, i) => at - answered.revoked[i]!))
        const arrived = await whenAll(tokens, (jtis) => server.call('arrivedAt', jtis))
        delays.published.push(...arrived.map((at, i) => at - answered.published[i]!))
      }
      await tryTokens(tokens.slice(-TRIED), ports)
      const row = (what: Propagation['what'], delays: number[]) => ({
        what, load, samples: delays.length, p50: quantile(delays, 0.5), p99: quantile(delays, 0.99), max: Math.max(...delays), perSecond
      })
      return [row('revocation', delays.revoked), row('PUBLISH', delays.published)]
    }
  })
}

async function whenAll (tokens: Token[], ask: (jtis: string[]) => Promise<Array<number | null>>): Promise<number[]> {
  const end = performance.now() + PATIENCE
  for (;;) {
    const moments = await ask(tokens.map(({ jti }) => jti))
    if (!moments.includes(null)) return moments as number[]
    if (performance.now() > end) throw new Error(`${moments.filter((at) => at === null).length} revocations did not reach a process`)
    await new Promise((resolve) => setTimeout(resolve, 100))
  }
}

async function tryTokens (tokens: Token[], ports: number[]) {
  for (const port of ports) {
    for (const { token } of tokens) {
      const { status } = await fetch(`http://127.0.0.1:${port}/me`, { headers: { authorization: `Bearer ${token}` } })
      if (status !== 401) throw new Error(`a process accepts a token (${status}) that it says is refused`)
    }
  }
}
