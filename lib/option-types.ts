import type { FastifyJWTOptions } from '@fastify/jwt'
import type { FastifyInstance, FastifyRequest, RegisterOptions } from 'fastify'
import type { RedisOptions } from 'ioredis'
import type { LogoutProvider } from './provider-types.ts'

/**
 * What the plugin asks of a Redis client. `Redis` and `Cluster` of ioredis 5 and 6, and of iovalkey, have it.
 * The plugin never configures, flushes or closes a client that it was given.
 * @example
 * const redis = new Redis('redis://127.0.0.1:6379')
 * await app.register(revocation, { redis })
 * app.addHook('onClose', () => redis.disconnect())
 */
export interface RedisClient {
  readonly isCluster: boolean
  call (command: string, ...args: Array<string | number>): Promise<unknown>
  pipeline (commands: unknown[][]): { exec (): Promise<Array<[error: Error | null, result: unknown]> | null> }
}

/**
 * The options of the plugin.
 * @example
 * await app.register(revocation, {
 *   jwt: { secret, sign: { expiresIn: '15m' } },
 *   redis: 'redis://127.0.0.1:6379',
 *   mode: 'replica',
 *   maxTokenLifetime: '12h',
 *   authorize: (request) => (request.user as { role?: string }).role === 'admin'
 * })
 */
export interface RevocationOptions {
  /**
   * Options of `@fastify/jwt`, which the plugin then registers itself, or an array of them with a `namespace`
   * each. To verify a token is then half the work of `request.jwtVerify()`, unless `secret` is a function or
   * there is a `trusted` or a `decode`. The plugin guards all of these, so options `namespace` and
   * `jwtVerify` can not be given.
   *
   * Default: `@fastify/jwt` has been registered before the plugin.
   * @example
   * await app.register(revocation, { jwt: { secret, sign: { expiresIn: '15m' } } })
   */
  jwt?: FastifyJWTOptions | ReadonlyArray<FastifyJWTOptions & { namespace: string }>
  /**
   * A URL (`redis`, `rediss`, `valkey`, `valkeys`), options of ioredis, or a client. Redis 6.2 or newer, or
   * Valkey. Default: `app.redis` where `@fastify/redis` put one, else `'memory'`, which serves this process
   * alone. A property that is there and undefined rejects registration.
   * @example
   * await app.register(revocation, { redis: { host: '127.0.0.1', port: 6379, connectTimeout: 500 } })
   */
  redis?: 'memory' | (string & {}) | RedisOptions | RedisClient
  /**
   * Where a request's check looks. `'strict'` (the default): in Redis, which knows of every revocation at
   * once. `'replica'`: in a copy of the denylist in this process. A request then costs no round trip. The
   * copy follows Redis on a connection of its own, milliseconds behind.
   * @example
   * await app.register(revocation, { redis: 'redis://127.0.0.1:6379', mode: 'replica' })
   */
  mode?: 'strict' | 'replica'
  /**
   * `'presented'` (the default): every route refuses a revoked token, even one that would not look at it.
   * `'verified'`: only a route that verifies it, or has `config: { revocation: true }`.
   * @example
   * await app.register(revocation, { enforce: 'verified' })
   * app.get('/feed', { config: { revocation: true } }, async () => 'for anybody but a revoked token')
   */
  enforce?: 'presented' | 'verified'
  /**
   * Requests that the hook leaves alone: static files, a health route. Only `true` skips; a promise does not.
   * An error that it throws is the request's answer. The plugin still guards a `jwtVerify()` of such a
   * request.
   * @example
   * await app.register(revocation, { skip: (request) => request.url.startsWith('/assets/') })
   */
  skip?: (request: FastifyRequest) => boolean
  /** What each key in Redis begins with. Default `'jwt:'`. */
  keyPrefix?: string
  /**
   * In which claims the names of a token are. Default `{ jti: 'jti', sub: 'sub' }`. Without `sid` no claim
   * counts as a session. Processes that share a prefix need the same.
   * @example
   * await app.register(revocation, { claims: { jti: 'uti', sub: 'oid', sid: 'sid' } })
   */
  claims?: { jti?: string, sub?: string, sid?: string }
  /**
   * Up to 4 further claims by whose value tokens can be revoked. Default: none. Processes that share a prefix
   * need the same.
   * @example
   * await app.register(revocation, { revocableBy: ['tenant', 'client_id'] })
   */
  revocableBy?: readonly string[]
  /**
   * Identity providers that post log-outs here (OpenID Connect Back-Channel Logout 1.0). Sessions are then
   * looked at, in the claim `sid` unless option `claims` says otherwise. A log-out also ends the older tokens
   * of its subject that have no sid. `[]` adds no route: for another service on the same prefix.
   * Default: none. Processes that share a prefix all need the option, or none of them.
   * @example
   * await app.register(revocation, {
   *   backchannelLogout: { issuer: 'https://login.example', audience: 'the-client-id' }
   * })
   */
  backchannelLogout?: LogoutProvider | readonly LogoutProvider[]
  /**
   * The longest a token may live: seconds, or a string with a unit such as `'12h'`. Default `'30d'`. The
   * plugin refuses a token that lives longer, that has no `exp` or `iat`, or whose `iat` is ahead by more
   * than a minute. `'unbounded'` accepts those; revocations of tokens without `exp` are then kept for ever.
   * @example
   * await app.register(revocation, { maxTokenLifetime: '12h' })
   */
  maxTokenLifetime?: number | string
  /**
   * What becomes of a token that has no usable jti, no session (option `claims`) and no claim of option
   * `revocableBy`. Default `'reject'`. `'accept'` lets it pass, and only a cutoff of its subject ends it.
   */
  tokensWithoutJti?: 'reject' | 'accept'
  /**
   * What becomes of a token that can't be checked because the store fails. Default `'reject'`: 503.
   * `'accept'` lets it pass.
   */
  onStoreFailure?: 'reject' | 'accept'
  /** Milliseconds that one check or revocation may take. Default 500. */
  storeTimeout?: number
  /**
   * Milliseconds that a replica may go without hearing from Redis, at least 500. After that it checks each
   * token in Redis; where that fails too, `onStoreFailure` decides. Default 5000.
   */
  maxStaleness?: number
  /**
   * How many replicas of Redis must hold a revocation before it is acknowledged (`WAIT`, within
   * `storeTimeout`). With fewer the answer is 503. Default 0: the master's word is enough, and a failover may
   * lose the last writes.
   */
  minReplicas?: number
  /**
   * Grants others access to a token, beside the token itself and its own subject. Default: to nobody. Only
   * `true` grants access. An error that it throws is the request's answer.
   * @example
   * await app.register(revocation, {
   *   authorize: async (request, { action }) => action === 'read' && request.headers['x-audit'] === 'yes'
   * })
   */
  authorize?: Authorize
  /**
   * The HTTP routes. `false`: none.
   * @example
   * await app.register(revocation, { routes: false })
   */
  routes?: false | RoutesOptions
  /** Lets `issue()` give refresh tokens, and makes the claim `sid` a session (see `claims`). Default: off. */
  refresh?: RefreshSettings
  /**
   * The namespace (or several) of `@fastify/jwt` to guard. The first one authenticates the routes, and signs
   * what `issue()` gives unless a call asks for another.
   */
  namespace?: string | string[]
  /**
   * Also records tokens that were issued elsewhere, the first time one verifies: in the background, at no
   * cost to the request. Default false.
   */
  recordOnUse?: boolean
  /** The name of the verify decorator, where `@fastify/jwt` was registered with a `jwtVerify` of its own. */
  jwtVerify?: string
}

