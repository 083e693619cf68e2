import timers from 'node:timers'
import promises from 'node:timers/promises'
import { advanceMonotonic, holdMonotonic } from './monotonic.ts'

/*
 * The time limits of a test's process, such as `storeTimeout`, and what it does again after a time. Imported before
 * anything that takes `setTimeout` when it is loaded, the plugin above all: hence the first import of a test.
 */
const later = timers.setTimeout
const LONGEST = 2 ** 31 - 1
/** Milliseconds. So short a time is a pause, and limits nothing. */
const PAUSE = 1
const held = new Set<Limit>()
let isHolding = false

interface Limit { act: () => void, left: number, timer: NodeJS.Timeout }

timers.setTimeout = ((act: () => void, milliseconds: number) => {
  if (!isHolding || milliseconds <= PAUSE) return later(act, milliseconds)
  const timer = later(act, LONGEST)
  held.add({ act, left: milliseconds, timer })
  return timer
}) as typeof timers.setTimeout

const { setTimeout: sleep } = promises
promises.setTimeout = ((milliseconds: number, value: never, options?: { signal?: AbortSignal }) => {
  if (!isHolding) return sleep(milliseconds, value, options)
  return new Promise((resolve, reject) => {
    options?.signal?.throwIfAborted()
    const timer = timers.setTimeout(() => resolve(value), milliseconds).unref()
    options?.signal?.addEventListener('abort', ({ target }) => {
      clearTimeout(timer)
      reject((target as AbortSignal).reason)
    }, { once: true })
  })
}) as typeof sleep

/** Node.js' own word for one that was cleared. */
const isRunning = ({ timer }: Limit) => !(timer as unknown as { _destroyed: boolean })._destroyed

/** Limits that begin from now on, and before the test ends, pass when it says so; so does the monotonic clock. */
export function holdTimeLimits (t: { teardown: (fn: () => unknown) => void }) {
  holdMonotonic(t)
  isHolding = true
  t.teardown(() => {
    isHolding = false
    held.clear()
  })
  return {
    pass (milliseconds: number) {
      advanceMonotonic(milliseconds)
      for (const limit of held) {
        limit.left -= milliseconds
        if (isRunning(limit) && limit.left > 0) continue
        held.delete(limit)
        if (!isRunning(limit)) continue
        clearTimeout(limit.timer)
        limit.act()
      }
    },
    /** The answer that does not come: all the time goes by that it may take. */
    never (milliseconds: number): Promise<never> {
      setImmediate(() => this.pass(milliseconds))
      return new Promise(() => {})
    }
  }
}
