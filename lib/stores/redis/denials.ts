import type { Names } from '../../domain/names.ts'
import { NoAnswer } from '../../errors.ts'
import type { Clock } from '../../time.ts'
import type { Entry } from '../entry.ts'
import type { CheckCallback, Denials, WriteOptions, Written } from '../store.ts'
import { Batcher } from './batcher.ts'
import type { Commands } from './commands.ts'
import type { Connection } from './connection.ts'
import type { Probe } from './health.ts'
import type { Keys } from './keys.ts'
import type { Link } from './link.ts'
import type { Writer } from './writer.ts'

export interface DenialsContext {
  redis: Commands
  link: Link
  keys: Keys
  writer: Writer
  /** The connection that the writer uses. */
  writing: Connection
  canRead: Probe
  clock: Clock
}

/** Revocations and cutoffs in Redis. */
export class RedisDenials implements Denials {
  readonly mayFindHalf: boolean
  readonly #link: Link
  readonly #writer: Writer
  readonly #writing: Connection
  readonly #batcher: Batcher

  constructor ({ redis, link, keys, writer, writing, canRead, clock }: DenialsContext) {
    this.mayFindHalf = writer.mayBreakOff
    this.#link = link
    this.#writer = writer
    this.#writing = writing
    this.#batcher = new Batcher({ link, read: redis.read, keys, needs: canRead, clock })
  }

  check (names: Names, done: CheckCallback) {
    this.#batcher.check(names, true, done)
  }

  checkShared (names: Names, done: CheckCallback) {
    this.#batcher.check(names, false, done)
  }

  checkEither (names: Names, done: CheckCallback) {
    this.#batcher.check(names, false, done)
  }

  /** Checks that wait for others ask at once. */
  flush () {
    this.#batcher.flush()
  }

  write (entry: Entry, options: WriteOptions = {}): Promise<Written> {
    const { budget, mustStand, made } = options
    // The link does not even try where too much is outstanding.
    if (mustStand && this.#link.refusal('operations') !== undefined) {
      this.#writer.owed.add(entry, ({ standing }) => made?.(standing, false), true)
    }
    return this.#link.run(() => this.#writer.write(entry, options), { needs: this.canWrite, budget })
  }

  /** Writes again what Redis has lost. */
  putBack (entries: Entry[]): Promise<void> {
    return this.#link.within(() => this.#writer.putBack(entries))
  }

  readonly canWrite: Probe = () => this.#link.within(() => this.#writer.probe()).catch((error) => {
    if (error instanceof NoAnswer) this.#writing.renew?.()
    throw error
  })
}
