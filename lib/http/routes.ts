import type { Static, TSchema } from '@sinclair/typebox'
import { TypeCompiler } from '@sinclair/typebox/compiler'
import { Value } from '@sinclair/typebox/value'
import type { FastifyInstance, FastifyRequest, FastifySchema, RegisterOptions } from 'fastify'
import { Access, type Actor } from '../domain/access.ts'
import type { Decorator } from '../domain/decorator.ts'
import type { Settings } from '../options.ts'
import type { Budget } from '../stores/store.ts'
import type { Authorize, RoutesOptions } from '../types.ts'
import type { Guard } from './guard.ts'
import * as schemas from './schemas.ts'
import { mistakeInUntil, readUntil } from './until.ts'

/** `logLevel`, `logSerializers`: Fastify takes them for any plugin. */
export interface RoutesContext extends Pick<RegisterOptions, 'logLevel' | 'logSerializers'> {
  revocation: Decorator
  /** The time of one revocation. */
  budget: () => Budget
  /** The first of them authenticates. */
  guards: Guard[]
  authorize: Authorize
  routes: Settings['routes']
}

interface Parts {
  access: Access
  guard: Guard
  authorize: Authorize
  openapi: RoutesOptions
}

/** The HTTP routes, in a scope of their own. They decide nothing: `Access` says who may do what (P6). */
export async function registerRoutes (app: FastifyInstance, context: RoutesContext) {
  const { routes, revocation, budget, guards, authorize, logLevel, logSerializers } = context
  if (routes === false) return
  const { prefix, ...openapi } = routes
  const access = new Access(revocation, budget)
  await app.register(async (scope) => addRoutes(scope, { access, guard: guards[0]!, authorize, openapi }), {
    prefix, ...(logLevel && { logLevel }), ...(logSerializers && { logSerializers })
  })
}

function addRoutes (scope: FastifyInstance, { access, guard, authorize, openapi }: Parts) {
  ignoreBodies(scope)
  useTypeBox(scope)
  // Comes before anything else looks at the request. The handlers ask again: its body may arrive much later.
  scope.addHook('onRequest', (request) => guard.authenticate(request))

  const route = (...args: Parameters<typeof schemas.route>): FastifySchema =>
    ({ ...openapi, ...schemas.route(...args) })

  async function actor (request: FastifyRequest): Promise<Actor> {
    const claims = await guard.authenticateAgain(request)
    return { claims, authorize: (target) => authorize(request, target) }
  }

  scope.get<{ Querystring: Static<typeof schemas.ListQuery> }>('', {
    schema: route({
      summary: 'List the tokens of a subject',
      body: schemas.PageBody,
      description: 'Its records that have not expired, latest to expire first',
      querystring: schemas.ListQuery
    })
  }, async (request) => {
    const { limit = schemas.DEFAULT_LIMIT, ...query } = request.query
    return access.list(await actor(request), { ...query, limit })
  })

  scope.get<{ Params: Static<typeof schemas.IdParams> }>('/id/:id', {
    schema: route({
      summary: 'Read the record of a token',
      body: schemas.TokenBody,
      description: 'The record',
      params: schemas.IdParams
    })
  }, async (request) => access.read(await actor(request), request.params.id))

  scope.delete<{
    Params: Static<typeof schemas.JtiParams>, Querystring: Static<typeof schemas.IssuerQuery>
  }>('/:jti', {
    schema: route({
      summary: 'Revoke a token by its jti',
      body: schemas.RevocationBody,
      description: 'It is revoked',
      params: schemas.JtiParams,
      querystring: schemas.IssuerQuery
    })
  }, async (request) => access.revoke(await actor(request), request.params.jti, request.query.iss))

  scope.delete<{ Params: Static<typeof schemas.IdParams> }>('/id/:id', {
    schema: route({
      summary: 'Revoke the token of a record',
      body: schemas.RevocationBody,
      description: 'It is revoked',
      params: schemas.IdParams
    })
  }, async (request) => access.revokeById(await actor(request), request.params.id))

  scope.delete<{
    Params: Static<typeof schemas.SubjectParams>, Querystring: Static<typeof schemas.SubjectQuery>
  }>('/sub/:sub', {
    schema: route({
      summary: 'Revoke all tokens of a subject',
      body: schemas.CutoffBody,
      description: 'They are revoked',
      params: schemas.SubjectParams,
      querystring: schemas.SubjectQuery
    })
  }, async (request) => {
    const { params: { sub }, query: { iss, except, until } } = request
    const sparing = except === 'current'
    return access.revokeSubject(await actor(request), { sub, iss, sparing, until: readUntil(until) })
  })

  scope.delete<{
    Params: Static<typeof schemas.SessionParams>, Querystring: Static<typeof schemas.IssuerQuery>
  }>('/sid/:sid', {
    schema: route({
      summary: 'End a session',
      body: schemas.SessionBody,
      description: 'Its tokens are revoked, and those that are issued in it later',
      params: schemas.SessionParams,
      querystring: schemas.IssuerQuery
    })
  }, async (request) => access.revokeSession(await actor(request), request.params.sid, request.query.iss))

  scope.delete<{
    Params: Static<typeof schemas.ClaimParams>, Querystring: Static<typeof schemas.ClaimQuery>
  }>('/by/:claim/:value', {
    schema: route({
      summary: 'Revoke all tokens that have a value in a listed claim',
      body: schemas.ClaimBody,
      description: 'They are revoked',
      params: schemas.ClaimParams,
      querystring: schemas.ClaimQuery
    })
  }, async (request) => {
    const { params, query: { iss, until } } = request
    return access.revokeBy(await actor(request), { ...params, iss, until: readUntil(until) })
  })
}

/** Fastify's limit on a parameter in a path. It has two places. */
interface LengthConfig {
  maxParamLength: number
  routerOptions?: { maxParamLength?: number }
}

/** How long a jti the routes take in their path. */
export function longestJti ({ initialConfig }: FastifyInstance): number {
  const { maxParamLength, routerOptions } = initialConfig as LengthConfig
  return routerOptions?.maxParamLength ?? maxParamLength
}

/**
 * Reads any body within bodyLimit and drops it. Fastify refuses a client that announces JSON and sends
 * nothing.
 */
function ignoreBodies (scope: FastifyInstance) {
  scope.removeAllContentTypeParsers()
  scope.addContentTypeParser('*', { parseAs: 'buffer' }, (_request, _body, done) => done(null))
}

/**
 * Lets the routes work in an application that has replaced Fastify's compiler by one of another schema
 * language.
 */
function useTypeBox (scope: FastifyInstance) {
  scope.setValidatorCompiler<TSchema>(({ schema, httpPart }) => {
    const compiled = TypeCompiler.Compile(schema)
    // A query may hold what its route does not know.
    const takesUntil = schema.properties?.until !== undefined
    return (data: unknown) => {
      // A query holds strings only.
      const value = Value.Convert(schema, data)
      const mistake = compiled.Errors(value).First()
      const words = mistake === undefined
        ? takesUntil ? mistakeInUntil(value) : undefined
        : `${mistake.path} ${mistake.message}`
      return words === undefined ? { value } : { error: new Error(`${httpPart}${words}`) }
    }
  })
  // Given names, JSON.stringify also reads fields of an error that are inherited or not enumerable.
  const errorFields = ['statusCode', 'code', 'error', 'message']
  scope.setSerializerCompiler(({ httpStatus = '' }) => {
    const fields = httpStatus.startsWith('2') ? undefined : errorFields
    return (body) => JSON.stringify(body, fields)
  })
}
