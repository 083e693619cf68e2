import { parse as parseDuration } from '@lukeed/ms'
import type { FastifyInstance, RegisterOptions } from 'fastify'
import fp from 'fastify-plugin'
import { Access } from './domain/access.ts'
import { TokenRevocation } from './domain/decorator.ts'
import { EXPIRY_MARGIN, logSpan } from './domain/retention.ts'
import type { Signer } from './domain/signers.ts'
import { badOption } from './errors.ts'
import { requestPrototype, scopesBelow } from './http/fastify-internals.ts'
import { Guard, isGuarded } from './http/guard.ts'
import { presentedHook } from './http/hook.ts'
import { issuerOfAll, type JwtDecorator } from './http/jwt.ts'
import { requestsOf } from './http/requests.ts'
import { registerRoutes } from './http/routes.ts'
import { resolveOptions, type Settings } from './options.ts'
import { openStore } from './stores/open.ts'
import { isRedisClient } from './stores/redis/connection.ts'
import { whyLost } from './stores/redis/diagnosis.ts'
import { openClient } from './stores/redis/option.ts'
import { type Seconds, systemClock } from './time.ts'
import type { Revocation, RevocationOptions } from './types.ts'

declare module 'fastify' {
  interface FastifyInstance {
    revocation: Revocation
  }
  interface FastifyContextConfig {
    /**
     * `false`: the plugin's hook does not look at requests of this route. `true`: it does, where `enforce` is `'verified'`
     * as well. A `jwtVerify()` that the route calls itself is guarded all the same.
     */
    revocation?: boolean
  }
}

/** Makes any key that is no option an error: Fastify's `register` would infer a type with it from what it is given. */
type NoOthers<Options> = string extends keyof Options
  ? unknown
  : { [Name in Exclude<keyof Options, keyof RevocationOptions | keyof RegisterOptions>]: never }

/**
 * What `app.register` takes. It has two signatures, because TypeScript leaves a function with a single generic one out
 * where it infers, and `authorize` would have no types for its parameters.
 */
export interface RevocationPlugin {
  <Options extends RevocationOptions>(instance: FastifyInstance, options: Options & NoOthers<Options>, done?: unknown): Promise<void>
  <Options extends RevocationOptions>(instance: FastifyInstance, options: Options & NoOthers<Options>): Promise<void>
}

/** One `@fastify/jwt` that is guarded. */
interface GuardedJwt extends JwtDecorator {
  options: JwtDecorator['options'] & { sign: { expiresIn?: number | string, iss?: string, noTimestamp?: boolean } }
  sign (claims: object, options?: object): string | Promise<string>
}

const IN_MEMORY = 'revocations are kept in this process only and are lost with it; set option "redis" to share and keep them'

