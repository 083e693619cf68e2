import type { Static, TSchema } from '@sinclair/typebox'
import { TypeCompiler } from '@sinclair/typebox/compiler'
import { Value } from '@sinclair/typebox/value'
import type { FastifyInstance, FastifyRequest, FastifySchema } from 'fastify'
import type { Access, Actor } from '../domain/access.ts'
import type { Authorize, RoutesOptions } from '../types.ts'
import type { Guard } from './guard.ts'
import * as schemas from './schemas.ts'

export interface RoutesContext {
  access: Access
  guard: Guard
  authorize: Authorize
  /** What OpenAPI is told of each. */
  openapi: Pick<RoutesOptions, 'security' | 'hide'>
}

/** The HTTP routes, in a scope of their own. They decide nothing: who may do what is the domain's (P6). */
export function registerRoutes (scope: FastifyInstance, { access, guard, authorize, openapi }: RoutesContext) {
  ignoreBodies(scope)
  useTypeBox(scope)
  // Before anything of the request is looked at. The handlers ask again, for its body may come much later.
  scope.addHook('onRequest', (request) => guard.authenticate(request))

  const route = (...args: Parameters<typeof schemas.route>): FastifySchema => ({ ...openapi, ...schemas.route(...args) })

  async function actor (request: FastifyRequest): Promise<Actor> {
    const claims = await guard.authenticateAgain(request)
    return { claims, authorize: (target) => authorize(request, target) }
  }

  scope.get<{ Querystring: Static<typeof schemas.ListQuery> }>('', {
    schema: route('List the tokens of a subject', schemas.PageBody, 'Its records that have not expired, latest to expire first', {
      querystring: schemas.ListQuery
    })
  }, async (request) => {
    const { limit = schemas.DEFAULT_LIMIT, ...query } = request.query
    return access.list(await actor(request), { ...query, limit })
  })

  scope.get<{ Params: Static<typeof schemas.IdParams> }>('/id/:id', {
    schema: route('Read the record of a token', schemas.TokenBody, 'The record', { params: schemas.IdParams })
  }, async (request) => access.read(await actor(request), request.params.id))

  scope.delete<{ Params: Static<typeof schemas.JtiParams>, Querystring: Static<typeof schemas.IssuerQuery> }>('/:jti', {
    schema: route('Revoke a token by its jti', schemas.RevocationBody, 'It is revoked', {
      params: schemas.JtiParams, querystring: schemas.IssuerQuery
    })
  }, async (request) => access.revoke(await actor(request), request.params.jti, request.query.iss))

  scope.delete<{ Params: Static<typeof schemas.IdParams> }>('/id/:id', {
    schema: route('Revoke the token of a record', schemas.RevocationBody, 'It is revoked', { params: schemas.IdParams })
  }, async (request) => access.revokeById(await actor(request), request.params.id))

  scope.delete<{ Params: Static<typeof schemas.SubjectParams>, Querystring: Static<typeof schemas.SubjectQuery> }>('/sub/:sub', {
    schema: route('Revoke all tokens of a subject', schemas.CutoffBody, 'They are revoked', {
      params: schemas.SubjectParams, querystring: schemas.SubjectQuery
    })
  }, async (request) => {
    const { params: { sub }, query: { iss, except } } = request
    return access.revokeSubject(await actor(request), sub, iss, except === 'current')
  })
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
      // A query has nothing but strings.
      const value = Value.Convert(schema, data)
      const error = compiled.Errors(value).First()
      return error === undefined ? { value } : { error: new Error(`${httpPart}${error.path} ${error.message}`) }
    }
  })
  // Given names, JSON.stringify reads them from an error too, where they are inherited or not enumerable.
  const errorFields = ['statusCode', 'code', 'error', 'message']
  scope.setSerializerCompiler(({ httpStatus = '' }) => {
    return httpStatus.startsWith('2') ? (data) => JSON.stringify(data) : (error) => JSON.stringify(error, errorFields)
  })
}
