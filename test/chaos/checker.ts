import { Durability, MEASURING } from './durability.ts'
import { outcomeOf, overlap, type History, type Interval, type Milliseconds, type Request, type Run, type Token } from './history.ts'

export const KINDS = [
  'accepted after its revocation', 'refused and never revoked', 'given and already revoked', 'too late', 'died', 'printed',
  'unexpected answer', 'not back'
] as const

export interface Violation {
  kind: typeof KINDS[number]
  request?: Request
  /** What makes it one. */
  revocation?: Request
  run: Run
  token?: Token
}

/** What an answer may take beyond storeTimeout, on a machine that is busy with everything else: the event loops' stalls do not count. */
const LATE: Milliseconds = 500
/** Node's clocks of the wall and of the machine drift apart by that at most while a test runs. */
const CLOCKS: Milliseconds = 50

/** What must not have happened. */
export function check (history: History): Violation[] {
  return new Checker(history).check()
}

class Checker {
  readonly #history: History
  readonly #durability: Durability
  readonly #tokens: Map<string, Token>
  /** What was asked to be revoked, by jti and by subject: all that has or may have had an effect. */
  readonly #revocations = new Map<string, Request[]>()

  constructor (history: History) {
    this.#history = history
    this.#durability = new Durability(history)
    this.#tokens = new Map(history.tokens.map((token) => [token.jti, token]))
    for (const request of history.requests) {
      const { target } = request
      if (target === undefined || !['accepted', 'unavailable', 'unreachable'].includes(outcomeOf(request))) continue
      const key = target.kind === 'token' ? `jti ${target.jti}` : `sub ${target.sub}`
      this.#revocations.set(key, [...this.#revocations.get(key) ?? [], request])
    }
  }

  check (): Violation[] {
    const { runs, requests, tokens } = this.#history
    return [
      ...runs.flatMap((run): Violation[] => [
        ...run.died === undefined ? [] : [{ kind: 'died', run } as const],
        ...run.stderr === '' ? [] : [{ kind: 'printed', run } as const]
      ]),
      ...requests.flatMap((request) => this.#ofRequest(request)),
      ...tokens.flatMap((token) => this.#ofIssue(token))
    ]
  }

  #ofRequest (request: Request): Violation[] {
    const run = this.#history.runs[request.run]!
    const token = request.jti === undefined ? undefined : this.#tokens.get(request.jti)!
    const violations: Violation[] = []
    const found = (kind: Violation['kind'], revocation?: Request) => {
      violations.push({ kind, request, run, ...(token && { token }), ...(revocation && { revocation }) })
    }
    const outcome = outcomeOf(request)
    // A request that is forbidden, or that revokes, has been let in as much as any other.
    if (token !== undefined && (outcome === 'accepted' || outcome === 'forbidden') && !this.#mayHaveExpired(request, token)) {
      const revocation = this.#revocationsOf(token).find((revocation) => this.#mustBeKnown(revocation, token, request, run))
      if (revocation !== undefined) found('accepted after its revocation', revocation)
    }
    if (token !== undefined && outcome === 'refused') {
      const isPossible = this.#revocationsOf(token).some((revocation) => revocation.from <= request.to && this.#revokes(revocation, token) !== 'no')
      if (!isPossible) found('refused and never revoked')
    }
    if (this.#elapsed(request, run) > request.turns * this.#history.storeTimeout + LATE) found('too late')
    if (!this.#isExpected(request, token, run)) found('unexpected answer')
    if (request.settled && (outcome === 'unavailable' || outcome === 'unreachable')) found('not back')
    return violations
  }

  /** What issue() gives after a cutoff is from after it; unless Redis has lost that since. */
  #ofIssue (token: Token): Violation[] {
    const request = this.#history.requests[token.issue]!
    const revocation = this.#revocationsOf(token).find((revocation) => revocation.target!.kind === 'subject' &&
      revocation.to < request.from && outcomeOf(revocation) === 'accepted' && token.iat <= revocation.cutoff! &&
      !this.#durability.isLossWithin({ from: revocation.from, to: request.to }))
    const run = this.#history.runs[request.run]!
    return revocation === undefined ? [] : [{ kind: 'given and already revoked', request, revocation, run, token }]
  }

  #mustBeKnown (revocation: Request, token: Token, request: Request, run: Run): boolean {
    const delay = run.mode === 'strict' ? 0 : this.#history.maxStaleness + MEASURING
    return revocation.to + delay < request.from && this.#revokes(revocation, token) === 'yes' &&
      !this.#durability.mayBeForgotten(revocation, request)
  }

  #revocationsOf ({ jti, sub }: Token): Request[] {
    return [...this.#revocations.get(`jti ${jti}`) ?? [], ...this.#revocations.get(`sub ${sub}`) ?? []]
  }

  #revokes (revocation: Request, token: Token): 'yes' | 'perhaps' | 'no' {
    const target = revocation.target!
    if (target.kind === 'others' && revocation.jti === token.jti) return 'no'
    // Without an acknowledgement it may have been made, or be made at any later time: a client sends again what it got
    // no answer to, and Redis, once it goes on, executes what has waited in its sockets. A cutoff rises when it is
    // made, so that no iat of the subject is safe from one.
    if (outcomeOf(revocation) !== 'accepted') return 'perhaps'
    if (target.kind === 'token') return 'yes'
    if (target.kind === 'subject') return token.iat <= revocation.cutoff! ? 'yes' : 'no'
    const issue = this.#history.requests[token.issue]!
    if (issue.from > revocation.to) return 'no'
    const isRecorded = issue.to < revocation.from && !this.#durability.isLossWithin({ from: issue.from, to: revocation.to })
    return isRecorded ? 'yes' : 'perhaps'
  }

  #isExpected (request: Request, token: Token | undefined, run: Run): boolean {
    const { from, to } = request
    switch (outcomeOf(request)) {
      case 'unexpected': return false
      case 'refused': return token !== undefined
      case 'expired': return token !== undefined && this.#mayHaveExpired(request, token)
      case 'forbidden': return this.#isRecordLost(request)
      // Nothing but its end breaks a process' connections to its clients.
      case 'unreachable': return run.died === undefined && run.to <= to
      case 'accepted': return run.from <= from && from <= run.to
      default: return true
    }
  }

  /** A route that does not verify lets an expired token pass: to such a route it is none. */
  #mayHaveExpired ({ to }: Request, { exp }: Token): boolean {
    return to + this.#history.epoch + CLOCKS >= exp * 1000
  }

  /** Then nobody can tell any more whose token it was. */
  #isRecordLost ({ target, to }: Request): boolean {
    if (target?.kind !== 'token') return false
    const { from } = this.#history.requests[this.#tokens.get(target.jti)!.issue]!
    return this.#durability.isLossWithin({ from, to })
  }

  /** Without the time in which the process, or who measures, did not run. */
  #elapsed (request: Request, run: Run): Milliseconds {
    const pauses = this.#history.faults.filter(({ kind, on }) => kind === 'process paused' && on === run.member)
    const lost = [...run.stalls, ...this.#history.stalls, ...pauses].filter((stall) => overlap(stall, request)).sort((a, b) => a.from - b.from)
    let elapsed = request.to - request.from
    let counted = request.from
    for (const { from, to } of lost) {
      const part: Interval = { from: Math.max(from, counted), to: Math.min(to, request.to) }
      if (part.to <= part.from) continue
      elapsed -= part.to - part.from
      counted = part.to
    }
    return elapsed
  }
}
