import { AGAIN, ALONE, bothWays, BY_HAND, cached, FLOOR, OPEN, replica, strict, type Contender } from '../contenders/contender.ts'
import type { Costs, InProcessHandlers } from '../processes/in-process.ts'
import type { Bench } from '../support/bench.ts'
import { inSession } from '../support/owner.ts'
import { keysFor, tokensOf, type Algorithm, type Keys } from '../support/tokens.ts'
import { isSettled, type Sample } from './comparison.ts'

export interface Group {
  title: string
  algorithm: Algorithm
  /** Different ones, drawn at random. */
  tokens: number
  rows: (entries: number[]) => Contender[]
  /** Signed by somebody else: the routes that are asked, of which the first refuses them. */
  forged?: boolean
}

export interface Compared {
  samples: Sample[]
}

/** Fewer than `verify.cache: true` holds. */
const FITTING = 500

export const GROUPS = {
  hs256: {
    title: 'HS256',
    algorithm: 'HS256',
    tokens: 1250,
    rows: (entries) => [
      OPEN, FLOOR, ...entries.flatMap((count) => bothWays((jwt) => replica(jwt, count))), ...bothWays(strict), BY_HAND
    ]
  },
  cache: {
    title: 'HS256 with `verify.cache`',
    algorithm: 'HS256',
    tokens: FITTING,
    rows: () => [cached(ALONE), ...bothWays((jwt) => cached(replica(jwt, 0)))]
  },
  es256: {
    title: 'ES256',
    algorithm: 'ES256',
    tokens: FITTING,
    rows: () => [FLOOR, ...bothWays((jwt) => replica(jwt, 0)), cached(ALONE), ...bothWays((jwt) => cached(replica(jwt, 0)))]
  },
  tokens: {
    title: 'HS256, 20,000 different tokens',
    algorithm: 'HS256',
    tokens: 20_000,
    rows: () => bothWays((jwt) => replica(jwt, 0))
  },
  forged: {
    title: 'Forged tokens, HS256',
    algorithm: 'HS256',
    tokens: 1250,
    forged: true,
    rows: () => [...bothWays((jwt) => replica(jwt, 0)), ...bothWays(strict)]
  }
} satisfies Record<string, Group>

export const PUBLIC = ', public route'

/**
 * Each row in a process of its own, with the two equals that it is compared with. A service has one application: where a
 * dozen share the code of one package, V8 optimises that code for none of them.
 */
export async function measureInProcess (bench: Bench, group: Group): Promise<Compared> {
  const keys = { good: await keysFor(group.algorithm), other: await keysFor(group.algorithm) }
  const tokens = (await tokensOf(group.forged ? keys.other : keys.good, group.tokens)).map(({ token }) => token)
  const samples: Sample[] = []
  for (const contender of group.rows(bench.settings.entries).filter(({ name }) => bench.rows.test(name))) {
    const first = Math.max(0, ...samples.map(({ round }) => round + 1))
    const found = await measureRow(bench, { contender, keys: keys.good, tokens, forged: group.forged === true })
    samples.push(...found.map((sample) => ({ ...sample, round: first + sample.round })))
  }
  return { samples }
}

interface RowOptions {
  contender: Contender
  keys: Keys
  tokens: string[]
  forged: boolean
}

/**
 * In fresh processes, until two equals are equal: V8 compiles the same code now better and now worse, and what a process has
 * compiled it keeps.
 */
async function measureRow (bench: Bench, options: RowOptions): Promise<Sample[]> {
  const { processes, most } = bench.settings.inProcess
  const samples: Sample[] = []
  for (let done = 0; done < most && (done < processes || !isSettled(samples)); done++) {
    samples.push(...await measureOnce(bench, options, samples.length))
  }
  return samples
}

/** The rows ask one after the other in each round. */
function measureOnce (bench: Bench, { contender: asked, keys, tokens, forged }: RowOptions, first: number): Promise<Sample[]> {
  return inSession(async (session) => {
    const { warmUp, rounds } = bench.settings.inProcess
    const protectedOnes = await Promise.all([ALONE, AGAIN, asked].map(async (contender) => {
      const { database, seeded } = await bench.filled(contender.entries)
      const revoked = seeded === undefined ? undefined : (await tokensOf(keys, 1, [seeded]))[0]!.token
      return { what: { contender, keys, redisUrl: database.url }, tokens, path: '/me', status: forged ? 401 : 200, revoked }
    }))
    const open = forged ? protectedOnes.map((row) => ({ ...row, path: '/public', status: 200 })) : []
    const all = [...protectedOnes, ...open]
    const names = all.map(({ what: { contender: { name } }, path }) => path === '/public' ? name + PUBLIC : name)

    const child = bench.start<InProcessHandlers>(session, 'in-process')
    await child.call('start', all)
    await child.call('run', warmUp)
    const costs = await child.call('run', rounds)
    return costs.flatMap((found: Costs, round) => found.map((cpu, i) => ({ row: names[i]!, round: first + round, cpu })))
  })
}
