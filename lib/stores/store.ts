import type { Names } from '../domain/names.ts'
import type { Clock, Milliseconds, Seconds } from '../time.ts'
import type { TokenRecord } from '../types.ts'
import type { Entry } from './entry.ts'
import type { Found, Refresh, SpentRefresh } from './refresh.ts'

/**
 * `revoked`: whether a revocation of the identity is kept. `cutoff`: the latest of the other names' cutoffs,
 * in seconds since the epoch; null: there is none. With an `error`, a `revoked` or a `cutoff` that is given
 * is true, and its absence says nothing.
 */
export type CheckCallback = (error: unknown, revoked: boolean, cutoff: Seconds | null) => void

/** The outcome of a write. */
export interface Written {
  /** What stands now: a revocation with its first `at`, or the highest cutoff. */
  standing: Entry
  /** Whether this call made what stands, or raised the cutoff. */
  first: boolean
  /** The cutoff that stood before; null: there was none. Always null for a revocation. */
  before: Seconds | null
}

export interface WriteOptions {
  budget?: Budget | undefined
  /** The write does not raise a cutoff that stands at this second or later. Default: it raises any. */
  unlessFrom?: Seconds | undefined
  /**
   * Where the write fails, for whatever reason, the store tries again until it stands, and a copy of the
   * denylist has the entry at once. Default: only where the outcome is unknown.
   */
  mustStand?: boolean | undefined
  /**
   * The store calls this once if this call made what stands, before it answers. Where the call failed with an
   * unknown outcome, the store calls it when Redis acknowledges the write at last. `isHeard`: the store has
   * already told `onEntry` of it.
   */
  made?: ((standing: Entry, isHeard: boolean) => void) | undefined
}

/** Time left for several calls together. Time between them is not counted. */
export interface Budget {
  left: Milliseconds
}

/**
 * The revocations and cutoffs. When a method answers, its effect holds for every process that shares the
 * store. A method that can not do its work fails within the store's own deadline.
 */
export interface Denials {
  /** Whether a check may find what a failed write left halfway. Then only a write tells that it stands. */
  readonly mayFindHalf: boolean
  /** Answers through `done`, which must not throw. A callback, because this runs for every request. */
  check (names: Names, done: CheckCallback): void
  /** As `check`, but a name counts as revoked only if this process and the shared store both know it. */
  checkShared (names: Names, done: CheckCallback): void
  /** As `check`, but it always asks the shared store, too: a name counts if either of the two knows it. */
  checkEither (names: Names, done: CheckCallback): void
  /**
   * Keeps an entry until its `until`. A standing revocation stays, and is never shortened. A cutoff that
   * stands at `at` or later rises by a second, up to `at` + LEAD. It does not rise if it stands at
   * `unlessFrom` or later. A cutoff that stands at EVERY_IAT never rises.
   */
  write (entry: Entry, options?: WriteOptions): Promise<Written>
}

/** A record, and the names that lead to it. */
export interface RecordEntry {
  record: TokenRecord
  identity: string
  /** Absent where the token has no sub. */
  subject?: string | undefined
  /** The token's further names that have a cutoff each. */
  others?: readonly string[] | undefined
  /** When the last verifier ceases to accept the token, in seconds since the epoch; null: never. */
  exp: number | null
  /** When the store may drop the record; null: never. */
  keptUntil: Seconds | null
  /** Present where the record is of a session that can be refreshed. */
  session?: SessionEntry | undefined
}

/** What a session has beside its record. */
export interface SessionEntry {
  /** The name that leads to its record as long as the record is kept. */
  name: string
  /** When the store may drop what leads from the identity of its latest token to the record; null: never. */
  identityKeptUntil: Seconds | null
  /** Under what its refresh token is kept. */
  hash: string
  refresh: Refresh
}

