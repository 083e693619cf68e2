import { systemClock, type Clock, type Milliseconds } from '../../lib/time.ts'

/** A clock that stands still, and its timers with it, until time is let pass. */
export function manualClock () {
  let now: Milliseconds = 0
  const timers = new Set<{ act: () => void, at: Milliseconds, isRef: boolean }>()
  const clock: Clock = {
    ...systemClock,
    monotonic: () => now,
    after (act, time) {
      const timer = { act, at: now + time, isRef: true }
      timers.add(timer)
      return { stop: () => { timers.delete(timer) }, ref: () => { timer.isRef = true }, unref: () => { timer.isRef = false } }
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
