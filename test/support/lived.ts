import timers from 'node:timers'

/*
 * Time as this process lives it: what the machine keeps it waiting at once, or what it does at a stretch, counts as one
 * tick. A promise about time is held against it, because on a busy machine no process keeps one of the wall clock.
 */
const TICK = 10
let ticks = 0
timers.setInterval(() => { ticks++ }, TICK).unref()

/** In milliseconds, of a beginning of its own. Never faster than the wall clock. */
export const lived = () => ticks * TICK
