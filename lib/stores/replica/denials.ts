import type { Names } from '../../domain/names.ts'
import type { Clock, Seconds } from '../../time.ts'
import { latestCutoff, type Entry } from '../entry.ts'
import type { RedisDenials } from '../redis/denials.ts'
import type { CheckCallback, Denials, StoreContext, WriteOptions, Written } from '../store.ts'
import { Denylist } from './denylist.ts'
import { Echoes } from './echoes.ts'
import type { RedisTime } from './redis-time.ts'

export interface ReplicaDenialsContext {
  redis: RedisDenials
  time: RedisTime
  isStale: () => boolean
  context: Pick<StoreContext, 'clock' | 'onEntry' | 'onLearned'>
}

interface Known {
  revoked: boolean
  cutoff: Seconds | null
}

/** Revocations and cutoffs. Checks look into a copy in this process while it is fresh; writes go to Redis. */
export class ReplicaDenials implements Denials {
  readonly copy: Denylist
  readonly #redis: RedisDenials
  readonly #time: RedisTime
  readonly #isStale: () => boolean
  readonly #clock: Clock
  readonly #onLearned: StoreContext['onLearned']
  readonly #echoes: Echoes

  constructor ({ redis, time, isStale, context }: ReplicaDenialsContext) {
    this.#redis = redis
    this.#time = time
    this.#isStale = isStale
    this.#clock = context.clock
    this.#onLearned = context.onLearned
    // The clock of Redis decides. A process whose clock is behind accepts tokens for longer, and remembers
    // longer.
    this.copy = new Denylist(() => Math.min(time.earliest, context.clock.wall()) / 1000)
    this.#echoes = new Echoes(this.copy, context)
  }

  get mayFindHalf () {
    return this.#redis.mayFindHalf
  }

  check (names: Names, done: CheckCallback) {
    const known = this.#known(names)
    // A known revocation holds, however old the copy is.
    if (known.revoked || !this.#isStale()) return done(null, known.revoked, known.cutoff)
    this.#redis.check(names, together(known, done))
  }

  checkEither (names: Names, done: CheckCallback) {
    this.#redis.checkEither(names, together(this.#known(names), done))
  }

  /** Redis may have lost what the copy has, and the log may have lost what a key has. */
  checkShared (names: Names, done: CheckCallback) {
    const parts = partsOf(names)
    let missing = parts.length
    let failure: unknown = null
    let isRevoked = false
    let latest: Seconds | null = null
    for (const part of parts) {
      const known = this.#known(part)
      this.#redis.checkShared(part, (error, revoked, inRedis) => {
        failure ??= error
        isRevoked ||= revoked && known.revoked
        latest = latestCutoff(latest, earliestOf(known.cutoff, inRedis))
        if (--missing === 0) done(failure, isRevoked, latest)
      })
    }
  }

  /** Writes to Redis and to the copy of this process, which does not wait for the log. */
  async write (entry: Entry, { made: tell, ...options }: WriteOptions = {}): Promise<Written> {
    const until = this.#time.endOf(entry.until, this.#clock.wall())
    const copyOf = ({ at, exp }: Entry): Entry => {
      // A cutoff that is later than the caller asked for is kept longer by the difference.
      const late = entry.kind === 'cutoff' ? Math.max(at - entry.at, 0) : 0
      return { ...entry, at, exp, until: until && until + late }
    }
    const write = (made: (standing: Entry) => void) => this.#redis.write(entry, { ...options, made })
    try {
      return await this.#echoes.during({ ...entry, until }, copyOf, tell, write)
    } catch (error) {
      if (options.mustStand) this.copy.add(copyOf(entry), false)
      throw error
    }
  }

  /**
   * Takes in entries from the log, or from keys (`isLogged` is false). `isNews`: not from the first reading.
   */
  learn (entries: Entry[], { isLogged, isNews }: { isLogged: boolean, isNews: boolean }) {
    const now = this.copy.now()
    for (const entry of entries) {
      if (!this.copy.add(entry, isLogged, now) || !isNews) continue
      this.#onLearned?.()
      this.#echoes.onEntry(entry)
    }
  }

  #known ({ identity, subject, others }: Names): Known {
    let cutoff = subject === undefined ? null : this.copy.cutoffOf(subject)
    if (others !== undefined) {
      for (const name of others) cutoff = latestCutoff(cutoff, this.copy.cutoffOf(name))
    }
    return { revoked: identity !== undefined && this.copy.isRevoked(identity), cutoff }
  }
}

/** What Redis says, and what is known here. */
function together (known: Known, done: CheckCallback): CheckCallback {
  return (error, revoked, cutoff) => done(error, revoked || known.revoked, latestCutoff(known.cutoff, cutoff))
}

/** The same names, with one cutoff at most in each part. The checks of all parts share a round trip. */
function partsOf (names: Names): Names[] {
  const { others = [] } = names
  return [{ ...names, others: undefined }, ...others.map((subject) => ({ subject }))]
}

/** null means that at least one of the two is missing. */
function earliestOf (a: Seconds | null, b: Seconds | null): Seconds | null {
  return a === null || b === null ? null : Math.min(a, b)
}
