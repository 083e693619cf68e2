import { aheadOf, shown } from './clocks.ts'
import { Durability, MEASURING } from './durability.ts'
import { outcomeOf, overlap, type History, type Interval, type Request, type Run, type Token } from './history.ts'
import { Refreshes, REFRESH_KINDS } from './refreshes.ts'
import { isReached, Revocations } from './revocations.ts'
import { Sessions } from './sessions.ts'
import { Tellings, type Told } from './tellings.ts'
import type { Milliseconds } from '../../lib/time.ts'

export const KINDS = [
  'accepted after its revocation', 'refused and never revoked', 'given and already revoked', 'lived too long', 'too far ahead',
  'told twice', 'not told', 'told and never revoked', 'too late', 'died', 'printed', 'unexpected answer', 'not back',
  ...REFRESH_KINDS
] as const

export interface Violation {
  kind: typeof KINDS[number]
  request?: Request
  /** What makes it one. */
  revocation?: Request
  run: Run
  token?: Token
  telling?: Told
  /** The one before it. */
  before?: Told
}

export interface Verdict {
  violations: Violation[]
  /** Revocations that two processes told, as is known and allowed. */
  knownTwice: number
  /** What ended sessions by the way. */
  derived: Request[]
}

/** What an answer may take beyond storeTimeout, on a machine that is busy with everything else: the event loops' stalls do not count. */
const LATE: Milliseconds = 500
/** How many seconds a cutoff, and the iat of a token that is issued, may be ahead of the clock of the process. */
const LEAD = 5
/** It does not verify the token that a request carries: whether that has expired makes no difference. */
export const UNVERIFIED = 'GET /does-not-verify'

/** What must not have happened. */
export function check (history: History): Verdict {
  return new Checker(history).check()
}

class Checker {
  readonly #history: History
  readonly #durability: Durability
  readonly #tokens: Map<string, Token>
  readonly #revocations: Revocations
  readonly #sessions: Sessions

  constructor (history: History) {
    this.#history = history
    this.#durability = new Durability(history)
    this.#tokens = new Map(history.tokens.map((token) => [token.jti, token]))
    this.#sessions = new Sessions(history, this.#durability, this.#tokens)
    this.#revocations = new Revocations(history, this.#durability, this.#sessions.derived)
  }

