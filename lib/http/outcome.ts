import { AsyncResource } from 'node:async_hooks'
import type { Asker } from '../domain/check.ts'
import type { Clock, Milliseconds } from '../time.ts'

/**
 * What came of one token of one request:
 * - accepted: it is genuine, and not revoked
 * - refused: it is genuine, and the plugin refuses it: it is revoked, not revocable, or can't be checked
 * - unchecked: it is genuine, can't be checked, and is accepted anyway; `error` says why it went unchecked
 * - unverified: `@fastify/jwt` refuses it, or finds none
 */
export type Outcome = Readonly<
  | { kind: 'accepted', token: unknown, user: unknown, error: null }
  | { kind: 'refused', token: unknown, user: undefined, error: Error }
  | { kind: 'unchecked', token: unknown, user: unknown, error: Error }
  | { kind: 'unverified', token: unknown, user: undefined, error: Error }
>

export type OutcomeCallback = (outcome: Outcome) => void

/** The error with which `jwtVerify()` answers, or null where it succeeds. */
export function errorOf (outcome: Outcome): Error | null {
  return outcome.kind === 'unchecked' ? null : outcome.error
}

/** Of a call that fails, or that found no token to verify. */
export function unverified (error: Error, token?: unknown): Outcome {
  return { kind: 'unverified', token, user: undefined, error }
}

/**
 * How long an outcome counts within one request. The hook and the route share one verification and one check.
 * A request that lasts (a WebSocket, an upload) is verified and checked again.
 */
const FRESH: Milliseconds = 100

/** One token of one request while it is verified and checked. The same object becomes its outcome. */
export class Verification implements Asker {
  readonly token: unknown
  /** undefined until it is settled. */
  kind: Outcome['kind'] | undefined
  /** What the token verified to. Goes with a refusal. */
  user: unknown
  /** Whether `formatUser` has yet to make the user. It makes none of a token that is not accepted. */
  isUnformatted = false
  /** Whether `error` is as fast-jwt threw it, and has yet to be put in the words of `@fastify/jwt`. */
  isRaw = false
  error: Error | null = null
  /** The decorator's `epoch` when the check began; undefined before that. */
  epoch: number | undefined
  #settledAt: Milliseconds = 0
  /** The first who waits, and those that came later. */
  #waiting: OutcomeCallback | undefined
  #others: OutcomeCallback[] | undefined
  readonly #clock: Clock

  constructor (token: unknown, clock: Clock) {
    this.token = token
    this.#clock = clock
  }

  /** The check's answer: this is the asker, so that no request pays for a closure. */
  checked (refusal: Error | null, unchecked: Error | null) {
    if (refusal !== null) this.#settle('refused', refusal)
    else this.#settle(unchecked === null ? 'accepted' : 'unchecked', unchecked)
  }

  /** `error`: what `@fastify/jwt` says of the token, or with `isRaw` what fast-jwt does. */
  fail (error: Error) {
    this.#settle('unverified', error)
  }

  /**
   * Whether a call may still share this. A check that began before a revocation may miss it, even while it
   * runs. A token that `@fastify/jwt` refuses may verify later: its secret may depend on what a later hook
   * puts on the request. Where fast-jwt alone refused it, the secret is static.
   */
  isFresh (epoch: number): boolean {
    if (this.epoch !== undefined && this.epoch !== epoch) return false
    if (this.kind === 'unverified' && !this.isRaw) return false
    return this.kind === undefined || this.#clock.monotonic() - this.#settledAt < FRESH
  }

  /** Calls back with the outcome: at once where there is one. */
  whenSettled (callback: OutcomeCallback) {
    if (this.kind !== undefined) callback(this as Outcome)
    else if (this.#waiting === undefined) this.#waiting = callback
    // The first call's asynchronous context is the one in which the check answers. Others have their own.
    else (this.#others ??= []).push(AsyncResource.bind(callback))
  }

  /** The first outcome counts: a secret function may answer and then throw. */
  #settle (kind: Outcome['kind'], error: Error | null) {
    if (this.kind !== undefined) return
    this.#settledAt = this.#clock.monotonic()
    this.kind = kind
    this.error = error
    if (kind === 'refused' || kind === 'unverified') {
      this.user = undefined
      this.isUnformatted = false
    }
    if (this.#waiting !== undefined) this.#tell(this.#waiting)
    if (this.#others !== undefined) for (const callback of this.#others) this.#tell(callback)
  }

  #tell (callback: OutcomeCallback) {
    try {
      callback(this as Outcome)
    } catch (thrown) {
      // The application's own callback threw. That stays uncaught, and is no answer to others who wait.
      process.nextTick(() => { throw thrown })
    }
  }
}
