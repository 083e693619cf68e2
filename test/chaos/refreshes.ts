import { shown } from './clocks.ts'
import type { Durability } from './durability.ts'
import { outcomeOf, type History, type Request, type Token } from './history.ts'
import type { Revocations } from './revocations.ts'
import { MAX_USES, type RefreshToken, type Sessions } from './sessions.ts'

export const REFRESH_KINDS = [
  'refreshed after its end', 'refreshed after the grace', 'another successor', 'refreshed too often', 'another session',
  'session prolonged', 'not refreshed'
] as const

export interface Misrefreshed {
  kind: typeof REFRESH_KINDS[number]
  request: Request
  /** What it contradicts. */
  revocation?: Request
  token: Token
}

/** What refresh tokens must give, and what they must not. */
export class Refreshes {
  readonly #history: History
  readonly #durability: Durability
  readonly #revocations: Revocations
  readonly #sessions: Sessions

  constructor (history: History, durability: Durability, revocations: Revocations, sessions: Sessions) {
    this.#history = history
    this.#durability = durability
    this.#revocations = revocations
    this.#sessions = sessions
  }

  check (): Misrefreshed[] {
    return this.#history.requests.flatMap((request) => {
      if (request.refresh === undefined) return []
      const refreshToken = this.#sessions.refreshTokens.get(request.refresh)!
      switch (outcomeOf(request)) {
        case 'accepted': return this.#ofRefreshed(request, refreshToken)
        case 'invalid': return this.#isExplained(request, refreshToken)
          ? []
          : [{ kind: 'not refreshed', request, token: refreshToken.session.tokens[0]! }]
        default: return []
      }
    })
  }

  #ofRefreshed (request: Request, refreshToken: RefreshToken): Misrefreshed[] {
    const found: Misrefreshed[] = []
    const { session, end, uses } = refreshToken
    const tell = (kind: Misrefreshed['kind'], revocation?: Request) => {
      found.push({ kind, request, token: session.tokens[0]!, ...(revocation && { revocation }) })
    }
    const { gave } = request
    const run = this.#history.runs[request.run]!
    const asked = asToken(refreshToken, this.#sessions.iatOf(refreshToken).most)
    const revocation = this.#revocations.of(asked).find((one) => one.to < request.from &&
      this.#revocations.revokes(one, asked) === 'yes' &&
      !this.#durability.mayBeForgotten(one, request, 'strict'))
    if (revocation !== undefined) tell('refreshed after its end', revocation)
    if (shown(this.#history, run, request).from > end * 1000) tell('refreshed after its end')
    if (this.#sessions.isCertainlyReuse(refreshToken, request)) tell('refreshed after the grace')
    if (gave?.sid !== session.sid) tell('another session')
    if (gave?.end !== end) tell('session prolonged')
    const before = uses.slice(0, uses.indexOf(request)).filter((use) => outcomeOf(use) === 'accepted')
    const other = before.find((use) => use.gave?.refreshToken !== gave?.refreshToken && !this.#isLost(use, request))
    if (other !== undefined) tell('another successor', other)
    if (before.filter((use) => !this.#isLost(use, request)).length >= MAX_USES) tell('refreshed too often')
    return found
  }

  /** Whether Redis may have forgotten one use of a refresh token before the other. */
  #isLost (one: Request, other: Request): boolean {
    return this.#durability.mayLose(one, other.to) || this.#durability.mayLose(other, one.to)
  }

  /** Whether the rules let it be refused. */
  #isExplained (request: Request, refreshToken: RefreshToken): boolean {
    const { end, given } = refreshToken
    const iat = this.#sessions.iatOf(refreshToken)
    const run = this.#history.runs[request.run]!
    if (Math.max(shown(this.#history, run, request).to, iat.most * 1000) >= end * 1000) return true
    // Nobody puts back refresh tokens.
    if (this.#durability.mayLose(given, request.to)) return true
    if (this.#sessions.mayBeExhausted(refreshToken, request) || this.#sessions.mayBeReuse(refreshToken, request)) return true
    const asked = asToken(refreshToken, iat.least)
    return this.#revocations.of(asked).some((one) => one.from <= request.to && this.#revocations.revokes(one, asked) !== 'no')
  }
}

/** By what a cutoff ends it: the names of its session, and an iat. */
function asToken ({ session: { sub, sid, tenant, tokens }, end }: RefreshToken, iat: number): Token {
  return { jti: 'refresh token', id: '', sub, sid, tenant, iat, exp: end, lifetime: 0, isRefreshable: true, issue: tokens[0]!.issue }
}
