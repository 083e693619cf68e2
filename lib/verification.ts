import type { TokenClaims } from './claims.ts'
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
  claims: TokenClaims | undefined
  user: unknown
  /** Whether it is ours to refuse: the token is genuine, and revoked, not revocable, or can't be checked. */
  refused = false
  /** Why the token could not be checked, where it is accepted all the same. */
  unchecked: Error | null = null
  /** The revocation's, at the time of the check. */
  epoch = 0
  #error: Error | null = null
  #settledAt: Milliseconds = 0
  /** undefined: settled. */
  #waiting: Callback[] | undefined = []

  constructor (token: string, header?: string) {
    this.token = token
    this.header = header
  }

  isFresh (epoch: number): boolean {
    return this.#waiting !== undefined || (this.epoch === epoch && Date.now() - this.#settledAt < FRESH)
  }

  whenSettled (callback: Callback) {
    if (this.#waiting === undefined) callback(this.#error, this.user)
    else this.#waiting.push(callback)
  }

  settle (error: Error | null) {
    const waiting = this.#waiting
    if (waiting === undefined) return
    this.#waiting = undefined
    this.#error = error
    this.#settledAt = Date.now()
    for (const callback of waiting) {
      try {
        callback(error, this.user)
      } catch (thrown) {
        // By the application's own callback: it is uncaught, as it would be anywhere, and not an answer to others who wait.
        process.nextTick(() => { throw thrown })
      }
    }
  }
}