/** The history. Its methods answer and fail as those of `Denials` do. */
export interface Records {
  /**
   * Keeps a record, and replaces a record with the same id. Its identity leads to the record that ends
   * latest. `isFirst` says that the identity has no other record. Gives the latest cutoff of the token's
   * names, read after the record was written.
   */
  save (entry: RecordEntry, isFirst?: boolean): Promise<Seconds | null>
  /** Keeps a record unless its identity has a record that ends as late. */
  add (entry: RecordEntry): Promise<void>
  byId (id: string, budget?: Budget): Promise<TokenRecord | null>
  /** The record of an identity that ends latest. The same commands run where there is none (P6). */
  of (identity: string, budget?: Budget): Promise<TokenRecord | null>
  /**
   * The records of a subject that have not expired by the clock of the store, latest to expire first. The
   * page begins behind the record with the id `after`. With `now`, it also leaves out records that have
   * expired by then.
   */
  page (subject: string, limit: number, after?: string, now?: Seconds): Promise<RecordPage>
}

export interface RecordPage {
  records: TokenRecord[]
  /** Where the next page begins. Absent on the last page. */
  after?: string
}

export interface SpendOptions {
  /** How long after its first use a refresh token gives the same successor again. */
  grace: Milliseconds
  /**
   * When this use began, by the clock of the store: the grace does not pass while the caller reloads a user.
   * Default: now.
   */
  since?: Milliseconds | undefined
  budget: Budget
}

/** Refresh tokens. Methods answer and fail as those of `Denials` do. */
export interface Refreshes {
  /** What use of a refresh token would mean; null: there is none. Changes nothing. */
  look (hash: string, options: SpendOptions): Promise<Found<Refresh | SpentRefresh> | null>
  /** Counts a use that is not refused. `key`: what its successor follows from, if this is the first use. */
  spend (hash: string, key: string, options: SpendOptions): Promise<Found<SpentRefresh> | null>
  /**
   * Keeps the refresh token of a session unless it is kept already, and the session's record. Gives false
   * where the session has ended: then its record stays as it is.
   */
  renew (entry: RecordEntry & { session: SessionEntry }, budget: Budget): Promise<boolean>
  /** Drops the claims of a spent refresh token, whose successor is kept. */
  settle (hash: string, spent: SpentRefresh, budget: Budget): Promise<void>
  /** Says in the record of a session when it ended, unless the record says so already. */
  end (id: string, endedAt: string, budget: Budget): Promise<void>
}

export interface StoreStatus {
  readonly kind: 'memory' | 'redis'
  /** Whether the store answered the last time that it was asked. */
  readonly available: boolean
  /**
   * The copy in this process, if checks look into one. `stalenessMs` is undefined until the copy is complete.
   */
  readonly copy?: { readonly entries: number, readonly stalenessMs: Milliseconds | undefined }
  /** What is wrong with the settings of Redis, one sentence each. */
  readonly warnings: readonly string[]
}

/** Keeps revocations and records. Every store passes the same suite (test/stores/contract.ts). */
export interface Store {
  readonly denials: Denials
  readonly records: Records
  readonly refreshes: Refreshes
  /** Changes when the store may have lost what it held. A memory of what the store holds is void then. */
  readonly generation: number
  readonly status: StoreStatus
  /** The time of one revocation, for all calls that it takes. */
  budget (): Budget
  /** Gives several calls together the time of one, or what is left of it. */
  within<T> (calls: () => Promise<T>, budget?: Budget): Promise<T>
  /**
   * Resolves once the store has answered or failed to. It never rejects: an application starts without its
   * store.
   */
  start (): Promise<void>
  /** Resolves once all that is under way has its answer, or has failed. */
  close (): Promise<void>
}

/** What a store needs from its owner. */
export interface StoreContext {
  clock: Clock
  /** The store calls this once when it stops answering. */
  onLost: (error: unknown) => void
  /** The store calls this once when it answers again. */
  onBack: () => void
  /** The store calls this when it learns a new revocation or cutoff: an earlier check may be wrong now. */
  onLearned?: () => void
  /** The store calls this for each revocation and cutoff that it hears of from another process. */
  onEntry?: (entry: Entry) => void
  /** The store calls this when it gives up a write of unknown outcome, because it owes too many others. */
  onDisowned?: () => void
  /** The store calls this once for each of its warnings. */
  onWarning?: (sentence: string) => void
  /** The store calls this each time that it is asked again while it is lost, and gives no answer. */
  onStuck?: () => void
}
