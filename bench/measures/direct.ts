import { contendersWith } from '../contenders/contender.ts'
import type { DirectHandlers, DirectResult } from '../processes/direct.ts'
import type { Settings } from '../settings.ts'
import { startChild } from '../support/child.ts'
import { inSession } from '../support/owner.ts'
import { keysFor, tokensOf } from '../support/tokens.ts'
import type { Databases } from './databases.ts'

export interface DirectSample extends DirectResult {
  round: number
}

/** Room for all that a window of requests allocates, in MB, so that nothing is collected while it is counted. */
const YOUNG_GENERATION = 64

/** The cost of a request inside the server's process: no client, no socket, no parsing of HTTP. */
export function measureDirect (settings: Settings, databases: Databases): Promise<DirectSample[]> {
  return inSession(async (session) => {
    const keys = await keysFor('HS256')
    const tokens = (await tokensOf(keys, settings.tokens)).map(({ token }) => token)
    const child = startChild<DirectHandlers>(session, 'direct', [
      '--expose-gc', `--min-semi-space-size=${YOUNG_GENERATION}`, `--max-semi-space-size=${YOUNG_GENERATION}`
    ])
    const whats = contendersWith(settings.entries).map((contender) => ({ contender, keys, redisUrl: databases.of(contender).database.url }))
    await child.call('start', { whats, tokens })
    const { rounds, seconds } = settings.direct
    const samples: DirectSample[] = []
    // The first round warms up.
    for (let round = -1; round < rounds; round++) {
      const results = await child.call('run', seconds)
      if (round >= 0) samples.push(...results.map((result) => ({ round, ...result })))
    }
    return samples
  })
}
