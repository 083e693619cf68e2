import { createError } from '@fastify/error'

type ErrorClass = new (message?: string) => Error
type Messages = Record<string, unknown>

/**
 * How `@fastify/jwt` answers what fast-jwt throws: by its code with an error of its own, or as it is. Its
 * classes are exported nowhere, so these are made as it makes them.
 */
export class Wording {
  readonly #Expired: ErrorClass
  readonly #Invalid: ErrorClass
  readonly #Unsigned: ErrorClass
  /** Whether the message holds what fast-jwt says. */
  readonly #quotes: boolean

  /** `messages`: those of `app.jwt.options`. */
  constructor (messages: Messages) {
    const {
      authorizationTokenExpiredMessage: expired,
      authorizationTokenInvalid: invalid,
      authorizationTokenUnsigned: unsigned
    } = messages
    this.#quotes = typeof invalid === 'function'
    this.#Expired = unauthorized('FST_JWT_AUTHORIZATION_TOKEN_EXPIRED', expired)
    this.#Invalid = unauthorized('FST_JWT_AUTHORIZATION_TOKEN_INVALID',
      typeof invalid === 'function' ? invalid({ message: '%s' }) : invalid)
    this.#Unsigned = unauthorized('FAST_JWT_MISSING_SIGNATURE', unsigned)
  }

  /** Of what was thrown while a token was verified, or its user made. */
  of (error: Error): Error {
    switch (codeOf(error)) {
      case 'FAST_JWT_EXPIRED':
        return new this.#Expired()
      case 'FAST_JWT_INVALID_KEY':
      case 'FAST_JWT_INVALID_SIGNATURE':
      case 'FAST_JWT_INVALID_CLAIM_VALUE':
      case 'FAST_JWT_MISSING_REQUIRED_CLAIM':
        return this.#quotes ? new this.#Invalid(error.message) : new this.#Invalid()
      case 'FAST_JWT_MISSING_SIGNATURE':
        return new this.#Unsigned()
      default:
        return error
    }
  }

  /** Of what was thrown while a token was decoded. */
  ofDecoding (error: Error): Error {
    return codeOf(error) === 'FAST_JWT_MALFORMED' ? new this.#Invalid(error.message) : error
  }
}

export function codeOf (error: Error): unknown {
  return (error as { code?: unknown }).code
}

/** Whatever an application gives for a message, `@fastify/jwt` has accepted it. */
function unauthorized (code: string, message: unknown): ErrorClass {
  return createError(code, message as string, 401)
}
