import type { Seconds } from '../../time.ts'
import { KINDS, type Entry } from '../entry.ts'
import { LongNames } from './long-names.ts'
import { copied, PackedName } from './packed-name.ts'
import { FOR_EVER, type Kept } from './segment.ts'
import { Table } from './table.ts'

/** Ends of one revocation, by the log and by its key, differ by less: a second of rounding, and how late an answer came. */
const SAME_END: Seconds = 60

/** Of one kind. */
class KeptNames {
  readonly #packed: PackedName
  readonly #table: Table
  readonly #long = new LongNames()

  constructor (packed: PackedName) {
    this.#packed = packed
    this.#table = new Table(packed)
  }

  get size () {
    return this.#table.size + this.#long.size
  }

  until (name: string): Seconds {
    if (this.size === 0) return 0
    if (this.#packed.pack(name, false)) return this.#table.until()
    return this.#long.size === 0 ? 0 : this.#long.get(name)?.until ?? 0
  }

  get (name: string): Kept | null {
    if (this.size === 0) return null
    return this.#packed.pack(name, false) ? this.#table.get() : this.#long.get(name)
  }

  /** Keeps of a name what `change` makes of what stands. */
  update (name: string, change: (standing: Kept | null) => Kept) {
    if (this.#packed.pack(name, true)) this.#table.set(change(this.#table.get()))
    else this.#long.set(copied(name), change(this.#long.get(name)))
  }

  /** One part of the table, and some of what is too long for it. */
  sweep (step: number, now: Seconds) {
    this.#table.sweep(step % this.#table.segments, now)
    this.#long.sweep(now)
  }

  /** Step by step, each of a bounded size. */
  * unlog (): Generator<void> {
    for (const [part, others] of this.#steps()) {
      if (part !== null) this.#table.unlog(part)
      for (const [, kept] of others) kept.logged = false
      yield
    }
  }

  /** The same of what is kept. */
  * entries (): Generator<Array<Kept & { name: string }>> {
    for (const [part, others] of this.#steps()) {
      const entries = part === null ? [] : this.#table.entries(part)
      for (const [name, kept] of others) entries.push({ name, ...kept })
      yield entries
    }
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
 * What a replica knows: every revocation and every cutoff that still matters. About 28 bytes for a jti that is a UUID, 36
 * with an issuer, 12 and its length for any other. Names are compared as a whole, so that no token is ever refused for
 * another one's sake.
 */
export class Denylist {
  readonly #now: () => Seconds
  readonly #kept: Record<Entry['kind'], KeptNames>
  #swept = 0

  constructor (now: () => Seconds, packed = new PackedName()) {
    this.#now = now
    this.#kept = { revoked: new KeptNames(packed), cutoff: new KeptNames(packed) }
  }

  /** Those whose time is up included, until they are swept. */
  get size () {
    return this.#kept.revoked.size + this.#kept.cutoff.size
  }

  isRevoked (identity: string): boolean {
    const until = this.#kept.revoked.until(identity)
    return until !== 0 && until > this.#now()
  }

  cutoffOf (subject: string): Seconds | null {
    const kept = this.#kept.cutoff.get(subject)
    return kept !== null && kept.until > this.#now() ? kept.at : null
  }

  /**
   * Keeps what an entry says; what is known stays: the first `at` of a revocation, the highest cutoff, the latest end.
   * Gives whether it was new. `logged`: it was read from the log.
   */
  add ({ kind, name, at, exp, until }: Entry, logged: boolean): boolean {
    const now = this.#now()
    const names = this.#kept[kind]
    const { rises } = KINDS[kind]
    const fresh = {
      at: clamp(Math.floor(at)),
      exp: exp === null ? null : clamp(Math.ceil(exp)),
      until: until === null ? FOR_EVER : clamp(Math.ceil(until)),
      logged
    }
    if (fresh.until <= now) return false
    let isNew = true
    names.update(name, (standing) => {
      if (standing === null || standing.until <= now) return fresh
      isNew = rises && fresh.at > standing.at
      // A log that lost its end brings a lower cutoff, or an earlier end, than is known: what is known is missing from it.
      const isAll = (!rises || fresh.at >= standing.at) && fresh.until + SAME_END >= standing.until
      return {
        at: rises ? Math.max(standing.at, fresh.at) : standing.at,
        exp: standing.exp ?? fresh.exp,
        until: Math.max(standing.until, fresh.until),
        // What raises a cutoff, or lasts longer, is not what the log had.
        logged: logged ? isAll || standing.logged : standing.logged && !isNew && fresh.until <= standing.until + SAME_END
      }
    })
    return isNew
  }

  /** Whether the log had it. */
  isLogged ({ kind, name }: Entry): boolean {
    return this.#kept[kind].get(name)?.logged === true
  }

  /** Forgets what has ended in the next part of each kind; a part is about fourteen hundred entries. */
  sweep () {
    const now = this.#now()
    for (const names of Object.values(this.#kept)) names.sweep(this.#swept, now)
    this.#swept++
  }

  /** As if nothing were in the log. Part by part: what is added between two of them may be unlogged or not. */
  * unlog (): Generator<void> {
    for (const names of Object.values(this.#kept)) yield * names.unlog()
  }

  /** What is kept, part by part; with `unlogged`: and was not read from the log. */
  * entries (unlogged = false): Generator<Entry[]> {
    for (const kind of Object.keys(this.#kept) as Array<Entry['kind']>) {
      for (const part of this.#kept[kind].entries()) {
        const now = this.#now()
        yield part
          .filter(({ until, logged }) => until > now && !(unlogged && logged))
          .map(({ name, at, exp, until }) => ({ kind, name, at, exp, until: until === FOR_EVER ? null : until }))
      }
    }
  }
}

function clamp (seconds: number): Seconds {
  return Math.min(Math.max(seconds, 0), FOR_EVER)
}
