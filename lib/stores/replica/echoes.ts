import type { Seconds } from '../../time.ts'
import { keyOf, KINDS, type Entry } from '../entry.ts'
import type { StoreContext, WriteOptions, Written } from '../store.ts'
import type { Denylist } from './denylist.ts'

/** Failed calls whose writes may still come with the log. */
const MAX_UNSURE = 10_000

/**
 * What this process is writing, and the log brings before the answer does, or after the call has failed. Whoever asked
 * is told by the answer, listeners are told once.
 */
export class Echoes {
  readonly #denylist: Denylist
  readonly #onEntry: StoreContext['onEntry']
  /** What this process is writing, how often at once; and what the log brought of it meanwhile. */
  readonly #writing = new Map<string, number>()
  readonly #heardMeanwhile = new Map<string, Entry[]>()
  /** What this process may have written, in a call that has failed; and the moments of what was told of it since. */
  readonly #unsure = new Map<string, Set<Seconds>>()

  constructor (denylist: Denylist, { onEntry }: Pick<StoreContext, 'onEntry'>) {
    this.#denylist = denylist
    this.#onEntry = onEntry
  }

  /** The log, or the keys, brought something new. */
  onEntry (entry: Entry) {
    const key = keyOf(entry)
    if (this.#writing.has(key)) this.#heardMeanwhile.set(key, [...this.#heardMeanwhile.get(key) ?? [], entry])
    else this.#tell(key, entry)
  }

  /**
   * Writes, and knows of it at once. `made` is to be called where this call made what stands; `tell` hears of it then,
   * and whether listeners have been told. What others wrote under that name meanwhile is told afterwards.
   */
  during (
    asked: Entry, copyOf: (standing: Entry) => Entry, tell: WriteOptions['made'],
    write: (made: (standing: Entry) => void) => Promise<Written>
  ): Promise<Written> {
    const key = keyOf(asked)
    this.#writing.set(key, (this.#writing.get(key) ?? 0) + 1)
    let own: Entry | undefined
    let hasFailed = false
    const made = (standing: Entry) => {
      own = copyOf(standing)
      this.#denylist.add(own, false)
      // A retry may be what settles an earlier call that failed.
      const isHeard = this.#unsure.get(key)?.has(own.at) === true
      if (hasFailed) this.#unsure.delete(key)
      tell?.(standing, isHeard)
    }
    const writing = async () => {
      const written = await write(made)
      const entry = copyOf(written.standing)
      if (this.#denylist.add(entry, false) && own === undefined) this.#tell(key, entry)
      return written
    }
    return writing().catch((error) => {
      hasFailed = true
      if (own === undefined) this.#beUnsure(key)
      throw error
    }).finally(() => this.#written(key, own))
  }

  #written (key: string, own: Entry | undefined) {
    const left = this.#writing.get(key)! - 1
    // A token is revoked for the first time once; a cutoff is raised by whoever asks.
    const others = this.#heardMeanwhile.get(key)?.filter(({ kind, at }) => own === undefined || (KINDS[kind].rises && at !== own.at)) ?? []
    if (left > 0) {
      this.#writing.set(key, left)
      this.#heardMeanwhile.set(key, others)
      return
    }
    this.#writing.delete(key)
    this.#heardMeanwhile.delete(key)
    for (const heard of others) this.#tell(key, heard)
  }

  #beUnsure (key: string) {
    this.#unsure.set(key, this.#unsure.get(key) ?? new Set())
    if (this.#unsure.size > MAX_UNSURE) this.#unsure.delete(this.#unsure.keys().next().value!)
  }

  #tell (key: string, entry: Entry) {
    this.#unsure.get(key)?.add(entry.at)
    this.#onEntry?.(entry)
  }
}
