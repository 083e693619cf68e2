import fastifySwagger, { type SwaggerOptions } from '@fastify/swagger'
import { Validator } from '@seriousme/openapi-schema-validator'
import t, { type Test } from 'tap'
import type { RevocationOptions } from '../../lib/index.ts'
import { bearer, buildApp, genuine } from '../support/app.ts'

interface Schema {
  type?: string | string[]
  description?: string
  properties?: Record<string, Schema>
  required?: string[]
  enum?: unknown[]
  const?: unknown
  anyOf?: Schema[]
  items?: Schema
}
interface Answer { description: string, content?: Record<string, { schema: Schema }> }
interface Parameter { name: string, in: string, required?: boolean, schema: Schema }
interface Operation {
  tags: string[]
  summary: string
  security?: object[]
  parameters?: Parameter[]
  requestBody?: unknown
  responses: Record<string, Answer>
}
type Document = { openapi?: string, swagger?: string, paths: Record<string, Record<string, Operation>> }

const INFO = { title: 'a', version: '1.0.0' }
/** One for all: it makes a validator of each version once, which takes longer than any test. */
const validator = new Validator()

async function documentFor (t: Test, swagger: SwaggerOptions, revocation: RevocationOptions): Promise<Document> {
  const app = await buildApp(t, { revocation, before: (app) => app.register(fastifySwagger, swagger) })
  return JSON.parse(JSON.stringify(app.swagger()))
}

function documentOf (t: Test, openapi: string, revocation: RevocationOptions = { routes: { security: [{ bearerAuth: [] }] } }): Promise<Document> {
  const components = { securitySchemes: { bearerAuth: { type: 'http', scheme: 'bearer' } } } as const
  return documentFor(t, { openapi: { openapi, info: INFO, components } }, revocation)
}

const oursIn = ({ paths }: Document) => Object.values(paths).flatMap((operations) => Object.values(operations)).filter(({ tags }) => tags?.includes('jwt revocation'))

const ROUTES = [
  ['get', '/v1/jwt/history', ['sub', 'iss', 'limit', 'cursor']],
  ['get', '/v1/jwt/history/id/{id}', ['id']],
  ['delete', '/v1/jwt/history/{jti}', ['jti', 'iss']],
  ['delete', '/v1/jwt/history/id/{id}', ['id']],
  ['delete', '/v1/jwt/history/sub/{sub}', ['sub', 'iss', 'except', 'until']],
  ['delete', '/v1/jwt/history/sid/{sid}', ['sid', 'iss']],
  ['delete', '/v1/jwt/history/by/{claim}/{value}', ['claim', 'value', 'iss', 'until']]
] as const

/** What an answer may say in a field: one value, one of several, or anything of a type. */
function valuesOf (schema: Schema): unknown[] {
  if (schema.const !== undefined) return [schema.const]
  return schema.enum ?? schema.anyOf?.flatMap(valuesOf) ?? []
}

