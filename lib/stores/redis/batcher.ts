import { afterTurn } from '../../time.ts'
import { isOfOneKey, type Deadline } from './deadline.ts'
import type { Health } from './health.ts'

/** Reads what is under each key and answers each one once. Resolves, never rejects, when nothing is outstanding. */
export type ReadMany = (keys: string[], answer: (index: number, error: unknown, value?: unknown) => void) => Promise<unknown>

/** What is under each key, or null where nothing is. With an error: undefined where it is not known. */
type ReadCallback = (error: unknown, values: Array<string | null | undefined>) => void

/** One MGET of more would keep Redis from others for long. */
const MAX_BATCH = 500
/** So many batches without an answer, and further reads fail at once: a client queues without bound while Redis is away. */
const MAX_OUTSTANDING = 1000

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
  readonly #deadline: Deadline
  readonly #health: Health
  readonly #read: ReadMany
  #gathered = new Map<string, Read[]>()
  #outstanding = 0
  readonly #flushGathered = () => this.#flush()

  constructor (deadline: Deadline, health: Health, read: ReadMany) {
    this.#deadline = deadline
    this.#health = health
    this.#read = read
  }

  read (keys: string[], done: ReadCallback) {
    if (this.#outstanding >= MAX_OUTSTANDING) return this.#refuse(done)
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

    let unanswered = keys.length
    const settle = (index: number, error: unknown, value: string | null) => {
      const reads = waiting[index]
      if (reads === undefined) return
      waiting[index] = undefined
      if (--unanswered === 0) cancel()
      for (const read of reads) read.answer(keys[index]!, error, value)
    }
    const cancel = this.#deadline.start((error) => {
      this.#health.failed(error)
      for (let i = 0; i < waiting.length; i++) settle(i, error, null)
    })
    const answer = (index: number, failure: unknown, value?: unknown) => {
      // Only a clear "nothing" is acceptance.
      const error = failure ?? (isValue(value) ? null : new TypeError('Redis answered nonsense'))
      if (error !== null && !isOfOneKey(error)) this.#health.failed(error)
      settle(index, error, value as string | null)
    }

    this.#outstanding++
    this.#read(keys, answer).then(() => { this.#outstanding-- })
  }

  #refuse (done: ReadCallback) {
    done(this.#health.refusal(`Redis owes answers to ${MAX_OUTSTANDING} reads`), [])
  }
}
