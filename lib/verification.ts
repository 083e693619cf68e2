import type { Milliseconds } from './expiry.ts'

export type Callback = (error: Error | null, user?: unknown) => void

/**
 * How long a verified token counts as verified within one request. It lets the hook and the route share one
 * verification and one check; a request that lasts (a WebSocket, an upload) is checked again.
 */
const FRESH: Milliseconds = 1000

/** What came of verifying one token of one request. */
export class Verification {
  readonly token: string
  /** The header that it was found in, where it can be in no other place. */
  readonly header: string | undefined
  user: unknown
  /** What of it is ours to refuse: the token is genuine, and revoked, not revocable, or can't be checked. */
  refusal: Error | null = null
  /** Why the token could not be checked, where it is accepted all the same. */
  unchecked: Error | null = null
  /** The revocation's, at the time of the check. */
  epoch = 0
  #error: Error | null = null
  #settledAt: Milliseconds | undefined
  #waiting: Callback[] | undefined

  constructor (token: string, header?: string) {
    this.token = token
    this.header = header
  }

  get isSettled (): boolean {
    return this.#settledAt !== undefined
  }

  isFresh (epoch: number): boolean {
    if (this.#settledAt === undefined) return true
    const age = Date.now() - this.#settledAt
    // Less than nothing where the clock was set back.
    return this.epoch === epoch && age >= 0 && age < FRESH
  }

  whenSettled (callback: Callback) {
    if (this.#settledAt !== undefined) callback(this.#error, this.user)
    else if (this.#waiting === undefined) this.#waiting = [callback]
    else this.#waiting.push(callback)
  }

  settle (error: Error | null) {
    if (this.#settledAt !== undefined) return
    this.#settledAt = Date.now()
    this.#error = error
    for (const callback of this.#waiting ?? []) {
      try {
        callback(error, this.user)
      } catch (thrown) {
        // By the application's own callback: it is uncaught, as it would be anywhere, and not an answer to others who wait.
        process.nextTick(() => { throw thrown })
      }
    }
  }
}