for (const version of ['3.0.3', '3.1.0']) {
  t.test(`OpenAPI ${version} finds the seven routes, and the document is valid`, async (t) => {
    const document = await documentOf(t, version)
    const { valid, errors } = await validator.validate(structuredClone(document))
    t.equal(valid, true, 'the document is valid', { errors })
    t.equal(document.openapi, version)
    const paths = Object.entries(document.paths).filter(([path]) => path.startsWith('/v1/'))
    t.strictSame(
      paths.flatMap(([path, operations]) => Object.keys(operations).filter((method) => method !== 'head').map((method) => `${method} ${path}`)).sort(),
      ROUTES.map(([method, path]) => `${method} ${path}`).sort(), 'the list without a slash at its end'
    )

    for (const [method, path, parameters] of ROUTES) {
      await t.test(`${method} ${path}`, async (t) => {
        const operation = document.paths[path]![method]!
        t.strictSame(operation.tags, ['jwt revocation'])
        t.match(operation.summary, /^[A-Z].{10,}[^.]$/)
        t.strictSame(operation.security, [{ bearerAuth: [] }])
        t.strictSame(operation.parameters!.map(({ name }) => name).sort(), [...parameters].sort())
        for (const { name, in: where, required, schema } of operation.parameters!) {
          t.equal(where, path.includes(`{${name}}`) ? 'path' : 'query')
          t.equal(required ?? false, where === 'path')
          t.ok(schema.type ?? schema.enum ?? schema.const)
        }
        t.notOk(operation.requestBody, 'bodies are ignored')

        const byId = /\/(id|sid|by)\//.test(path)
        t.strictSame(Object.keys(operation.responses).sort(), ['200', '400', '401', '403', ...(byId ? ['404'] : []), '503'])
        for (const [status, { description, content }] of Object.entries(operation.responses)) {
          t.ok(description.length > 5, `${status} is described`)
          t.not(description, 'Default Response')
          const { schema } = content!['application/json']!
          t.equal(schema.type, 'object')
          if (status === '200') continue
          t.strictSame(Object.keys(schema.properties!).sort(), ['code', 'error', 'message', 'statusCode'])
          t.strictSame([...schema.required!].sort(), ['code', 'error', 'message', 'statusCode'])
        }
        const codes = (status: number) => valuesOf(operation.responses[status]!.content!['application/json']!.schema.properties!.code!)
        t.strictSame(codes(400), ['FST_ERR_VALIDATION'])
        t.strictSame(codes(403), ['FST_JWT_REVOCATION_FORBIDDEN'])
        t.strictSame(codes(503), ['FST_JWT_REVOCATION_UNAVAILABLE'])
        if (byId) t.strictSame(codes(404), ['FST_JWT_REVOCATION_NOT_FOUND'])
        // Others are @fastify/jwt's own.
        t.match(operation.responses[401]!.description, /FST_JWT_REVOKED.*FST_JWT_NOT_REVOCABLE/)
      })
    }

    const list = document.paths['/v1/jwt/history']!.get!
    t.match(list.parameters!.find(({ name }) => name === 'limit')!.schema, { type: 'integer', minimum: 1, maximum: 100, default: 20 })
    const item = list.responses[200]!.content!['application/json']!.schema.properties!.tokens!.items!
    t.strictSame(Object.keys(item.properties!).sort(), ['claims', 'current', 'endedAt', 'expiresAt', 'id', 'iss', 'issuedAt', 'jti', 'meta', 'refreshedAt', 'session', 'sid', 'status', 'sub'])
    t.strictSame([...item.required!].sort(), ['current', 'expiresAt', 'id', 'issuedAt', 'status'])
    t.strictSame(valuesOf(item.properties!.status!).sort(), ['active', 'revoked'])
    const ended = document.paths['/v1/jwt/history/sub/{sub}']!.delete!.responses[200]!.content!['application/json']!.schema
    t.strictSame(Object.keys(ended.properties!).sort(), ['cutoff', 'iss', 'revoked', 'sub'])
    t.strictSame([...ended.required!].sort(), ['cutoff', 'revoked', 'sub'])
  })

  t.test(`what the routes answer is what OpenAPI ${version} says of them`, async (t) => {
    const document = await documentOf(t, version)
    const app = await buildApp(t, {
      revocation: {
        maxTokenLifetime: 'unbounded',
        claims: { sid: 'sid' },
        revocableBy: ['tenant'],
        authorize: (_request, { id, claim }) => id === 'nothing' || claim !== undefined
      }
    })
    const meta = { device: 'a', nested: { list: [1] } }
    const caller = await app.revocation.issue({ sub: 'alice', iss: 'a' }, { meta })
    const target = await app.revocation.issue({ sub: 'alice', iss: 'a' })
    const endless = app.jwt.decode<Record<string, unknown>>((await genuine({ exp: undefined, iss: 'a' })).token)!
    const { id } = await app.revocation.record(endless)
    const mallorys = await genuine({ sub: 'mallory' })
    const inSession = await genuine({ jti: undefined, sub: 'sue', iss: 'a', sid: 's1', tenant: 'acme' })
    const listed = await app.revocation.record(app.jwt.decode<Record<string, unknown>>(inSession.token)!)
    const calls: Array<[method: 'GET' | 'DELETE', url: string, path: string, token?: string]> = [
      ['GET', '', '', caller.token], ['GET', '?limit=1', '', caller.token], ['GET', '?limit=0', '', caller.token], ['GET', '?sub=alice', '', mallorys.token], ['GET', '', ''],
      ['GET', `/id/${target.id}`, '/id/{id}', caller.token], ['GET', `/id/${id}`, '/id/{id}', caller.token], ['GET', '/id/x', '/id/{id}', mallorys.token],
      ['DELETE', `/${target.jti}`, '/{jti}', caller.token], ['DELETE', `/id/${target.id}`, '/id/{id}', caller.token], ['DELETE', `/id/${id}`, '/id/{id}', caller.token],
      ['GET', '/id/nothing', '/id/{id}', mallorys.token], ['DELETE', '/id/nothing', '/id/{id}', mallorys.token],
      ['DELETE', '/x', '/{jti}', mallorys.token], ['DELETE', '/x', '/{jti}', target.token],
      ['GET', '', '', inSession.token], ['DELETE', '/by/tenant/other', '/by/{claim}/{value}', mallorys.token],
      ['DELETE', '/by/tenant/other?until=forever', '/by/{claim}/{value}', mallorys.token], ['DELETE', '/by/tenant/other?until=x', '/by/{claim}/{value}', mallorys.token],
      ['DELETE', '/by/x/y', '/by/{claim}/{value}', mallorys.token], ['DELETE', '/sid/s1', '/sid/{sid}', mallorys.token],
      ['DELETE', '/sid/s1', '/sid/{sid}', (await genuine({ iss: 'a', sid: 's1' })).token], ['DELETE', `/id/${listed.id}`, '/id/{id}', (await genuine({ iss: 'a', sub: 'sue' })).token],
      ['DELETE', '/sub/alice?until=forever', '/sub/{sub}', caller.token],
      ['DELETE', '/sub/alice?except=current', '/sub/{sub}', caller.token], ['DELETE', '/sub/alice?except=x', '/sub/{sub}', caller.token],
      ['DELETE', '/sub/alice', '/sub/{sub}', mallorys.token], ['DELETE', '/sub/alice', '/sub/{sub}', caller.token], ['GET', '', '', caller.token]
    ]
    const seen = new Set<number>()
    for (const [method, url, path, token] of calls) {
      const response = await app.inject({ method, url: `/v1/jwt/history${url}`, ...(token !== undefined && { headers: bearer(token) }) })
      seen.add(response.statusCode)
      const { content } = document.paths[`/v1/jwt/history${path}`]![method.toLowerCase()]!.responses[response.statusCode]!
      t.strictSame(faultsOf(response.json(), content!['application/json']!.schema), [], `${response.statusCode} to ${method} ${url.replace(/[\w-]{36}/, ':')}`)
    }
    t.strictSame([...seen].sort(), [200, 400, 401, 403, 404])
  })
}

