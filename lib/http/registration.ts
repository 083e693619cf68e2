import fastifyJwt, { type FastifyJWTOptions } from '@fastify/jwt'
import type { FastifyInstance } from 'fastify'
import { badOption } from '../errors.ts'
import { findJwt, type GuardedJwt } from './jwt.ts'
import { ShortWay } from './short-way.ts'

export interface RegisteredJwt extends GuardedJwt {
  shortWay?: ShortWay | undefined
}

/**
 * Registers `@fastify/jwt`, once for each of these options.
 * @throws FST_JWT_REVOCATION_BAD_OPTION where it is registered already
 * @throws what `@fastify/jwt` throws where it refuses an option
 */
export async function registerJwt (app: FastifyInstance, all: FastifyJWTOptions[]): Promise<RegisteredJwt[]> {
  if (app.hasDecorator('jwt')) {
    throw badOption('option "jwt" registers @fastify/jwt, which is registered already; ' +
      'leave out that registration, or option "jwt"')
  }
  const guarded: RegisteredJwt[] = []
  for (const given of all) {
    const options = readOnce(given)
    await app.register(fastifyJwt, options)
    guarded.push(guardedBy(app, options))
  }
  return guarded
}

/**
 * What `@fastify/jwt` reads of these options: of those that it names, also what is inherited. Whoever changes
 * them later, or has a getter answer otherwise, changes neither what is registered nor what is concluded.
 */
function readOnce (given: FastifyJWTOptions): FastifyJWTOptions {
  const {
    secret, trusted, decode, sign, verify, formatUser, cookie, decoratorName, jwtDecode, jwtSign, jwtVerify,
    ...others
  } = given
  return {
    secret,
    trusted,
    decode,
    sign: sign && { ...sign },
    verify: verify && { ...verify },
    formatUser,
    cookie,
    decoratorName,
    jwtDecode,
    jwtSign,
    jwtVerify,
    ...others
  } as FastifyJWTOptions
}

function guardedBy (app: FastifyInstance, options: FastifyJWTOptions): RegisteredJwt {
  const { namespace, jwtVerify } = options
  // Without a namespace @fastify/jwt calls the decorator jwtVerify, whatever this option says.
  const found = findJwt(app, namespace || undefined, namespace && jwtVerify ? jwtVerify : undefined)
  return { ...found, shortWay: ShortWay.isSound(options) ? new ShortWay(found.jwt, options) : undefined }
}