  check (): Verdict {
    const { runs, requests, tokens } = this.#history
    const { derived } = this.#sessions
    const tellings = new Tellings(this.#history, this.#durability, this.#revocations, this.#tokens, this.#sessions)
    const refreshes = new Refreshes(this.#history, this.#durability, this.#revocations, this.#sessions)
    const violations = [
      ...runs.flatMap((run): Violation[] => [
        ...run.died === undefined ? [] : [{ kind: 'died', run } as const],
        ...run.stderr === '' ? [] : [{ kind: 'printed', run } as const]
      ]),
      ...requests.flatMap((request) => this.#ofRequest(request)),
      ...tokens.flatMap((token) => this.#ofIssue(token)),
      ...tellings.check(),
      ...refreshes.check().map((one) => ({ ...one, run: runs[one.request.run]! }))
    ]
    return { violations, knownTwice: tellings.knownTwice, derived }
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
    if (token !== undefined && (outcome === 'accepted' || outcome === 'forbidden')) {
      if (!this.#mayHaveExpired(request, token, run)) {
        const revocation = this.#revocations.of(token).find((revocation) => this.#mustBeKnown(revocation, token, request, run))
        if (revocation !== undefined) found('accepted after its revocation', revocation)
      }
      const end = Math.min(token.exp, this.#lastExp(token))
      if (request.what !== UNVERIFIED && shown(this.#history, run, request).from > end * 1000) found('lived too long')
    }
    if (outcome === 'accepted' && request.cutoff !== undefined && request.cutoff > this.#lastCutoff(request)) found('too far ahead')
    if (token !== undefined && outcome === 'refused') {
      const isPossible = this.#revocations.of(token).some((revocation) =>
        revocation.from <= request.to && this.#revocations.revokes(revocation, token) !== 'no')
      if (!isPossible) found('refused and never revoked')
    }
    if (this.#elapsed(request, run) > request.turns * this.#history.storeTimeout + LATE + this.#wait(request)) found('too late')
    if (!this.#isExpected(request, token, run)) found('unexpected answer')
    if (request.settled && (outcome === 'unavailable' || outcome === 'unreachable')) found('not back')
    return violations
  }

  /** issue() gives tokens from after a cutoff, unless Redis has lost that one; and they end when they would without it. */
  #ofIssue (token: Token): Violation[] {
    const request = this.#history.requests[token.issue]!
    const run = this.#history.runs[request.run]!
    const violations: Violation[] = []
    const revocation = this.#revocations.cutoffsOf(token).find((revocation) => revocation.to < request.from &&
      outcomeOf(revocation) === 'accepted' && isReached(token, revocation) && !this.#durability.mayLose(revocation, request.to))
    // What a refresh token gives is judged by when that was given.
    if (revocation !== undefined && !token.isForeign && request.refresh === undefined) violations.push({ kind: 'given and already revoked', request, revocation, run, token })
    if (token.exp > this.#lastExp(token)) violations.push({ kind: 'lived too long', request, run, token })
    if (token.iat > Math.max(this.#lastSecond(run, request) + LEAD, this.#iatBefore(request))) violations.push({ kind: 'too far ahead', request, run, token })
    return violations
  }

  #mustBeKnown (revocation: Request, token: Token, request: Request, run: Run): boolean {
    const delay = run.mode === 'strict' ? 0 : this.#history.maxStaleness + MEASURING
    return revocation.to + delay < request.from && this.#revocations.revokes(revocation, token) === 'yes' &&
      !this.#durability.mayBeForgotten(revocation, request)
  }

  /** A session does not go back: where the clock of a process was ahead, those that follow begin where its token did. */
  #iatBefore ({ refresh }: Request): number {
    const refreshToken = this.#sessions.refreshTokens.get(refresh ?? '')
    return refreshToken === undefined ? -Infinity : this.#sessions.iatOf(refreshToken).most
  }

  /** The last second that the clock of a process may have shown. */
  #lastSecond (run: Run, interval: Interval): number {
    return Math.floor(shown(this.#history, run, interval).to / 1000)
  }

  /** When a token ends that lives as long as it was asked to, and was signed when its answer came. */
  #lastExp ({ issue, lifetime }: Token): number {
    const request = this.#history.requests[issue]!
    return Math.max(this.#lastSecond(this.#history.runs[request.run]!, request), this.#iatBefore(request)) + lifetime
  }

  /** How late a cutoff can be that a call answers: one stands that a process set whose clock is ahead of this one's. */
  #lastCutoff (request: Request): number {
    const lasts = this.#revocations.cutoffsOf(request.target!).filter(({ from }) => from <= request.to).map((other) => {
      const to = outcomeOf(other) === 'accepted' ? Math.min(other.to, request.to) : request.to
      return this.#lastSecond(this.#history.runs[other.run]!, { from: other.from, to })
    })
    return Math.max(...lasts) + LEAD
  }

  #isExpected (request: Request, token: Token | undefined, run: Run): boolean {
    const { from, to } = request
    switch (outcomeOf(request)) {
      // A clock that is ahead takes a provider's logout token for one that has expired.
      case 'unexpected': return request.what === 'POST /provider/logout' && request.status === 400 && aheadOf(run, request).most > 0
      case 'invalid': return request.refresh !== undefined
      case 'refused': return token !== undefined || this.#isBeyondLead(request, run)
      case 'expired': return token !== undefined && this.#mayHaveExpired(request, token, run)
      case 'forbidden': return this.#isRecordLost(request) || this.#isMisled(request, run)
      // Nothing but its end breaks a process' connections to its clients.
      case 'unreachable': return run.died === undefined && run.to <= to
      case 'accepted': return run.from <= from && from <= run.to
      default: return true
    }
  }

  /** A log-in is refused in a session that ended, or where a process whose clock is ahead of this one's has cut off. */
  #isBeyondLead ({ names, from, to }: Request, run: Run): boolean {
    if (names === undefined) return false
    return this.#revocations.cutoffsOf(names).some((other) => other.from <= to && (other.target!.kind === 'session' ||
      aheadOf(this.#history.runs[other.run]!, { from: other.from, to }).most > aheadOf(run, { from, to }).least))
  }

  /** A route that does not verify lets an expired token pass: to such a route it is none. */
  #mayHaveExpired (request: Request, { exp }: Token, run: Run): boolean {
    return shown(this.#history, run, request).to >= exp * 1000
  }

  /** Then nobody can tell any more whose token it was. */
  #isRecordLost ({ jti = '', target, what, to }: Request): boolean {
    const ofSession = target?.kind === 'session' && what.endsWith('/id/:id') ? jti : undefined
    const of = target?.kind === 'token' ? target.jti : ofSession
    if (of === undefined) return false
    return this.#durability.mayLose(this.#history.requests[this.#tokens.get(of)!.issue]!, to)
  }

  /** Something else in the place of Redis gave the right kind of answer: another id, behind which there is no record. */
  #isMisled (request: Request, { member }: Run): boolean {
    return this.#history.faults.some((fault) => fault.kind === 'link nonsense' && fault.on === member && overlap(fault, request))
  }

  /** How long a log-in may wait for its second: where what it is of was cut off shortly before. */
  #wait ({ names, from, to }: Request): Milliseconds {
    if (names === undefined) return 0
    const lead = LEAD * 1000
    // A cutoff is ahead by as much, and the clock of whoever made it by as much again.
    const isCut = this.#revocations.cutoffsOf(names).some((other) => other.from <= to && other.to >= from - 2 * lead)
    return isCut ? lead + this.#history.storeTimeout : 0
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
