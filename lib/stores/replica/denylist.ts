import type { Seconds } from '../../time.ts'
import { KINDS, type Entry } from '../entry.ts'
import { KeptNames } from './kept-names.ts'
import { PackedName } from './packed-name.ts'
import { FOR_EVER } from './segment.ts'

/**
 * Log and key tell ends of one revocation that differ by less: by rounding, and by how late an answer came.
 */
const SAME_END: Seconds = 60

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
