import type { Seconds } from '../../time.ts'
import { keyOf, KINDS, type Entry } from '../entry.ts'
import type { StoreContext, WriteOptions, Written } from '../store.ts'
import type { Denylist } from './denylist.ts'

/** How many failed calls are remembered, because the log may still bring their writes. */
const MAX_UNSURE = 10_000

/**
 * Keeps listeners from hearing twice of a write of this process. The log may bring it before the answer
 * comes, or after the call has failed. The caller hears from the answer, and listeners hear once.
 */
export class Echoes {
  readonly #denylist: Denylist
  readonly #onEntry: StoreContext['onEntry']
  /** By key, how many writes of this process are under way. */
  readonly #writing = new Map<string, number>()
  /** By key, the entries that the log brought during these writes. */
  readonly #heardMeanwhile = new Map<string, Entry[]>()
  /**
   * By key of a call that failed and may have written: the `at` of each entry that listeners heard of since.
   */
  readonly #unsure = new Map<string, Set<Seconds>>()

  constructor (denylist: Denylist, { onEntry }: Pick<StoreContext, 'onEntry'>) {
    this.#denylist = denylist
    this.#onEntry = onEntry
  }

  /** Takes a new entry that the log or the keys brought. */
  onEntry (entry: Entry) {
    if (this.#writing.size === 0 && this.#unsure.size === 0) return this.#onEntry?.(entry)
    const key = keyOf(entry)
    if (this.#writing.has(key)) this.#heardMeanwhile.set(key, [...this.#heardMeanwhile.get(key) ?? [], entry])
    else this.#tell(key, entry)
  }

  /**
   * Writes, and adds what stands to the denylist at once. `write` calls its `made` if it made what stands.
   * Then `tell` is called, with whether listeners have heard of it. They hear of other processes' entries of
   * that key afterwards.
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
      // A retry may settle an earlier call that failed.
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
    // A token has one first revocation, and it is ours. But every process may raise a cutoff.
    const isOther = ({ kind, at }: Entry) => own === undefined || (KINDS[kind].rises && at !== own.at)
    const others = this.#heardMeanwhile.get(key)?.filter(isOther) ?? []
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
