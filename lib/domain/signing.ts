import type { Clock, Seconds } from '../time.ts'
import { BROKEN, checkClaims, claimsOf, type CheckedClaims, type Rules, type TokenClaims } from './claims.ts'
import { culpritOf } from './culprit.ts'
import { signerOf, type Signer, type SignOptions } from './signers.ts'
import { unavailable } from './unavailable.ts'
import { unverifiable } from './verifiable.ts'

export interface SigningContext extends Signer {
  rules: Rules
  clock: Clock
  /** The signer of each namespace. Without a namespace the context itself signs. Default: there are none. */
  signers?: ReadonlyMap<string | undefined, Signer>
  /** The default issuer. undefined: there is none; null: the namespaces have different ones. */
  issuer?: string | null | undefined
}

export interface SignRequest {
  /** The method that signs, for messages. */
  method: 'issue' | 'refresh'
  /** The claims that the caller gave, for messages. */
  given: TokenClaims
  /** The options of the call. */
  options: SignOptions
  namespace?: string | undefined
  /** When the token ends at the latest. Default: it need not. */
  end?: Seconds | undefined
}

/** A token, and the claims that it was signed with. */
export interface Signed {
  token: string
  claims: CheckedClaims & { jti: string }
}

/** Signs tokens that the guard accepts. */
export class Signing {
  readonly #rules: Rules
  readonly #clock: Clock
  readonly #signer: Signer
  readonly #signers: ReadonlyMap<string | undefined, Signer>
  readonly #issuer: string | undefined

  constructor ({ rules, clock, signers = new Map(), issuer, ...signer }: SigningContext) {
    this.#rules = rules
    this.#clock = clock
    this.#signer = signer
    this.#signers = signers
    this.#issuer = issuer ?? undefined
  }

  /** The claims with this jti, unless they have one, and with the default issuer, whose cutoffs end them. */
  complete (claims: TokenClaims, jti: string): TokenClaims {
    const at = this.#rules.claims.jti
    const asked: TokenClaims = { ...claims, [at]: claims[at] ?? jti }
    if (claims.iss === undefined && this.#issuer !== undefined) asked.iss = this.#issuer
    return asked
  }

  /** @throws TypeError where the guard would not accept the token */
  async sign (asked: TokenClaims, request: SignRequest): Promise<Signed> {
    const { method, options, namespace, end = Infinity } = request
    const signer = namespace === undefined ? this.#signer : signerOf(method, namespace, this.#signers)
    const token = await signer.sign(asked, Object.keys(options).length > 0 ? options : undefined)
    // The signed claims count, not the given ones: sign options may set claims, too.
    const signed = claimsOf(token)
    const claims = this.#acceptable(signed, request, signer)
    if (end === Infinity) return { token, claims }
    if (claims.iat === undefined) {
      throw new TypeError(`${method}() gives no token of a session without an iat; ` +
        'sign without "noTimestamp"')
    }
    if ((claims.exp ?? Infinity) <= end) return { token, claims }
    if (end <= claims.iat) {
      throw unavailable(`the token would begin at ${claims.iat}, and its session ends at ${end}`)
    }
    // Signed again: no access token outlives its session.
    return this.sign(asked, { ...request, options: { ...options, expiresIn: end - claims.iat } })
  }

  #acceptable (
    signed: TokenClaims, { method, given, options }: SignRequest, signer: Signer
  ): Signed['claims'] {
    const { signOptions = {}, verifyOptions = {} } = signer
    const checked = checkClaims(signed, this.#rules, this.#clock.wall())
    const rule = typeof checked === 'string'
      ? checked
      : checked.jti === undefined ? BROKEN.jti : unverifiable(signed, verifyOptions)
    if (rule === undefined) return checked as Signed['claims']
    const culprit = culpritOf(method, rule, given, options, signOptions)
    const origin = culprit && `; that comes from ${culprit}`
    throw new TypeError(`${method}() signed a token that would not be accepted: ${rule}${origin}`)
  }
}
