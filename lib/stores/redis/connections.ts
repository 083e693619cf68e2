import type { RedisClient } from '../../types.ts'

/** What ioredis and iovalkey keep of a client's connection: a new object for each one. */
interface Connected {
  condition?: { select?: number } | null
  options?: { host?: string, port?: number, db?: number }
  /** Of a cluster: it connects to each when there is something to send. */
  nodes? (role: 'master'): Connected[]
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

  /** To be compared with a later one. */
  now (): unknown[] {
    return this.#clients.flatMap((client): unknown[] => {
      const { condition, nodes } = client as Connected
      if (!client.isCluster) return [condition, databaseOf(client)]
      return (nodes?.call(client, 'master') ?? []).flatMap(({ condition, options }) => [`${options?.host}:${options?.port}`, condition])
    })
  }

  areStill (before: unknown[]): boolean {
    const now = this.now()
    return now.length === before.length && now.every((one, i) => one === before[i])
  }

  /** The same, but a first connection is no change: it is one of `since` from then on. */
  wereRenewed (since: unknown[]): boolean {
    const now = this.now()
    if (now.length !== since.length) return true
    for (const [i, one] of now.entries()) since[i] ??= one
    return now.some((one, i) => one !== since[i])
  }
}
