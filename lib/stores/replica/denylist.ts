import type { Seconds } from '../../domain/retention.ts'
import { LongNames } from './long-names.ts'
import { copied, PackedName } from './packed-name.ts'
import { FOR_EVER, type Kept } from './segment.ts'
import { Table } from './table.ts'

export interface DenylistEntry {
  kind: 'revoked' | 'cutoff'
  /** The identity, or the subject. */
  name: string
  /** Seconds since the epoch: when it was revoked, or the cutoff. */
  at: Seconds
  /** null: unknown. */
  exp: Seconds | null
  /** null: for ever. */
  until: Seconds | null
}

/** Ends of one revocation, by the log and by its key, differ by less: a second of rounding, and how late an answer came. */
const SAME_END: Seconds = 60

type Kind = DenylistEntry['kind']

/**
 * Of two names that are asked for again and again: that nothing was kept of them, as long as nothing is added that may
 * have one of them. Most requests present a token that was here before; to look its names up may take several accesses
 * to memory that is far away.
 */
export class Note {
  /** Of both names; -1: nobody has looked, or something was found. */
  counters = -1
  count = 0
}

/** Of what was added, by a hash of its name: whoever shares one is looked up again, no more. */
const COUNTERS = 1024

/** Of one kind. */
class Names {
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
  * unmark (): Generator<void> {
    for (const [part, others] of this.#steps()) {
      if (part !== null) this.#table.unmark(part)
      for (const [, kept] of others) kept.marked = false
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
 * What a replica knows: every denial and every cutoff that still matters. About 28 bytes for a jti that is a UUID, 36
 * with an issuer, 12 and its length for any other. Names are compared as a whole, so that no token is ever refused for
 * another one's sake.
 */
export class Denylist {
  readonly #now: () => Seconds
  readonly #denials: Names
  readonly #cutoffs: Names
  readonly #added = new Uint32Array(COUNTERS)
  #swept = 0

  constructor (now: () => Seconds, packed = new PackedName()) {
    this.#now = now
    this.#denials = new Names(packed)
    this.#cutoffs = new Names(packed)
  }

  /** Those whose time is up included, until they are swept. */
  get size () {
    return this.#denials.size + this.#cutoffs.size
  }

  /** Whether anything is kept of a token's names, if only something whose time is up. */
  knows (identity: string | undefined, subject: string | undefined, note = new Note()): boolean {
    if (note.counters >= 0 && note.count === this.#countOf(note)) return false
    if (identity !== undefined && this.#denials.until(identity) !== 0) return true
    if (subject !== undefined && this.#cutoffs.until(subject) !== 0) return true
    note.counters = counterOf(identity ?? '') * COUNTERS + counterOf(subject ?? '')
    note.count = this.#countOf(note)
    return false
  }

  /** Both counters only rise: while their sum stays, so does each of them. */
  #countOf ({ counters }: Note): number {
    return this.#added[counters / COUNTERS | 0]! + this.#added[counters % COUNTERS]!
  }

  isDenied (identity: string): boolean {
    const until = this.#denials.until(identity)
    return until !== 0 && until > this.#now()
  }

  cutoffOf (subject: string): Seconds | null {
    const kept = this.#cutoffs.get(subject)
    return kept !== null && kept.until > this.#now() ? kept.at : null
  }

  /**
   * Keeps what an entry says; what is known stays: the first `at` of a denial, the highest cutoff, the latest end.
   * Gives whether it was new. `marked`: it was read from the log.
   */
  add ({ kind, name, at, exp, until }: DenylistEntry, marked: boolean): boolean {
    const now = this.#now()
    const names = this.#of(kind)
    const fresh = {
      at: clamp(Math.floor(at)),
      exp: exp === null ? null : clamp(Math.ceil(exp)),
      until: until === null ? FOR_EVER : clamp(Math.ceil(until)),
      marked
    }
    if (fresh.until <= now) return false
    this.#added[counterOf(name)]!++
    let isNew = true
    names.update(name, (standing) => {
      if (standing === null || standing.until <= now) return fresh
      isNew = kind === 'cutoff' && fresh.at > standing.at
      // A log that lost its end brings a lower cutoff, or an earlier end, than is known: what is known is missing from it.
      const isAll = (kind === 'revoked' || fresh.at >= standing.at) && fresh.until + SAME_END >= standing.until
      return {
        at: kind === 'revoked' ? standing.at : Math.max(standing.at, fresh.at),
        exp: standing.exp ?? fresh.exp,
        until: Math.max(standing.until, fresh.until),
        // What raises a cutoff, or lasts longer, is not what the log had.
        marked: marked ? isAll || standing.marked : standing.marked && !isNew && fresh.until <= standing.until + SAME_END
      }
    })
    return isNew
  }

  /** Whether the log had it. */
  isMarked ({ kind, name }: DenylistEntry): boolean {
    return this.#of(kind).get(name)?.marked === true
  }

  /** Forgets what has ended in the next part of each kind; a part is about fourteen hundred entries. */
  sweep () {
    const now = this.#now()
    for (const names of [this.#denials, this.#cutoffs]) names.sweep(this.#swept, now)
    this.#swept++
  }

  /** As if nothing were in the log. Part by part: what is added between two of them may be unmarked or not. */
  * unmark (): Generator<void> {
    for (const names of [this.#denials, this.#cutoffs]) yield * names.unmark()
  }

  /** What is kept, part by part; with `unmarked`: and was not read from the log. */
  * entries (unmarked = false): Generator<DenylistEntry[]> {
    for (const kind of ['revoked', 'cutoff'] as const) {
      for (const part of this.#of(kind).entries()) {
        const now = this.#now()
        yield part
          .filter(({ until, marked }) => until > now && !(unmarked && marked))
          .map(({ name, at, exp, until }) => ({ kind, name, at, exp, until: until === FOR_EVER ? null : until }))
      }
    }
  }

  #of (kind: Kind) {
    return kind === 'revoked' ? this.#denials : this.#cutoffs
  }
}

function counterOf (name: string): number {
  let hash = 0
  for (let i = 0; i < name.length; i++) hash = Math.imul(hash, 31) + name.charCodeAt(i) | 0
  return (hash ^ hash >>> 16) & COUNTERS - 1
}

function clamp (seconds: number): Seconds {
  return Math.min(Math.max(seconds, 0), FOR_EVER)
}
