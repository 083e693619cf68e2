// By name: a bundler's resolution finds no types of a default export here, and the classes would be `any`.
import { createError } from '@fastify/error'

/*
 * Every error of the plugin. None captures a stack, because each is an answer to a request, and its code says
 * where it comes from. A client can provoke them in floods: with a revoked token in a loop, or while a store
 * is down. What the store's client threw is the `cause`, stack included.
 */

const WITHOUT_STACK = [Error, false] as const

/** RFC 6750 §3.1. `description` holds no quote, no backslash, and nothing that a token's holder chose. */
const challenge = (description: string) => ({
  'www-authenticate': `Bearer error="invalid_token", error_description="${description}"`
})

/** 401: the token has been revoked. */
export class FST_JWT_REVOKED extends createError(
  'FST_JWT_REVOKED', 'Token has been revoked', 401, ...WITHOUT_STACK
) {
  readonly headers = challenge('The token has been revoked')
}

/** 401: nobody could revoke the token, so it is not accepted. The message says which rule it breaks. */
export class FST_JWT_NOT_REVOCABLE extends createError<'FST_JWT_NOT_REVOCABLE', 401, [rule: string]>(
  'FST_JWT_NOT_REVOCABLE', 'Token cannot be revoked and is therefore not accepted: %s', 401, ...WITHOUT_STACK
) {
  readonly headers: Record<string, string>
  constructor (rule: string) {
    super(rule)
    this.headers = challenge(`The token cannot be revoked: ${rule}`)
  }
}

/** 401: the refresh token is unknown, expired, revoked or was used before. One answer for all of them. */
export class FST_JWT_REFRESH_INVALID extends createError(
  'FST_JWT_REFRESH_INVALID', 'Refresh token is not valid, log in again', 401, ...WITHOUT_STACK
) {
  readonly headers = challenge('The refresh token is not valid')
}

/** 503: the store did not answer in time, or its answer made no sense. Trying again is safe. */
export class FST_JWT_REVOCATION_UNAVAILABLE extends createError<
  'FST_JWT_REVOCATION_UNAVAILABLE', 503, [{ cause: unknown }]
>(
  'FST_JWT_REVOCATION_UNAVAILABLE', 'Token revocation is unavailable, try again', 503, ...WITHOUT_STACK
) {
  readonly headers = { 'retry-after': '1' }
}

/** 403: the caller's token is another one, of another subject, and `authorize` does not grant access. */
export const FST_JWT_REVOCATION_FORBIDDEN = createError(
  'FST_JWT_REVOCATION_FORBIDDEN', 'Not allowed to act on this token', 403, ...WITHOUT_STACK
)

/** 404: there is nothing of that name. Only callers to whom `authorize` grants access are told. */
export class FST_JWT_REVOCATION_NOT_FOUND extends createError<
  'FST_JWT_REVOCATION_NOT_FOUND', 404, [sentence: string]
>(
  'FST_JWT_REVOCATION_NOT_FOUND', '%s', 404, ...WITHOUT_STACK
) {
  constructor (sentence = 'No record of a token has this id') {
    super(sentence)
  }
}

/**
 * At register: an option has the wrong shape, or no option has this name, or a plugin is missing or there
 * twice.
 */
export const FST_JWT_REVOCATION_BAD_OPTION = createError<
  'FST_JWT_REVOCATION_BAD_OPTION', 500, [sentence: string, options?: { cause: unknown }]
>(
  'FST_JWT_REVOCATION_BAD_OPTION', 'fastify-jwt-revocation: %s', 500
)

/** Rejects registration; `sentence` says what to change. */
export function badOption (sentence: string, ...options: [] | [{ cause: unknown }]): Error {
  return new FST_JWT_REVOCATION_BAD_OPTION(sentence, ...options)
}

/*
 * Why a store has no answer. These are causes: they reach nobody but through FST_JWT_REVOCATION_UNAVAILABLE.
 */

/** The time of an operation is up. */
export class NoAnswer extends Error {}

/**
 * So much is under way that the plugin refuses more, while the store answers. This is a limit of ours, and no
 * failure of the store (P4).
 */
export class TooMuch extends Error {}

/** What is under one key is not what belongs there. The store answers, and other keys are well. */
export class BadValue extends TypeError {}

/** Two connections that were to see the same data do not (P7). */
export class OtherData extends Error {}

/** Redis, or what stands in its place, answered with what the command can't give. */
export function nonsense (to: string): Error {
  return new TypeError(`Redis answered nonsense ${to}`)
}

/** Whether an error is about one key alone. */
export function isOfOneKey (error: unknown): boolean {
  return error instanceof BadValue ||
    (error instanceof Error && /\b(?:WRONGTYPE|BADVALUE) /.test(error.message))
}
