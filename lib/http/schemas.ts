import type { FastifySchema } from 'fastify'
import { Type, type TObject, type TProperties } from '@sinclair/typebox'
import { UNTIL } from './until.ts'

/*
 * The shapes of the HTTP routes, for validation and for OpenAPI. They use no word that Swagger 2 lacks, such
 * as `anyOf` and `const`.
 */

/** For answers only: nothing validates it. */
const oneOf = <T extends string>(...values: T[]) => Type.Unsafe<T>({ type: 'string', enum: values })
const time = (description: string) => Type.String({ format: 'date-time', description })
const timeOrNull = (description: string) =>
  Type.Unsafe<string | null>({ type: ['string', 'null'], format: 'date-time', description })
const name = (description: string) => Type.String({ maxLength: 1024, description })

const Jti = Type.String({ minLength: 1, maxLength: 255, description: 'The jti of the token' })
const Id = Type.String({ format: 'uuid', description: 'The id of the record of the token' })
const Issuer = name(
  'The issuer (iss). In a query: default is the one of your own token; empty for tokens without one'
)
const Subject = name('The subject (sub)')
const Session = name('The session')
const MAX_LIMIT = 100
export const DEFAULT_LIMIT = 20

export const JtiParams = Type.Object({ jti: Jti })
// Takes any string: one that is no UUID is the id of no record, and gets the answer of such an id.
export const IdParams = Type.Object({
  id: Type.String({ description: 'The id of the record of the token, a UUID' })
})
export const SubjectParams = Type.Object({
  sub: Type.String({ minLength: 1, maxLength: 1024, description: 'The subject (sub)' })
})
export const SessionParams = Type.Object({
  sid: Type.String({ minLength: 1, maxLength: 1024, description: 'The session' })
})
export const ClaimParams = Type.Object({
  claim: Type.String({ minLength: 1, maxLength: 1024, description: 'A claim of option "revocableBy"' }),
  value: Type.String({ minLength: 1, maxLength: 1024, description: 'Its value' })
})
const Until = Type.Optional(Type.String({
  pattern: UNTIL,
  description: 'A ban: also refuse tokens that are issued until then, an ISO 8601 time with an offset, or ' +
    '"forever". Nobody can lift it before'
}))
export const ClaimQuery = Type.Object({ iss: Type.Optional(Issuer), until: Until })
export const IssuerQuery = Type.Object({ iss: Type.Optional(Issuer) })
export const SubjectQuery = Type.Object({
  iss: Type.Optional(Issuer),
  except: Type.Optional(Type.String({
    pattern: '^current$', enum: ['current'], description: 'Leave out your own token, and set no cutoff'
  })),
  until: Until
})
export const ListQuery = Type.Object({
  sub: Type.Optional(Type.String({
    minLength: 1, maxLength: 1024, description: 'Default: the subject of your own token'
  })),
  iss: Type.Optional(Issuer),
  limit: Type.Optional(Type.Integer({
    minimum: 1, maximum: MAX_LIMIT, default: DEFAULT_LIMIT, description: 'How many'
  })),
  cursor: Type.Optional(Type.String({ minLength: 1, maxLength: 255, description: 'Of the page before' }))
})

export const RevocationBody = Type.Object({
  jti: Type.Optional(Jti),
  id: Type.Optional(Id),
  iss: Type.Optional(Issuer),
  sub: Type.Optional(Subject),
  sid: Type.Optional(Session),
  status: oneOf('revoked'),
  revokedAt: time('When it was first revoked'),
  expiresAt: timeOrNull('When the token itself ends; null when unknown')
})

export const CutoffBody = Type.Object({
  sub: Subject,
  iss: Type.Optional(Issuer),
  cutoff: Type.Unsafe<number | null>({
    type: ['integer', 'null'],
    description: 'Tokens with iat up to this are refused, seconds since the epoch; null with except'
  }),
  revoked: Type.Integer({
    description: 'How many recorded tokens this ended. ' +
      '0 is no failure: the cutoff ends those that were never recorded as well'
  })
})

export const SessionBody = Type.Object({ sid: Session, iss: Type.Optional(Issuer) })

export const ClaimBody = Type.Object({
  claim: name('The claim'),
  value: name('Its value'),
  iss: Type.Optional(Issuer),
  cutoff: Type.Integer({
    description: 'Tokens of this value with iat up to this are refused, seconds since the epoch'
  })
})

export const TokenBody = Type.Object({
  id: Id,
  session: Type.Optional(Type.Boolean({
    description: 'Whether it is the record of a session that can be refreshed'
  })),
  jti: Type.Optional(Jti),
  iss: Type.Optional(Issuer),
  sub: Type.Optional(Subject),
  sid: Type.Optional(Session),
  claims: Type.Optional(Type.Unsafe<Record<string, string>>({
    type: 'object',
    additionalProperties: { type: 'string' },
    description: 'The claims of option "revocableBy" that the token has'
  })),
  issuedAt: timeOrNull('When it was issued; null where the token does not say. Of a session: when it began'),
  refreshedAt: Type.Optional(time('When the session was refreshed last')),
  endedAt: Type.Optional(time('When the session was ended, if it was')),
  expiresAt: timeOrNull('When it ends; null: never. Of a session: when it can no longer be refreshed'),
  meta: Type.Optional(Type.Unsafe<Record<string, unknown>>({
    type: 'object', additionalProperties: true, description: 'What the application recorded with it'
  })),
  status: oneOf('active', 'revoked'),
  current: Type.Boolean({ description: 'Whether it is the token of this request' })
})

export const PageBody = Type.Object({
  tokens: Type.Array(TokenBody),
  cursor: Type.Optional(Type.String({ description: 'For the next page. Absent on the last one' }))
})

const errorBody = (description: string, ...codes: string[]) => Type.Object({
  statusCode: Type.Integer(),
  code: codes.length > 0 ? oneOf(...codes) : Type.String(),
  error: Type.String(),
  message: Type.String()
}, { description })

const errors = {
  400: errorBody('The request is not valid', 'FST_ERR_VALIDATION'),
  401: errorBody(
    'No token, or one that is not valid, revoked (FST_JWT_REVOKED) or not revocable (FST_JWT_NOT_REVOCABLE)'
  ),
  403: errorBody('Not yours to act on, or there is none', 'FST_JWT_REVOCATION_FORBIDDEN'),
  503: errorBody('The store did not answer. Try again', 'FST_JWT_REVOCATION_UNAVAILABLE')
}
const NOT_FOUND = {
  404: errorBody('There is no such record, session or claim', 'FST_JWT_REVOCATION_NOT_FOUND')
}
/** The parameters of routes that can find nothing. */
const SOUGHT: unknown[] = [IdParams, SessionParams, ClaimParams]

export interface RouteShape extends FastifySchema {
  summary: string
  body: TObject<TProperties>
  /** What a 200 means. */
  description: string
}

type RouteSchema = FastifySchema & Record<string, unknown>

/** The schema of a route, with what all of them have in common. `body`: of a 200. */
export function route ({ summary, body, description, ...shapes }: RouteShape): RouteSchema {
  return {
    tags: ['jwt revocation'],
    summary,
    ...shapes,
    response: { 200: { ...body, description }, ...errors, ...(SOUGHT.includes(shapes.params) && NOT_FOUND) }
  }
}