/**
 * Option `refresh`. Processes that share a key prefix need the same.
 * @example
 * await app.register(revocation, { refresh: { expiresIn: '7d' } })
 */
export interface RefreshSettings {
  /**
   * How long a session lasts from its login: seconds, or a string with a unit. No refresh makes it longer.
   * Default `'30d'`.
   */
  expiresIn?: number | string
  /**
   * How long a refresh token that was used gives the same successor again, for two tabs at once and for
   * answers that were lost: seconds, or a string with a unit. Default `'10s'`.
   */
  grace?: number | string
}

/**
 * The options of the HTTP routes.
 * @example
 * await app.register(revocation, { routes: { prefix: '/tokens', security: [{ bearerAuth: [] }] } })
 */
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

/**
 * What somebody wants to do, and to which token or subject: as much of it as is known.
 * @example
 * const mayRead = ({ action, iss }: AuthorizeTarget) => action === 'read' && iss === 'https://login.example'
 * await app.register(revocation, { authorize: (_request, target) => mayRead(target) })
 */
export interface AuthorizeTarget {
  action: 'revoke' | 'revokeSubject' | 'revokeSession' | 'revokeBy' | 'read'
  jti?: string
  id?: string
  iss?: string
  sub?: string
  sid?: string
  /** A claim of option `revocableBy`, and its value. */
  claim?: string
  value?: string
  /** Until when tokens are to be refused, in seconds since the epoch; Infinity: for ever. */
  until?: number
}

/**
 * Option `authorize`. `request.user` is what the caller's own token verified to.
 * @example
 * const authorize: Authorize = (request) => (request.user as { role?: string }).role === 'admin'
 * await app.register(revocation, { authorize })
 */
export type Authorize = (request: FastifyRequest, target: AuthorizeTarget) => boolean | Promise<boolean>

/**
 * Makes each name that is no option an error. Fastify's `register` would infer a type with that name from its
 * argument.
 */
type NoOthers<Options> = string extends keyof Options
  ? unknown
  : { [Name in Exclude<keyof Options, keyof RevocationOptions | keyof RegisterOptions>]: never }

/**
 * What `app.register` takes. It has two signatures, because TypeScript ignores a function with a single
 * generic one where it infers, and the parameters of `authorize` would have no types.
 * @example
 * const plugin: RevocationPlugin = revocation
 * await app.register(plugin)
 */
export interface RevocationPlugin {
  <Options extends RevocationOptions>(
    instance: FastifyInstance, options: Options & NoOthers<Options>, done?: unknown
  ): Promise<void>
  <Options extends RevocationOptions>(
    instance: FastifyInstance, options: Options & NoOthers<Options>
  ): Promise<void>
}
