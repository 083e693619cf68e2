import type { Deadline } from './deadline.ts'
import type { Health } from './health.ts'
import type { CheckCallback } from './store.ts'

/** Reads what is kept under each identity and answers each one once. Resolves, never rejects, when nothing is outstanding. */
export type ReadMany = (
  identities: string[], answer: (index: number, error: unknown, value?: unknown) => void
) => Promise<unknown>

/** One MGET of more would keep Redis from others for long. */
const MAX_BATCH = 500
/** So many reads without an answer, and further ones fail at once: a client queues without bound while Redis is away. */
const MAX_OUTSTANDING = 1000

/** Gathers the checks of one turn of the event loop into one round trip (P9). */
export class CheckBatcher {
  readonly #deadline: Deadline
  readonly #health: Health
  readonly #read: ReadMany
  #gathered = new Map<string, CheckCallback[]>()
  #outstanding = 0
  readonly #flushGathered = () => this.#flush()

  constructor (deadline: Deadline, health: Health, read: ReadMany) {
    this.#deadline = deadline
    this.#health = health
    this.#read = read
  }

  add (identity: string, done: CheckCallback) {
    if (this.#outstanding >= MAX_OUTSTANDING) return this.#refuse(done)
    const gathered = this.#gathered
    const same = gathered.get(identity)
    if (same !== undefined) {
      same.push(done)
      return
    }
    // Not a microtask: those run between two requests that arrive in the same turn.
    if (gathered.size === 0) setImmediate(this.#flushGathered)
    gathered.set(identity, [done])
    if (gathered.size === MAX_BATCH) this.#flush()
  }

  #flush () {
    if (this.#gathered.size === 0) return
    const identities = [...this.#gathered.keys()]
    const waiting: Array<CheckCallback[] | undefined> = [...this.#gathered.values()]
    this.#gathered = new Map()

    let unanswered = waiting.length
    const settle = (index: number, error: unknown, revoked: boolean) => {
      const callbacks = waiting[index]
      if (callbacks === undefined) return
      waiting[index] = undefined
      if (--unanswered === 0) cancel()
      for (const done of callbacks) done(error, revoked)
    }
    const cancel = this.#deadline.start((error) => {
      this.#health.failed(error)
      for (let i = 0; i < waiting.length; i++) settle(i, error, false)
    })
    const answer = (index: number, error: unknown, value?: unknown) => {
      // Whatever is kept there, it says: revoked. Only a clear "nothing" is acceptance.
      if (!error && value !== null && typeof value !== 'string') error = new TypeError('Redis answered nonsense')
      if (error) this.#health.failed(error)
      settle(index, error || null, value !== null)
    }

    this.#outstanding++
    this.#read(identities, answer).then(() => { this.#outstanding-- })
  }

  #refuse (done: CheckCallback) {
    const error = new Error(`Redis owes answers to ${MAX_OUTSTANDING} reads`)
    this.#health.failed(error)
    done(error, false)
  }
}
