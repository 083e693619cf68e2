import type { Owner } from '../../test/support/redis.ts'
import type { Settings } from '../settings.ts'
import { startChild, type Child } from './child.ts'
import { Database } from './redis.ts'
import { seed } from './seed.ts'
import type { Handlers } from './serve.ts'

interface Filled {
  database: Database
  /** The jti of one of the tokens that are revoked there. */
  seeded: string | undefined
}

/** What the sections of one run share. */
export class Bench {
  readonly settings: Settings
  readonly rows: RegExp
  readonly #owner: Owner
  readonly #folder: string
  readonly #filled = new Map<number, Promise<Filled>>()

  constructor (owner: Owner, folder: string, { settings, rows }: { settings: Settings, rows: RegExp }) {
    this.#owner = owner
    this.#folder = folder
    this.settings = settings
    this.rows = rows
  }

  start<H extends Handlers<H>> (owner: Owner, name: string, nodeArgs?: string[]): Child<H> {
    return startChild(this.#folder, owner, name, nodeArgs)
  }

  /** One Redis for each number of revocations: only one contender at a time is asked. */
  filled (entries = 0): Promise<Filled> {
    let filled = this.#filled.get(entries)
    if (!filled) this.#filled.set(entries, filled = this.#fill(entries))
    return filled
  }

  async #fill (entries: number): Promise<Filled> {
    const database = await Database.start(this.#owner)
    return { database, seeded: await seed(database.redis, entries) }
  }
}
