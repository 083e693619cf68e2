import { CACHED, GET, JWT, replicaName, STRICT } from '../contenders/contender.ts'
import type { MemorySample } from '../measures/memory.ts'
import type { Container } from '../processes/memory.ts'
import { MAIN_CONNECTIONS } from '../settings.ts'
import { median } from '../support/stats.ts'
import { figure, table } from './format.ts'
import { Matrix, type Cell, type Results } from './results.ts'

export interface Target {
  what: string
  limit: number
  unit: string
  found: number
  /** Below the limit, not at it. */
  below?: boolean
}

export const isReached = ({ found, limit, below = false }: Target) => below ? found < limit : found <= limit

export function targetsOf (results: Results): Target[] {
  const { propagation, memory, startUp, settings } = results
  const matrix = new Matrix(results)
  const cell: Cell = { algorithm: 'HS256', connections: MAIN_CONNECTIONS }
  const replicas = [settings.entries[0]!, settings.entries.at(-1)!].map(replicaName)
  const arrival = (load: string) => propagation.find((one) => one.what === 'revocation' && one.load === load)!.p99
  const fewest = Math.min(...memory.map(({ entries }) => entries))
  const most = Math.max(...memory.map(({ entries }) => entries))
  const full = startUp.filter(({ entries }) => entries > 0)
  const million = (entries: number) => `${figure(entries / 1e6)} million`
  return [
    ...replicas.map((name) => ({
      what: `CPU per request, ${name}, to ${JWT}`, limit: 1.05, unit: '×', found: matrix.ratio(name, JWT, 'HS256')!
    })),
    ...replicas.map((name) => ({
      what: `CPU per request, ${name}${CACHED}, to ${JWT}`, limit: 1, below: true, unit: '×', found: matrix.ratio(name + CACHED, JWT, 'HS256')!
    })),
    ...replicas.map((name) => ({
      what: `CPU per request with ES256, ${name}, to ${JWT}`, limit: 1.05, unit: '×', found: matrix.ratio(name, JWT, 'ES256')!
    })),
    ...replicas.map((name) => ({
      what: `CPU per request with ES256, ${name}${CACHED}, to ${JWT}`, limit: 1, below: true, unit: '×', found: matrix.ratio(name + CACHED, JWT, 'ES256')!
    })),
    { what: `CPU per request, ${STRICT}, to ${GET}`, limit: 0.75, unit: '×', found: matrix.ratio(STRICT, GET, 'HS256')! },
    { what: `Redis commands per request, ${STRICT}, ${MAIN_CONNECTIONS} connections`, limit: 0.15, unit: '', found: matrix.median(STRICT, 'commands', cell) },
    ...replicas.map((name) => ({ what: `Redis commands per request, ${name}`, limit: 0, unit: '', found: matrix.median(name, 'commands', cell) })),
    { what: `revoke's answer to refusal on ${settings.propagation.followers} other processes, p99, idle`, limit: 10, unit: 'ms', found: arrival('idle') },
    { what: `revoke's answer to refusal on ${settings.propagation.followers} other processes, p99, full load`, limit: 50, unit: 'ms', found: arrival('full load') },
    {
      what: `bytes per entry at ${million(fewest)}, to a Map<string, number>`,
      limit: 1 / 3,
      unit: '×',
      found: bytes(memory, 'Denylist', fewest) / bytes(memory, 'Map<string, number>', fewest)
    },
    { what: `memory of ${million(most)} entries`, limit: 500, unit: 'MB', found: bytes(memory, 'Denylist', most) / 1e6 },
    { what: `start-up with ${million(settings.startUp.entries)} entries of log`, limit: 5, unit: 's', found: median(full.filter(({ immediates }) => !immediates).map(({ ready, complete }) => Math.max(ready, complete))) / 1000 },
    { what: 'longest block of the event loop meanwhile, of all starts', limit: 50, unit: 'ms', found: Math.max(...full.map(({ delay, gap }) => Math.max(delay, gap))) }
  ]
}

export function targetTable (targets: Target[]): string {
  return table(['target', 'wanted', 'measured', ''], targets.map((target) => {
    const { what, limit, unit, found, below } = target
    return [what, `${below ? '<' : '≤'} ${Number(limit.toPrecision(3))} ${unit}`.trim(), `${found.toFixed(3)} ${unit}`.trim(), isReached(target) ? 'reached' : 'not reached']
  }))
}

function bytes (memory: MemorySample[], container: Container, entries: number): number {
  return median(memory.filter((sample) => sample.container === container && sample.entries === entries).map(({ bytes }) => bytes))
}
