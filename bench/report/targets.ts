import { AGAIN, ALONE, BY_HAND, cached, replica, strict } from '../contenders/contender.ts'
import { ratioBetween, ratioOf, type Sample } from '../measures/comparison.ts'
import { PUBLIC } from '../measures/in-process.ts'
import { p99Ratio, type Load } from '../measures/propagation.ts'
import { bytesPerEntry } from '../measures/start.ts'
import type { Found } from '../sections.ts'
import { median } from '../support/stats.ts'
import { table } from './format.ts'

interface Target {
  what: string
  limit: number
  /** Undefined: not measured. */
  found: number | undefined
  /** By lower quartiles. */
  quiet?: number | undefined
  control?: number | undefined
}

const MILLION = 1_000_000

export function targetsOf (found: Partial<Found>): Target[] {
  const { propagation, start } = found
  const ratio = (where: string, samples: Sample[] | undefined, limit: number, row: string, base = ALONE.name): Target => {
    const found = samples && ratioBetween(samples, row, base)
    return {
      what: `${where}: ${row} ÷ ${base}`,
      limit,
      found: found?.median,
      quiet: found?.quiet,
      control: samples && ratioOf(samples, AGAIN.name)!.median
    }
  }
  const arrival = (load: Load): Target => ({
    what: `revoke to refused on other processes, p99 ÷ a bare PUBLISH, ${load}`,
    limit: 1.3,
    found: propagation && p99Ratio(propagation, load, 'revocation'),
    control: propagation && p99Ratio(propagation, load, 'PUBLISH again')
  })
  const { hs256, cache, es256, tokens, forged, steady, saturated } = found
  const [empty, full] = [replica(true, 0).name, replica(true, MILLION).name]
  return [
    ratio('in one process', hs256?.samples, 0.86, empty),
    ratio('in one process', hs256?.samples, 0.89, full),
    ratio('at a fixed rate', steady?.samples, 1, empty),
    ratio('at a fixed rate', steady?.samples, 1, full),
    ratio('in one process', cache?.samples, 0.9, cached(replica(true, 0)).name),
    ratio('in one process, ES256', es256?.samples, 0.35, cached(replica(true, 0)).name),
    ratio('in one process', hs256?.samples, 1.2, strict(true).name),
    ratio('at a fixed rate', steady?.samples, 1.1, strict(true).name),
    ratio('saturated', saturated?.samples, 1, strict(true).name),
    ratio('in one process, 20,000 tokens', tokens?.samples, 0.9, empty),
    ratio('forged tokens', forged?.samples, 1.1, empty),
    ratio('forged tokens', forged?.samples, 1.1, empty + PUBLIC),
    ...[true, false].flatMap((jwt) => [
      ratio('at a fixed rate', steady?.samples, 0.75, strict(jwt).name, BY_HAND.name),
      ratio('saturated', saturated?.samples, 0.75, strict(jwt).name, BY_HAND.name)
    ]),
    ratio('in one process', hs256?.samples, 1.25, replica(false, 0).name),
    ratio('in one process', hs256?.samples, 1.25, replica(false, MILLION).name),
    arrival('idle'),
    arrival('full load'),
    { what: 'start with a full log, seconds', limit: 5, found: start && median(start.full.map(({ ready, complete }) => Math.max(ready, complete))) / 1000 },
    { what: 'the longest block of the event loop meanwhile, of all starts, ms', limit: 50, found: start && Math.max(...start.full.map(({ block }) => block)) },
    { what: 'bytes per entry ÷ those of a Map', limit: 1 / 3, found: start && bytesPerEntry(start) / (median(start.map) / start.entries) }
  ]
}

export function targetTable (targets: Target[]): string {
  const shown = (value: number | undefined) => value === undefined ? '–' : value.toFixed(3)
  return table(['what must be reached', 'target', 'measured', 'by lower quartiles', 'control', ''], targets.map(({ what, limit, found, quiet, control }) => [
    what, `≤ ${Number(limit.toPrecision(3))}`, shown(found), shown(quiet), shown(control),
    found === undefined ? 'not measured' : found <= limit ? 'reached' : 'not reached'
  ]))
}
