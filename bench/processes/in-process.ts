import { setImmediate as turn } from 'node:timers/promises'
import { build, whenSettled, type Running } from '../contenders/fastify.ts'
import type { Build } from '../contenders/contender.ts'
import { serve } from '../support/serve.ts'
import { shuffled } from '../support/stats.ts'

/* Contenders without a network to their clients, all in one process, so that whatever slows it down slows all down. */

export interface Row {
  what: Build
  tokens: string[]
  path: string
  status: number
  /** A token that must be refused. */
  revoked: string | undefined
}

/** Microseconds of CPU per request, of each row in its order. */
export type Costs = number[]

const AT_ONCE = 64
const REQUESTS = 256

const all: Array<Row & { running: Running }> = []

const handlers = {
  async start (rows: Row[]) {
    for (const row of rows) {
      const running = await build(row.what)
      await whenSettled(running, row.what.contender)
      all.push({ ...row, running })
      const status = row.revoked === undefined ? 401 : await running.ask('/me', row.revoked)
      if (status !== 401) throw new Error(`${row.what.contender.name} answers a revoked token with ${status}`)
    }
  },

  async run (rounds: number): Promise<Costs[]> {
    const costs: Costs[] = []
    for (let round = 0; round < rounds; round++) {
      const found: Costs = []
      for (const [i, row] of shuffled([...all.entries()])) {
        const before = process.cpuUsage()
        for (let done = 0; done < REQUESTS; done += AT_ONCE) await wave(row)
        const { user, system } = process.cpuUsage(before)
        found[i] = (user + system) / REQUESTS
      }
      costs.push(found)
    }
    return costs
  }
}

async function wave ({ running, tokens, path, status, what }: Row & { running: Running }) {
  const statuses = await Promise.all(Array.from({ length: AT_ONCE }, () =>
    running.ask(path, tokens[Math.floor(Math.random() * tokens.length)]!)))
  // Otherwise what belongs to a request is kept until the next round, and each collection of garbage copies it.
  await turn()
  const wrong = statuses.find((found) => found !== status)
  if (wrong !== undefined) throw new Error(`${what.contender.name} answered ${path} with ${wrong}`)
}

export type InProcessHandlers = typeof handlers
serve(handlers)
