import type { AuditLog } from './audit.ts'

const MAX_JTI_LENGTH = 255

/**
 * Warns of what first matters while the application runs, once each. No sentence holds anything of a token.
 */
export class Notices {
  readonly #log: Pick<AuditLog, 'warn'>
  readonly #longestJti: number
  readonly #warned = new Set<string>()

  /** `longestJti`: how long a jti the routes take in their path. */
  constructor (log: Pick<AuditLog, 'warn'>, longestJti: number) {
    this.#log = log
    this.#longestJti = longestJti
  }

  jti (jti: string | undefined) {
    if (jti === undefined || jti.length <= this.#longestJti) return
    this.#warn(`a jti longer than ${this.#longestJti} characters can't be revoked by its path, ` +
      `and there is one; set Fastify's routerOptions: { maxParamLength: ${MAX_JTI_LENGTH} }`)
  }

  tokenWithoutExp () {
    this.#warn('a token without an exp was refused; ' +
      "sign tokens with one (@fastify/jwt: sign: { expiresIn: '15m' }), or set maxTokenLifetime: 'unbounded'")
  }

  #warn (sentence: string) {
    if (this.#warned.has(sentence)) return
    this.#warned.add(sentence)
    this.#log.warn({}, `jwt revocation: ${sentence}`)
  }
}