/** Makes the tokens of `@fastify/jwt` revocable. Register it after that plugin, once for a scope. */
export const revocationPlugin = fp<RevocationOptions & RegisterOptions>(async (app, options) => {
  const settings = resolveOptions(options)
  if (Object.hasOwn(app, 'revocation')) {
    throw badOption('the plugin is registered twice on one scope; register it once, with an array as option "namespace" to guard several')
  }
  const guarded = settings.namespaces.map((namespace) => findJwt(app, namespace, settings))
  const jwts = guarded.map(({ jwt }) => jwt)
  const signers = jwts.map(({ sign, options }): Signer => ({ sign: (claims, given) => sign(claims, given), signOptions: options.sign, verifyOptions: options.verify }))
  const guards: Guard[] = []
  const rules = { ...settings, clockTolerance: Math.max(...jwts.map(clockTolerance)) }

  const longest = logSpan(rules)
  const { store, close, place } = openStore({ ...settings, redis: settings.redis ?? redisOf(app), logSpan: longest, longest }, {
    clock: systemClock,
    onLost (error) {
      app.log.error({ err: error }, `jwt revocation: the store is lost; ${whatNow(settings)} until it is back. ${whyLost(error, place)}`)
      revocation.events.emit('storeLost', error)
    },
    onBack () {
      app.log.warn('jwt revocation: the store is back')
      revocation.events.emit('storeBack')
    },
    onLearned: () => { revocation.epoch++ },
    onEntry: (entry) => revocation.onEntry(entry),
    onDisowned: () => app.log.fatal('jwt revocation: too many revocations are of unknown outcome (10,000 are tried again until they stand); those that were answered 503 since must be asked for again'),
    onWarning: (sentence) => app.log.warn(`jwt revocation: ${sentence}`)
  })
  app.addHook('onClose', async () => close())

  const revocation = new TokenRevocation({
    ...settings,
    store,
    rules,
    clock: systemClock,
    ...signers[0]!,
    signers: new Map(settings.namespaces.map((namespace, i) => [namespace, signers[i]!])),
    issuer: issuerOfAll(jwts),
    longestJti: settings.routes ? maxParamLengthOf(app) : Infinity,
    requests: requestsOf(guards),
    log: app.log
  })
  app.decorate('revocation', revocation)

  guards.push(...guarded.map(({ jwt, verifyName }) => new Guard(app, jwt, verifyName, revocation)))
  app.addHook('onRequest', presentedHook(guards, settings))
  refuseUnguardedScopes(app, guarded.map(({ verifyName }) => verifyName))

  if (settings.routes) {
    const { prefix, ...openapi } = settings.routes
    const { logLevel, logSerializers } = options
    await app.register(async (scope) => registerRoutes(scope, {
      access: new Access(revocation, () => store.budget()),
      guard: guards[0]!,
      authorize: settings.authorize,
      openapi
    }), { prefix, ...(logLevel && { logLevel }), ...(logSerializers && { logSerializers }) })
  }

  warnAtStart(app, settings, jwts, store.status.kind)
  app.addHook('onReady', () => store.start())
}, {
  name: 'fastify-jwt-revocation',
  fastify: '5.x'
}) as RevocationPlugin

/** Whatever it is that failed: a check, a revocation, or the reading of the log. */
function whatNow ({ mode, maxStaleness, onStoreFailure }: Settings): string {
  const checks = onStoreFailure === 'accept'
    ? 'tokens are accepted unchecked where it does not answer'
    : 'requests with a token are answered 503 where it can not be checked'
  const staleness = mode === 'replica' ? `once nothing was heard from it for ${maxStaleness} ms, ` : ''
  return `${staleness}${checks}, and revocations that it does not acknowledge are answered 503,`
}

function findJwt (app: FastifyInstance, namespace: string | undefined, settings: Settings): { jwt: GuardedJwt, verifyName: string } {
  if (!app.hasDecorator('jwt')) {
    throw badOption('@fastify/jwt is missing; register it first: await app.register(jwt, { secret })')
  }
  const decorator = (app as unknown as { jwt: GuardedJwt & Record<string, GuardedJwt | undefined> }).jwt
  const jwt = namespace === undefined ? decorator : decorator[namespace]
  if (typeof jwt?.lookupToken !== 'function') {
    throw badOption(namespace === undefined
      ? `@fastify/jwt was registered with a namespace; set option "namespace" to it (there is ${Object.keys(decorator).join(', ')})`
      : `@fastify/jwt has no namespace "${namespace}"; register it with that one first, or set option "namespace" to one it has`)
  }
  return { jwt, verifyName: settings.jwtVerify ?? (namespace === undefined ? 'jwtVerify' : `${namespace}JwtVerify`) }
}

/** The client of `@fastify/redis`. Several, and it is not for us to choose: falling back to memory would be worse. */
function redisOf (app: FastifyInstance): Settings['redis'] {
  if (!app.hasDecorator('redis')) return undefined
  const { redis } = app as unknown as { redis: unknown }
  if (isRedisClient(redis)) return openClient(redis)
  throw badOption('app.redis is no client (was @fastify/redis registered with a namespace?); set option "redis" to the client to use')
}

/** `@fastify/jwt` takes it in milliseconds. */
function clockTolerance (jwt: GuardedJwt): Seconds {
  const { clockTolerance = 0 } = jwt.options.verify as { clockTolerance?: number }
  return Math.ceil(clockTolerance / 1000)
}

