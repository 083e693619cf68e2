import type { Names } from '../domain/names.ts'
import type { Clock, Milliseconds, Seconds } from '../time.ts'
import type { TokenRecord } from '../types.ts'
import type { Entry } from './entry.ts'

/**
 * Whether a revocation of the identity is kept, and the subject's cutoff (seconds since the epoch), or null.
 * What comes with an error is known nevertheless, and nothing else is.
 */
export type CheckCallback = (error: unknown, revoked: boolean, cutoff: Seconds | null) => void

/** What became of a write. */
export interface Written {
  /** What stands: the first `at` of a revocation, the highest cutoff. */
  standing: Entry
  /** Whether this call made it, or raised it. */
  first: boolean
  /** The cutoff before; null: there was none. Of a revocation always null. */
  before: Seconds | null
}

export interface WriteOptions {
  budget?: Budget | undefined
  /** A cutoff that stands at this second or later is not raised. Default: there is no such second. */
  unlessFrom?: Seconds | undefined
  /**
   * Called once, with what stands, where this call made it: before the answer; or, where the call has failed
   * because nobody knew what became of its write, when that is acknowledged at last. `isHeard`: the store
   * told of it already, through `onEntry`.
   */
  made?: ((standing: Entry, isHeard: boolean) => void) | undefined
}

/** Time left for several calls together. Time between them is not counted. */
export interface Budget {
  left: Milliseconds
}

/**
 * The revocations and cutoffs. A method that answers has done what it says, on every process that shares the
 * store; one that can't, fails within the store's own deadline with whatever went wrong.
 */
export interface Denials {
  /** By callback, which must not throw: this runs for every request. */
  check (names: Names, done: CheckCallback): void
  /**
   * The same, but what is known here and not kept for all processes, or the other way round, counts as not
   * revoked.
   */
  checkShared (names: Names, done: CheckCallback): void
  /**
   * Keeps an entry until its `until`. A revocation that stands already stays, and is never shortened. A
   * cutoff that stands at `at` or later rises by a second, to `at` + LEAD at most, or stays at `unlessFrom`
   * or later.
   */
  write (entry: Entry, options?: WriteOptions): Promise<Written>
}

/** A record and what it is found by. */
export interface RecordEntry {
  record: TokenRecord
  identity: string
  /** Absent where the token has no sub. */
  subject?: string
  /** When the last verifier ceases to accept the token, seconds since the epoch; null: never. */
  exp: number | null
  /** null: for ever. */
  keptUntil: Seconds | null
}

/** The history. It answers, or fails, as `Denials` does. */
export interface Records {
  /**
   * Keeps a record, in the place of one with its id. Its identity leads to the record that ends latest, which
   * is this one where it is the identity's first (`isFirst`). Gives the cutoff of its subject, read after
   * that.
   */
  save (entry: RecordEntry, isFirst?: boolean): Promise<Seconds | null>
  /** Keeps a record unless its identity has one that ends as late. */
  add (entry: RecordEntry): Promise<void>
  byId (id: string, budget?: Budget): Promise<TokenRecord | null>
  /** The record of an identity that ends latest. Where there is none, the same commands run (P6). */
  of (identity: string, budget?: Budget): Promise<TokenRecord | null>
  /**
   * The records of a subject that have not expired by the clock of the store, latest to expire first; from
   * the one after the id `after` on. `now`: and those that have expired by then are left out.
   */
  page (subject: string, limit: number, after?: string, now?: Seconds): Promise<{ records: TokenRecord[], after?: string }>
}

export interface StoreStatus {
  readonly kind: 'memory' | 'redis'
  /** Whether the store answered last. */
  readonly available: boolean
  /**
   * Where checks look into a copy in this process: how much it holds, and how old it is, undefined before it
   * is complete.
   */
  readonly copy?: { readonly entries: number, readonly stalenessMs: Milliseconds | undefined }
  /** What is wrong with its settings, a sentence each. */
  readonly warnings: readonly string[]
}

/** Where revocations and records are kept. Every store passes the same suite (test/stores/contract.ts). */
export interface Store {
  readonly denials: Denials
  readonly records: Records
  /** Another one where the store may have lost what it held: who remembers what is there forgets that. */
  readonly generation: number
  readonly status: StoreStatus
  /** The time of one revocation, for the calls that it takes. */
  budget (): Budget
  /** Gives several calls the time of one. */
  within<T> (calls: () => Promise<T>): Promise<T>
  /**
   * Resolves once the store has answered, or failed to; never rejects: an application starts without its
   * store.
   */
  start (): Promise<void>
  close (): void
}

/** What a store needs from outside. */
export interface StoreContext {
  clock: Clock
  /** Called when the store stops answering, once. */
  onLost: (error: unknown) => void
  /** Called when it answers again, once. */
  onBack: () => void
  /** Called when something new is known to be denied: what was checked before it may be wrong after it. */
  onLearned?: () => void
  /** Called for each revocation and cutoff that another process made, where the store hears of them. */
  onEntry?: (entry: Entry) => void
  /** Called when a write of unknown outcome is given up, because too many others are owed. */
  onDisowned?: () => void
  /** Called once for each of the store's warnings. */
  onWarning?: (sentence: string) => void
  /** Called each time it was asked again, while it is lost, and gave no answer. */
  onStuck?: () => void
}
