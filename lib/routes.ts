import type { Static, TSchema } from '@sinclair/typebox'
import { TypeCompiler } from '@sinclair/typebox/compiler'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import type { TokenClaims } from './claims.ts'
import type { Actor, TokenRevocation } from './revocation.ts'
import * as schemas from './schemas.ts'
import type { Authorize } from './types.ts'

export interface RoutesContext {
  revocation: TokenRevocation
  /** `request.jwtVerify()`, for the claims of the token. */
  authenticate: (request: FastifyRequest) => Promise<TokenClaims>
  authorize: Authorize
}

/** The HTTP routes, in a scope of their own. They decide nothing: who may revoke what is the domain's (P6). */
export function registerRoutes (scope: FastifyInstance, { revocation, authenticate, authorize }: RoutesContext) {
  ignoreBodies(scope)
  useTypeBox(scope)
  // Before anything of the request is looked at. The handlers ask again, which costs nothing but in a request that lasts.
  scope.addHook('onRequest', async (request) => { await authenticate(request) })

  async function actor (request: FastifyRequest): Promise<Actor> {
    const claims = await authenticate(request)
    return { claims, authorize: (target) => authorize(request, target) }
  }

  scope.delete<{ Params: Static<typeof schemas.JtiParams>, Querystring: Static<typeof schemas.IssuerQuery> }>('/:jti', {
    schema: {
      params: schemas.JtiParams,
      querystring: schemas.IssuerQuery,
      response: { 200: schemas.RevocationBody, ...schemas.errors }
    }
  }, async (request) => revocation.revokeAs(await actor(request), request.params.jti, request.query.iss))

  scope.delete<{ Params: Static<typeof schemas.IdParams> }>('/id/:id', {
    schema: {
      params: schemas.IdParams,
      response: { 200: schemas.RevocationBody, ...schemas.errors, 404: schemas.ErrorBody }
    }
  }, async (request) => revocation.revokeByIdAs(await actor(request), request.params.id))
}

/** A client may announce JSON and send nothing, which Fastify refuses, or send anything: it is read, within bodyLimit, and dropped. */
function ignoreBodies (scope: FastifyInstance) {
  scope.removeAllContentTypeParsers()
  scope.addContentTypeParser('*', { parseAs: 'buffer' }, (_request, _body, done) => done(null))
}

/** The routes work in an application that has put a compiler of another schema language in Fastify's place. */
function useTypeBox (scope: FastifyInstance) {
  scope.setValidatorCompiler<TSchema>(({ schema, httpPart }) => {
    const compiled = TypeCompiler.Compile(schema)
    return (data: unknown) => {
      const error = compiled.Errors(data).First()
      return error === undefined || { error: new Error(`${httpPart}${error.path} ${error.message}`) }
    }
  })
  // Given names, JSON.stringify reads them from an error too, where they are inherited or not enumerable.
  const errorFields = Object.keys(schemas.ErrorBody.properties)
  scope.setSerializerCompiler(({ httpStatus = '' }) => {
    return httpStatus.startsWith('2') ? (data) => JSON.stringify(data) : (error) => JSON.stringify(error, errorFields)
  })
}
