import { parseArgs } from 'node:util'
import type { SocketLoad } from './measures/sockets.ts'

export interface Settings {
  quick: boolean
  /** Revoked tokens that replicas hold, within the process; over sockets the first and the last of them. */
  entries: [number, ...number[]]
  /** Within the process: fresh processes of each row, the most of them, and in each the rounds that warm up and that count. */
  inProcess: { processes: number, most: number, warmUp: number, rounds: number }
  /** Over sockets: fresh processes of each row, the most of them, and the rounds in each; seconds. */
  sockets: { generations: Record<SocketLoad, number>, most: number, rounds: number, warmUp: number, steadyWarmUp: number, leadIn: number, seconds: number }
  revocations: { rounds: number, seconds: number, concurrency: number }
  /** `warmUp`: so many messages of each kind before: a process that has heard of none takes twice as long for each. */
  propagation: { followers: number, warmUp: number, messages: number, rounds: number, most: number, connections: number }
  start: { entries: number, processes: number }
  redisBytes: { revocations: number }
  refresh: { sessions: number, refreshes: number }
}

/** Two equals that differ by more than this: what else was measured beside them is not worth much. */
export const TOLERANCE = 0.05

const FULL: Settings = {
  quick: false,
  entries: [0, 300_000, 1_000_000],
  inProcess: { processes: 3, most: 9, warmUp: 150, rounds: 50 },
  sockets: { generations: { steady: 6, saturated: 3 }, most: 7, rounds: 4, warmUp: 1.6, steadyWarmUp: 3, leadIn: 0.1, seconds: 0.3 },
  revocations: { rounds: 3, seconds: 1, concurrency: 64 },
  propagation: { followers: 8, warmUp: 2000, messages: 400, rounds: 6, most: 12, connections: 64 },
  start: { entries: 1_000_000, processes: 3 },
  redisBytes: { revocations: 50_000 },
  // A month of access tokens of a quarter of an hour.
  refresh: { sessions: 6, refreshes: 2880 }
}

const QUICK: Settings = {
  quick: true,
  entries: [0, 100_000],
  inProcess: { processes: 1, most: 1, warmUp: 10, rounds: 20 },
  sockets: { generations: { steady: 1, saturated: 1 }, most: 1, rounds: 2, warmUp: 0.6, steadyWarmUp: 0.6, leadIn: 0.1, seconds: 0.2 },
  revocations: { rounds: 1, seconds: 0.5, concurrency: 64 },
  propagation: { followers: 8, warmUp: 50, messages: 50, rounds: 1, most: 1, connections: 64 },
  start: { entries: 100_000, processes: 1 },
  redisBytes: { revocations: 5000 },
  refresh: { sessions: 4, refreshes: 100 }
}

export interface Arguments<S extends string> {
  settings: Settings
  sections: S[]
  /** Rows to leave in, beside those that all others are compared with. */
  rows: RegExp
  /** The checkout whose package is measured. */
  from: string | undefined
}

export function argumentsOf<S extends string> (args: string[], sections: S[]): Arguments<S> {
  const { values } = parseArgs({
    args,
    options: {
      quick: { type: 'boolean', default: false },
      only: { type: 'string', multiple: true },
      rows: { type: 'string', default: '' },
      from: { type: 'string' }
    }
  })
  const only = values.only?.flatMap((list) => list.split(',')) ?? sections
  const unknown = only.filter((name) => !sections.includes(name as S))
  if (unknown.length > 0) throw new Error(`no section ${unknown.join(', ')}; there are ${sections.join(', ')}`)
  return {
    settings: values.quick ? QUICK : FULL,
    sections: sections.filter((name) => only.includes(name)),
    rows: new RegExp(values.rows),
    from: values.from
  }
}
