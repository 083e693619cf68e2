import { AsyncResource } from 'node:async_hooks'
import type { Names } from '../../domain/names.ts'
import { isOfOneKey, nonsense } from '../../errors.ts'
import { afterTurn, type Clock, type Milliseconds, type Seconds, type Timer } from '../../time.ts'
import { charCodeAt } from '../char-code.ts'
import { latestCutoff, type Entry } from '../entry.ts'
import type { CheckCallback } from '../store.ts'
import { isValue, parseCutoff } from './answers.ts'
import type { Probe } from './health.ts'
import type { Keys } from './keys.ts'
import type { Link } from './link.ts'
import { Pace } from './pace.ts'

type Answer = (index: number, error: unknown, value?: unknown) => void

/** Reads each key and calls `answer` once for each, with an error or null. */
export type ReadMany = (keys: string[], answer: Answer) => void

/** A larger MGET would keep Redis from its other clients for long. */
const MAX_BATCH = 500

/** A check that comes sooner after the last batch waits as long for others: to ask is most of its CPU. */
const PAUSE: Milliseconds = 1

/** More than there are keys in a batch, so that few of them share an end. */
const PLACES = 1024
/** No batch has so many keys. */
const NOWHERE = 2 ** 16 - 1

/** Who waits for a key; undefined: it was answered. */
type Waiting = Read | Read[] | undefined

/**
 * One check, which waits for all of its keys. A batch runs in the asynchronous context of one of its checks:
 * without one of its own, each request would go on with the `AsyncLocalStorage` of another request.
 */
class Read extends AsyncResource {
  readonly #done: CheckCallback
  #error: unknown = null
  #isRevoked = false
  #cutoff: Seconds | null = null
  /** The key of the revocation. Its other keys are those of cutoffs. */
  identity: string | undefined
  /** How many of its keys have no answer yet. */
  missing = 0

  constructor (done: CheckCallback) {
    super('fastify-jwt-revocation.check')
    this.#done = done
  }

  answer (key: string, error: unknown, value: string | null) {
    if (error !== null) this.#error ??= error
    // Any value under the identity means revoked.
    else if (key === this.identity) this.#isRevoked = value !== null
    else if (value !== null) this.#cutOff(value)
    // Arguments would be gathered into an array.
    if (--this.missing === 0) this.runInAsyncScope(this.#tell, this)
  }

  #tell () {
    this.#done(this.#error, this.#isRevoked, this.#cutoff)
  }

  #cutOff (value: string) {
    try {
      this.#cutoff = latestCutoff(this.#cutoff, parseCutoff(value))
    } catch (badValue) {
      // It leaves what the other keys say.
      this.#error ??= badValue
    }
  }
}

export interface BatcherContext {
  link: Link
  read: ReadMany
  keys: Keys
  /** What must work again before the store is back, if a batch fails. */
  needs: Probe
  clock: Clock
}

