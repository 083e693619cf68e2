import type { Seconds } from '../../time.ts'
import { KINDS, type Entry } from '../entry.ts'
import { Filter } from './filter.ts'
import { LongNames } from './long-names.ts'
import { copied, PackedName } from './packed-name.ts'
import { FOR_EVER, type Kept } from './segment.ts'
import { Table } from './table.ts'

/**
 * Log and key tell ends of one revocation that differ by less: by rounding, and by how late an answer came.
 */
const SAME_END: Seconds = 60

/** The names of one kind, with what is kept of each. */
class KeptNames {
  readonly #packed: PackedName
  readonly #table: Table
  readonly #long = new LongNames()
  /** Absent until the first reading is over: to fill it takes less time when its size is known. */
  #filter: Filter | undefined
  /** Makes the next filter; undefined: there is enough room in this one. */
  #making: Generator<void> | undefined
  /** The filter that is being made. */
  #next: Filter | undefined
  /** Whether the table can keep the name that the last `standing` was about. */
  #fits = false

  constructor (packed: PackedName) {
    this.#packed = packed
    this.#table = new Table(packed)
  }

  get size () {
    return this.#table.size + this.#long.size
  }

  until (name: string): Seconds {
    if (!this.#mayHave(name)) return 0
    if (this.#packed.pack(name, false)) return this.#table.until()
    return this.#long.size === 0 ? 0 : this.#long.get(name)?.until ?? 0
  }

  get (name: string): Kept | null {
    if (!this.#mayHave(name)) return null
    return this.#packed.pack(name, false) ? this.#table.get() : this.#long.get(name)
  }

  /** Gives what is kept of a name that `set` will replace. */
  standing (name: string): Kept | null {
    this.#fits = this.#packed.pack(name, true)
    return this.#fits ? this.#table.get() : this.#long.get(name)
  }

  /** Replaces what is kept of the name that the last `standing` was about. */
  set (name: string, kept: Kept) {
    if (this.#fits) this.#table.set(kept)
    else this.#long.set(copied(name), kept)
    this.#filter?.add(name)
    this.#next?.add(name)
  }

  /**
   * Drops what has ended in one part of the table, and in some of the names that are too long for it. Goes on
   * with the next filter where one is needed.
   */
  sweep (step: number, now: Seconds) {
    this.#table.sweep(step % this.#table.segments, now)
    this.#long.sweep(now)
    if (this.#filter?.isFull) this.#making ??= this.#makeFilter()
    this.#makeOn()
  }

  /** Gives back the room that nothing uses, and makes the first filter, in steps of bounded size. */
  * trim (): Generator<void> {
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

  /** Whether the name may be kept; false is certain. */
  #mayHave (name: string): boolean {
    return this.size !== 0 && (this.#filter === undefined || this.#filter.mayHave(name))
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
    let part = 0
    for (const others of this.#long.parts()) {
      yield [part < this.#table.segments ? part : null, others]
      part++
    }
    for (; part < this.#table.segments; part++) yield [part, []]
  }
}

/**
 * What a replica knows: every revocation and every cutoff that still matters. An entry takes about 28 bytes
 * for a jti that is a UUID, 36 with an issuer, and 12 plus its length for any other name. It compares whole
 * names, so a token is never refused for the sake of another.
 */
export class Denylist {
  readonly now: () => Seconds
  readonly #kept: Record<Entry['kind'], KeptNames>
  #swept = 0

  constructor (now: () => Seconds, packed = new PackedName()) {
    this.now = now
    this.#kept = { revoked: new KeptNames(packed), cutoff: new KeptNames(packed) }
  }

  /** How many entries are kept. It counts ended entries until they are swept. */
  get size () {
    return this.#kept.revoked.size + this.#kept.cutoff.size
  }

  isRevoked (identity: string): boolean {
    const until = this.#kept.revoked.until(identity)
    return until !== 0 && until > this.now()
  }

  cutoffOf (subject: string): Seconds | null {
    const kept = this.#kept.cutoff.get(subject)
    return kept !== null && kept.until > this.now() ? kept.at : null
  }

  /**
   * Adds an entry. The first `at` of a revocation, the highest cutoff and the latest end stand. Gives whether
   * the entry was new. `logged`: it was read from the log. `now`: a page of entries shares one, because
   * to ask two clocks for each takes a twelfth of a start's work.
   */
  add ({ kind, name, at, exp, until }: Entry, logged: boolean, now = this.now()): boolean {
    const names = this.#kept[kind]
    const { rises } = KINDS[kind]
    const fresh = {
      at: clamp(Math.floor(at)),
      exp: exp === null ? null : clamp(Math.ceil(exp)),
      until: until === null ? FOR_EVER : clamp(Math.ceil(until)),
      logged
    }
    if (fresh.until <= now) return false
    const standing = names.standing(name)
    if (standing === null || standing.until <= now) {
      names.set(name, fresh)
      return true
    }
    const isNew = rises && fresh.at > standing.at
    // A log that lost its end tells a lower cutoff, or an earlier end, than this process knows.
    const isAll = (!rises || fresh.at >= standing.at) && fresh.until + SAME_END >= standing.until
    // The log does not have yet what raises a cutoff, or lasts longer.
    const isStillLogged = standing.logged && !isNew && fresh.until <= standing.until + SAME_END
    names.set(name, {
      at: rises ? Math.max(standing.at, fresh.at) : standing.at,
      exp: standing.exp ?? fresh.exp,
      until: Math.max(standing.until, fresh.until),
      logged: logged ? isAll || standing.logged : isStillLogged
    })
    return isNew
  }

  /** Whether the log had the entry. */
  isLogged ({ kind, name }: Entry): boolean {
    return this.#kept[kind].get(name)?.logged === true
  }

  /** Drops what has ended in the next part of each kind. A part has about fourteen hundred entries. */
  sweep () {
    const now = this.now()
    for (const names of Object.values(this.#kept)) names.sweep(this.#swept, now)
    this.#swept++
  }

  /** Gives back, part by part, the room that the first reading took for more entries. */
  * trim (): Generator<void> {
    for (const names of Object.values(this.#kept)) yield * names.trim()
  }

  /** Marks every entry as not logged, part by part. An entry that is added meanwhile may be marked or not. */
  * unlog (): Generator<void> {
    for (const names of Object.values(this.#kept)) yield * names.unlog()
  }

  /** Gives every entry, part by part. With `unlogged`, it leaves out the entries that the log had. */
  * entries (unlogged = false): Generator<Entry[]> {
    for (const kind of Object.keys(this.#kept) as Array<Entry['kind']>) {
      for (const part of this.#kept[kind].entries()) {
        const now = this.now()
        yield part
          .filter(({ until, logged }) => until > now && !(unlogged && logged))
          .map(({ name, at, exp, until }) => {
            return { kind, name, at, exp, until: until === FOR_EVER ? null : until }
          })
      }
    }
  }
}

function clamp (seconds: number): Seconds {
  return Math.min(Math.max(seconds, 0), FOR_EVER)
}
