import type { Durability } from './durability.ts'
import { outcomeOf, type History, type Request, type Token } from './history.ts'

/** What was asked to be revoked: all that has or may have had an effect. */
export class Revocations {
  readonly #history: History
  readonly #durability: Durability
  readonly #byName = new Map<string, Request[]>()

  constructor (history: History, durability: Durability) {
    this.#history = history
    this.#durability = durability
    for (const request of history.requests) {
      const { target } = request
      if (target === undefined || !['accepted', 'unavailable', 'unreachable'].includes(outcomeOf(request))) continue
      const name = target.kind === 'token' ? `jti ${target.jti}` : `sub ${target.sub}`
      this.#byName.set(name, [...this.#byName.get(name) ?? [], request])
    }
  }

  /** Those that may concern a token. */
  of ({ jti, sub }: { jti?: string | undefined, sub?: string | undefined }): Request[] {
    return [...this.#byName.get(`jti ${jti}`) ?? [], ...this.#byName.get(`sub ${sub}`) ?? []]
  }

  /** Those that set a subject's cutoff. */
  cutoffsOf (sub: string): Request[] {
    return this.of({ sub }).filter(({ target }) => target!.kind === 'subject')
  }

  revokes (revocation: Request, token: Token): 'yes' | 'perhaps' | 'no' {
    const target = revocation.target!
    if (target.kind === 'others' && revocation.jti === token.jti) return 'no'
    // Without an acknowledgement it may have been made, or be made at any later time: a client sends again what it got
    // no answer to, and Redis, once it goes on, executes what has waited in its sockets. A cutoff rises when it is
    // made, so that no iat of the subject is safe from one.
    if (outcomeOf(revocation) !== 'accepted') return 'perhaps'
    if (target.kind === 'token') return 'yes'
    if (target.kind === 'subject') {
      if (token.iat <= revocation.cutoff!) return 'yes'
      // A signer's clock was ahead: the call ends the token that asks, and those that are recorded, by their jti.
      if (revocation.jti === token.jti) return 'yes'
    }
    const issue = this.#history.requests[token.issue]!
    if (issue.from > revocation.to) return 'no'
    const isRecorded = issue.to < revocation.from && !this.#durability.mayLose(issue, revocation.to)
    return isRecorded ? 'yes' : 'perhaps'
  }
}
