import type { History, Interval, Run } from './history.ts'
import type { Milliseconds } from '../../lib/time.ts'

/** How far Node's clocks of the wall and of the machine drift apart at most while a test runs. */
const CLOCKS: Milliseconds = 50

/** By how much the clock of a process was ahead within an interval. */
export function aheadOf ({ ahead }: Run, { from, to }: Interval): { least: Milliseconds, most: Milliseconds } {
  if (ahead === undefined) return { least: 0, most: 0 }
  return { least: to < ahead.until ? ahead.by : 0, most: from <= ahead.until ? ahead.by : 0 }
}

/** What the clock of a process showed within an interval, in milliseconds since the epoch. */
export function shown ({ epoch }: History, run: Run, interval: Interval): Interval {
  const { least, most } = aheadOf(run, interval)
  return { from: interval.from + epoch + least - CLOCKS, to: interval.to + epoch + most + CLOCKS }
}
