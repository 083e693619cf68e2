import type { Durability } from './durability.ts'
import { EVERY_IAT, outcomeOf, type History, type Names, type Request, type Token } from './history.ts'

const NAMES = ['jti', 'sub', 'sid', 'tenant'] as const
const CUTOFFS = ['subject', 'session', 'claim']

/** What was asked to be revoked: all that has or may have had an effect. */
export class Revocations {
  readonly #history: History
  readonly #durability: Durability
  readonly #byName = new Map<string, Request[]>()

  /** `derived`: what ended a session by the way. */
  constructor (history: History, durability: Durability, derived: Request[] = []) {
    this.#history = history
    this.#durability = durability
    for (const request of [...history.requests, ...derived]) {
      const { target } = request
      if (target === undefined || !hasEffect(request)) continue
      for (const name of namesIn(target)) this.#byName.set(name, [...this.#byName.get(name) ?? [], request])
    }
  }

  /** Those that may concern a token, or whatever else has one of these names. */
  of (names: Names): Request[] {
    return namesIn(names).flatMap((name) => this.#byName.get(name) ?? [])
  }

  /** Those that set a cutoff of a subject, a session or a tenant. */
  cutoffsOf (names: Names): Request[] {
    return this.of(names).filter(({ target }) => CUTOFFS.includes(target!.kind))
  }

  revokes (revocation: Request, token: Token): 'yes' | 'perhaps' | 'no' {
    const target = revocation.target!
    const asks = revocation.jti === token.jti
    // Of a session they end all or nothing: what they ended is derived.
    if (target.kind === 'others' && token.isRefreshable) return 'no'
    if (target.kind === 'others' && (asks || token.isForeign)) return 'no'
    // Without an acknowledgement it may have been made, or be made at any later time: a client sends again what it got
    // no answer to, and Redis, once it goes on, executes what has waited in its sockets. A cutoff rises when it is
    // made, so that no iat of the subject is safe from one.
    if (outcomeOf(revocation) !== 'accepted') return 'perhaps'
    if (target.kind === 'token') return 'yes'
    if (target.kind !== 'others' && isReached(token, revocation)) return 'yes'
    // Nobody looks for more of a session, which ends wholly, nor of a tenant.
    if (target.kind === 'session' || target.kind === 'claim') return 'no'
    if (target.kind === 'subject') {
      // A signer's clock was ahead: the call ends the token that asks, and those that are recorded, by their jti.
      if (asks) return 'yes'
      if (token.isForeign || token.isRefreshable) return 'no'
    }
    const issue = this.#history.requests[token.issue]!
    if (issue.from > revocation.to) return 'no'
    const isRecorded = issue.to < revocation.from && !this.#durability.mayLose(issue, revocation.to)
    return isRecorded ? 'yes' : 'perhaps'
  }
}

/** Whether it did, or may have done, what it was to do. */
export function hasEffect (request: Request): boolean {
  return ['accepted', 'unavailable', 'unreachable'].includes(outcomeOf(request))
}

/** Of an acknowledged revocation that set one. */
export function cutoffOf ({ target, cutoff }: Request): number {
  return target!.kind === 'session' ? EVERY_IAT : cutoff!
}

/** Whether the acknowledged cutoff ends a token of its name by the token's iat. */
export function isReached ({ iat }: Token, revocation: Request): boolean {
  return iat <= cutoffOf(revocation)
}

export function namesIn (names: Names): string[] {
  return NAMES.filter((name) => names[name] !== undefined).map((name) => `${name} ${names[name]}`)
}