/** As much of JSON Schema as the documents use: what of a value is not as its schema says. */
function faultsOf (value: unknown, schema: Schema & { nullable?: boolean }, path = '$'): string[] {
  if (value === null && schema.nullable) return []
  if (schema.anyOf) return schema.anyOf.some((one) => faultsOf(value, one).length === 0) ? [] : [`${path} is none of ${schema.anyOf.length}`]
  const allowed = valuesOf(schema)
  if (allowed.length > 0) return allowed.includes(value) ? [] : [`${path} is ${value}`]
  if (schema.type !== undefined && ![schema.type].flat().includes(typeOf(value))) return [`${path} is ${typeOf(value)}`]
  if (Array.isArray(value)) return value.flatMap((item, i) => faultsOf(item, schema.items!, `${path}[${i}]`))
  if (schema.properties === undefined) return []
  const fields = value as Record<string, unknown>
  return [
    ...(schema.required ?? []).filter((name) => !Object.hasOwn(fields, name)).map((name) => `${path} has no ${name}`),
    ...Object.entries(fields).flatMap(([name, field]) => {
      const one = schema.properties![name]
      return one === undefined ? [`${path}.${name} is undocumented`] : faultsOf(field, one, `${path}.${name}`)
    })
  ]
}

function typeOf (value: unknown): string {
  if (value === null) return 'null'
  if (Array.isArray(value)) return 'array'
  return Number.isInteger(value) ? 'integer' : typeof value
}

