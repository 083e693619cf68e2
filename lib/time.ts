import { performance } from 'node:perf_hooks'
import timers from 'node:timers'
import promises from 'node:timers/promises'

export type Seconds = number
export type Milliseconds = number

/*
 * The only place that asks for the time or sets a timer. Timers and the monotonic clock are taken once, when this is
 * loaded: fake timers of a test framework must not keep a check from its answer. The date is looked up at each call, as
 * fast-jwt does: under a faked date both see the same.
 */

/** Milliseconds since the epoch. */
export const wall = (): Milliseconds => Date.now()

/** For spans of time, because the wall clock may be set. */
export const monotonic: () => Milliseconds = performance.now.bind(performance)

/** Calls back once, after a time. */
export const after = timers.setTimeout

/** Calls back again and again. */
export const every = timers.setInterval

/** Ends what `after` or `every` began. */
export const cancel = timers.clearTimeout

/** Calls back once, after what arrived in this turn of the event loop. */
export const afterTurn = timers.setImmediate

/** Ends what `afterTurn` began. */
export const cancelTurn = timers.clearImmediate

/** Resolves after a time. */
export const sleep = promises.setTimeout

/** Resolves after this turn of the event loop. */
export const turn = promises.setImmediate
