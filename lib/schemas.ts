import { Type } from '@sinclair/typebox'

/*
 * The shapes of the HTTP routes. The routes compile them on their own (see routes.ts), so they stand in OpenAPI as they are.
 */

const Time = Type.String({ format: 'date-time' })
const Issuer = Type.String({ maxLength: 1024, description: 'The issuer (iss)' })

export const JtiParams = Type.Object({
  jti: Type.String({ minLength: 1, maxLength: 255, description: 'The jti of the token, percent-encoded' })
})

export const IdParams = Type.Object({
  id: Type.String({ minLength: 1, maxLength: 255, description: 'The id of the record of the token' })
})

export const IssuerQuery = Type.Object({ iss: Type.Optional(Issuer) })

export const RevocationBody = Type.Object({
  jti: Type.String(),
  id: Type.Optional(Type.String()),
  iss: Type.Optional(Issuer),
  sub: Type.Optional(Type.String()),
  status: Type.Literal('revoked'),
  revokedAt: Time,
  expiresAt: Type.Union([Time, Type.Null()])
})

export const ErrorBody = Type.Object({
  statusCode: Type.Integer(),
  code: Type.Optional(Type.String()),
  error: Type.String(),
  message: Type.String()
})

export const errors = { 400: ErrorBody, 401: ErrorBody, 403: ErrorBody, 503: ErrorBody }