/** Gathers the checks of one turn of the event loop, or of a millisecond, into one round trip (P9). */
export class Batcher {
  readonly #link: Link
  readonly #read: ReadMany
  readonly #keyOf: Keys['of']
  readonly #needs: Probe
  readonly #clock: Clock
  /** When the last batch left. */
  #leftAt: Milliseconds = -Infinity
  #checks = 0
  readonly #pace = new Pace()
  #pause: Timer | undefined
  /** Whether what waits leaves at the end of this turn, and no later. */
  #leaves = false
  /** The keys, and in the same order who waits for each. */
  #keys: string[] = []
  #waiting: Waiting[] = []
  /** By the end of a name, the place of the latest key that ends so. */
  readonly #places = new Uint16Array(PLACES).fill(NOWHERE)
  readonly #turnIsOver = () => this.#decide()
  readonly #pauseIsOver = () => {
    this.#pace.paused(this.#checks)
    this.flush()
  }

  constructor ({ link, read, keys, needs, clock }: BatcherContext) {
    this.#link = link
    this.#read = read
    this.#keyOf = keys.of
    this.#needs = needs
    this.#clock = clock
  }

  /** `waits`: whether it may wait for others. A check that goes along with other commands does not. */
  check ({ identity, subject, others }: Names, waits: boolean, done: CheckCallback) {
    const refusal = this.#link.refusal('reads')
    if (refusal !== undefined) return done(refusal, false, null)
    const read = new Read(done)
    if (identity !== undefined) read.identity = this.#gather('revoked', identity, read)
    if (subject !== undefined) this.#gather('cutoff', subject, read)
    if (others !== undefined) for (const name of others) this.#gather('cutoff', name, read)
    if (read.missing === 0) return done(null, false, null)
    this.#checks++
    if (!waits) this.#leaves = true
    if (this.#keys.length >= MAX_BATCH) {
      this.flush()
      // Nor does the rest of this turn wait.
      this.#leave()
    } else if (this.#checks === 1) this.#decideLater()
    else if (this.#pause !== undefined && (this.#leaves || this.#hasEnough())) this.#leave()
  }

  /** What waits leaves at the end of this turn, and whatever else comes in it. */
  #leave () {
    this.#leaves = true
    this.#pause?.stop()
    this.#pause = undefined
    this.#decideLater()
  }

  /** Not in a microtask, because microtasks run between two requests that arrive in the same turn. */
  #decideLater () {
    afterTurn(this.#turnIsOver)
  }

  /** Once the turn is over, because it may bring enough: then there is no timer to set and to stop. */
  #decide () {
    if (this.#pause !== undefined) return
    if (this.#checks === 0) this.#leaves = false
    else if (this.#leaves || this.#clock.monotonic() - this.#leftAt >= PAUSE) this.flush()
    else this.#wait()
  }

  #wait () {
    this.#pace.begin()
    if (this.#hasEnough()) this.flush()
    else this.#pause = this.#clock.after(this.#pauseIsOver, PAUSE)
  }

  #hasEnough (): boolean {
    const hasEnough = this.#checks >= this.#pace.enough
    if (hasEnough) this.#pace.filled()
    return hasEnough
  }

  /**
   * Gives the key. Finds nearly every key that is asked for twice. A map would find each, and costs more than
   * the key costs Redis: it reads all of every key.
   */
  #gather (kind: Entry['kind'], name: string, read: Read): string {
    read.missing++
    const key = this.#keyOf({ kind, name })
    const end = endOf(name)
    const place = this.#places[end]!
    if (this.#keys[place] !== key) {
      this.#places[end] = this.#keys.length
      this.#keys.push(key)
      this.#waiting.push(read)
      return key
    }
    const same = this.#waiting[place]
    if (Array.isArray(same)) same.push(read)
    else this.#waiting[place] = [same as Read, read]
    return key
  }

  /** What waits leaves at once. */
  flush () {
    if (this.#checks === 0) return
    this.#pause?.stop()
    this.#pause = undefined
    this.#leaves = false
    this.#checks = 0
    this.#leftAt = this.#clock.monotonic()
    const keys = this.#keys
    const waiting = this.#waiting
    this.#keys = []
    this.#waiting = []
    // What a batch has left would have to be compared with keys of the next one.
    this.#places.fill(NOWHERE)

    const settle = (index: number, error: unknown, value: string | null) => {
      const reads = waiting[index]
      if (reads === undefined) return
      waiting[index] = undefined
      if (!Array.isArray(reads)) return reads.answer(keys[index]!, error, value)
      for (const read of reads) read.answer(keys[index]!, error, value)
    }
    const settleAll = (error: unknown) => {
      for (let i = 0; i < keys.length; i++) settle(i, error, null)
    }
    const end = this.#link.beginRead(this.#needs, settleAll)
    let missing = keys.length
    this.#read(keys, (index, failure, value) => {
      if (--missing === 0) end()
      // Only a clear "no value" accepts a token.
      const error = failure ?? (isValue(value) ? null : nonsense('to a check'))
      if (error !== null && !isOfOneKey(error)) this.#link.failed(error, this.#needs)
      settle(index, error, value as string | null)
    })
  }
}

/** A number for how a name ends. Names that are made by counting, or at random, differ there. */
function endOf (name: string): number {
  let end = 0
  for (let i = Math.max(name.length - 3, 0); i < name.length; i++) end = 31 * end + charCodeAt.call(name, i)
  return end % PLACES
}
