import { AGAIN, ALONE } from '../contenders/contender.ts'
import { TOLERANCE } from '../settings.ts'
import { median, quantile } from '../support/stats.ts'

/** What a row cost in one round. */
export interface Sample {
  row: string
  round: number
  /** Microseconds of CPU per request. */
  cpu: number
}

export interface Ratio {
  /** Of the ratios within each round: what slowed the round down slowed both. */
  median: number
  /** Lower quartile to lower quartile: the rounds that were disturbed least. */
  quiet: number
}

/** To what it is compared with in its own process. Undefined where it was not measured. */
export function ratioOf (samples: Sample[], row: string): Ratio | undefined {
  const costs = costsOf(samples, row)
  const bases = costsOf(samples, ALONE.name)
  if (costs.size === 0) return undefined
  return {
    median: median([...costs].map(([round, cpu]) => cpu / bases.get(round)!)),
    quiet: quantile(costs.values(), 0.25) / quantile([...costs.keys()].map((round) => bases.get(round)!), 0.25)
  }
}

/** Of two rows that never shared a process: by what each cost beside its own neighbour. */
export function ratioBetween (samples: Sample[], row: string, base: string): Ratio | undefined {
  const [ratio, other] = [ratioOf(samples, row), ratioOf(samples, base)]
  return ratio && other && { median: ratio.median / other.median, quiet: ratio.quiet / other.quiet }
}

/** Whether two equals came out equal, in the median and in the lower quartile. */
export function isSettled (samples: Sample[]): boolean {
  const control = ratioOf(samples, AGAIN.name)!
  return [control.median, control.quiet].every((ratio) => Math.abs(ratio - 1) <= TOLERANCE)
}

export function costsOf (samples: Sample[], row: string): Map<number, number> {
  return new Map(samples.filter((sample) => sample.row === row).map(({ round, cpu }) => [round, cpu]))
}
