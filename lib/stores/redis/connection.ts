import type { RedisClient } from '../../types.ts'
import type { Proven } from './commands.ts'

/** One connection, and what the plugin may do with it. */
export interface Connection {
  client: RedisClient
  /** That it sees the data of the client that checks, where it is another one. */
  proof?: Proven & { require: () => Promise<void> }
  /** Leaves it for a new one, where it is ours to leave. */
  renew?: () => void
}

/** What ioredis and iovalkey keep of a client's connection: a new object for each one. */
export interface ClientState {
  condition?: { select?: number } | null
  options?: { host?: string, port?: number, db?: number }
  /** Of a cluster: it connects to each when there is something to send. */
  nodes? (role: 'master'): ClientState[]
}

export function isRedisClient (value: unknown): value is RedisClient {
  return typeof value === 'object' && value !== null &&
    typeof (value as RedisClient).call === 'function' && typeof (value as RedisClient).pipeline === 'function'
}

/** The database that a client uses now: `select()` changes it, and no option tells. */
export function databaseOf (client: RedisClient): number {
  const { condition, options } = client as ClientState
  return condition?.select ?? options?.db ?? 0
}

/**
 * Tells whether clients have the connections that they had, and the databases. It looks, and listens to nothing: a
 * client that was given to us is left as it is (P7).
 */
export class Connections {
  readonly #of: Array<{ connections: () => unknown[] }>

  constructor (...of: Array<{ connections: () => unknown[] }>) {
    this.#of = of
  }

  /** To be compared with a later one. */
  now (): unknown[] {
    return this.#of.flatMap((one) => one.connections())
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
