import { contendersWith, type Contender } from '../contenders/contender.ts'
import { Database } from '../support/redis.ts'
import { seed } from '../support/seed.ts'
import type { Owner } from '../../test/support/redis.ts'

interface Filled {
  database: Database
  /** The jti of one of the tokens that are revoked there. */
  seeded: string | undefined
}

/** A Redis for each contender, so that what it executed is known of each. */
export class Databases {
  readonly #filled = new Map<string, Filled>()

  static async start (owner: Owner, entries: number[]): Promise<Databases> {
    const databases = new Databases()
    const first = new Map<number, Filled>()
    for (const { name, entries: revoked = 0 } of contendersWith(entries)) {
      const database = await Database.start(owner)
      const same = first.get(revoked)
      if (same && revoked > 0) await database.copy(same.database)
      const filled = { database, seeded: same ? same.seeded : await seed(database.redis, revoked) }
      first.set(revoked, filled)
      databases.#filled.set(name, filled)
    }
    return databases
  }

  of ({ name }: Contender): Filled {
    return this.#filled.get(name)!
  }
}
