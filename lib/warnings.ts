import type { FastifyBaseLogger, FastifyInstance } from 'fastify'
import { EXPIRY_MARGIN } from './domain/retention.ts'
import { scopesBelow } from './http/fastify-internals.ts'
import { hasIssuer, lifetimeOf, optionsOf, type GuardedJwt } from './http/jwt.ts'
import type { Settings } from './options.ts'
import { whyLost } from './stores/redis/diagnosis.ts'

/* What the log says at start, and what an outage of the store means. */

type Warn = (sentence: string) => void

const IN_MEMORY = 'revocations are kept in this process only and are lost with it; ' +
  'set option "redis" to share and keep them'

/** The levels that the plugin writes. */
const LEVELS = ['fatal', 'error', 'warn', 'info'] as const

export type Log = Pick<FastifyBaseLogger, typeof LEVELS[number]>

/**
 * The same log, but it never throws. What an application has pino call for each line may throw, such as a
 * mixin that expects a request. That must neither undo a revocation nor leave a request without an answer.
 */
export function quietLog (log: Log): Log {
  const quiet = {} as Log
  for (const level of LEVELS) {
    quiet[level] = (...line: unknown[]) => {
      try {
        (log[level] as (...line: unknown[]) => void)(...line)
      } catch {
        // A log that can not be written to can not tell of it.
      }
    }
  }
  return quiet
}

function warnerOf (log: Log): Warn {
  return (sentence) => log.warn(`jwt revocation: ${sentence}`)
}

/** What the log says of the store while the application runs. */
export function storeLog (log: Log, settings: Settings) {
  const warning = warnerOf(log)
  return {
    /** `place`: where Redis is, as far as its client shows it. */
    lost (error: unknown, place: string | undefined) {
      const sentence = `the store is lost; ${consequence(settings)} until it is back.`
      log.error({ err: error }, `jwt revocation: ${sentence} ${whyLost(error, place)}`)
    },
    back: () => warning('the store is back'),
    disowned () {
      log.fatal('jwt revocation: too many revocations are of unknown outcome ' +
        '(10,000 are tried again until they stand); ' +
        'those that were answered 503 since must be asked for again')
    },
    warning
  }
}

/** What follows from an outage, whether a check, a revocation or the reader of the log noticed it. */
function consequence ({ mode, maxStaleness, onStoreFailure }: Settings): string {
  const checks = onStoreFailure === 'accept'
    ? 'tokens are accepted unchecked where it does not answer'
    : 'requests with a token are answered 503 where it can not be checked'
  const staleness = mode === 'replica' ? `once nothing was heard from it for ${maxStaleness} ms, ` : ''
  return `${staleness}${checks}, and revocations that it does not acknowledge are answered 503,`
}

/** `kind`: of the store that was opened. */
export function warnAtStart (
  app: FastifyInstance, log: Log, settings: Settings, guarded: GuardedJwt[], kind: string
) {
  const warn = warnerOf(log)
  if (kind === 'memory') {
    warn(IN_MEMORY)
    if (hasNoLogger(app)) warnProcess()
  }
  for (const one of guarded) warnOfSignOptions(one, settings.maxTokenLifetime, warn)
  warnOfSharedNames(guarded, settings, warn)
  if (guarded.some(({ jwt }) => jwt.cookie)) warnOfCookies(app, warn)
}

/** Whether Fastify drops each line. An application whose logger is silent chose that itself. */
function hasNoLogger ({ log }: FastifyInstance): boolean {
  return log.fatal === log.trace && log.level === undefined
}

let isProcessWarned = false

/** For those who would learn of the memory store by losing their revocations. */
function warnProcess () {
  if (isProcessWarned) return
  isProcessWarned = true
  const code = 'FST_JWT_REVOCATION_MEMORY'
  process.emitWarning(`fastify-jwt-revocation: ${IN_MEMORY}`, { type: 'FastifyWarning', code })
}

/** Warns of a `@fastify/jwt` that signs tokens which the guard refuses (P5). */
function warnOfSignOptions ({ jwt }: GuardedJwt, maxTokenLifetime: Settings['maxTokenLifetime'], warn: Warn) {
  if (maxTokenLifetime === null) return
  const { sign } = optionsOf(jwt)
  if (sign.expiresIn !== undefined) {
    if (lifetimeOf(sign.expiresIn) > maxTokenLifetime + EXPIRY_MARGIN) {
      warn(`@fastify/jwt signs tokens that live longer (${sign.expiresIn}) than maxTokenLifetime, ` +
        'which are refused; make one of them shorter, or the other longer')
    }
  } else if (Object.keys(sign).length > 0) {
    // Without sign options it may sign nothing: `Notices` warns of the first token without an exp.
    warn('@fastify/jwt signs tokens without an exp, which are refused; ' +
      "register it with sign: { expiresIn: '15m' }, pass expiresIn with each token, " +
      "or set maxTokenLifetime: 'unbounded'")
  }
  if (sign.noTimestamp) {
    warn('@fastify/jwt signs tokens without an iat, which are refused; ' +
      "register it without noTimestamp, or set maxTokenLifetime: 'unbounded'")
  }
}

/** Warns of namespaces whose tokens can't be told apart by their issuer. */
function warnOfSharedNames (guarded: GuardedJwt[], { namespaces }: Settings, warn: Warn) {
  const shared = namespaces.filter((_namespace, i) => !hasIssuer(guarded[i]!))
  if (shared.length < 2) return
  warn(`the tokens of the namespaces ${shared.join(', ')} bring no iss, ` +
    'so a token of one acts on those of the same sub or jti in the others; ' +
    'register each namespace with sign: { iss } and verify: { allowedIss } of its own')
}

/** Waits until all is registered: `@fastify/cookie` may come after this plugin, or in a scope below. */
function warnOfCookies (app: FastifyInstance, warn: Warn) {
  app.addHook('onReady', async () => {
    if ([app, ...scopesBelow(app)].some((scope) => scope.hasRequestDecorator('cookies'))) return
    warn('@fastify/jwt is to look for tokens in a cookie, and nothing parses cookies; ' +
      'register @fastify/cookie')
  })
}
