import type { AuditLog } from './audit.ts'

const MAX_JTI_LENGTH = 255

/** What whoever runs the application is told when it first matters, and then no more. No sentence holds anything of a token. */
export class Notices {
  readonly #log: Pick<AuditLog, 'warn'>
  readonly #longestJti: number
  readonly #told = new Set<string>()

  /** `longestJti`: the longest one that the routes take in their path. */
  constructor (log: Pick<AuditLog, 'warn'>, longestJti: number) {
    this.#log = log
    this.#longestJti = longestJti
  }

  jti (jti: string | undefined) {
    if (jti === undefined || jti.length <= this.#longestJti) return
    this.#tell(`a jti longer than ${this.#longestJti} characters can't be revoked by its path, and there is one; set Fastify's routerOptions: { maxParamLength: ${MAX_JTI_LENGTH} }`)
  }

  tokenWithoutExp () {
    this.#tell('a token without an exp was refused; sign tokens with one (@fastify/jwt: sign: { expiresIn: \'15m\' }), or set maxTokenLifetime: \'unbounded\'')
  }

  #tell (sentence: string) {
    if (this.#told.has(sentence)) return
    this.#told.add(sentence)
    this.#log.warn({}, `jwt revocation: ${sentence}`)
  }
}
