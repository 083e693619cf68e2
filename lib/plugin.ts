import type { RegisterOptions } from 'fastify'
import fp from 'fastify-plugin'
import { Decorator } from './domain/decorator.ts'
import { logSpan, longestKept } from './domain/retention.ts'
import { badOption } from './errors.ts'
import { registerLogout } from './http/backchannel-logout.ts'
import { Guard } from './http/guard.ts'
import { presentedHook } from './http/hook.ts'
import { clockTolerance, findJwt, issuerOfAll, signerOver } from './http/jwt.ts'
import { registerJwt, type RegisteredJwt } from './http/registration.ts'
import { requestsOf } from './http/requests.ts'
import { longestJti, registerRoutes } from './http/routes.ts'
import { refuseUnguardedScopes } from './http/verify-decorator.ts'
import type { RevocationOptions, RevocationPlugin } from './option-types.ts'
import { resolveOptions } from './options.ts'
import { openStore } from './stores/open.ts'
import { systemClock } from './time.ts'
import type { RevocationDecorator } from './types.ts'
import { quietLog, storeLog, warnAtStart } from './warnings.ts'
import { whichRedis } from './which-redis.ts'

declare module 'fastify' {
  interface FastifyInstance {
    revocation: RevocationDecorator
  }
  interface FastifyContextConfig {
    /**
     * `false`: the plugin's hook does not look at requests of this route. `true`: it does, even where
     * `enforce` is `'verified'`. Either way the plugin guards a `jwtVerify()` that the route calls itself.
     */
    revocation?: boolean
  }
}

/**
 * Makes the tokens of `@fastify/jwt` revocable. Register it once for a scope: with option `jwt`, or after
 * that plugin.
 */
export const revocationPlugin = fp<RevocationOptions & RegisterOptions>(async (app, options) => {
  const settings = resolveOptions(options)
  if (Object.hasOwn(app, 'revocation')) {
    throw badOption('the plugin is registered twice on one scope; ' +
      'register it once, with an array as option "namespace" to guard several')
  }
  const guarded: RegisteredJwt[] = settings.jwt === undefined
    ? settings.namespaces.map((namespace) => findJwt(app, namespace, settings.jwtVerify))
    : await registerJwt(app, settings.jwt)
  const signers = guarded.map(signerOver)
  const guards: Guard[] = []
  const rules = {
    ...settings,
    clockTolerance: Math.max(...guarded.map(clockTolerance)),
    refreshLifetime: settings.refresh?.expiresIn
  }
  const longest = longestKept(rules)
  const log = quietLog(app.log)
  const ofStore = storeLog(log, settings)
  const redis = whichRedis(app, settings.redis)

  const { store, close, place } = openStore({ ...settings, redis, logSpan: logSpan(rules), longest }, {
    clock: systemClock,
    onLost (error) {
      ofStore.lost(error, place)
      revocation.events.emit('storeLost', error)
    },
    onBack () {
      ofStore.back()
      revocation.events.emit('storeBack')
    },
    onLearned: () => { revocation.epoch++ },
    onEntry: (entry) => revocation.onEntry(entry),
    onDisowned: () => ofStore.disowned(),
    onWarning: (sentence) => ofStore.warning(sentence)
  })
  app.addHook('onClose', close)

  const revocation = new Decorator({
    ...settings,
    store,
    rules,
    clock: systemClock,
    ...signers[0]!,
    signers: new Map(settings.namespaces.map((namespace, i) => [namespace, signers[i]!])),
    issuer: issuerOfAll(guarded),
    longestJti: settings.routes ? longestJti(app) : Infinity,
    requests: requestsOf(guards),
    log
  })
  app.decorate('revocation', revocation)

  guards.push(...guarded.map((jwt) => new Guard({ ...jwt, scope: app, revocation, clock: systemClock })))
  app.addHook('onRequest', presentedHook(guards, settings))
  refuseUnguardedScopes(app, guarded)
  const http = { ...options, ...settings, revocation, guarded, guards, log }
  await registerRoutes(app, { ...http, budget: () => store.budget() })
  await registerLogout(app, http)
  warnAtStart(app, log, settings, guarded, store.status.kind)
  app.addHook('onReady', () => store.start())
}, { name: 'fastify-jwt-revocation', fastify: '5.x' }) as RevocationPlugin