/** A scope below that registers a `@fastify/jwt` of its own gets a verify decorator that nobody guards. */
function refuseUnguardedScopes (app: FastifyInstance, verifyNames: string[]) {
  app.addHook('onReady', async () => {
    for (const scope of scopesBelow(app)) {
      for (const name of verifyNames) {
        if (isGuarded(requestPrototype(scope)[name])) continue
        throw badOption(`"${name}" was decorated again in a scope below, with @fastify/jwt or by hand, and is not guarded there; register the plugin in that scope too, after it`)
      }
    }
  })
}

/** As `@fastify/jwt` reads it: seconds, or a string that is milliseconds where it has no unit. */
function lifetimeOf (expiresIn: number | string): Seconds {
  return typeof expiresIn === 'string' ? parseDuration(expiresIn)! / 1000 : expiresIn
}

/** Whether the application has no logger: Fastify then drops each line. A logger that is silent was made so. */
function isUnheard ({ log }: FastifyInstance): boolean {
  return log.fatal === log.trace && log.level === undefined
}

let isWarned = false

/** For those who would learn of it by losing their revocations. */
function warnProcess () {
  if (isWarned) return
  isWarned = true
  process.emitWarning(`fastify-jwt-revocation: ${IN_MEMORY}`, { type: 'FastifyWarning', code: 'FST_JWT_REVOCATION_MEMORY' })
}

/** Whether tokens of equal names in two namespaces can be told apart. */
function hasIssuer ({ options: { sign, verify } }: GuardedJwt): boolean {
  return Boolean(sign.iss ?? (verify as { allowedIss?: unknown }).allowedIss)
}

function warnAtStart (app: FastifyInstance, settings: Settings, jwts: GuardedJwt[], kind: string) {
  const warn = (sentence: string) => app.log.warn(`jwt revocation: ${sentence}`)
  const { maxTokenLifetime } = settings
  if (kind === 'memory') {
    warn(IN_MEMORY)
    if (isUnheard(app)) warnProcess()
  }
  for (const { options: { sign } } of jwts) {
    const { expiresIn, noTimestamp } = sign
    if (maxTokenLifetime === null) {
      // Any lifetime will do.
    } else if (expiresIn === undefined) {
      // Whoever gives no sign options may sign nothing: then the first token that is refused for it tells.
      if (Object.keys(sign).length > 0) warn('@fastify/jwt signs tokens without an exp, which are refused; register it with sign: { expiresIn: \'15m\' }, pass expiresIn with each token, or set maxTokenLifetime: \'unbounded\'')
    } else if (lifetimeOf(expiresIn) > maxTokenLifetime + EXPIRY_MARGIN) {
      warn(`@fastify/jwt signs tokens that live longer (${expiresIn}) than maxTokenLifetime, which are refused; make one of them shorter, or the other longer`)
    }
    if (maxTokenLifetime !== null && noTimestamp) {
      warn('@fastify/jwt signs tokens without an iat, which are refused; register it without noTimestamp, or set maxTokenLifetime: \'unbounded\'')
    }
  }
  const shared = settings.namespaces.filter((_namespace, i) => !hasIssuer(jwts[i]!))
  if (shared.length > 1) {
    warn(`the tokens of the namespaces ${shared.join(', ')} bring no iss, so a token of one acts on those of the same sub or jti in the others; register each namespace with sign: { iss } and verify: { allowedIss } of its own`)
  }
  if (jwts.some(({ cookie }) => cookie)) {
    // It may be registered after this plugin, or in a scope below.
    app.addHook('onReady', async () => {
      if ([app, ...scopesBelow(app)].some((scope) => scope.hasRequestDecorator('cookies'))) return
      warn('@fastify/jwt is to look for tokens in a cookie, and nothing parses cookies; register @fastify/cookie')
    })
  }
}

/** How long a parameter in a path may be. */
function maxParamLengthOf (app: FastifyInstance): number {
  const { maxParamLength, routerOptions } = app.initialConfig as { maxParamLength: number, routerOptions?: { maxParamLength?: number } }
  return routerOptions?.maxParamLength ?? maxParamLength
}
