import { performance } from 'node:perf_hooks'
import timers from 'node:timers'
import promises from 'node:timers/promises'

export type Seconds = number
export type Milliseconds = number

/*
 * The only place that asks for the time or sets a timer. It takes timers and the monotonic clock once, when
 * it is loaded: fake timers of a test framework must not keep a check from its answer. It asks for the date
 * each time, as fast-jwt does: under a faked date both see the same.
 */

export interface Timer {
  stop: () => void
  ref: () => void
  unref: () => void
}

/** The time, and what is done again or later. It is injected everywhere, so that a test can move it. */
export interface Clock {
  /** Milliseconds since the epoch. */
  wall: () => Milliseconds
  /** For spans of time, because the wall clock may be set. */
  monotonic: () => Milliseconds
  /** Resolves after a time. Keeps the process alive, unless `ref` is false. */
  sleep: (time: Milliseconds, options?: { ref?: boolean, signal?: AbortSignal }) => Promise<void>
  /** Calls back once, after a time, unless stopped before. Keeps the process alive, until `unref`. */
  after: (act: () => void, time: Milliseconds) => Timer
  /** Calls back again and again, and keeps no process alive, until the function that it returns is called. */
  every: (act: () => void, interval: Milliseconds) => () => void
}

const { setTimeout, setInterval, setImmediate, clearTimeout, clearInterval } = timers
const { setTimeout: sleep } = promises

export const systemClock: Clock = {
  wall: () => Date.now(),
  monotonic: performance.now.bind(performance),
  sleep: (time, options) => sleep(time, undefined, options),
  after (act, time) {
    const timer = setTimeout(act, time)
    return { stop: () => clearTimeout(timer), ref: () => timer.ref(), unref: () => timer.unref() }
  },
  every (act, interval) {
    const timer = setInterval(act, interval).unref()
    return () => clearInterval(timer)
  }
}

/** Calls back once, after what arrived in this turn of the event loop. */
export const afterTurn: (act: () => void) => unknown = setImmediate

/** Resolves after this turn of the event loop. */
export const turn: () => Promise<void> = promises.setImmediate
