import type { Seconds } from '../../time.ts'
import { Filter } from './filter.ts'
import { LongNames } from './long-names.ts'
import { copied, type PackedName } from './packed-name.ts'
import type { Kept } from './segment.ts'
import { Table } from './table.ts'

/** So many new names at once take no longer together than one by one. */
const MAX_FRESH = 64

/** The names of one kind, with what is kept of each. */
export class KeptNames {
  /**
   * New names on their way into the table, which takes a process that has just woken many times as long as a
   * busy one. All processes of a machine wake for the same entry, and the last of them waits for all others.
   */
  readonly #fresh = new Map<string, Kept>()
  readonly #packed: PackedName
  readonly #table: Table
  readonly #long = new LongNames()
  /** Absent until the first reading is over: to fill it takes less time when its size is known. */
  #filter: Filter | undefined
  /** Makes the next filter; undefined: there is enough room in this one. */
  #making: Generator<void> | undefined
  /** The filter that is being made. */
  #next: Filter | undefined
  /** Of the name that the last `standing` was about: whether it is a new one, or else fits the table. */
  #isFresh = false
  #fits = false

  constructor (packed: PackedName) {
    this.#packed = packed
    this.#table = new Table(packed)
  }

  get size () {
    return this.#table.size + this.#long.size + this.#fresh.size
  }

  until (name: string): Seconds {
    const fresh = this.#freshOf(name)
    if (fresh !== undefined) return fresh.until
    if (!this.#mayHave(name)) return 0
    if (this.#packed.pack(name, false)) return this.#table.until()
    return this.#long.size === 0 ? 0 : this.#long.get(name)?.until ?? 0
  }

  get (name: string): Kept | null {
    const fresh = this.#freshOf(name)
    if (fresh !== undefined) return fresh
    if (!this.#mayHave(name)) return null
    return this.#packed.pack(name, false) ? this.#table.get() : this.#long.get(name)
  }

  /** Gives what is kept of a name that `set` will replace. */
  standing (name: string): Kept | null {
    const fresh = this.#freshOf(name)
    this.#isFresh = fresh !== undefined || !this.#mayHave(name)
    return this.#isFresh ? fresh ?? null : this.#standing(name)
  }

  /** Replaces what is kept of the name that the last `standing` was about. */
  set (name: string, kept: Kept) {
    if (!this.#isFresh) return this.#set(name, kept)
    this.#fresh.set(name, kept)
    if (this.#fresh.size === MAX_FRESH) this.#settle()
  }

  /**
   * Drops what has ended in one part of the table, and in some of the names that are too long for it. Goes on
   * with the next filter where one is needed.
   */
  sweep (step: number, now: Seconds) {
    this.#settle()
    this.#table.sweep(step % this.#table.segments, now)
    this.#long.sweep(now)
    if (this.#filter?.isFull) this.#making ??= this.#makeFilter()
    this.#makeOn()
  }

  /** Gives back the room that nothing uses, and makes the first filter, in steps of bounded size. */
  * trim (): Generator<void> {
    this.#settle()
    for (let part = 0; part < this.#table.segments; part++) {
      this.#table.trim(part)
      yield
    }
    this.#making ??= this.#makeFilter()
    while (this.#making !== undefined) {
      this.#makeOn()
      yield
    }
  }

  /** Marks every entry as not logged, in steps of bounded size. */
  * unlog (): Generator<void> {
    for (const [part, others] of this.#steps()) {
      if (part !== null) this.#table.unlog(part)
      for (const [, kept] of others) kept.logged = false
      yield
    }
  }

  /** Gives every entry, in steps of bounded size. */
  * entries (): Generator<Array<Kept & { name: string }>> {
    for (const [part, others] of this.#steps()) {
      const entries = part === null ? [] : this.#table.entries(part)
      for (const [name, kept] of others) entries.push({ name, ...kept })
      yield entries
    }
  }

  #freshOf (name: string): Kept | undefined {
    return this.#fresh.size === 0 ? undefined : this.#fresh.get(name)
  }

  #standing (name: string): Kept | null {
    this.#fits = this.#packed.pack(name, true)
    return this.#fits ? this.#table.get() : this.#long.get(name)
  }

  #set (name: string, kept: Kept) {
    if (this.#fits) this.#table.set(kept)
    else this.#long.set(copied(name), kept)
    this.#filter?.add(name)
    this.#next?.add(name)
  }

  /** Puts the new names into the table. */
  #settle () {
    for (const [name, kept] of this.#fresh) {
      this.#standing(name)
      this.#set(name, kept)
    }
    this.#fresh.clear()
  }

  /** Whether the name may be kept in the table; false is certain. */
  #mayHave (name: string): boolean {
    if (this.#table.size + this.#long.size === 0) return false
    return this.#filter === undefined || this.#filter.mayHave(name)
  }

  #makeOn () {
    if (this.#making?.next().done) this.#making = undefined
  }

  /** Names that are added meanwhile are in both filters. Only one is made at a time: `set` knows no other. */
  * #makeFilter (): Generator<void> {
    const next = this.#next = new Filter(this.size)
    for (const [part, others] of this.#steps()) {
      if (part !== null) for (const spelling of this.#table.spellings(part)) next.addSpelling(spelling)
      for (const [name] of others) next.add(name)
      yield
    }
    this.#filter = next
    this.#next = undefined
  }

  * #steps (): Generator<[part: number | null, others: Array<[name: string, kept: Kept]>]> {
    this.#settle()
    let part = 0
    for (const others of this.#long.parts()) {
      yield [part < this.#table.segments ? part : null, others]
      part++
    }
    for (; part < this.#table.segments; part++) yield [part, []]
  }
}
