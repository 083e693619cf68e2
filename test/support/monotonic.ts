/*
 * The monotonic clock of a test's process. Imported before anything that takes `performance.now` when it is loaded, the
 * plugin above all: hence the first import of a test.
 */
const now = performance.now.bind(performance)
let held: number | undefined
let ahead = 0
performance.now = () => (held ?? now()) + ahead

/** Stands still until the test ends: nothing gets old on a machine that is slow. */
export function holdMonotonic (t: { teardown: (fn: () => unknown) => void }) {
  // Whole milliseconds add up exactly: a limit of fractions could end a hair after the time that is let pass, and never.
  held ??= Math.ceil(now())
  t.teardown(() => { held = undefined })
}

export function advanceMonotonic (milliseconds: number) {
  ahead += milliseconds
}
