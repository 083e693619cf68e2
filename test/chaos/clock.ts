import { now } from './history.ts'
import type { WrongClock } from './plan.ts'
import type { Milliseconds } from '../../lib/time.ts'

/*
 * The clock of a process that the environment says is ahead: Date shows too much, from before anything else is loaded.
 * What tells durations stays right, as it does where an operator has set the wrong time.
 */

const clock: WrongClock | undefined = process.env.CLOCK === undefined ? undefined : JSON.parse(process.env.CLOCK)
let until = Infinity

if (clock !== undefined) {
  const { by } = clock
  const Right = Date
  globalThis.Date = class extends Right {
    constructor (...args: [] | [number]) {
      if (args.length === 0) super(Date.now())
      else super(...args)
    }

    static override now (): Milliseconds {
      return Right.now() + (now() < until ? by : 0)
    }
  } as DateConstructor
}

/** Starts the time after which the clock is right. Gives when that will be, or undefined where it never is. */
export function setRight (): Milliseconds | undefined {
  if (clock?.rightAfter === undefined) return undefined
  until = now() + clock.rightAfter
  return until
}
