import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Settings } from '../options.ts'
import { routeConfigs } from './fastify-internals.ts'
import type { Guard } from './guard.ts'
import type { Verification } from './outcome.ts'

type Done = (error?: Error) => void

/**
 * The HTTP server no longer owns a socket that asked for an upgrade. If we refuse the upgrade, only we can
 * close it.
 */
function closeAfter ({ raw: { socket } }: FastifyRequest, reply: FastifyReply) {
  reply.header('connection', 'close')
  reply.raw.once('finish', () => socket.destroySoon())
}

/**
 * The `onRequest` hook: refuses a revoked token wherever a request presents one, unless the route is left
 * out.
 */
export function presentedHook (guards: Guard[], { enforce, skip }: Pick<Settings, 'enforce' | 'skip'>) {
  const configOf = routeConfigs()
  return function refuseRevoked (request: FastifyRequest, reply: FastifyReply, done: Done) {
    const wanted = configOf(request)?.revocation
    if (wanted === false || (enforce === 'verified' && wanted !== true)) return done()
    if (skip === undefined) return inspectFrom(0, request, reply, done)
    let skips: unknown
    try {
      skips = skip(request)
    } catch (error) {
      // Fastify takes nothing falsy for an error: the request would go on.
      return done((error || new Error('option "skip" threw nothing')) as Error)
    }
    if (skips === true) return done()
    // An async function does not skip, and nobody else handles its rejection.
    if (typeof skips === 'object') Promise.resolve(skips).catch(() => {})
    inspectFrom(0, request, reply, done)
  }

  function inspectFrom (first: number, request: FastifyRequest, reply: FastifyReply, done: Done) {
    for (let i = first; i < guards.length; i++) {
      const verification = guards[i]!.inspect(request)
      if (verification === undefined) continue
      if (verification.kind === undefined) return inspectLater(i, verification, request, reply, done)
      if (refused(guards[i]!, verification, request, reply, done)) return
    }
    done()
  }

  /** Apart, because a closure in the loop would cost each request a context, whether it waits or not. */
  function inspectLater (
    i: number, verification: Verification, request: FastifyRequest, reply: FastifyReply, done: Done
  ) {
    verification.whenSettled(() => {
      if (refused(guards[i]!, verification, request, reply, done)) return
      inspectFrom(i + 1, request, reply, done)
    })
  }
}

/** Whether a guard refuses a request, which is then answered. */
function refused (
  guard: Guard, verification: Verification, request: FastifyRequest, reply: FastifyReply, done: Done
): boolean {
  const refusal = guard.refusal(request, verification)
  if (refusal === null) return false
  // Fastify's own error handler takes the headers from the error; one of the application's may not.
  reply.headers((refusal as Error & { headers: Record<string, string> }).headers)
  if (request.headers.upgrade !== undefined) closeAfter(request, reply)
  done(refusal)
  return true
}
