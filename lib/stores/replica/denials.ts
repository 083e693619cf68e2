import type { Names } from '../../domain/names.ts'
import type { Clock, Seconds } from '../../time.ts'
import type { Entry } from '../entry.ts'
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

/** Revocations and cutoffs, checked in a copy in this process while that is not stale, and written to Redis. */
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
    // Redis' clock decides. A process that is behind accepts tokens for longer, and so remembers for longer.
    this.copy = new Denylist(() => Math.min(time.earliest, context.clock.wall()) / 1000)
    this.#echoes = new Echoes(this.copy, context)
  }

  check (names: Names, done: CheckCallback) {
    const { revoked, cutoff } = this.#known(names)
    // What is known to be revoked stays so, however old that is.
    if (revoked || !this.#isStale()) return done(null, revoked, cutoff)
    this.#redis.check(names, (error, revoked, inRedis) => done(error, revoked, latestOf(cutoff, inRedis)))
  }

  /** Redis may have lost what this process knows, and the log what is under a key. */
  checkShared (names: Names, done: CheckCallback) {
    const known = this.#known(names)
    this.#redis.check(names, (error, revoked, inRedis) => done(error, revoked && known.revoked, earliestOf(known.cutoff, inRedis)))
  }

  /** The process that revokes knows at once. */
  write (entry: Entry, { made: tell, ...options }: WriteOptions = {}): Promise<Written> {
    const until = this.#time.endOf(entry.until, this.#clock.wall())
    // A cutoff that rose beyond the one that was asked for outlives it by as much.
    const copyOf = ({ at, exp }: Entry): Entry => ({ ...entry, at, exp, until: until && until + (entry.kind === 'cutoff' ? Math.max(at - entry.at, 0) : 0) })
    return this.#echoes.during({ ...entry, until }, copyOf, tell, (made) => this.#redis.write(entry, { ...options, made }))
  }

  /** The log has it, or only a key (`isLogged` is false); `isNews`: it is not from the first reading. */
  learn (entry: Entry, { isLogged, isNews }: { isLogged: boolean, isNews: boolean }) {
    if (!this.copy.add(entry, isLogged) || !isNews) return
    this.#onLearned?.()
    this.#echoes.onEntry(entry)
  }

  #known ({ identity, subject }: Names) {
    return {
      revoked: identity !== undefined && this.copy.isRevoked(identity),
      cutoff: subject === undefined ? null : this.copy.cutoffOf(subject)
    }
  }
}

/** null: there is none. */
function latestOf (a: Seconds | null, b: Seconds | null): Seconds | null {
  return a === null || b === null ? a ?? b : Math.max(a, b)
}

/** null: one of them is none. */
function earliestOf (a: Seconds | null, b: Seconds | null): Seconds | null {
  return a === null || b === null ? null : Math.min(a, b)
}
