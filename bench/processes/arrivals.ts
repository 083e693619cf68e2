import { parentPort } from 'node:worker_threads'
import { clockOfMachine } from '../support/stats.ts'

/*
 * Says when requests are due: at random, as from clients that do not know each other. It is a thread of its own, because
 * timers of an event loop know whole milliseconds, and all requests of a millisecond would leave together.
 */

export interface Arrivals {
  /** Per second. */
  rate: number
  seconds: number
}

const never = new Int32Array(new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT))

parentPort!.on('message', ({ rate, seconds }: Arrivals) => {
  let due = clockOfMachine()
  const end = due + seconds * 1000
  while ((due += -Math.log(1 - Math.random()) / rate * 1000) < end) {
    const ahead = due - clockOfMachine()
    if (ahead > 0) Atomics.wait(never, 0, 0, ahead)
    parentPort!.postMessage(due)
  }
  parentPort!.postMessage(undefined)
})
