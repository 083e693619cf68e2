import timers from 'node:timers'

/*
 * The intervals of a test's process. Imported before anything that takes `setInterval` when it is loaded, the plugin
 * above all: hence the first import of a test.
 */
const every = timers.setInterval
const held = new Set<Interval>()
let isHolding = false

interface Interval { act: () => void, milliseconds: number, timer: NodeJS.Timeout }

timers.setInterval = ((act: () => void, milliseconds: number) => {
  const timer = every(act, isHolding ? 2 ** 31 - 1 : milliseconds)
  if (isHolding) held.add({ act, milliseconds, timer })
  return timer
}) as typeof timers.setInterval

/** Node.js' own word for one that was cleared. */
const isRunning = ({ timer }: Interval) => !(timer as unknown as { _destroyed: boolean })._destroyed

/** Intervals that begin from now on, and before the test ends, pass when it says so. */
export function holdIntervals (t: { teardown: (fn: () => unknown) => void }) {
  isHolding = true
  t.teardown(() => {
    isHolding = false
    held.clear()
  })
  return {
    get running () {
      return [...held].filter(isRunning).map(({ milliseconds, timer }) => ({ milliseconds, unrefed: !timer.hasRef() }))
    },
    /** Each one has its turn. */
    pass () {
      for (const interval of held) if (isRunning(interval)) interval.act()
    }
  }
}
