import type { FastifyInstance, FastifyRequest, RegisterOptions } from 'fastify'
import type { RedisOptions } from 'ioredis'

/**
 * What the plugin asks of a Redis client: `Redis` and `Cluster` of ioredis 5 and 6, and of iovalkey, have it.
 * The plugin never configures, flushes or closes a client that it was given.
 */
export interface RedisClient {
  readonly isCluster: boolean
  call (command: string, ...args: Array<string | number>): Promise<unknown>
  pipeline (commands: unknown[][]): { exec (): Promise<Array<[error: Error | null, result: unknown]> | null> }
}

export interface RevocationOptions {
  /**
   * A URL (`redis`, `rediss`, `valkey`, `valkeys`), options of ioredis, or a client. Redis 6.2 or newer, or
   * Valkey. Default: `app.redis` where `@fastify/redis` put one, else `'memory'`, which serves this process
   * alone. A property that is there and undefined stops the start.
   */
  redis?: 'memory' | (string & {}) | RedisOptions | RedisClient
  /**
   * Where a request's check looks. `'strict'` (the default): in Redis, which knows of every revocation at
   * once. `'replica'`: in a copy of the denylist in this process, which follows Redis on a connection of its
   * own and is milliseconds behind; a request then costs no round trip.
   */
  mode?: 'strict' | 'replica'
  /**
   * `'presented'` (the default): a revoked token is refused by every route, also one that would not look at
   * it. `'verified'`: only where a route verifies it, or has `config: { revocation: true }`.
   */
  enforce?: 'presented' | 'verified'
  /**
   * Requests that the hook leaves alone: static files, a health route. Only `true` skips; a promise does not.
   * What it throws is the request's answer. A `jwtVerify()` that a skipped request calls is guarded all the
   * same.
   * @example skip: (request) => request.url.startsWith('/assets/')
   */
  skip?: (request: FastifyRequest) => boolean
  /** In front of every key. Default `'jwt:'`. */
  keyPrefix?: string
  /**
   * The longest a token may live: seconds, or a string with a unit such as `'12h'`. Default `'30d'`. Tokens
   * that live longer, or have no `exp` or `iat`, are refused, and so are those whose `iat` is ahead by more
   * than a minute. `'unbounded'` accepts them; revocations of tokens without `exp` are then kept for ever.
   */
  maxTokenLifetime?: number | string
  /**
   * What becomes of a token without a usable jti, which can't be revoked by it. Default `'reject'`;
   * `'accept'` lets it pass unchecked.
   */
  tokensWithoutJti?: 'reject' | 'accept'
  /**
   * What becomes of a token that can't be checked because the store fails. Default `'reject'`: 503.
   * `'accept'` lets it pass.
   */
  onStoreFailure?: 'reject' | 'accept'
  /** Milliseconds that one check or revoke may take. Default 500. */
  storeTimeout?: number
  /**
   * Milliseconds that a replica may go without hearing from Redis, at least 500. Then each token is checked
   * in Redis again; where that fails too, `onStoreFailure` decides. Default 5000.
   */
  maxStaleness?: number
  /**
   * How many replicas of Redis must hold a revocation before it is acknowledged (`WAIT`, within
   * `storeTimeout`); where there are fewer: 503. Default 0: the master's word is enough, and a failover may
   * lose the last writes.
   */
  minReplicas?: number
  /**
   * Who else may act on a token, beside itself and its own subject. Default: nobody.
   * Only `true` lets; what it throws is the request's answer.
   */
  authorize?: Authorize
  /** The HTTP routes. `false`: none. */
  routes?: false | RoutesOptions
  /**
   * The namespace (or several) of `@fastify/jwt` to guard. The first one authenticates the routes, and signs
   * what `issue()` gives unless another is asked for.
   */
  namespace?: string | string[]
  /**
   * Also record tokens that were issued elsewhere, the first time one verifies: in the background, at no cost
   * to the request. Default false.
   */
  recordOnUse?: boolean
  /** The name of the verify decorator, where `@fastify/jwt` was registered with a `jwtVerify` of its own. */
  jwtVerify?: string
}

export interface RoutesOptions {
  /** Where they are. Default `'/v1/jwt/history'`. */
  prefix?: string
  /**
   * The OpenAPI security requirements that they name, such as `[{ bearerAuth: [] }]`; the application defines
   * the schemes. Default: none, so that those of the whole document hold.
   */
  security?: ReadonlyArray<Record<string, readonly string[]>>
  /** Keeps them out of OpenAPI. Default false. */
  hide?: boolean
}

/** What somebody wants to do, and to which token or subject: as much of it as is known. */
export interface AuthorizeTarget {
  action: 'revoke' | 'revokeSubject' | 'read'
  jti?: string
  id?: string
  iss?: string
  sub?: string
}

export type Authorize = (request: FastifyRequest, target: AuthorizeTarget) => boolean | Promise<boolean>

/** Makes each name that is no option an error. Fastify's `register` would infer a type with that name from its argument. */
type NoOthers<Options> = string extends keyof Options
  ? unknown
  : { [Name in Exclude<keyof Options, keyof RevocationOptions | keyof RegisterOptions>]: never }

/**
 * What `app.register` takes. It has two signatures, because TypeScript ignores a function with a single generic one
 * where it infers, and the parameters of `authorize` would have no types.
 */
export interface RevocationPlugin {
  <Options extends RevocationOptions>(
    instance: FastifyInstance, options: Options & NoOthers<Options>, done?: unknown
  ): Promise<void>
  <Options extends RevocationOptions>(
    instance: FastifyInstance, options: Options & NoOthers<Options>
  ): Promise<void>
}
