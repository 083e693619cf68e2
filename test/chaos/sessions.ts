import { shown } from './clocks.ts'
import type { Durability } from './durability.ts'
import { outcomeOf, overlap, type Given, type History, type Interval, type Names, type Request, type Run, type Token } from './history.ts'
import { hasEffect, namesIn } from './revocations.ts'
import type { Milliseconds } from '../../lib/time.ts'

/** A login with refresh tokens, and what became of it. */
export interface Session {
  login: Request
  sub: string
  sid: string
  tenant?: string | undefined
  /** Those that somebody got. */
  tokens: Token[]
  refreshTokens: RefreshToken[]
}

export interface RefreshToken {
  session: Session
  end: number
  /** The request that gave it first. */
  given: Request
  /** What it followed. */
  parent: RefreshToken | undefined
  /** Of the access tokens that came with it. */
  iats: number[]
  /** All requests that presented it. */
  uses: Request[]
}

/** Between the clocks of Redis and of this process. */
export const CLOCKS: Milliseconds = 50
/** A client that lost its connection sends its commands again: one use may count as so many. */
const SENT_AGAIN = 3
export const MAX_USES = 3

/** The sessions that can be refreshed, by what was asked and answered, and what ended them by the way. */
export class Sessions {
  readonly refreshTokens = new Map<string, RefreshToken>()
  /** Ends of sessions by what else a request did: acknowledged (200), or maybe made (503). */
  readonly derived: Request[] = []
  readonly #history: History
  readonly #durability: Durability
  readonly #tokens: Map<string, Token>
  readonly #iats = new Map<RefreshToken, { least: number, most: number }>()
  readonly #bySid = new Map<string, Session>()
  readonly #bySub = new Map<string, Session[]>()

  constructor (history: History, durability: Durability, tokens: Map<string, Token>) {
    this.#history = history
    this.#durability = durability
    this.#tokens = tokens
    this.#read()
    const made = history.requests.filter((request) => request.target !== undefined && hasEffect(request))
    for (const request of made) this.#deriveFromToken(request)
    for (const request of history.requests) if (request.refresh !== undefined) this.#deriveFromReuse(request)
    // What has ended already they leave out.
    for (const request of made) this.#deriveFromSubject(request)
    for (const request of made) this.#deriveFromOthers(request)
  }

  has (sid: string): boolean {
    return this.#bySid.has(sid)
  }

  /** A refusal writes once more that the session has ended, where Redis does not know it. */
  refusalsOf (sid: string | undefined): Request[] {
    const { refreshTokens = [] } = this.#bySid.get(sid ?? '') ?? {}
    return refreshTokens.flatMap(({ uses }) => uses.filter((use) => outcomeOf(use) !== 'accepted'))
  }

