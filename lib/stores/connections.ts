import type { RedisClient } from '../types.ts'

/** What ioredis and iovalkey keep of a client's connection: a new object for each one. */
interface Connected {
  condition?: { select?: number } | null
  options?: { db?: number }
  /** Of a cluster. */
  nodes? (): Connected[]
}

/** The database that a client uses now: `select()` changes it, and no option tells. */
export function databaseOf (client: RedisClient): number {
  const { condition, options } = client as Connected
  return condition?.select ?? options?.db ?? 0
}

/**
 * Tells whether clients have the connections that they had, and the databases. It looks, and listens to nothing: a
 * client that was given to us is left as it is (P7).
 */
export class Connections {
  readonly #clients: RedisClient[]

  constructor (...clients: RedisClient[]) {
    this.#clients = clients
  }

  /** To be compared with a later one, by `areStill`. */
  now (): unknown[] {
    return this.#clients.flatMap((client) => {
      const { condition, nodes } = client as Connected
      return client.isCluster ? nodes?.call(client).map(({ condition }) => condition) : [condition, databaseOf(client)]
    })
  }

  areStill (before: unknown[]): boolean {
    const now = this.now()
    return now.length === before.length && now.every((one, i) => one === before[i])
  }
}
