import type { RedisClient } from '../../types.ts'

/** Runs an act whose result counts only while a connection is proven to see the right data (P7). */
export interface Proven {
  /** Resolves once the connection is proven. */
  require: () => Promise<void>
  /** Gives what tells whether the connection has been proven since; undefined: it is not proven now. */
  hold (): (() => boolean) | undefined
  during<T> (act: () => Promise<T>): Promise<T>
}

/** Why an answer does not count. Throws OtherData, which says more, if the connection sees other data now. */
export async function notHeld ({ require }: Pick<Proven, 'require'>): Promise<never> {
  await require()
  throw new Error('a connection was renewed meanwhile')
}

/** One connection, with what the plugin may do to it. */
export interface Connection {
  client: RedisClient
  /** Proves that this connection sees the data of the client that checks. Absent for that client itself. */
  proof?: Proven
  /** Replaces the connection by a new one. Absent where the client was given to us. */
  renew?: () => void
}

/** What ioredis and iovalkey show of a client. `condition` is a new object for each connection. */
export interface ClientState {
  condition?: { select?: number } | null
  options?: { host?: string, port?: number, db?: number }
  /** The nodes of a cluster. The client connects to a node when it sends something there. */
  nodes? (role: 'master'): ClientState[]
}

/** What every client of ioredis and iovalkey can do, and a second connection needs. */
export interface Duplicable extends RedisClient, Leavable {
  options?: { redisOptions?: object }
  /** A cluster's client takes nodes and options. */
  duplicate (...args: unknown[]): Duplicable
  on (event: 'error', listener: (error: Error) => void): void
  on (event: '+node', listener: (node: Duplicable) => void): void
}

interface Leavable {
  readonly status: string
  disconnect (reconnect?: boolean): void
}

/**
 * Replaces the connection of `own`, whose peer takes commands and never answers: the operating system notices
 * that only after many minutes. A client that is asking Sentinel would end for good, so a client that is
 * connecting is left alone.
 */
export function leave (own: Leavable) {
  if (own.status === 'ready' || own.status === 'connect') own.disconnect(true)
}

/** After a SELECT that failed the client would go on in database 0, which holds other data (P7). */
export function leaveOtherDatabase (own: Leavable & Pick<Duplicable, 'on'>) {
  own.on('error', (error: Error & { command?: { name?: string } }) => {
    if (error.command?.name === 'select') leave(own)
  })
}

export function isRedisClient (value: unknown): value is RedisClient {
  return typeof value === 'object' && value !== null &&
    typeof (value as RedisClient).call === 'function' && typeof (value as RedisClient).pipeline === 'function'
}

/** The database that a client uses now, which `select()` may have changed. */
export function databaseOf (client: RedisClient): number {
  const { condition, options } = client as ClientState
  return condition?.select ?? options?.db ?? 0
}

/**
 * Tells whether clients have the connections that they had, and the databases. It looks, and listens to
 * nothing: a client that was given to us is left as it is (P7).
 */
export class Connections {
  readonly #of: Array<{ connections: () => unknown[] }>

  constructor (...of: Array<{ connections: () => unknown[] }>) {
    this.#of = of
  }

  /** The connections of all clients now, for a comparison with later ones. */
  now (): unknown[] {
    return this.#of.flatMap((one) => one.connections())
  }

  areStill (before: unknown[]): boolean {
    const now = this.now()
    return now.length === before.length && now.every((one, i) => one === before[i])
  }

  /** Whether a connection changed. A client's first connection is no change: this adds it to `since`. */
  wereRenewed (since: unknown[]): boolean {
    let count = 0
    let isSame = true
    for (const client of this.#of) {
      for (const one of client.connections()) {
        if (count < since.length) since[count] ??= one
        if (one !== since[count++]) isSame = false
      }
    }
    return !isSame || count !== since.length
  }
}