t.test('the routes are documented where the application puts them, or not at all', async (t) => {
  const { paths } = await documentOf(t, '3.1.0', { routes: { prefix: '/tokens' } })
  t.ok(paths['/tokens']?.get)
  t.ok(paths['/tokens/{jti}']?.delete)
  const none = await documentOf(t, '3.1.0', { routes: false })
  t.strictSame(oursIn(none), [])
  const hidden = await documentOf(t, '3.1.0', { routes: { hide: true } })
  t.strictSame(oursIn(hidden), [])
  const shown = await documentOf(t, '3.1.0', { routes: { hide: false } })
  t.equal(oursIn(shown).length, ROUTES.length)
})

const BEARER = { type: 'apiKey', in: 'header', name: 'authorization' } as const
const KINDS: Record<string, (schemes?: Record<string, { type: 'apiKey', in: 'header', name: string }>, security?: Array<Record<string, string[]>>) => SwaggerOptions> = {
  'OpenAPI 3.0': (securitySchemes, security) => ({
    openapi: { openapi: '3.0.3', info: INFO, ...(securitySchemes && { components: { securitySchemes } }), ...(security && { security }) }
  }),
  'OpenAPI 3.1': (securitySchemes, security) => ({
    openapi: { openapi: '3.1.0', info: INFO, ...(securitySchemes && { components: { securitySchemes } }), ...(security && { security }) }
  }),
  'Swagger 2': (securityDefinitions, security) => ({
    swagger: { info: INFO, ...(securityDefinitions && { securityDefinitions }), ...(security && { security }) }
  })
}

for (const [kind, optionsOf] of Object.entries(KINDS)) {
  const validated = async (t: Test, document: Document) => {
    const { valid, errors } = await validator.validate(structuredClone(document))
    t.equal(valid, true, 'the document is valid', { errors })
  }

  t.test(`${kind}: an application that has no security scheme has a document, and the routes name none`, async (t) => {
    for (const revocation of [{}, { routes: {} }, { routes: { prefix: '/v1/jwt/history' } }]) {
      const document = await documentFor(t, optionsOf(), revocation)
      await validated(t, document)
      t.equal(oursIn(document).length, ROUTES.length)
      t.strictSame(oursIn(document).filter((operation) => 'security' in operation), [])
      t.strictSame(oursIn(document).filter((operation) => 'hide' in operation), [])
    }
  })

  t.test(`${kind}: the routes name the security schemes that routes.security gives, at the default prefix`, async (t) => {
    for (const security of [[{ mine: [] }], [{ mine: [], other: [] }, { other: [] }], [{}, { mine: [] }], []]) {
      const document = await documentFor(t, optionsOf({ mine: BEARER, other: { ...BEARER, name: 'x-token' } }, [{ other: [] }]), { routes: { security } })
      await validated(t, document)
      t.ok(document.paths['/v1/jwt/history/{jti}']!.delete)
      for (const operation of oursIn(document)) t.strictSame(operation.security, security)
    }
  })

  t.test(`${kind}: every field and every value that an answer may have is there`, async (t) => {
    const document = await documentFor(t, optionsOf(), {})
    const answerOf = (path: string, method: string) => {
      const answer = document.paths[`/v1/jwt/history${path}`]![method]!.responses[200]! as Answer & { schema?: Schema }
      return answer.schema ?? answer.content!['application/json']!.schema
    }
    t.strictSame(valuesOf(answerOf('/{jti}', 'delete').properties!.status!), ['revoked'])
    t.strictSame(valuesOf(answerOf('/id/{id}', 'get').properties!.status!), ['active', 'revoked'])
    const { expiresAt } = answerOf('/{jti}', 'delete').properties! as Record<string, Schema & { format?: string, nullable?: boolean }>
    t.equal(expiresAt!.format, 'date-time')
    t.strictSame(kind === 'OpenAPI 3.0' ? [expiresAt!.type, expiresAt!.nullable] : expiresAt!.type, kind === 'OpenAPI 3.0' ? ['string', true] : ['string', 'null'])
    t.match(answerOf('/id/{id}', 'get').properties!.meta, { type: 'object', additionalProperties: true })
  })
}
