import { systemClock, type Milliseconds } from '../time.ts'
import type { Callback, VerifyOptions } from './jwt.ts'

/**
 * How long an outcome counts within one request. The hook and the route share one verification and one check. A request
 * that lasts (a WebSocket, an upload) is verified and checked again.
 */
const FRESH: Milliseconds = 100

/** What came of verifying one token of one request. */
export class Verification {
  readonly token: unknown
  user: unknown
  /** What of it is ours to refuse: the token is genuine, and revoked, not revocable, or can't be checked. */
  refusal: Error | null = null
  /** Why the token could not be checked, where it is accepted all the same. */
  unchecked: Error | null = null
  /** The revocation's when the check began. Undefined before. */
  epoch: number | undefined
  #error: Error | null = null
  #settledAt: Milliseconds | undefined
  #waiting: Callback[] | undefined

  constructor (token: unknown) {
    this.token = token
  }

  get isSettled (): boolean {
    return this.#settledAt !== undefined
  }

  /**
   * Whether a call may still share this. A check that began before a revocation may miss it, even if it still runs. What
   * `@fastify/jwt` refuses may verify later: its secret may be a function of what a later hook puts on the request.
   */
  isFresh (epoch: number): boolean {
    if (this.epoch !== undefined && this.epoch !== epoch) return false
    if (this.#error !== null && this.refusal === null) return false
    return this.#settledAt === undefined || systemClock.monotonic() - this.#settledAt < FRESH
  }

  whenSettled (callback: Callback) {
    if (this.#settledAt !== undefined) callback(this.#error, this.user)
    else if (this.#waiting === undefined) this.#waiting = [callback]
    else this.#waiting.push(callback)
  }

  settle (error: Error | null) {
    if (this.#settledAt !== undefined) return
    this.#settledAt = systemClock.monotonic()
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

/** A token, and the options by which it is to be verified. */
export interface FoundToken {
  token: unknown
  options: VerifyOptions | undefined
}

/** What the verify calls of one request have in common. */
export class Calls {
  /** The latest verification by the options that `@fastify/jwt` was registered with: the one that calls share. */
  verification: Verification | undefined
  /** The verification that lets the request use the routes of the plugin. */
  authenticated: Verification | undefined
  /** What the latest call that set a user has accepted. */
  accepted: FoundToken | undefined
  /** When that was, among the calls of all guards; 0: never. */
  acceptedAt = 0
  /** The number of the latest call. */
  begun = 0
  /** The number of the latest call that set the user, and that user. */
  decided = 0
  user: unknown

  accept (found: FoundToken) {
    this.accepted = found
    this.acceptedAt = ++acceptances
  }
}

/** How many calls of all guards have accepted a token: it tells which was the last. */
let acceptances = 0
