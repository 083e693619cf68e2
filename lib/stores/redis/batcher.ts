import { AsyncResource } from 'node:async_hooks'
import { isOfOneKey, nonsense } from '../../errors.ts'
import { afterTurn, type Clock, type Milliseconds, type Timer } from '../../time.ts'
import { charCodeAt } from '../char-code.ts'
import type { Probe } from './health.ts'
import type { Link } from './link.ts'
import { Pace } from './pace.ts'

type Answer = (index: number, error: unknown, value?: unknown) => void

/** Reads each key and calls `answer` once for each, with an error or null. */
export type ReadMany = (keys: string[], answer: Answer) => void

/** `values`: by key, null where Redis has no value; undefined, with an error, where the value is unknown. */
type ReadCallback = (error: unknown, values: Array<string | null | undefined>) => void

/** A larger MGET would keep Redis from its other clients for long. */
const MAX_BATCH = 500

/** A check that comes sooner after the last batch waits as long for others: to ask is most of its CPU. */
const PAUSE: Milliseconds = 1
/** Whether Redis may hold this under a key of ours. */
export function isValue (value: unknown): value is string | null {
  return value === null || typeof value === 'string'
}

/** More than there are keys in a batch, so that few of them share an end. */
const PLACES = 1024

/** Who waits for a key; undefined: it was answered. */
type Waiting = Read | Read[] | undefined

/**
 * One check, which waits for all of its keys. A batch runs in the asynchronous context of one of its checks:
 * without one of its own, each request would go on with the `AsyncLocalStorage` of another request.
 */
class Read extends AsyncResource {
  readonly #keys: string[]
  readonly #done: ReadCallback
  readonly #values: Array<string | null | undefined> = []
  #error: unknown = null
  #missing: number

  constructor (keys: string[], done: ReadCallback) {
    super('fastify-jwt-revocation.check')
    this.#keys = keys
    this.#done = done
    this.#missing = keys.length
  }

  answer (key: string, error: unknown, value: string | null) {
    if (error !== null) this.#error ??= error
    else this.#values[this.#keys.indexOf(key)] = value
    if (--this.#missing === 0) this.runInAsyncScope(this.#done, undefined, this.#error, this.#values)
  }
}

/** Gathers the reads of one turn of the event loop, or of a millisecond, into one round trip (P9). */
export class Batcher {
  readonly #link: Link
  readonly #read: ReadMany
  readonly #needs: Probe
  readonly #clock: Clock
  /** When the last batch left. */
  #leftAt: Milliseconds = -Infinity
  #checks = 0
  readonly #pace = new Pace()
  #pause: Timer | undefined
  /** The keys, and in the same order who waits for each. */
  #keys: string[] = []
  #waiting: Waiting[] = []
  /** By the end of a key, the place of the latest one that ends so. A batch before may have left others. */
  readonly #places = new Uint16Array(PLACES)
  readonly #flush = () => this.flush()
  readonly #pauseIsOver = () => {
    this.#pace.paused(this.#checks)
    this.flush()
  }

  /** `needs`: what must work again before the store is back, if a batch fails. */
  constructor (link: Link, read: ReadMany, needs: Probe, clock: Clock) {
    this.#link = link
    this.#read = read
    this.#needs = needs
    this.#clock = clock
  }

  /** `waits`: whether it may wait for others. A read that goes along with other commands does not. */
  read (keys: string[], waits: boolean, done: ReadCallback) {
    const refusal = this.#link.refusal('reads')
    if (refusal !== undefined) return done(refusal, [])
    const read = new Read(keys, done)
    for (let i = 0; i < keys.length; i++) this.#gather(keys[i]!, read)
    this.#checks++
    if (this.#keys.length >= MAX_BATCH) this.flush()
    else if (this.#checks === 1) this.#open(waits)
    else if (this.#pause !== undefined) this.#hurry(waits)
  }

  #open (waits: boolean) {
    if (!waits || this.#clock.monotonic() - this.#leftAt >= PAUSE) return this.#leave()
    this.#pace.begin()
    if (this.#pace.enough === 1) return this.#leave()
    this.#pause = this.#clock.after(this.#pauseIsOver, PAUSE)
  }

  #hurry (waits: boolean) {
    if (waits && this.#checks < this.#pace.enough) return
    if (waits) this.#pace.filled()
    this.#leave()
  }

  #leave () {
    this.#pause?.stop()
    this.#pause = undefined
    // Not a microtask, because microtasks run between two requests that arrive in the same turn.
    afterTurn(this.#flush)
  }

  /**
   * Finds nearly every key that is asked for twice. A map would find each, and costs more than the key costs
   * Redis: it reads all of every key.
   */
  #gather (key: string, read: Read) {
    const end = endOf(key)
    const place = this.#places[end]!
    if (this.#keys[place] !== key) {
      this.#places[end] = this.#keys.length
      this.#keys.push(key)
      this.#waiting.push(read)
      return
    }
    const same = this.#waiting[place]
    if (Array.isArray(same)) same.push(read)
    else this.#waiting[place] = [same as Read, read]
  }

  /** What waits leaves at once. */
  flush () {
    if (this.#checks === 0) return
    this.#pause?.stop()
    this.#pause = undefined
    this.#checks = 0
    this.#leftAt = this.#clock.monotonic()
    const keys = this.#keys
    const waiting = this.#waiting
    this.#keys = []
    this.#waiting = []

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

/** A number for how a key ends. Names that are made by counting, or at random, differ there. */
function endOf (key: string): number {
  const { length } = key
  const last = charCodeAt.call(key, length - 1)
  return (last + 31 * charCodeAt.call(key, length - 2) + 961 * charCodeAt.call(key, length - 3)) % PLACES
}