  #read () {
    const { requests, tokens } = this.#history
    const given = new Map(tokens.map((token) => [token.issue, token]))
    for (const [index, request] of requests.entries()) {
      const { refresh, gave } = request
      const parent = this.refreshTokens.get(refresh ?? '')
      parent?.uses.push(request)
      if (gave !== undefined) this.#give(request, gave, given.get(index)!, parent)
    }
  }

  #give (given: Request, { refreshToken, end }: Given, token: Token, parent: RefreshToken | undefined) {
    const { sub, sid = '', tenant } = token
    const standing = this.refreshTokens.get(refreshToken)
    const session = standing?.session ?? parent?.session ?? { login: given, sub, sid, tenant, tokens: [], refreshTokens: [] }
    session.tokens.push(token)
    if (standing !== undefined) {
      standing.iats.push(token.iat)
      return
    }
    const made: RefreshToken = { session, end, given, parent, iats: [token.iat], uses: [] }
    this.refreshTokens.set(refreshToken, made)
    session.refreshTokens.push(made)
    if (parent !== undefined) return
    this.#bySid.set(sid, session)
    this.#bySub.set(sub, [...this.#bySub.get(sub) ?? [], session])
  }

  /** Which iat Redis may have of it: what is kept first counts, and that may be what nobody got an answer to. */
  iatOf (refreshToken: RefreshToken): { least: number, most: number } {
    const { parent, iats } = refreshToken
    const known = { least: Math.min(...iats), most: Math.max(...iats) }
    if (parent === undefined) return known
    const standing = this.#iats.get(refreshToken)
    if (standing !== undefined) return standing
    const before = this.iatOf(parent)
    for (const use of parent.uses) {
      if (outcomeOf(use) === 'accepted' || !hasEffect(use)) continue
      const { from, to } = shown(this.#history, this.#history.runs[use.run]!, use)
      known.least = Math.min(known.least, Math.max(before.least, Math.floor(from / 1000)))
      known.most = Math.max(known.most, before.most, Math.floor(to / 1000))
    }
    this.#iats.set(refreshToken, known)
    return known
  }

  /** A token of a session ends the session. */
  #deriveFromToken (request: Request) {
    const target = request.target!
    if (target.kind !== 'token') return
    const token = this.#tokens.get(target.jti)!
    if (!token.isRefreshable) return
    this.#end(request, token.sid!, outcomeOf(request) === 'accepted' && this.#isRecorded(token, request) && !this.#isMisled(request))
  }

  /** The end of a subject ends the sessions that have a token whose iat is beyond the cutoff. */
  #deriveFromSubject (request: Request) {
    const target = request.target!
    if (target.kind !== 'subject') return
    const isDone = outcomeOf(request) === 'accepted'
    for (const session of this.#bySub.get(target.sub) ?? []) {
      const { sid, tenant } = session
      const beyond = session.tokens.filter((token) => !isDone || token.iat > request.cutoff!)
      if (beyond.some((token) => this.#history.requests[token.issue]!.from <= request.to)) {
        const isCertain = isDone && beyond.some((token) => this.#isRecorded(token, request))
        this.#end(request, sid, isCertain, isCertain && this.#mayHaveEnded({ sid, tenant }, request))
      } else if (session.refreshTokens.some(({ uses }) => uses.some((use) => overlap(use, request)))) {
        // What is under way may have kept an iat of the next second, and is refused then.
        this.#end(request, sid, false)
      }
    }
  }

  #deriveFromOthers (request: Request) {
    if (request.target!.kind !== 'others') return
    const { sub } = request.target as { sub: string }
    const caller = this.#tokens.get(request.jti ?? '')
    for (const { sid, tenant, login } of this.#bySub.get(sub) ?? []) {
      if (sid === caller?.sid || login.from > request.to) continue
      const isRecorded = login.to < request.from && !this.#durability.mayLose(login, request.to)
      this.#end(request, sid, outcomeOf(request) === 'accepted' && isRecorded && !this.#mayHaveEnded({ sub, sid, tenant }, request))
    }
  }

  /** Whether something else may have ended what has one of these names. */
  #mayHaveEnded (of: Names, request: Request): boolean {
    const names = new Set(namesIn(of))
    return [...this.#history.requests, ...this.derived].some((other) => other.target !== undefined && other.target.kind !== 'others' &&
      other !== request && other.from <= request.to && hasEffect(other) && namesIn(other.target).some((name) => names.has(name)))
  }

  #deriveFromReuse (request: Request) {
    const refreshToken = this.refreshTokens.get(request.refresh!)!
    if (outcomeOf(request) === 'accepted') return
    if (this.isCertainlyReuse(refreshToken, request) && outcomeOf(request) === 'invalid') this.#end(request, refreshToken.session.sid, true)
    else if (this.mayBeReuse(refreshToken, request)) this.#end(request, refreshToken.session.sid, false)
  }

  /** Whether an acknowledged use was longer ago than the grace, and Redis still knows. */
  isCertainlyReuse ({ uses, end }: RefreshToken, request: Request): boolean {
    const run = this.#history.runs[request.run]!
    if (shown(this.#history, run, request).to >= end * 1000) return false
    return uses.some((use) => outcomeOf(use) === 'accepted' && use.to + this.#history.grace + CLOCKS < request.from &&
      !this.#durability.mayLose(use, request.to))
  }

  mayBeReuse ({ uses }: RefreshToken, request: Request): boolean {
    return uses.some((use) => use !== request && hasEffect(use) && use.from + this.#history.grace - CLOCKS <= request.to)
  }

  /** Whether it may have been used as often as it may be within its grace. */
  mayBeExhausted ({ uses }: RefreshToken, request: Request): boolean {
    const before = uses.filter((use) => use !== request && use.from <= request.to && hasEffect(use))
    // The request itself may have been sent again, and then meets itself.
    return [...before, request].reduce((sum, use) => sum + (this.#isDisturbed(use) ? SENT_AGAIN : use === request ? 0 : 1), 0) >= MAX_USES
  }

  #isDisturbed (request: Request): boolean {
    const { member } = this.#history.runs[request.run]!
    return this.#history.faults.some((fault) => (fault.on === 'redis' || fault.on === member) && overlap(fault, request))
  }

  #isRecorded ({ issue }: Token, { from, to }: Interval): boolean {
    const request = this.#history.requests[issue]!
    return request.to < from && !this.#durability.mayLose(request, to)
  }

  /** Something else in the place of Redis led to no record. */
  #isMisled (request: Request): boolean {
    const { member }: Run = this.#history.runs[request.run]!
    return this.#history.faults.some((fault) => fault.kind === 'link nonsense' && fault.on === member && overlap(fault, request))
  }

  /** `mayBeSilent`: what has ended before is not told again. */
  #end ({ run, from, to, what, turns }: Request, sid: string, isDone: boolean, mayBeSilent = false) {
    if (!this.#bySid.has(sid)) return
    const answer = isDone ? { status: 200 } : { status: 503, code: 'FST_JWT_REVOCATION_UNAVAILABLE', retryAfter: '1' }
    this.derived.push({ run, from, to, what, turns, target: { kind: 'session', sid }, isDerived: true, mayBeSilent, ...answer })
  }
}
