import timers from 'node:timers'
import { setTimeout as sleep } from 'node:timers/promises'

/*
 * Time as this process lives it: what the machine keeps it waiting at once, or what it does at a stretch, counts as one
 * tick. A promise about time is held against it, because on a busy machine no process keeps one of the wall clock.
 */
const TICK = 10
let ticks = 0
timers.setInterval(() => { ticks++ }, TICK).unref()

/** In milliseconds, of a beginning of its own. Never faster than the wall clock. */
export const lived = () => ticks * TICK

/** Something that answers when Redis does. */
interface Answering { ping: () => Promise<unknown> }

const BEAT = 50

/**
 * Time as this process and Redis both live it: a beat counts once Redis has answered as well. What Redis must do within
 * a time is held against it, because a busy machine keeps Redis waiting, too.
 */
export function livedWith (redis: Answering) {
  let beats = 0
  let goesOn = true
  const beat = async () => {
    for (;;) {
      if (!goesOn) return
      const isAlive = await Promise.all([redis.ping(), sleep(BEAT, undefined, { ref: false })]).then(() => true, () => false)
      if (isAlive) beats++
      else await sleep(BEAT, undefined, { ref: false })
    }
  }
  beat()
  return {
    /** In milliseconds, of a beginning of its own. */
    now: () => beats * BEAT,
    stop () {
      goesOn = false
      return beats * BEAT
    }
  }
}
