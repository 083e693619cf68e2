import { systemClock, type Clock, type Milliseconds } from '../../lib/time.ts'

/** A clock that stands still, and its timers with it, until time is let pass. */
export function manualClock () {
  let now: Milliseconds = 0
  const timers = new Set<{ act: () => void, at: Milliseconds }>()
  const clock: Clock = {
    ...systemClock,
    monotonic: () => now,
    after (act, time) {
      const timer = { act, at: now + time }
      timers.add(timer)
      return { stop: () => { timers.delete(timer) }, ref () {}, unref () {} }
    }
  }
  return {
    clock,
    timers,
    pass (time: Milliseconds) {
      now += time
      for (const timer of timers) {
        if (timer.at > now) continue
        timers.delete(timer)
        timer.act()
      }
    }
  }
}
