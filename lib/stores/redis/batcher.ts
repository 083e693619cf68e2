import { isOfOneKey, nonsense } from '../../errors.ts'
import { afterTurn } from '../../time.ts'
import type { Probe } from './health.ts'
import type { Link } from './link.ts'

/**
 * Reads what is under each key and answers each one once. Resolves, never rejects, when nothing is
 * outstanding.
 */
export type ReadMany = (keys: string[], answer: (index: number, error: unknown, value?: unknown) => void) => Promise<unknown>

/** What is under each key, or null where nothing is. With an error: undefined where it is not known. */
type ReadCallback = (error: unknown, values: Array<string | null | undefined>) => void

/** One MGET of more would keep Redis from others for long. */
const MAX_BATCH = 500

/** What Redis may hold under a key of ours. */
export function isValue (value: unknown): value is string | null {
  return value === null || typeof value === 'string'
}

/** One check: it wants all of its keys. */
class Read {
  readonly #keys: string[]
  readonly #done: ReadCallback
  readonly #values: Array<string | null | undefined> = []
  #error: unknown = null
  #missing: number

  constructor (keys: string[], done: ReadCallback) {
    this.#keys = keys
    this.#done = done
    this.#missing = keys.length
  }

  answer (key: string, error: unknown, value: string | null) {
    if (error) this.#error ??= error
    else this.#values[this.#keys.indexOf(key)] = value
    if (--this.#missing === 0) this.#done(this.#error, this.#values)
  }
}

/** Gathers the reads of one turn of the event loop into one round trip (P9). */
export class Batcher {
  readonly #link: Link
  readonly #read: ReadMany
  readonly #needs: Probe
  #gathered = new Map<string, Read[]>()
  readonly #flushGathered = () => this.#flush()

  /** `needs`: what has to work again before the store is back, if a batch fails. */
  constructor (link: Link, read: ReadMany, needs: Probe) {
    this.#link = link
    this.#read = read
    this.#needs = needs
  }

  read (keys: string[], done: ReadCallback) {
    const refusal = this.#link.refusal('reads')
    if (refusal !== undefined) return done(refusal, [])
    const read = new Read(keys, done)
    // Not a microtask: those run between two requests that arrive in the same turn.
    if (this.#gathered.size === 0) afterTurn(this.#flushGathered)
    for (const key of keys) {
      const same = this.#gathered.get(key)
      if (same === undefined) this.#gathered.set(key, [read])
      else same.push(read)
    }
    if (this.#gathered.size >= MAX_BATCH) this.#flush()
  }

  #flush () {
    if (this.#gathered.size === 0) return
    const keys = [...this.#gathered.keys()]
    const waiting: Array<Read[] | undefined> = [...this.#gathered.values()]
    this.#gathered = new Map()

    const settle = (index: number, error: unknown, value: string | null) => {
      const reads = waiting[index]
      if (reads === undefined) return
      waiting[index] = undefined
      for (const read of reads) read.answer(keys[index]!, error, value)
    }
    const answer = (index: number, failure: unknown, value?: unknown) => {
      // Only a clear "nothing" is acceptance.
      const error = failure ?? (isValue(value) ? null : nonsense('to a check'))
      if (error !== null && !isOfOneKey(error)) this.#link.failed(error, this.#needs)
      settle(index, error, value as string | null)
    }
    this.#link.run(() => this.#read(keys, answer), { needs: this.#needs, as: 'reads' }).catch((error) => {
      for (let i = 0; i < keys.length; i++) settle(i, error, null)
    })
  }
}
